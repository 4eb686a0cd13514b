"""What files have beside their contents: modes, owners, times, limits, extended attributes.

Source: <sys/stat.h>, <unistd.h>, <sys/time.h>, <sys/xattr.h>.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import Files
from pielink.emulator.libsystem.host import EINVAL, ENODATA, ENOTSUP, ERANGE, host
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.paths import AT_SYMLINK_NOFOLLOW, directory_of, path_of
from pielink.emulator.libsystem.time import SECOND, realtime

if TYPE_CHECKING:
    from pielink.emulator.process import Process

R = TypeVar("R")
_UTIME_NOW, _UTIME_OMIT = -1, -2


@libsystem("int chmod(const char *, mode_t)")
def chmod(proc: Process, path: int, mode: int) -> None:
    host(os.chmod, path_of(proc, path), mode & 0o7777)


@libsystem("int fchmodat(int, const char *, mode_t, int)")
def fchmodat(proc: Process, fd: int, path: int, mode: int, flags: int) -> None:
    host(os.chmod, path_of(proc, path), mode & 0o7777, dir_fd=directory_of(proc, fd))


@libsystem("int chown(const char *, uid_t, gid_t)")
def chown(proc: Process, path: int, user: int, group: int) -> None:
    host(os.chown, path_of(proc, path), _owner(user), _owner(group))


@libsystem("int lchown(const char *, uid_t, gid_t)")
def lchown(proc: Process, path: int, user: int, group: int) -> None:
    host(os.lchown, path_of(proc, path), _owner(user), _owner(group))


@libsystem("int fchownat(int, const char *, uid_t, gid_t, int)")
def fchownat(proc: Process, fd: int, path: int, user: int, group: int, flags: int) -> None:
    follow = not flags & AT_SYMLINK_NOFOLLOW
    at = directory_of(proc, fd)
    owner = (_owner(user), _owner(group))
    host(os.chown, path_of(proc, path), *owner, dir_fd=at, follow_symlinks=follow)


def _owner(identity: int) -> int:
    return -1 if identity == 0xFFFF_FFFF else identity


@libsystem("int chflags(const char *, unsigned int)")
def chflags(proc: Process, path: int, flags: int) -> None:
    raise Errno(ENOTSUP)


@libsystem("int fchflags(int, unsigned int)")
def fchflags(proc: Process, fd: int, flags: int) -> None:
    raise Errno(ENOTSUP)


@libsystem("int truncate(const char *, off_t)")
def truncate(proc: Process, path: int, size: int) -> None:
    host(os.truncate, path_of(proc, path), size)


def _timeval_pair(proc: Process, address: int) -> tuple[int, int] | None:
    """Two struct timeval in nanoseconds; None means now."""
    if not address:
        return None
    first, first_us, second, second_us = proc.memory.unpack("<qi4xqi4x", address)
    return first * SECOND + first_us * 1000, second * SECOND + second_us * 1000


@libsystem("int utimes(const char *, const void *)")
def utimes(proc: Process, path: int, times: int) -> None:
    host(os.utime, path_of(proc, path), ns=_timeval_pair(proc, times))


@libsystem("int futimes(int, const void *)")
def futimes(proc: Process, fd: int, times: int) -> None:
    host(os.utime, proc.state(Files).get(fd).fd, ns=_timeval_pair(proc, times))


def _timespec_pair(proc: Process, address: int, now: os.stat_result) -> tuple[int, int] | None:
    """Two struct timespec, with UTIME_NOW and UTIME_OMIT."""
    if not address:
        return None
    fields = proc.memory.unpack("<4q", address)
    result = []
    old = (now.st_atime_ns, now.st_mtime_ns)
    for seconds, nanoseconds, before in zip(fields[::2], fields[1::2], old, strict=True):
        special = {_UTIME_NOW: realtime(proc), _UTIME_OMIT: before}
        result.append(special.get(nanoseconds, seconds * SECOND + nanoseconds))
    return result[0], result[1]


@libsystem("int utimensat(int, const char *, const void *, int)")
def utimensat(proc: Process, fd: int, path: int, times: int, flags: int) -> None:
    name, at = path_of(proc, path), directory_of(proc, fd)
    follow = not flags & AT_SYMLINK_NOFOLLOW
    now = host(os.stat, name, dir_fd=at, follow_symlinks=follow)
    pair = _timespec_pair(proc, times, now)
    host(os.utime, name, ns=pair, dir_fd=at, follow_symlinks=follow)


@libsystem("int futimens(int, const void *)")
def futimens(proc: Process, fd: int, times: int) -> None:
    file = proc.state(Files).get(fd)
    host(os.utime, file.fd, ns=_timespec_pair(proc, times, host(os.fstat, file.fd)))


_PATHCONF = {1: 32767, 2: 1024, 3: 1024, 4: 255, 5: 1024, 6: 512, 7: 1, 8: 1}


@libsystem("long pathconf(const char *, int)")
def pathconf(proc: Process, path: int, name: int) -> int:
    host(os.stat, path_of(proc, path))
    return _limit(name)


@libsystem("long fpathconf(int, int)")
def fpathconf(proc: Process, fd: int, name: int) -> int:
    proc.state(Files).get(fd)
    return _limit(name)


def _limit(name: int) -> int:
    if name not in _PATHCONF:
        raise Errno(EINVAL)
    return _PATHCONF[name]


@libsystem("void sync(void)")
def sync(proc: Process) -> None:
    os.sync()


# -- extended attributes: those of the host's file, in its "user." namespace

_XATTR_NOFOLLOW, _XATTR_CREATE, _XATTR_REPLACE = 1, 2, 4
_ENOATTR = 93


def _name_of(proc: Process, address: int) -> str:
    return "user." + proc.memory.string(address, 127).decode("utf-8", "surrogateescape")


def _extended(function: Callable[..., R], *arguments: Any, **options: Any) -> R:
    """Call the host; its "no such attribute" is ENOATTR."""
    try:
        return host(function, *arguments, **options)
    except Errno as failure:
        raise Errno(_ENOATTR if failure.number == ENODATA else failure.number) from failure


def _give(proc: Process, data: bytes, out: int, size: int) -> int:
    """Store the data, or only tell its size."""
    if out:
        if len(data) > size:
            raise Errno(ERANGE)
        proc.memory.write(out, data)
    return len(data)


def _get(proc: Process, file: bytes | int, name: int, out: int, size: int, flags: int) -> int:
    follow = not flags & _XATTR_NOFOLLOW
    data = _extended(os.getxattr, file, _name_of(proc, name), follow_symlinks=follow)
    return _give(proc, data, out, size)


def _set(proc: Process, file: bytes | int, name: int, data: int, size: int, flags: int) -> None:
    host_flags = os.XATTR_CREATE if flags & _XATTR_CREATE else 0
    host_flags |= os.XATTR_REPLACE if flags & _XATTR_REPLACE else 0
    value, follow = proc.memory.read(data, size), not flags & _XATTR_NOFOLLOW
    _extended(os.setxattr, file, _name_of(proc, name), value, host_flags, follow_symlinks=follow)


def _list(proc: Process, file: bytes | int, out: int, size: int, flags: int) -> int:
    names = _extended(os.listxattr, file, follow_symlinks=not flags & _XATTR_NOFOLLOW)
    kept = [name.removeprefix("user.") for name in names if name.startswith("user.")]
    return _give(proc, b"".join(os.fsencode(name) + b"\0" for name in kept), out, size)


def _remove(proc: Process, file: bytes | int, name: int, flags: int) -> None:
    follow = not flags & _XATTR_NOFOLLOW
    _extended(os.removexattr, file, _name_of(proc, name), follow_symlinks=follow)


def _check_position(position: int) -> None:
    if position:
        raise Errno(EINVAL)


@libsystem("ssize_t getxattr(const char *, const char *, void *, size_t, uint32_t, int)")
def getxattr(
    proc: Process, path: int, name: int, out: int, size: int, position: int, flags: int
) -> int:
    _check_position(position)
    return _get(proc, path_of(proc, path), name, out, size, flags)


@libsystem("ssize_t fgetxattr(int, const char *, void *, size_t, uint32_t, int)")
def fgetxattr(
    proc: Process, fd: int, name: int, out: int, size: int, position: int, flags: int
) -> int:
    _check_position(position)
    return _get(proc, proc.state(Files).get(fd).fd, name, out, size, 0)


@libsystem("int setxattr(const char *, const char *, const void *, size_t, uint32_t, int)")
def setxattr(
    proc: Process, path: int, name: int, data: int, size: int, position: int, flags: int
) -> None:
    _check_position(position)
    _set(proc, path_of(proc, path), name, data, size, flags)


@libsystem("int fsetxattr(int, const char *, const void *, size_t, uint32_t, int)")
def fsetxattr(
    proc: Process, fd: int, name: int, data: int, size: int, position: int, flags: int
) -> None:
    _check_position(position)
    _set(proc, proc.state(Files).get(fd).fd, name, data, size, flags & ~_XATTR_NOFOLLOW)


@libsystem("ssize_t listxattr(const char *, char *, size_t, int)")
def listxattr(proc: Process, path: int, out: int, size: int, flags: int) -> int:
    return _list(proc, path_of(proc, path), out, size, flags)


@libsystem("ssize_t flistxattr(int, char *, size_t, int)")
def flistxattr(proc: Process, fd: int, out: int, size: int, flags: int) -> int:
    return _list(proc, proc.state(Files).get(fd).fd, out, size, 0)


@libsystem("int removexattr(const char *, const char *, int)")
def removexattr(proc: Process, path: int, name: int, flags: int) -> None:
    _remove(proc, path_of(proc, path), name, flags)


@libsystem("int fremovexattr(int, const char *, int)")
def fremovexattr(proc: Process, fd: int, name: int, flags: int) -> None:
    _remove(proc, proc.state(Files).get(fd).fd, name, 0)
