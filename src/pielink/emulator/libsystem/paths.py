"""Files by name: open, stat, rename and the rest. Source: <fcntl.h>, <sys/stat.h>, <unistd.h>.

A path is the host's path. The *at functions take a directory descriptor, or AT_FDCWD.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat as host_stat
from typing import TYPE_CHECKING, Any

from pielink.emulator.abi import Variadic
from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import (
    O_NONBLOCK,
    READABLE,
    Files,
    OpenFile,
    host_flags,
    poller,
)
from pielink.emulator.libsystem.host import (
    EACCES,
    EINVAL,
    ENOTSUP,
    EPERM,
    ERANGE,
    darwin_errno,
    host,
)
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.time import SECOND
from pielink.emulator.threads import Wait, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_AT_FDCWD = -2
_AT_EACCESS, AT_SYMLINK_NOFOLLOW, _AT_SYMLINK_FOLLOW, _AT_REMOVEDIR = 0x10, 0x20, 0x40, 0x80
_O_SYMLINK, _O_ACCMODE = 0x200000, 3


def path_of(proc: Process, address: int) -> bytes:
    """A path argument."""
    return proc.memory.string(address, 4096)


def directory_of(proc: Process, fd: int) -> int | None:
    """The host's descriptor for an *at function."""
    return None if fd == _AT_FDCWD else proc.state(Files).get(fd).fd


def open_path(proc: Process, path: bytes, flags: int, mode: int, at: int | None) -> int:
    """open(2): a new descriptor of the program; `at` is the host's descriptor of a directory."""
    if flags & _O_SYMLINK and os.path.islink(path):
        raise Errno(ENOTSUP)
    fd = host(os.open, path, host_flags(flags), mode & 0o7777, dir_fd=at)
    file = OpenFile(fd, nonblocking=bool(flags & O_NONBLOCK), path=path)
    kind = os.fstat(fd).st_mode
    if not host_stat.S_ISREG(kind) and not host_stat.S_ISDIR(kind):
        os.set_blocking(fd, False)
    return proc.state(Files).add(file)


class Fifos:
    """How often the program has opened each FIFO for writing, by device and inode."""

    def __init__(self, proc: Process) -> None:
        self.writers: dict[tuple[int, int], int] = {}


def _fifo(path: bytes, flags: int, at: int | None) -> tuple[int, int] | None:
    """Device and inode of a FIFO whose opening must wait for the other end."""
    if flags & (O_NONBLOCK | _O_ACCMODE) not in (0, 1):
        return None
    try:
        found = os.stat(path, dir_fd=at)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if host_stat.S_ISFIFO(found.st_mode) else None


def _open_fifo(
    proc: Process, path: bytes, flags: int, at: int | None, key: tuple[int, int]
) -> Work:
    """Open one end of a FIFO without blocking the emulator, and wait for the other end.

    The host does not tell a reader that a writer is there before it writes or goes: then the
    wait is over too; a writer in the program itself is counted.
    """
    writers = proc.state(Fifos).writers

    def attempt() -> int | None:
        try:
            return os.open(path, os.O_NONBLOCK | os.O_CLOEXEC | flags & _O_ACCMODE, dir_fd=at)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise Errno(darwin_errno(error.errno)) from error
            return None

    fd = attempt()
    if fd is None:
        fd = yield Wait(attempt, interruptible=True, forever=True)
    number = proc.state(Files).add(OpenFile(fd, path=path))
    if flags & _O_ACCMODE:
        writers[key] = writers.get(key, 0) + 1
    else:
        before, ready = writers.get(key, 0), poller(fd, READABLE)
        yield Wait(
            lambda: ready() or (writers.get(key, 0) != before or None),
            fds=((fd, READABLE),),
            interruptible=True,
        )
    return number


def _open(proc: Process, path: bytes, flags: int, rest: Variadic, at: int | None) -> Any:
    mode = rest.u64() if flags & 0x200 else 0
    key = _fifo(path, flags, at)
    if key is not None:
        return _open_fifo(proc, path, flags, at, key)
    return open_path(proc, path, flags, mode, at)


