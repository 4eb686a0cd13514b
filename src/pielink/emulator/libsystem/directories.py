"""Reading directories. Source: <dirent.h> (struct dirent with 64-bit inode numbers).

A DIR is 16 bytes of program memory whose address is the handle. The entries are read when the
directory is opened, and again at rewinddir.
"""

from __future__ import annotations

import os
import stat as host_stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import Files, OpenFile, host_flags
from pielink.emulator.libsystem.host import EBADF, host
from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_DT_UNKNOWN, _DT_DIR = 0, 4
_DIRENT = struct.Struct("<QQHHB")
_DIRENT_SIZE = 1048


@dataclass
class _Stream:
    fd: int
    entries: list[tuple[bytes, int, int]]  # name, inode, type
    buffer: int
    position: int = 0


class Directories:
    """Open directory streams by handle."""

    def __init__(self, proc: Process) -> None:
        self.streams: dict[int, _Stream] = {}

    def get(self, handle: int) -> _Stream:
        """The stream of a DIR pointer."""
        if handle not in self.streams:
            raise Errno(EBADF)
        return self.streams[handle]


def _type(entry: os.DirEntry[str]) -> int:
    """d_type is the file type of st_mode, shifted."""
    try:
        return host_stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) >> 12
    except OSError:  # gone since it was listed
        return _DT_UNKNOWN


def _list(fd: int) -> list[tuple[bytes, int, int]]:
    inode = os.fstat(fd).st_ino
    found = [(b".", inode, _DT_DIR), (b"..", inode, _DT_DIR)]
    with os.scandir(fd) as entries:
        for entry in entries:
            found.append((os.fsencode(entry.name), entry.inode(), _type(entry)))
    return found


def _open(proc: Process, fd: int) -> int:
    """A stream on a descriptor of the program, which the stream owns from now on."""
    entries = host(_list, proc.state(Files).get(fd).fd)
    handle = proc.allocate_data(16)
    buffer = proc.allocate_data(_DIRENT_SIZE)
    proc.state(Directories).streams[handle] = _Stream(fd, entries, buffer)
    return handle


@libsystem("void *opendir$INODE64(const char *)", "opendir")
def opendir(proc: Process, path: int) -> int:
    try:
        fd = host(os.open, proc.memory.string(path), host_flags(0x100000))
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    return _open(proc, proc.state(Files).add(OpenFile(fd)))


@libsystem("void *fdopendir$INODE64(int)", "fdopendir")
def fdopendir(proc: Process, fd: int) -> int:
    try:
        return _open(proc, fd)
    except Errno as failure:
        raise Errno(failure.number, 0) from failure


def _write_entry(proc: Process, stream: _Stream, out: int) -> bool:
    """Write the next entry as a struct dirent; False at the end."""
    if stream.position >= len(stream.entries):
        return False
    name, inode, kind = stream.entries[stream.position]
    stream.position += 1
    length = (_DIRENT.size + len(name) + 1 + 7) & -8
    record = _DIRENT.pack(inode, stream.position, length, len(name), kind) + name
    proc.memory.write(out, record.ljust(length, b"\0"))
    return True


@libsystem("void *readdir$INODE64(void *)", "readdir")
def readdir(proc: Process, handle: int) -> int:
    stream = proc.state(Directories).get(handle)
    return stream.buffer if _write_entry(proc, stream, stream.buffer) else 0


@libsystem("int readdir_r$INODE64(void *, void *, void *)", "readdir_r")
def readdir_r(proc: Process, handle: int, entry: int, result: int) -> int:
    stream = proc.state(Directories).get(handle)
    proc.memory.put_u64(result, entry if _write_entry(proc, stream, entry) else 0)
    return 0


@libsystem("void rewinddir$INODE64(void *)", "rewinddir")
def rewinddir(proc: Process, handle: int) -> None:
    stream = proc.state(Directories).get(handle)
    stream.entries = host(_list, proc.state(Files).get(stream.fd).fd)
    stream.position = 0


@libsystem("long telldir$INODE64(void *)", "telldir")
def telldir(proc: Process, handle: int) -> int:
    return proc.state(Directories).get(handle).position


@libsystem("void seekdir$INODE64(void *, long)", "seekdir")
def seekdir(proc: Process, handle: int, position: int) -> None:
    proc.state(Directories).get(handle).position = position


@libsystem("int dirfd(void *)")
def dirfd(proc: Process, handle: int) -> int:
    return proc.state(Directories).get(handle).fd


@libsystem("int closedir(void *)")
def closedir(proc: Process, handle: int) -> None:
    stream = proc.state(Directories).get(handle)
    del proc.state(Directories).streams[handle]
    proc.state(Files).release(stream.fd)
