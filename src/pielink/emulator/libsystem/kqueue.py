"""kqueue over the host's epoll.

A file is registered once with epoll, for all filters of its descriptors (dup makes several)
together, edge-triggered when all of them have EV_CLEAR. User events (EVFILT_USER) are kept by the
emulator. Other filters fail with ENOTSUP, which a program sees as an error of its own.

Source: <sys/event.h>.
"""

from __future__ import annotations

import select
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import Files, OpenFile
from pielink.emulator.libsystem.host import EBADF, EINVAL, ENOENT, ENOTSUP, host
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.time import SECOND
from pielink.emulator.threads import TIMEOUT, Wait, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_KEVENT = struct.Struct("<QhHIqQ")
_READ, _WRITE, _USER = -1, -2, -10
_ADD, _DELETE, _ENABLE, _DISABLE, _ONESHOT, _CLEAR, _EOF = 1, 2, 4, 8, 0x10, 0x20, 0x8000
_ERROR = 0x4000
_TRIGGER = 0x0100_0000
_HANGUP = select.EPOLLHUP | select.EPOLLERR


@dataclass
class _Filter:
    udata: int
    flags: int
    enabled: bool = True


@dataclass(eq=False)
class Queue:
    """One kqueue."""

    epoll: select.epoll
    watched: dict[int, dict[int, _Filter]] = field(default_factory=dict)  # fd -> filter -> state
    hosts: dict[int, tuple[int, ...]] = field(default_factory=dict)  # host descriptor -> fds
    user: dict[int, _Filter] = field(default_factory=dict)
    triggered: dict[int, None] = field(default_factory=dict)

    def close(self) -> None:
        """Drop the host's epoll."""
        self.epoll.close()

    def register(self, fd: int, host_fd: int) -> None:
        """Tell epoll what the filters of a descriptor need, and those of its duplicates."""
        known = self.hosts.get(host_fd, ())
        fds = known if fd in known else (*known, fd)
        host(self.epoll.modify if known else self.epoll.register, host_fd, self._mask(fds))
        self.hosts[host_fd] = fds

    def _mask(self, fds: tuple[int, ...]) -> int:
        """The events that the enabled filters of descriptors want of epoll."""
        filters = [
            (kind, one.flags) for fd in fds for kind, one in self.watched[fd].items() if one.enabled
        ]
        if not filters:
            return 0
        kinds = {kind for kind, _ in filters}
        mask: int = select.EPOLLRDHUP
        mask |= select.EPOLLIN if _READ in kinds else 0
        mask |= select.EPOLLOUT if _WRITE in kinds else 0
        return mask | (select.EPOLLET if all(flags & _CLEAR for _, flags in filters) else 0)

    def forget(self, fd: int, host_fd: int) -> None:
        """The descriptor is closed or has no filters left; its duplicates stay watched."""
        self.watched.pop(fd, None)
        known = self.hosts.pop(host_fd, ())
        fds = tuple(other for other in known if other != fd)
        if fds:
            self.hosts[host_fd] = fds
            self.epoll.modify(host_fd, self._mask(fds))
        elif known:
            self.epoll.unregister(host_fd)


class Queues:
    """All kqueues of the process."""

    def __init__(self, proc: Process) -> None:
        self.files = proc.state(Files)
        self.queues: list[Queue] = []
        self.files.on_close.append(self._closed)

    def _closed(self, fd: int) -> None:
        file = self.files.get(fd)
        for queue in self.queues:
            if fd in queue.watched:
                queue.forget(fd, file.fd)
        if isinstance(file.extra, Queue) and file.references == 1:
            self.queues.remove(file.extra)


@libsystem("int kqueue(void)")
def kqueue(proc: Process) -> int:
    queue = Queue(host(select.epoll))
    proc.state(Queues).queues.append(queue)
    return proc.state(Files).add(OpenFile(queue.epoll.fileno(), extra=queue))


def _change_user(queue: Queue, ident: int, flags: int, fflags: int, udata: int) -> None:
    if flags & _ADD:
        queue.user[ident] = _Filter(udata, flags)
    if ident not in queue.user:
        raise Errno(ENOENT)
    if flags & _DELETE:
        del queue.user[ident]
        queue.triggered.pop(ident, None)
    elif fflags & _TRIGGER:
        if udata:
            queue.user[ident].udata = udata
        queue.triggered[ident] = None