@libsystem("int open(const char *, int, ...)", "open$NOCANCEL", "__open_nocancel")
def open_(proc: Process, path: int, flags: int, rest: Variadic) -> Any:
    return _open(proc, path_of(proc, path), flags, rest, None)


@libsystem("int openat(int, const char *, int, ...)", "openat$NOCANCEL", "__openat_nocancel")
def openat(proc: Process, fd: int, path: int, flags: int, rest: Variadic) -> Any:
    return _open(proc, path_of(proc, path), flags, rest, directory_of(proc, fd))


@libsystem("int creat(const char *, mode_t)")
def creat(proc: Process, path: int, mode: int) -> int:
    return open_path(proc, path_of(proc, path), 0x601, mode, None)


# -- stat


def _put_stat(proc: Process, out: int, found: os.stat_result) -> None:
    """struct stat with 64-bit inode numbers."""
    times: list[int] = []
    for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns, found.st_ctime_ns):
        times += divmod(ns, SECOND)
    proc.memory.pack(
        "<iHHQIIi4x8qqqiII4x16x",
        out,
        found.st_dev & 0x7FFF_FFFF,
        found.st_mode,
        found.st_nlink & 0xFFFF,
        found.st_ino,
        found.st_uid,
        found.st_gid,
        found.st_rdev & 0x7FFF_FFFF,
        *times,
        found.st_size,
        found.st_blocks,
        found.st_blksize,
        0,
        0,
    )


@libsystem("int stat64(const char *, void *)", "stat$INODE64")
def stat(proc: Process, path: int, out: int) -> None:
    _put_stat(proc, out, host(os.stat, path_of(proc, path)))


@libsystem("int lstat64(const char *, void *)", "lstat$INODE64")
def lstat(proc: Process, path: int, out: int) -> None:
    _put_stat(proc, out, host(os.lstat, path_of(proc, path)))


@libsystem("int fstat64(int, void *)", "fstat$INODE64")
def fstat(proc: Process, fd: int, out: int) -> None:
    _put_stat(proc, out, host(os.fstat, proc.state(Files).get(fd).fd))


@libsystem("int fstatat64(int, const char *, void *, int)", "fstatat$INODE64")
def fstatat(proc: Process, fd: int, path: int, out: int, flags: int) -> None:
    follow = not flags & AT_SYMLINK_NOFOLLOW
    at = directory_of(proc, fd)
    found = host(os.stat, path_of(proc, path), dir_fd=at, follow_symlinks=follow)
    _put_stat(proc, out, found)


def _put_statfs(proc: Process, out: int, where: bytes | int) -> None:
    """struct statfs with 64-bit inode numbers; the file system calls itself apfs."""
    found = host(os.statvfs, where)
    proc.memory.pack(
        "<IiQQQQQiiIIII16s1024s1024s8I",
        out,
        found.f_bsize & 0xFFFF_FFFF,
        found.f_bsize & 0x7FFF_FFFF,
        found.f_blocks,
        found.f_bfree,
        found.f_bavail,
        found.f_files,
        found.f_ffree,
        *(0, 0),  # fsid
        *(0, 26, 0, 0),  # owner, type, flags, subtype
        b"apfs",
        b"/",
        b"/dev/disk1s1",
        *[0] * 8,
    )


@libsystem("int statfs64(const char *, void *)", "statfs$INODE64")
def statfs(proc: Process, path: int, out: int) -> None:
    _put_statfs(proc, out, path_of(proc, path))


@libsystem("int fstatfs64(int, void *)", "fstatfs$INODE64")
def fstatfs(proc: Process, fd: int, out: int) -> None:
    _put_statfs(proc, out, proc.state(Files).get(fd).fd)


# -- access


@libsystem("int access(const char *, int)")
def access(proc: Process, path: int, mode: int) -> None:
    name = path_of(proc, path)
    if not os.access(name, mode & 7):
        host(os.stat, name)
        raise Errno(EACCES)


