"""File descriptors: the table, reading and writing, duplicating, fcntl.

A descriptor of the program maps to an open file on the host, under another number. What the
program opens is non-blocking on the host (unless it is a regular file), so that a blocking read
suspends one thread and not the emulator; `OpenFile.nonblocking` is what the program asked for.

Source: <fcntl.h>, <sys/uio.h>.
"""

from __future__ import annotations

import errno
import fcntl as host_fcntl
import functools
import os
import select
import stat
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pielink.emulator.abi import Variadic
from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.host import EBADF, EINVAL, ENOTTY, EPIPE, darwin_errno, host
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.signals import SIGPIPE
from pielink.emulator.threads import Wait, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

O_NONBLOCK, O_APPEND = 0x4, 0x8
_FLAGS = {
    0x4: os.O_NONBLOCK,
    0x8: os.O_APPEND,
    0x80: os.O_SYNC,
    0x100: os.O_NOFOLLOW,
    0x200: os.O_CREAT,
    0x400: os.O_TRUNC,
    0x800: os.O_EXCL,
    0x20000: os.O_NOCTTY,
    0x100000: os.O_DIRECTORY,
    0x400000: os.O_DSYNC,
}
_CHUNK = 1 << 22
_LIMIT = 10240  # OPEN_MAX of macOS
READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
WRITABLE = select.POLLOUT | select.POLLHUP | select.POLLERR


def host_flags(flags: int) -> int:
    """Darwin's open flags as the host's."""
    result = flags & 3
    for bit, value in _FLAGS.items():
        if flags & bit:
            result |= value
    return result | os.O_CLOEXEC


@dataclass(eq=False)
class OpenFile:
    """An open file description: several descriptors can share it."""

    fd: int
    inherited: bool = False
    nonblocking: bool = False
    references: int = 0
    extra: Any = None  # what a socket or a kqueue keeps
    path: bytes = b""

    def regular(self) -> bool:
        """Whether reading never blocks."""
        return stat.S_ISREG(host(os.fstat, self.fd).st_mode)


class Files:
    """The descriptor table."""

    def __init__(self, proc: Process) -> None:
        self.table: dict[int, OpenFile] = {}
        self.close_on_exec: set[int] = set()
        self.on_close: list[Callable[[int], None]] = []
        proc.at_close.append(self.close)
        for number, fd in enumerate(proc.descriptors):
            self.table[number] = OpenFile(fd, inherited=True, references=1)

    def get(self, fd: int) -> OpenFile:
        """The open file of a descriptor."""
        found = self.table.get(fd)
        if found is None:
            raise Errno(EBADF)
        return found

    def add(self, file: OpenFile, low: int = 0) -> int:
        """The lowest free descriptor from `low` on, for `file`."""
        number = low
        while number in self.table:
            number += 1
        if number >= _LIMIT:
            raise Errno(24)
        self.put(number, file)
        return number

    def put(self, number: int, file: OpenFile) -> None:
        """Make `number` a descriptor of `file`."""
        if number in self.table:
            self.release(number)
        file.references += 1
        self.table[number] = file
        self.close_on_exec.discard(number)

    def close(self) -> None:
        """The process is over."""
        for number in list(self.table):
            self.release(number)

    def release(self, number: int) -> None:
        """Forget a descriptor; the last one closes the host's."""
        file = self.get(number)
        for hook in self.on_close:
            hook(number)
        del self.table[number]
        file.references -= 1
        if not file.references and not file.inherited:
            if hasattr(file.extra, "close"):
                file.extra.close()
            else:
                host(os.close, file.fd)


def poller(fd: int, events: int) -> Callable[[], bool | None]:
    """A `ready` for Wait: whether the host descriptor is ready now."""
    poll = select.poll()
    poll.register(fd, events)
    return lambda: True if poll.poll(0) else None


def ready_wait(file: OpenFile, events: int) -> Wait:
    """Waits until the host says that the file is ready."""
    return Wait(poller(file.fd, events), fds=((file.fd, events),), interruptible=True)


def transfer(file: OpenFile, events: int, attempt: Callable[[], Any]) -> Work:
    """Repeat `attempt` until the host does not answer EAGAIN; block as the program asked."""
    if file.inherited and not file.nonblocking and events == READABLE and not file.regular():
        yield ready_wait(file, events)
    while True:
        try:
            return attempt()
        except InterruptedError:
            continue
        except BlockingIOError as error:
            if file.nonblocking:
                raise Errno(darwin_errno(errno.EAGAIN)) from error
        except OSError as error:
            raise Errno(darwin_errno(error.errno)) from error
        yield ready_wait(file, events)


def read_into(proc: Process, file: OpenFile, buffer: int, size: int) -> Work:
    """read(2) of one buffer."""
    data = yield from transfer(file, READABLE, lambda: os.read(file.fd, min(size, _CHUNK)))
    proc.memory.write(buffer, data)
    return len(data)


