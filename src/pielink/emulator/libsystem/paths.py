"""Files by name: open, stat, rename and the rest. Source: <fcntl.h>, <sys/stat.h>, <unistd.h>.

A path is the host's path. The *at functions take a directory descriptor, or AT_FDCWD.
"""

from __future__ import annotations

import os
import shutil
import stat as host_stat
from typing import TYPE_CHECKING

from pielink.emulator.abi import Variadic
from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import O_NONBLOCK, Files, OpenFile, host_flags
from pielink.emulator.libsystem.host import EACCES, EINVAL, ENOTSUP, EPERM, ERANGE, host
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.time import SECOND, realtime

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_AT_FDCWD = -2
_AT_EACCESS, _AT_SYMLINK_NOFOLLOW, _AT_SYMLINK_FOLLOW, _AT_REMOVEDIR = 0x10, 0x20, 0x40, 0x80
_O_SYMLINK = 0x200000
_UTIME_NOW, _UTIME_OMIT = -1, -2


def _path(proc: Process, address: int) -> bytes:
    return proc.memory.string(address, 4096)


def _directory(proc: Process, fd: int) -> int | None:
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


@libsystem("int open(const char *, int, ...)", "open$NOCANCEL", "__open_nocancel")
def open_(proc: Process, path: int, flags: int, rest: Variadic) -> int:
    mode = rest.u64() if flags & 0x200 else 0
    return open_path(proc, _path(proc, path), flags, mode, None)


@libsystem("int openat(int, const char *, int, ...)", "openat$NOCANCEL", "__openat_nocancel")
def openat(proc: Process, fd: int, path: int, flags: int, rest: Variadic) -> int:
    mode = rest.u64() if flags & 0x200 else 0
    return open_path(proc, _path(proc, path), flags, mode, _directory(proc, fd))


@libsystem("int creat(const char *, mode_t)")
def creat(proc: Process, path: int, mode: int) -> int:
    return open_path(proc, _path(proc, path), 0x601, mode, None)


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
    _put_stat(proc, out, host(os.stat, _path(proc, path)))


@libsystem("int lstat64(const char *, void *)", "lstat$INODE64")
def lstat(proc: Process, path: int, out: int) -> None:
    _put_stat(proc, out, host(os.lstat, _path(proc, path)))


@libsystem("int fstat64(int, void *)", "fstat$INODE64")
def fstat(proc: Process, fd: int, out: int) -> None:
    _put_stat(proc, out, host(os.fstat, proc.state(Files).get(fd).fd))


@libsystem("int fstatat64(int, const char *, void *, int)", "fstatat$INODE64")
def fstatat(proc: Process, fd: int, path: int, out: int, flags: int) -> None:
    follow = not flags & _AT_SYMLINK_NOFOLLOW
    at = _directory(proc, fd)
    found = host(os.stat, _path(proc, path), dir_fd=at, follow_symlinks=follow)
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
    _put_statfs(proc, out, _path(proc, path))


@libsystem("int fstatfs64(int, void *)", "fstatfs$INODE64")
def fstatfs(proc: Process, fd: int, out: int) -> None:
    _put_statfs(proc, out, proc.state(Files).get(fd).fd)


# -- access


@libsystem("int access(const char *, int)")
def access(proc: Process, path: int, mode: int) -> None:
    name = _path(proc, path)
    if not os.access(name, mode & 7):
        host(os.stat, name)
        raise Errno(EACCES)


@libsystem("int faccessat(int, const char *, int, int)")
def faccessat(proc: Process, fd: int, path: int, mode: int, flags: int) -> None:
    name, at = _path(proc, path), _directory(proc, fd)
    follow = not flags & _AT_SYMLINK_NOFOLLOW
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
    name = _path(proc, path)
    if os.path.isdir(name) and not os.path.islink(name):
        raise Errno(EPERM)  # Linux says EISDIR
    host(os.unlink, name)


@libsystem("int unlinkat(int, const char *, int)")
def unlinkat(proc: Process, fd: int, path: int, flags: int) -> None:
    remove = os.rmdir if flags & _AT_REMOVEDIR else os.unlink
    try:
        host(remove, _path(proc, path), dir_fd=_directory(proc, fd))
    except Errno as failure:
        raise Errno(EPERM if failure.number == 21 else failure.number) from failure


@libsystem("int rmdir(const char *)")
def rmdir(proc: Process, path: int) -> None:
    host(os.rmdir, _path(proc, path))


@libsystem("int remove(const char *)")
def remove(proc: Process, path: int) -> None:
    name = _path(proc, path)
    host(os.rmdir if os.path.isdir(name) and not os.path.islink(name) else os.unlink, name)


@libsystem("int rename(const char *, const char *)")
def rename(proc: Process, old: int, new: int) -> None:
    host(os.rename, _path(proc, old), _path(proc, new))


@libsystem("int renameat(int, const char *, int, const char *)")
def renameat(proc: Process, old_fd: int, old: int, new_fd: int, new: int) -> None:
    directories = {"src_dir_fd": _directory(proc, old_fd), "dst_dir_fd": _directory(proc, new_fd)}
    host(os.rename, _path(proc, old), _path(proc, new), **directories)


