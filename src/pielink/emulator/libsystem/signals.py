"""sigaction, masks, kill and waiting for signals. Source: <signal.h>."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno, GuestKilled
from pielink.emulator.libsystem.host import EINVAL, EPERM, ESRCH
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.process import PROCESS_ID
from pielink.emulator.signals import NAMES, SIG_DFL, SIGABRT, SIGKILL, SIGSTOP, Action
from pielink.emulator.threads import Wait, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_BLOCK, _UNBLOCK = 1, 2
_MASK32 = 0xFFFF_FFFF


def _check(signal: int) -> None:
    if not 0 < signal < 32:
        raise Errno(EINVAL)


@libsystem("int sigaction(int, const void *, void *)")
def sigaction(proc: Process, signal: int, new: int, old: int) -> None:
    _check(signal)
    actions = proc.signals.actions
    if old:
        action = actions.get(signal, Action())
        proc.memory.pack("<QII", old, action.handler, action.mask, action.flags)
    if new:
        if signal in (SIGKILL, SIGSTOP):
            raise Errno(EINVAL)
        actions[signal] = Action(*proc.memory.unpack("<QII", new))


@libsystem("void *signal(int, void *)")
def signal(proc: Process, number: int, handler: int) -> int:
    if not 0 < number < 32 or number in (SIGKILL, SIGSTOP):
        raise Errno(EINVAL)
    before = proc.signals.actions.get(number, Action()).handler
    proc.signals.actions[number] = Action(handler, 0, 2)
    return before


def _set_mask(proc: Process, how: int, new: int, old: int) -> int:
    thread, before = proc.thread, proc.thread.signal_mask
    if new:
        value = proc.memory.u32(new) & ~(1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1))
        if how == _BLOCK:
            thread.signal_mask |= value
        elif how == _UNBLOCK:
            thread.signal_mask &= ~value & _MASK32
        elif how == 3:
            thread.signal_mask = value
        else:
            return EINVAL
    if old:
        proc.memory.put_u32(old, before)
    return 0


def _reschedule() -> Work:
    """End the turn, so that a signal to this thread is delivered before the call returns."""
    yield Wait(lambda: True)
    return 0


@libsystem("int pthread_sigmask(int, const void *, void *)")
def pthread_sigmask(proc: Process, how: int, new: int, old: int) -> int:
    return _set_mask(proc, how, new, old)


@libsystem("int sigprocmask(int, const void *, void *)")
def sigprocmask(proc: Process, how: int, new: int, old: int) -> None:
    if error := _set_mask(proc, how, new, old):
        raise Errno(error)


@libsystem("int sigpending(void *)")
def sigpending(proc: Process, out: int) -> None:
    waiting = {*proc.thread.pending, *proc.signals.pending}
    proc.memory.put_u32(out, sum(1 << (signal - 1) for signal in waiting))


@libsystem("int sigaltstack(const void *, void *)")
def sigaltstack(proc: Process, new: int, old: int) -> None:
    thread = proc.thread
    if old:
        base, size, flags = thread.alternate_stack
        inside = base <= proc.cpu.stack_pointer() < base + size
        proc.memory.pack("<QQi4x", old, base, size, flags | int(inside and not flags & 4))
    if new:
        thread.alternate_stack = proc.memory.unpack("<QQi", new)


@libsystem("int kill(pid_t, int)")
def kill(proc: Process, pid: int, number: int) -> Work:
    if not 0 <= number < 32:
        raise Errno(EINVAL)
    if pid not in (PROCESS_ID, 0, -PROCESS_ID):
        raise Errno(ESRCH if pid > 0 else EPERM)
    proc.signals.send(number)
    yield Wait(lambda: True)
    return 0


@libsystem("int raise(int)")
def raise_(proc: Process, number: int) -> Work:
    _check(number)
    proc.signals.send(number, proc.thread)
    return _reschedule()


@libsystem("int pthread_kill(pthread_t, int)")
def pthread_kill(proc: Process, handle: int, number: int) -> Work:
    thread = proc.scheduler.by_handle.get(handle)
    if thread is None or thread.dead:
        return ESRCH
    proc.signals.send(number, thread)
    if thread is proc.thread:
        yield Wait(lambda: True)
    return 0


@libsystem("int pause(void)")
def pause(proc: Process) -> Work:
    yield Wait(interruptible=True, forever=True)


@libsystem("int sigsuspend(const void *)")
def sigsuspend(proc: Process, mask: int) -> Work:
    thread = proc.thread
    before, thread.signal_mask = thread.signal_mask, proc.memory.u32(mask)
    try:
        yield Wait(interruptible=True, forever=True)
    finally:
        thread.signal_mask = before


@libsystem("int sigwait(const void *, int *)")
def sigwait(proc: Process, mask: int, out: int) -> Work:
    thread, wanted = proc.thread, proc.memory.u32(mask)

    def take() -> int | None:
        for queue in (thread.pending, proc.signals.pending):
            for number in queue:
                if wanted >> (number - 1) & 1:
                    queue.remove(number)
                    return number
        return None

    number = take()
    if number is None:
        number = yield Wait(take, forever=True)
    proc.memory.put_u32(out, number)
    return 0


@libsystem("int sigemptyset(void *)")
def sigemptyset(proc: Process, address: int) -> None:
    proc.memory.put_u32(address, 0)


@libsystem("int sigfillset(void *)")
def sigfillset(proc: Process, address: int) -> None:
    proc.memory.put_u32(address, _MASK32)


@libsystem("int sigaddset(void *, int)")
def sigaddset(proc: Process, address: int, number: int) -> None:
    _check(number)
    proc.memory.put_u32(address, proc.memory.u32(address) | 1 << (number - 1))


@libsystem("int sigdelset(void *, int)")
def sigdelset(proc: Process, address: int, number: int) -> None:
    _check(number)
    proc.memory.put_u32(address, proc.memory.u32(address) & ~(1 << (number - 1)))


@libsystem("int sigismember(const void *, int)")
def sigismember(proc: Process, address: int, number: int) -> int:
    _check(number)
    return proc.memory.u32(address) >> (number - 1) & 1


@libsystem("void abort(void)")
def abort(proc: Process) -> Work:
    """Run the handler of SIGABRT if there is one; end the program in any case."""
    action = proc.signals.actions.get(SIGABRT, Action())
    if action.handler > SIG_DFL + 1:
        proc.thread.signal_mask &= ~(1 << (SIGABRT - 1))
        proc.signals.send(SIGABRT, proc.thread)
        yield Wait(lambda: True)
    raise GuestKilled(SIGABRT, f"abort()\n{proc.scheduler.dump()}")


@libsystem("char *strsignal(int)")
def strsignal(proc: Process, number: int) -> int:
    address = proc.allocate_data(64)
    proc.memory.write(address, f"SIG{NAMES.get(number, number)}: {number}".encode() + b"\0")
    return address
