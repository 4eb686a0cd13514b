"""Mutexes, condition variables, read-write locks, semaphores, unfair locks.

The state of a lock is kept by the emulator, keyed by the lock's address, so that statically
initialised locks work: an unknown address is a lock in its initial state.

Source: <pthread.h>, <os/lock.h>, <dispatch/semaphore.h>, xnu's bsd/sys/ulock.h.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pielink.emulator.errors import EmulatorError, Errno
from pielink.emulator.libsystem.host import (
    EBUSY,
    EDEADLK,
    EINVAL,
    ENOENT,
    EPERM,
    ETIMEDOUT,
)
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.time import SECOND, realtime, timespec
from pielink.emulator.threads import TIMEOUT, Thread, Wait, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_NORMAL, _ERRORCHECK, _RECURSIVE = 0, 1, 2
_RECURSIVE_SIGNATURE, _ERRORCHECK_SIGNATURE = 0x32AAABA2, 0x32AAABA1  # static initialisers


@dataclass
class _Mutex:
    kind: int = _NORMAL
    owner: Thread | None = None
    depth: int = 0


@dataclass
class _ReadWriteLock:
    readers: list[Thread] = field(default_factory=list)
    writer: Thread | None = None


class Locks:
    """All locks of the process by address."""

    def __init__(self, proc: Process) -> None:
        self.mutexes: dict[int, _Mutex] = {}
        self.waiters: dict[int, deque[list[bool]]] = {}  # condition -> one flag for each waiter
        self.read_write: dict[int, _ReadWriteLock] = {}


def _mutex(proc: Process, address: int) -> _Mutex:
    mutexes = proc.state(Locks).mutexes
    found = mutexes.get(address)
    if found is None:
        signature = proc.memory.u64(address) & 0xFFFF_FFFF
        kind = {_RECURSIVE_SIGNATURE: _RECURSIVE, _ERRORCHECK_SIGNATURE: _ERRORCHECK}
        found = mutexes[address] = _Mutex(kind.get(signature, _NORMAL))
    return found


def _acquire(mutex: _Mutex, thread: Thread) -> bool | None:
    """A `ready`: take the mutex if it is free (or its owner is gone)."""
    if mutex.owner is not None and not mutex.owner.dead:
        return None
    mutex.owner, mutex.depth = thread, 1
    return True


@libsystem("int pthread_mutexattr_init(void *)")
def pthread_mutexattr_init(proc: Process, attr: int) -> None:
    proc.memory.pack("<QQ", attr, 0x4D545841, _NORMAL)


@libsystem("int pthread_mutexattr_destroy(void *)", "pthread_condattr_destroy")
def pthread_mutexattr_destroy(proc: Process, attr: int) -> None:
    """Nothing is held."""


@libsystem("int pthread_mutexattr_settype(void *, int)")
def pthread_mutexattr_settype(proc: Process, attr: int, kind: int) -> int:
    if kind not in (_NORMAL, _ERRORCHECK, _RECURSIVE):
        return EINVAL
    proc.memory.put_u64(attr + 8, kind)
    return 0


@libsystem("int pthread_mutexattr_gettype(const void *, int *)")
def pthread_mutexattr_gettype(proc: Process, attr: int, out: int) -> None:
    proc.memory.put_u32(out, proc.memory.u64(attr + 8))


@libsystem(
    "int pthread_mutexattr_setpshared(void *, int)",
    "pthread_mutexattr_setprotocol",
    "pthread_mutexattr_setpolicy_np",
    "pthread_condattr_setpshared",
)
def pthread_mutexattr_ignored(proc: Process, attr: int, value: int) -> None:
    """One process, no priorities."""


@libsystem("int pthread_mutex_init(void *, const void *)")
def pthread_mutex_init(proc: Process, address: int, attr: int) -> None:
    kind = proc.memory.u64(attr + 8) if attr else _NORMAL
    proc.state(Locks).mutexes[address] = _Mutex(kind)
    proc.memory.put_u64(address, 0x4D555458)


@libsystem("int pthread_mutex_destroy(void *)")
def pthread_mutex_destroy(proc: Process, address: int) -> int:
    mutexes = proc.state(Locks).mutexes
    found = mutexes.get(address)
    if found is not None and found.owner is not None:
        return EBUSY
    mutexes.pop(address, None)
    return 0


@libsystem("int pthread_mutex_lock(void *)")
def pthread_mutex_lock(proc: Process, address: int) -> Any:
    mutex, thread = _mutex(proc, address), proc.thread
    if _acquire(mutex, thread):
        return 0
    if mutex.owner is thread:
        if mutex.kind == _RECURSIVE:
            mutex.depth += 1
            return 0
        if mutex.kind == _ERRORCHECK:
            return EDEADLK
    return _lock_later(mutex, thread)


def _lock_later(mutex: _Mutex, thread: Thread) -> Work:
    yield Wait(lambda: _acquire(mutex, thread))
    return 0


@libsystem("int pthread_mutex_trylock(void *)")
def pthread_mutex_trylock(proc: Process, address: int) -> int:
    mutex = _mutex(proc, address)
    if _acquire(mutex, proc.thread):
        return 0
    if mutex.owner is proc.thread and mutex.kind == _RECURSIVE:
        mutex.depth += 1
        return 0
    return EBUSY


@libsystem("int pthread_mutex_unlock(void *)")
def pthread_mutex_unlock(proc: Process, address: int) -> int:
    mutex = _mutex(proc, address)
    if mutex.owner is not proc.thread and mutex.kind != _NORMAL:
        return EPERM
    mutex.depth -= 1
    if mutex.depth <= 0:
        mutex.owner, mutex.depth = None, 0
    return 0


# -- condition variables


@libsystem("int pthread_condattr_init(void *)")
def pthread_condattr_init(proc: Process, attr: int) -> None:
    proc.memory.pack("<QQ", attr, 0x434E4441, 0)


@libsystem("int pthread_cond_init(void *, const void *)")
def pthread_cond_init(proc: Process, address: int, attr: int) -> None:
    proc.state(Locks).waiters[address] = deque()


@libsystem("int pthread_cond_destroy(void *)")
def pthread_cond_destroy(proc: Process, address: int) -> None:
    proc.state(Locks).waiters.pop(address, None)


@libsystem("int pthread_cond_signal(void *)")
def pthread_cond_signal(proc: Process, address: int) -> None:
    waiting = proc.state(Locks).waiters.get(address)
    if waiting:
        waiting.popleft()[0] = True


@libsystem("int pthread_cond_broadcast(void *)")
def pthread_cond_broadcast(proc: Process, address: int) -> None:
    waiting = proc.state(Locks).waiters.get(address)
    while waiting:
        waiting.popleft()[0] = True


def _wait(proc: Process, condition: int, address: int, deadline: int | None) -> Work:
    """Release the mutex, wait for a signal, take the mutex again."""
    waiting = proc.state(Locks).waiters.setdefault(condition, deque())
    mutex, thread, woken = _mutex(proc, address), proc.thread, [False]
    waiting.append(woken)
    depth, mutex.owner, mutex.depth = mutex.depth, None, 0
    outcome = yield Wait(lambda: True if woken[0] else None, deadline)
    if outcome is TIMEOUT:
        for index, flag in enumerate(waiting):
            if flag is woken:
                del waiting[index]
                break
    if not _acquire(mutex, thread):
        yield Wait(lambda: _acquire(mutex, thread))
    mutex.depth = depth
    return ETIMEDOUT if outcome is TIMEOUT else 0


@libsystem("int pthread_cond_wait(void *, void *)", "pthread_cond_wait$NOCANCEL")
def pthread_cond_wait(proc: Process, condition: int, mutex: int) -> Work:
    return _wait(proc, condition, mutex, None)


@libsystem("int pthread_cond_timedwait(void *, void *, const void *)")
def pthread_cond_timedwait(proc: Process, condition: int, mutex: int, when: int) -> Work:
    left = timespec(proc, when) - realtime(proc)
    return _wait(proc, condition, mutex, proc.clock.now() + max(0, left))


@libsystem("int pthread_cond_timedwait_relative_np(void *, void *, const void *)")
def pthread_cond_timedwait_relative_np(
    proc: Process, condition: int, mutex: int, span: int
) -> Work:
    seconds, nanoseconds = proc.memory.unpack("<qq", span)
    left = max(0, seconds * SECOND + nanoseconds)
    return _wait(proc, condition, mutex, proc.clock.now() + left)


# -- read-write locks


def _read_write(proc: Process, address: int) -> _ReadWriteLock:
    return proc.state(Locks).read_write.setdefault(address, _ReadWriteLock())


@libsystem("int pthread_rwlock_init(void *, const void *)")
def pthread_rwlock_init(proc: Process, address: int, attr: int) -> None:
    proc.state(Locks).read_write[address] = _ReadWriteLock()


@libsystem("int pthread_rwlock_destroy(void *)")
def pthread_rwlock_destroy(proc: Process, address: int) -> None:
    proc.state(Locks).read_write.pop(address, None)


def _read(lock: _ReadWriteLock, thread: Thread) -> bool | None:
    if lock.writer is not None:
        return None
    lock.readers.append(thread)
    return True


def _write(lock: _ReadWriteLock, thread: Thread) -> bool | None:
    if lock.writer is not None or lock.readers:
        return None
    lock.writer = thread
    return True


@libsystem("int pthread_rwlock_rdlock(void *)")
def pthread_rwlock_rdlock(proc: Process, address: int) -> Work:
    lock, thread = _read_write(proc, address), proc.thread
    if not _read(lock, thread):
        yield Wait(lambda: _read(lock, thread))
    return 0


@libsystem("int pthread_rwlock_wrlock(void *)")
def pthread_rwlock_wrlock(proc: Process, address: int) -> Work:
    lock, thread = _read_write(proc, address), proc.thread
    if lock.writer is thread:
        return EDEADLK
    if not _write(lock, thread):
        yield Wait(lambda: _write(lock, thread))
    return 0


@libsystem("int pthread_rwlock_tryrdlock(void *)")
def pthread_rwlock_tryrdlock(proc: Process, address: int) -> int:
    return 0 if _read(_read_write(proc, address), proc.thread) else EBUSY


@libsystem("int pthread_rwlock_trywrlock(void *)")
def pthread_rwlock_trywrlock(proc: Process, address: int) -> int:
    return 0 if _write(_read_write(proc, address), proc.thread) else EBUSY


@libsystem("int pthread_rwlock_unlock(void *)")
def pthread_rwlock_unlock(proc: Process, address: int) -> int:
    lock, thread = _read_write(proc, address), proc.thread
    if lock.writer is thread:
        lock.writer = None
    elif thread in lock.readers:
        lock.readers.remove(thread)
    else:
        return EPERM
    return 0


# -- os_unfair_lock: the word holds the owner's number


@libsystem("void os_unfair_lock_lock(void *)", "OSSpinLockLock")
def os_unfair_lock_lock(proc: Process, address: int) -> Work:
    memory, number = proc.memory, proc.thread.number
    if memory.u32(address) == number:
        raise EmulatorError("os_unfair_lock_lock: this thread holds the lock already")
    if memory.u32(address):
        yield Wait(lambda: True if memory.u32(address) == 0 else None)
    memory.put_u32(address, number)
    return 0


@libsystem("bool os_unfair_lock_trylock(void *)", "OSSpinLockTry")
def os_unfair_lock_trylock(proc: Process, address: int) -> int:
    if proc.memory.u32(address):
        return 0
    proc.memory.put_u32(address, proc.thread.number)
    return 1


@libsystem("void os_unfair_lock_unlock(void *)", "OSSpinLockUnlock")
def os_unfair_lock_unlock(proc: Process, address: int) -> None:
    proc.memory.put_u32(address, 0)


# -- semaphores: the handle is the address of a counter


@libsystem("void *dispatch_semaphore_create(long)")
def dispatch_semaphore_create(proc: Process, count: int) -> int:
    address = proc.allocate_data(8)
    proc.memory.put_u64(address, count)
    return address


@libsystem("long dispatch_semaphore_signal(void *)")
def dispatch_semaphore_signal(proc: Process, address: int) -> int:
    proc.memory.put_u64(address, proc.memory.u64(address) + 1)
    return 0


@libsystem("long dispatch_semaphore_wait(void *, uint64_t)")
def dispatch_semaphore_wait(proc: Process, address: int, when: int) -> Work:
    def take() -> bool | None:
        value = proc.memory.u64(address)
        if not value:
            return None
        proc.memory.put_u64(address, value - 1)
        return True

    forever = when == (1 << 64) - 1
    if not take():
        outcome = yield Wait(take, None if forever else when)
        if outcome is TIMEOUT:
            return 49
    return 0


@libsystem("uint64_t dispatch_time(uint64_t, int64_t)")
def dispatch_time(proc: Process, when: int, delta: int) -> int:
    return (when or proc.clock.now()) + delta


@libsystem("void dispatch_release(void *)", "dispatch_retain")
def dispatch_release(proc: Process, handle: int) -> None:
    """Semaphores live for ever."""


# -- ulock: the futex of Darwin


@libsystem("int __ulock_wait2(uint32_t, void *, uint64_t, uint64_t, uint64_t)")
def ulock_wait2(
    proc: Process, operation: int, address: int, value: int, timeout: int, second: int
) -> Work:
    read = proc.memory.u64 if operation & 0xFF in (5, 6) else proc.memory.u32
    mask = (1 << 64) - 1 if operation & 0xFF in (5, 6) else 0xFFFF_FFFF
    if read(address) != value & mask:
        return 0
    waiting, woken = proc.state(Locks).waiters.setdefault(address, deque()), [False]
    waiting.append(woken)
    deadline = proc.clock.now() + timeout if timeout else None
    outcome = yield Wait(lambda: True if woken[0] else None, deadline)
    if outcome is TIMEOUT:
        waiting.remove(woken)
        raise Errno(ETIMEDOUT)
    return 0


@libsystem("int __ulock_wake(uint32_t, void *, uint64_t)")
def ulock_wake(proc: Process, operation: int, address: int, value: int) -> int:
    waiting = proc.state(Locks).waiters.get(address)
    if not waiting:
        raise Errno(ENOENT)
    while waiting:
        waiting.popleft()[0] = True
        if not operation & 0x100:  # ULF_WAKE_ALL
            break
    return 0