@libsystem("int link(const char *, const char *)")
def link(proc: Process, old: int, new: int) -> None:
    host(os.link, _path(proc, old), _path(proc, new))


@libsystem("int linkat(int, const char *, int, const char *, int)")
def linkat(proc: Process, old_fd: int, old: int, new_fd: int, new: int, flags: int) -> None:
    directories = {"src_dir_fd": _directory(proc, old_fd), "dst_dir_fd": _directory(proc, new_fd)}
    follow = bool(flags & _AT_SYMLINK_FOLLOW)
    host(os.link, _path(proc, old), _path(proc, new), follow_symlinks=follow, **directories)


@libsystem("int symlink(const char *, const char *)")
def symlink(proc: Process, target: int, path: int) -> None:
    host(os.symlink, _path(proc, target), _path(proc, path))


@libsystem("int symlinkat(const char *, int, const char *)")
def symlinkat(proc: Process, target: int, fd: int, path: int) -> None:
    host(os.symlink, _path(proc, target), _path(proc, path), dir_fd=_directory(proc, fd))


def _readlink(proc: Process, path: bytes, at: int | None, buffer: int, size: int) -> int:
    target = host(os.readlink, path, dir_fd=at)[:size]
    proc.memory.write(buffer, target)
    return len(target)


@libsystem("ssize_t readlink(const char *, char *, size_t)")
def readlink(proc: Process, path: int, buffer: int, size: int) -> int:
    return _readlink(proc, _path(proc, path), None, buffer, size)


@libsystem("ssize_t readlinkat(int, const char *, char *, size_t)")
def readlinkat(proc: Process, fd: int, path: int, buffer: int, size: int) -> int:
    return _readlink(proc, _path(proc, path), _directory(proc, fd), buffer, size)


@libsystem("char *realpath(const char *, char *)", "realpath$DARWIN_EXTSN")
def realpath(proc: Process, path: int, buffer: int) -> int:
    from pielink.emulator.libsystem.heap import Heap

    found = os.path.realpath(_path(proc, path), strict=False)
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
    host(os.mkdir, _path(proc, path), mode & 0o7777)


@libsystem("int mkdirat(int, const char *, mode_t)")
def mkdirat(proc: Process, fd: int, path: int, mode: int) -> None:
    host(os.mkdir, _path(proc, path), mode & 0o7777, dir_fd=_directory(proc, fd))


@libsystem("int mkfifo(const char *, mode_t)")
def mkfifo(proc: Process, path: int, mode: int) -> None:
    host(os.mkfifo, _path(proc, path), mode & 0o7777)


@libsystem("int mknod(const char *, mode_t, dev_t)")
def mknod(proc: Process, path: int, mode: int, device: int) -> None:
    host(os.mknod, _path(proc, path), mode, device)


@libsystem("int chdir(const char *)")
def chdir(proc: Process, path: int) -> None:
    host(os.chdir, _path(proc, path))


@libsystem("int chroot(const char *)", "revoke")
def chroot(proc: Process, path: int) -> None:
    raise Errno(EPERM)


# -- attributes


@libsystem("int chmod(const char *, mode_t)")
def chmod(proc: Process, path: int, mode: int) -> None:
    host(os.chmod, _path(proc, path), mode & 0o7777)


@libsystem("int fchmodat(int, const char *, mode_t, int)")
def fchmodat(proc: Process, fd: int, path: int, mode: int, flags: int) -> None:
    host(os.chmod, _path(proc, path), mode & 0o7777, dir_fd=_directory(proc, fd))


@libsystem("int chown(const char *, uid_t, gid_t)")
def chown(proc: Process, path: int, user: int, group: int) -> None:
    host(os.chown, _path(proc, path), _owner(user), _owner(group))


@libsystem("int lchown(const char *, uid_t, gid_t)")
def lchown(proc: Process, path: int, user: int, group: int) -> None:
    host(os.lchown, _path(proc, path), _owner(user), _owner(group))


@libsystem("int fchownat(int, const char *, uid_t, gid_t, int)")
def fchownat(proc: Process, fd: int, path: int, user: int, group: int, flags: int) -> None:
    follow = not flags & _AT_SYMLINK_NOFOLLOW
    at = _directory(proc, fd)
    owner = (_owner(user), _owner(group))
    host(os.chown, _path(proc, path), *owner, dir_fd=at, follow_symlinks=follow)


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
    host(os.truncate, _path(proc, path), size)


def _timeval_pair(proc: Process, address: int) -> tuple[int, int] | None:
    """Two struct timeval in nanoseconds; None means now."""
    if not address:
        return None
    first, first_us, second, second_us = proc.memory.unpack("<qi4xqi4x", address)
    return first * SECOND + first_us * 1000, second * SECOND + second_us * 1000


@libsystem("int utimes(const char *, const void *)")
def utimes(proc: Process, path: int, times: int) -> None:
    host(os.utime, _path(proc, path), ns=_timeval_pair(proc, times))


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
    name, at = _path(proc, path), _directory(proc, fd)
    follow = not flags & _AT_SYMLINK_NOFOLLOW
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
    host(os.stat, _path(proc, path))
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


@libsystem("int mkstemp(char *)")
def mkstemp(proc: Process, template: int) -> int:
    name = _path(proc, template)
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
    name = _path(proc, template)
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
