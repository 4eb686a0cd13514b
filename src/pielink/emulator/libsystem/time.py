"""Clocks and sleeping. Source: <time.h>, <sys/time.h>, <mach/mach_time.h>."""

from __future__ import annotations

import time as host_time
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.host import EINVAL
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.signals import SIGALRM
from pielink.emulator.threads import TIMEOUT, Wait, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

SECOND = 1_000_000_000
_CLOCK_REALTIME = 0
_CPU_CLOCKS = (12, 16)  # process, thread


def realtime(proc: Process) -> int:
    """Nanoseconds since 1970."""
    return proc.clock.now() + proc.clock.epoch


def timespec(proc: Process, address: int) -> int:
    """A struct timespec as nanoseconds."""
    seconds, nanoseconds = proc.memory.unpack("<qq", address)
    if not 0 <= nanoseconds < SECOND or seconds < 0:
        raise Errno(EINVAL)
    return int(seconds) * SECOND + int(nanoseconds)


@libsystem("uint64_t mach_absolute_time(void)", "mach_continuous_time", "mach_approximate_time")
def mach_absolute_time(proc: Process) -> int:
    return proc.clock.now()


@libsystem("int mach_timebase_info(void *)")
def mach_timebase_info(proc: Process, address: int) -> None:
    proc.memory.pack("<II", address, 1, 1)


def _clock(proc: Process, clock: int) -> int:
    if clock == _CLOCK_REALTIME:
        return realtime(proc)
    if clock in _CPU_CLOCKS and not proc.seeded:
        return host_time.process_time_ns()
    return proc.clock.now()


@libsystem("int clock_gettime(int, void *)")
def clock_gettime(proc: Process, clock: int, address: int) -> None:
    proc.memory.pack("<qq", address, *divmod(_clock(proc, clock), SECOND))


@libsystem("uint64_t clock_gettime_nsec_np(int)")
def clock_gettime_nsec_np(proc: Process, clock: int) -> int:
    return _clock(proc, clock)


@libsystem("int clock_getres(int, void *)")
def clock_getres(proc: Process, clock: int, address: int) -> None:
    if address:
        proc.memory.pack("<qq", address, 0, 1)


@libsystem("int gettimeofday(void *, void *)")
def gettimeofday(proc: Process, address: int, zone: int) -> None:
    if address:
        seconds, rest = divmod(realtime(proc), SECOND)
        proc.memory.pack("<qi4x", address, seconds, rest // 1000)
    if zone:
        proc.memory.pack("<ii", zone, 0, 0)


@libsystem("time_t time(void *)")
def time(proc: Process, address: int) -> int:
    seconds = realtime(proc) // SECOND
    if address:
        proc.memory.put_u64(address, seconds)
    return seconds


@libsystem("clock_t clock(void)")
def clock(proc: Process) -> int:
    return _clock(proc, _CPU_CLOCKS[0]) // 1000


def _sleep(proc: Process, nanoseconds: int) -> Wait:
    return Wait(deadline=proc.clock.now() + nanoseconds, interruptible=True)


@libsystem("int usleep(useconds_t)", "usleep$NOCANCEL")
def usleep(proc: Process, microseconds: int) -> Work:
    yield _sleep(proc, microseconds * 1000)
    return 0


@libsystem("unsigned int sleep(unsigned int)", "sleep$NOCANCEL")
def sleep(proc: Process, seconds: int) -> Work:
    end = proc.clock.now() + seconds * SECOND
    try:
        yield _sleep(proc, seconds * SECOND)
    except Errno:
        return max(0, -(-(end - proc.clock.now()) // SECOND))
    return 0


@libsystem("int nanosleep(const void *, void *)", "nanosleep$NOCANCEL")
def nanosleep(proc: Process, request: int, remaining: int) -> Work:
    end = proc.clock.now() + timespec(proc, request)
    try:
        yield Wait(deadline=end, interruptible=True)
    except Errno:
        if remaining:
            left = max(0, end - proc.clock.now())
            proc.memory.pack("<qq", remaining, *divmod(left, SECOND))
        raise
    return 0


class Timers:
    """setitimer: ITIMER_REAL; the others are accepted and never fire."""

    def __init__(self, proc: Process) -> None:
        self.values: dict[int, tuple[int, int]] = {}  # which -> deadline, interval


def _alarm(proc: Process, which: int) -> Work:
    """A thread of the emulator that sends SIGALRM when the timer is due."""
    timers = proc.state(Timers).values
    armed = [timers.get(which)]
    while (mine := armed[0]) is not None:
        changed = yield Wait(lambda: timers.get(which) != armed[0] or None, deadline=mine[0])
        if changed is not TIMEOUT:
            break
        proc.signals.send(SIGALRM)
        if not mine[1]:
            del timers[which]
            break
        armed[0] = timers[which] = (mine[0] + mine[1], mine[1])
    return 0


def _set_timer(proc: Process, which: int, value: int, interval: int) -> tuple[int, int]:
    """Arm (0 disarms); the time that was left and the old interval, in nanoseconds."""
    timers = proc.state(Timers).values
    now = proc.clock.now()
    deadline, old = timers.pop(which, (now, 0))
    if value:
        timers[which] = (now + value, interval)
        if which == 0:
            proc.scheduler.spawn(_alarm(proc, which), 0x1000).detached = True
    return max(0, deadline - now), old


@libsystem("int setitimer(int, const void *, void *)")
def setitimer(proc: Process, which: int, new: int, old: int) -> None:
    if which not in (0, 1, 2):
        raise Errno(EINVAL)
    value = interval = 0
    if new:
        every, every_us, first, first_us = proc.memory.unpack("<qi4xqi4x", new)
        value, interval = first * SECOND + first_us * 1000, every * SECOND + every_us * 1000
    left, before = _set_timer(proc, which, value, interval)
    if old:
        fields = (*divmod(before, SECOND), *divmod(left, SECOND))
        proc.memory.pack(
            "<qi4xqi4x", old, fields[0], fields[1] // 1000, fields[2], fields[3] // 1000
        )


@libsystem("unsigned int alarm(unsigned int)")
def alarm(proc: Process, seconds: int) -> int:
    left, _ = _set_timer(proc, 0, seconds * SECOND, 0)
    return -(-left // SECOND)


@libsystem("void *xpc_date_create_from_current(void)", "notify_is_valid_token")
def warm_up(proc: Process) -> None:
    """The Go runtime calls these once so that libSystem sets itself up; there is nothing to do."""