def write_all(proc: Process, file: OpenFile, data: bytes) -> Work:
    """write(2): a blocking descriptor takes everything, a non-blocking one what fits."""
    done = 0
    while True:
        attempt = functools.partial(os.write, file.fd, memoryview(data)[done:])
        try:
            done += yield from transfer(file, WRITABLE, attempt)
        except Errno as failure:
            if failure.number == EPIPE:
                proc.signals.send(SIGPIPE, proc.thread)
            if done:
                return done
            raise
        if file.nonblocking or done >= len(data):
            return done


@libsystem("ssize_t read(int, void *, size_t)", "read$NOCANCEL", "__read_nocancel")
def read(proc: Process, fd: int, buffer: int, size: int) -> Work:
    return read_into(proc, proc.state(Files).get(fd), buffer, size)


@libsystem("ssize_t write(int, const void *, size_t)", "write$NOCANCEL", "__write_nocancel")
def write(proc: Process, fd: int, buffer: int, size: int) -> Work:
    return write_all(proc, proc.state(Files).get(fd), proc.memory.read(buffer, size))


@libsystem("ssize_t pread(int, void *, size_t, off_t)", "pread$NOCANCEL")
def pread(proc: Process, fd: int, buffer: int, size: int, offset: int) -> int:
    data = host(os.pread, proc.state(Files).get(fd).fd, size, offset)
    proc.memory.write(buffer, data)
    return len(data)


@libsystem("ssize_t pwrite(int, const void *, size_t, off_t)", "pwrite$NOCANCEL")
def pwrite(proc: Process, fd: int, buffer: int, size: int, offset: int) -> int:
    data = proc.memory.read(buffer, size)
    return host(os.pwrite, proc.state(Files).get(fd).fd, data, offset)


def vectors(proc: Process, address: int, count: int) -> list[tuple[int, int]]:
    """An array of struct iovec."""
    if not 0 <= count <= 1024:
        raise Errno(EINVAL)
    words = proc.memory.unpack(f"<{2 * count}Q", address)
    return list(zip(words[::2], words[1::2], strict=True))


@libsystem("ssize_t writev(int, const void *, int)", "writev$NOCANCEL")
def writev(proc: Process, fd: int, address: int, count: int) -> Work:
    parts = [proc.memory.read(*vector) for vector in vectors(proc, address, count)]
    return write_all(proc, proc.state(Files).get(fd), b"".join(parts))


def scatter(proc: Process, targets: list[tuple[int, int]], data: bytes) -> None:
    """Spread data over buffers."""
    at = 0
    for buffer, size in targets:
        proc.memory.write(buffer, data[at : at + size])
        at += size


@libsystem("ssize_t readv(int, const void *, int)", "readv$NOCANCEL")
def readv(proc: Process, fd: int, address: int, count: int) -> Work:
    targets, file = vectors(proc, address, count), proc.state(Files).get(fd)
    size = sum(length for _, length in targets)
    data = yield from transfer(file, READABLE, lambda: os.read(file.fd, min(size, _CHUNK)))
    scatter(proc, targets, data)
    return len(data)


@libsystem("ssize_t preadv(int, const void *, int, off_t)")
def preadv(proc: Process, fd: int, address: int, count: int, offset: int) -> int:
    targets = vectors(proc, address, count)
    size = sum(length for _, length in targets)
    data = host(os.pread, proc.state(Files).get(fd).fd, size, offset)
    scatter(proc, targets, data)
    return len(data)


@libsystem("ssize_t pwritev(int, const void *, int, off_t)")
def pwritev(proc: Process, fd: int, address: int, count: int, offset: int) -> int:
    data = b"".join(proc.memory.read(*vector) for vector in vectors(proc, address, count))
    return host(os.pwrite, proc.state(Files).get(fd).fd, data, offset)


@libsystem("int close(int)", "close$NOCANCEL", "__close_nocancel")
def close(proc: Process, fd: int) -> None:
    proc.state(Files).release(fd)


@libsystem("off_t lseek(int, off_t, int)")
def lseek(proc: Process, fd: int, offset: int, whence: int) -> int:
    return host(os.lseek, proc.state(Files).get(fd).fd, offset, whence)


@libsystem("int dup(int)")
def dup(proc: Process, fd: int) -> int:
    files = proc.state(Files)
    return files.add(files.get(fd))


@libsystem("int dup2(int, int)")
def dup2(proc: Process, fd: int, to: int) -> int:
    files = proc.state(Files)
    file = files.get(fd)
    if not 0 <= to < _LIMIT:
        raise Errno(EBADF)
    if fd != to:
        files.put(to, file)
    return to


@libsystem("int pipe(int *)")
def pipe(proc: Process, address: int) -> None:
    files = proc.state(Files)
    ends = host(os.pipe2, os.O_NONBLOCK | os.O_CLOEXEC)
    proc.memory.pack("<ii", address, *(files.add(OpenFile(fd)) for fd in ends))


def _get_flags(file: OpenFile) -> int:
    flags = host(host_fcntl.fcntl, file.fd, host_fcntl.F_GETFL)
    result = flags & 3 | (O_APPEND if flags & os.O_APPEND else 0)
    return int(result | (O_NONBLOCK if file.nonblocking else 0))


