"""Write the executable: all of it or nothing."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

from pielink import libc
from pielink.errors import LinkError, Problem

MODE = 0o775  # less the umask
# Source: <fcntl.h> and <linux/fs.h>.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def write(path: str, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts`, one after the other, to an executable file at `path`.

    The file appears under its name when it is whole: it is written beside its place and renamed.
    What is there and is not a regular file, such as /dev/null, is written to instead. LinkError
    names the path if that cannot be done.
    """
    try:
        if _is_special(path):
            with open(path, "wb", buffering=0) as file:
                _write_all(file.fileno(), parts)
        else:
            _replace(path, parts)
    except OSError as error:
        raise LinkError(
            [Problem(f"cannot write the output: {error.strerror}", file=path)]
        ) from error


def _is_special(path: str) -> bool:
    """Whether something other than a regular file, or than nothing, is at `path`."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _replace(path: str, parts: Iterable[bytes | memoryview]) -> None:
    """Write a new file beside `path`, then let it take that name."""
    place = os.path.realpath(path)  # a link to the output stays a link
    folder, name = os.path.split(place)
    temporary = os.path.join(folder, f".{name}.pielink-{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(temporary, flags, MODE), "wb", buffering=0) as file:
        try:
            _write_all(file.fileno(), parts)
            if _exchange(temporary, place):
                os.unlink(temporary)
            else:
                os.replace(temporary, place)
        except BaseException:
            os.unlink(temporary)
            raise


def _exchange(one: str, other: str) -> bool:
    """Let two files exchange their names in one step; False if that cannot be done here.

    os.replace does as well, but when it takes the place of a file, ext4 has the new one written to
    the disk at once: that takes several times as long as to write it to memory.
    """
    if not sys.platform.startswith("linux"):
        return False
    names = (libc.INT, libc.STRING) * 2
    try:
        rename = libc.function("renameat2", libc.INT, *names, libc.INT)
    except OSError:  # the C library is older than the function
        return False
    at = _AT_FDCWD
    failed = rename(at, os.fsencode(one), at, os.fsencode(other), _RENAME_EXCHANGE)
    return not failed


def _write_all(descriptor: int, parts: Iterable[bytes | memoryview]) -> None:
    for part in parts:
        rest = memoryview(part).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