def _change(proc: Process, queue: Queue, change: tuple[Any, ...]) -> None:
    """Apply one entry of the change list."""
    ident, kind, flags, fflags, _, udata = change
    if kind == _USER:
        _change_user(queue, ident, flags, fflags, udata)
        return
    if kind not in (_READ, _WRITE):
        raise Errno(ENOTSUP)
    file = proc.state(Files).get(ident)
    filters = queue.watched.setdefault(ident, {})
    if flags & _ADD:
        filters[kind] = _Filter(udata, flags)
    if kind not in filters:
        raise Errno(ENOENT)
    if flags & _DISABLE:
        filters[kind].enabled = False
    if flags & _ENABLE:
        filters[kind].enabled = True
    if flags & _DELETE:
        del filters[kind]
    if filters:
        try:
            queue.register(ident, file.fd)
        except Errno:
            del queue.watched[ident]
            raise
    else:
        queue.forget(ident, file.fd)


def _events(proc: Process, queue: Queue, room: int) -> list[bytes]:
    """What has happened, at most `room` events."""
    found = []
    for ident in list(queue.triggered)[:room]:
        del queue.triggered[ident]
        one = queue.user[ident]
        found.append(_KEVENT.pack(ident, _USER, one.flags & _CLEAR, 0, 0, one.udata))
    if len(found) == room or not queue.watched:
        return found
    for host_fd, mask in queue.epoll.poll(0, max(1, (room - len(found)) // 2)):
        for fd in queue.hosts.get(host_fd, ()):
            found += _of_descriptor(proc, queue, fd, mask)
    return found[:room]


def _of_descriptor(proc: Process, queue: Queue, fd: int, mask: int) -> list[bytes]:
    """The events of one descriptor, by its filters."""
    found = []
    for kind, one in list(queue.watched[fd].items()):
        wanted = select.EPOLLIN | select.EPOLLRDHUP if kind == _READ else select.EPOLLOUT
        if not one.enabled or not mask & (wanted | _HANGUP):
            continue
        over = mask & (_HANGUP | select.EPOLLRDHUP if kind == _READ else _HANGUP)
        flags = one.flags & _CLEAR | (_EOF if over else 0)
        found.append(_KEVENT.pack(fd, kind, flags, 0, 1, one.udata))
        if one.flags & _ONESHOT:
            _change(proc, queue, (fd, kind, _DELETE, 0, 0, 0))
    return found


@libsystem("int kevent(int, const void *, int, void *, int, const void *)")
def kevent(
    proc: Process, fd: int, changes: int, count: int, out: int, room: int, timeout: int
) -> Any:
    queue = proc.state(Files).get(fd).extra
    if not isinstance(queue, Queue):
        raise Errno(EBADF)
    if not 0 <= count <= 1 << 16 or room < 0:
        raise Errno(EINVAL)
    failures: list[bytes] = []
    for change in _KEVENT.iter_unpack(proc.memory.read(changes, _KEVENT.size * count)):
        try:
            _change(proc, queue, change)
        except Errno as failure:
            if len(failures) >= room:
                raise
            failed = (*change[:2], _ERROR, change[3], failure.number, change[5])
            failures.append(_KEVENT.pack(*failed))
    if failures or not room:
        proc.memory.write(out, b"".join(failures))
        return len(failures)
    return _collect(proc, queue, out, room, timeout)


def _collect(proc: Process, queue: Queue, out: int, room: int, timeout: int) -> Any:
    deadline = None
    if timeout:
        seconds, nanoseconds = proc.memory.unpack("<qq", timeout)
        deadline = proc.clock.now() + seconds * SECOND + nanoseconds
    found = _events(proc, queue, room)
    if found or (deadline is not None and deadline <= proc.clock.now()):
        proc.memory.write(out, b"".join(found))
        return len(found)
    return _wait(proc, queue, out, room, deadline)


def _wait(proc: Process, queue: Queue, out: int, room: int, deadline: int | None) -> Work:
    fds = ((queue.epoll.fileno(), select.POLLIN),) if queue.watched else ()
    found = yield Wait(
        lambda: _events(proc, queue, room) or None, deadline, fds=fds, interruptible=True
    )
    if found is TIMEOUT:
        return 0
    proc.memory.write(out, b"".join(found))
    return len(found)