def _set_flags(file: OpenFile, flags: int) -> None:
    file.nonblocking = bool(flags & O_NONBLOCK)
    if not file.inherited:
        append = os.O_APPEND if flags & O_APPEND else 0
        host(host_fcntl.fcntl, file.fd, host_fcntl.F_SETFL, append | os.O_NONBLOCK)


def _get_path(proc: Process, file: OpenFile, address: int) -> int:
    proc.memory.write(address, host(os.readlink, f"/proc/self/fd/{file.fd}").encode() + b"\0")
    return 0


_LOCKS = {1: host_fcntl.LOCK_SH, 2: host_fcntl.LOCK_UN, 3: host_fcntl.LOCK_EX}  # F_RDLCK...


def _lock(proc: Process, file: OpenFile, address: int, wait: bool) -> int:
    """F_SETLK and F_SETLKW, with struct flock of Darwin."""
    start, length, _, kind, whence = proc.memory.unpack("<qqihh", address)
    if kind not in _LOCKS:
        raise Errno(EINVAL)
    command = _LOCKS[kind] | (0 if wait or kind == 2 else host_fcntl.LOCK_NB)
    host(host_fcntl.lockf, file.fd, command, length, start, whence)
    return 0


@libsystem("int fcntl(int, int, ...)", "fcntl$NOCANCEL", "__fcntl_nocancel")
def fcntl(proc: Process, fd: int, command: int, rest: Variadic) -> int:
    files = proc.state(Files)
    file = files.get(fd)
    value = rest.u64()
    if command in (0, 67):  # F_DUPFD, F_DUPFD_CLOEXEC
        return files.add(file, value & 0xFFFF_FFFF)
    if command == 1:  # F_GETFD
        return int(fd in files.close_on_exec)
    if command == 2:  # F_SETFD
        (files.close_on_exec.add if value & 1 else files.close_on_exec.discard)(fd)
        return 0
    if command == 3:  # F_GETFL
        return _get_flags(file)
    if command == 4:  # F_SETFL
        _set_flags(file, value)
        return 0
    if command == 50:  # F_GETPATH
        return _get_path(proc, file, value)
    if command in (8, 9):  # F_SETLK, F_SETLKW
        return _lock(proc, file, value, command == 9)
    if command in (42, 45, 48, 51, 85):  # F_PREALLOCATE F_RDAHEAD F_NOCACHE F_FULLFSYNC F_BARRIER
        return 0
    raise Errno(EINVAL)


_FIONBIO = 0x8004667E
_IOCTLS = {  # request -> the host's, and the size of its answer
    0x4004667F: (termios.FIONREAD, 4),
    0x40087468: (termios.TIOCGWINSZ, 8),
}


@libsystem("int ioctl(int, unsigned long, ...)")
def ioctl(proc: Process, fd: int, request: int, rest: Variadic) -> int:
    file, address = proc.state(Files).get(fd), rest.u64()
    request &= 0xFFFF_FFFF
    if request == _FIONBIO:
        file.nonblocking = bool(proc.memory.u32(address))
        return 0
    if request in _IOCTLS:
        host_request, size = _IOCTLS[request]
        data = bytearray(size)
        host(host_fcntl.ioctl, file.fd, host_request, data)
        proc.memory.write(address, bytes(data))
        return 0
    raise Errno(ENOTTY)


@libsystem("int isatty(int)")
def isatty(proc: Process, fd: int) -> int:
    if os.isatty(proc.state(Files).get(fd).fd):
        return 1
    raise Errno(ENOTTY, 0)


@libsystem("int fsync(int)", "fdatasync")
def fsync(proc: Process, fd: int) -> None:
    host(os.fsync, proc.state(Files).get(fd).fd)


@libsystem("int ftruncate(int, off_t)")
def ftruncate(proc: Process, fd: int, size: int) -> None:
    host(os.ftruncate, proc.state(Files).get(fd).fd, size)


@libsystem("int flock(int, int)")
def flock(proc: Process, fd: int, operation: int) -> None:
    host(host_fcntl.flock, proc.state(Files).get(fd).fd, operation & 15)


@libsystem("int getdtablesize(void)")
def getdtablesize(proc: Process) -> int:
    return _LIMIT


@libsystem("int fchdir(int)")
def fchdir(proc: Process, fd: int) -> None:
    host(os.fchdir, proc.state(Files).get(fd).fd)


@libsystem("int fchmod(int, mode_t)")
def fchmod(proc: Process, fd: int, mode: int) -> None:
    host(os.fchmod, proc.state(Files).get(fd).fd, mode & 0o7777)


@libsystem("int fchown(int, uid_t, gid_t)")
def fchown(proc: Process, fd: int, user: int, group: int) -> None:
    host(os.fchown, proc.state(Files).get(fd).fd, user, group)


@libsystem("int ttyname_r(int, char *, size_t)")
def ttyname_r(proc: Process, fd: int, buffer: int, size: int) -> int:
    name = host(os.ttyname, proc.state(Files).get(fd).fd).encode() + b"\0"
    if len(name) > size:
        return 34
    proc.memory.write(buffer, name)
    return 0