@libsystem("int faccessat(int, const char *, int, int)")
def faccessat(proc: Process, fd: int, path: int, mode: int, flags: int) -> None:
    name, at = path_of(proc, path), directory_of(proc, fd)
    follow = not flags & AT_SYMLINK_NOFOLLOW
    effective = bool(flags & _AT_EACCESS)
    allowed = host(
        os.access, name, mode & 7, dir_fd=at, effective_ids=effective, follow_symlinks=follow
    )
    if not allowed:
        host(os.stat, name, dir_fd=at, follow_symlinks=follow)
        raise Errno(EACCES)


# -- names


@libsystem("int unlink(const char *)")
def unlink(proc: Process, path: int) -> None:
    name = path_of(proc, path)
    if os.path.isdir(name) and not os.path.islink(name):
        raise Errno(EPERM)  # Linux says EISDIR
    host(os.unlink, name)


@libsystem("int unlinkat(int, const char *, int)")
def unlinkat(proc: Process, fd: int, path: int, flags: int) -> None:
    remove = os.rmdir if flags & _AT_REMOVEDIR else os.unlink
    try:
        host(remove, path_of(proc, path), dir_fd=directory_of(proc, fd))
    except Errno as failure:
        raise Errno(EPERM if failure.number == 21 else failure.number) from failure


@libsystem("int rmdir(const char *)")
def rmdir(proc: Process, path: int) -> None:
    host(os.rmdir, path_of(proc, path))


@libsystem("int remove(const char *)")
def remove(proc: Process, path: int) -> None:
    name = path_of(proc, path)
    host(os.rmdir if os.path.isdir(name) and not os.path.islink(name) else os.unlink, name)


@libsystem("int rename(const char *, const char *)")
def rename(proc: Process, old: int, new: int) -> None:
    host(os.rename, path_of(proc, old), path_of(proc, new))


@libsystem("int renameat(int, const char *, int, const char *)")
def renameat(proc: Process, old_fd: int, old: int, new_fd: int, new: int) -> None:
    directories = {
        "src_dir_fd": directory_of(proc, old_fd),
        "dst_dir_fd": directory_of(proc, new_fd),
    }
    host(os.rename, path_of(proc, old), path_of(proc, new), **directories)


@libsystem("int link(const char *, const char *)")
def link(proc: Process, old: int, new: int) -> None:
    host(os.link, path_of(proc, old), path_of(proc, new))


@libsystem("int linkat(int, const char *, int, const char *, int)")
def linkat(proc: Process, old_fd: int, old: int, new_fd: int, new: int, flags: int) -> None:
    directories = {
        "src_dir_fd": directory_of(proc, old_fd),
        "dst_dir_fd": directory_of(proc, new_fd),
    }
    follow = bool(flags & _AT_SYMLINK_FOLLOW)
    host(os.link, path_of(proc, old), path_of(proc, new), follow_symlinks=follow, **directories)


@libsystem("int symlink(const char *, const char *)")
def symlink(proc: Process, target: int, path: int) -> None:
    host(os.symlink, path_of(proc, target), path_of(proc, path))


@libsystem("int symlinkat(const char *, int, const char *)")
def symlinkat(proc: Process, target: int, fd: int, path: int) -> None:
    host(os.symlink, path_of(proc, target), path_of(proc, path), dir_fd=directory_of(proc, fd))


def _readlink(proc: Process, path: bytes, at: int | None, buffer: int, size: int) -> int:
    target = host(os.readlink, path, dir_fd=at)[:size]
    proc.memory.write(buffer, target)
    return len(target)


@libsystem("ssize_t readlink(const char *, char *, size_t)")
def readlink(proc: Process, path: int, buffer: int, size: int) -> int:
    return _readlink(proc, path_of(proc, path), None, buffer, size)


