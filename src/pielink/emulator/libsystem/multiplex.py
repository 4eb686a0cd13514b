"""poll and select. Source: <poll.h>, <sys/select.h>.

Darwin's poll events 0x1 to 0x20 are the host's.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import READABLE, WRITABLE, Files
from pielink.emulator.libsystem.host import EINVAL
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.threads import TIMEOUT, Wait, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process


@libsystem("int poll(void *, unsigned int, int)", "poll$NOCANCEL")
def poll(proc: Process, address: int, count: int, timeout: int) -> Work:
    memory, files = proc.memory, proc.state(Files)
    entries = [memory.unpack("<ihh", address + 8 * index) for index in range(min(count, 10240))]
    watched = [
        (index, files.table[fd].fd, events & 0x3F)
        for index, (fd, events, _) in enumerate(entries)
        if fd in files.table
    ]

    def check() -> int | None:
        total = 0
        results = {index: 0x20 if fd >= 0 else 0 for index, (fd, _, _) in enumerate(entries)}
        for index, fd, events in watched:
            one = select.poll()
            one.register(fd, events)
            answer = one.poll(0)
            results[index] = answer[0][1] & 0x3F if answer else 0
        for index, value in results.items():
            memory.pack("<h", address + 8 * index + 6, value)
            total += bool(value)
        return total or None

    found = check()
    if found is None and timeout:
        deadline = proc.clock.now() + timeout * 1_000_000 if timeout > 0 else None
        fds = tuple((fd, events) for _, fd, events in watched)
        found = yield Wait(check, deadline, fds, interruptible=True)
    return 0 if found is TIMEOUT or found is None else found


@libsystem("int select(int, void *, void *, void *, void *)", "select$1050", "select$DARWIN_EXTSN")
def select_(
    proc: Process, count: int, readers: int, writers: int, errors: int, timeout: int
) -> Work:
    memory, files = proc.memory, proc.state(Files)
    if not 0 <= count <= 1024:
        raise Errno(EINVAL)
    size = -(-count // 32) * 4
    sets = []
    for address, events in ((readers, READABLE), (writers, WRITABLE), (errors, select.POLLPRI)):
        bits = int.from_bytes(memory.read(address, size), "little") if address else 0
        watched = [fd for fd in range(count) if bits >> fd & 1]
        sets.append((address, events, [(fd, files.get(fd).fd) for fd in watched]))

    def check() -> int | None:
        total, results = 0, []
        for address, events, watched in sets:
            bits = 0
            for fd, host_fd in watched:
                one = select.poll()
                one.register(host_fd, events)
                if one.poll(0):
                    bits |= 1 << fd
                    total += 1
            results.append((address, bits))
        if not total:
            return None
        for address, bits in results:
            if address:
                memory.write(address, bits.to_bytes(size, "little"))
        return total

    found = check()
    deadline = None
    if timeout:
        seconds, microseconds = memory.unpack("<qi", timeout)
        deadline = proc.clock.now() + seconds * 1_000_000_000 + microseconds * 1000
    if found is None:
        fds = tuple((host_fd, events) for _, events, watched in sets for _, host_fd in watched)
        found = yield Wait(check, deadline, fds, interruptible=True)
    if found is TIMEOUT:
        for address, _, _ in sets:
            if address:
                memory.write(address, bytes(size))
        return 0
    return found


@libsystem("int __darwin_check_fd_set_overflow(int, const void *, int)")
def check_fd_set_overflow(proc: Process, fd: int, address: int, unlimited: int) -> int:
    """What the FD_SET macros ask: whether the descriptor fits an fd_set."""
    return int(0 <= fd < 1024 or bool(unlimited))