@libsystem("ssize_t readlinkat(int, const char *, char *, size_t)")
def readlinkat(proc: Process, fd: int, path: int, buffer: int, size: int) -> int:
    return _readlink(proc, path_of(proc, path), directory_of(proc, fd), buffer, size)


@libsystem("char *realpath(const char *, char *)", "realpath$DARWIN_EXTSN")
def realpath(proc: Process, path: int, buffer: int) -> int:
    from pielink.emulator.libsystem.heap import Heap

    found = os.path.realpath(path_of(proc, path), strict=False)
    try:
        host(os.stat, found)
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    if not buffer:
        buffer = proc.state(Heap).allocate(len(found) + 1)
    proc.memory.write(buffer, found + b"\0")
    return buffer


@libsystem("char *getcwd(char *, size_t)")
def getcwd(proc: Process, buffer: int, size: int) -> int:
    from pielink.emulator.libsystem.heap import Heap

    name = host(os.getcwdb) + b"\0"
    if not buffer:
        buffer, size = proc.state(Heap).allocate(len(name)), len(name)
    if len(name) > size:
        raise Errno(ERANGE, 0)
    proc.memory.write(buffer, name)
    return buffer


# -- directories and special files


@libsystem("int mkdir(const char *, mode_t)")
def mkdir(proc: Process, path: int, mode: int) -> None:
    host(os.mkdir, path_of(proc, path), mode & 0o7777)


@libsystem("int mkdirat(int, const char *, mode_t)")
def mkdirat(proc: Process, fd: int, path: int, mode: int) -> None:
    host(os.mkdir, path_of(proc, path), mode & 0o7777, dir_fd=directory_of(proc, fd))


@libsystem("int mkfifo(const char *, mode_t)")
def mkfifo(proc: Process, path: int, mode: int) -> None:
    host(os.mkfifo, path_of(proc, path), mode & 0o7777)


@libsystem("int mknod(const char *, mode_t, dev_t)")
def mknod(proc: Process, path: int, mode: int, device: int) -> None:
    host(os.mknod, path_of(proc, path), mode, device)


@libsystem("int chdir(const char *)")
def chdir(proc: Process, path: int) -> None:
    host(os.chdir, path_of(proc, path))


@libsystem("int chroot(const char *)", "revoke")
def chroot(proc: Process, path: int) -> None:
    raise Errno(EPERM)


@libsystem("int mkstemp(char *)")
def mkstemp(proc: Process, template: int) -> int:
    name = path_of(proc, template)
    if not name.endswith(b"XXXXXX"):
        raise Errno(EINVAL)
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789"
    while True:
        tail = bytes(proc.random.choice(letters) for _ in range(6))
        path = name[:-6] + tail
        if not os.path.lexists(path):
            break
    proc.memory.write(template + len(name) - 6, tail)
    return open_path(proc, path, 0x2 | 0x200 | 0x800, 0o600, None)


@libsystem("char *mkdtemp(char *)")
def mkdtemp(proc: Process, template: int) -> int:
    name = path_of(proc, template)
    if not name.endswith(b"XXXXXX"):
        raise Errno(EINVAL, 0)
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789"
    while True:
        tail = bytes(proc.random.choice(letters) for _ in range(6))
        if not os.path.lexists(name[:-6] + tail):
            break
    host(os.mkdir, name[:-6] + tail, 0o700)
    proc.memory.write(template + len(name) - 6, tail)
    return template


@libsystem("int clonefile(const char *, const char *, uint32_t)")
def clonefile(proc: Process, source: int, target: int, flags: int) -> None:
    raise Errno(ENOTSUP)


@libsystem("int fcopyfile(int, int, void *, uint32_t)")
def fcopyfile(proc: Process, source: int, target: int, state: int, flags: int) -> None:
    files = proc.state(Files)
    with (
        os.fdopen(os.dup(files.get(source).fd), "rb") as reader,
        os.fdopen(os.dup(files.get(target).fd), "wb") as writer,
    ):
        shutil.copyfileobj(reader, writer)
