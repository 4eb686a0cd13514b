"""POSIX threads, apart from locks: creation, attributes, specific data, thread-local variables.

Source: <pthread.h>, <pthread_impl.h> (sizes of the opaque structures).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.abi import signed64
from pielink.emulator.errors import EmulatorError
from pielink.emulator.libsystem.host import EAGAIN, EDEADLK, EINVAL, ERANGE, ESRCH
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.memory import READ, WRITE
from pielink.emulator.threads import SLOTS, Call, Thread, Wait, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_ATTR_SIGNATURE, _ONCE_SIGNATURE, _ONCE_DONE = 0x54485241, 0x30B1BCBA, 0x4F4E4345
_DEFAULT_STACK, _SMALLEST_STACK = 0x80000, 0x2000
_FIRST_KEY, _KEYS = 256, 512
_DETACHED = 2
_DESTRUCTOR_ROUNDS = 4


class Keys:
    """pthread_key_create: key -> destructor (0: none)."""

    def __init__(self, proc: Process) -> None:
        self.destructors: dict[int, int] = {}
        self.once: set[int] = set()


# -- attributes: signature, stack size, detach state, stack address, guard size


@libsystem("int pthread_attr_init(void *)")
def pthread_attr_init(proc: Process, attr: int) -> None:
    proc.memory.pack("<QQQQQ", attr, _ATTR_SIGNATURE, _DEFAULT_STACK, 1, 0, 0x1000)


@libsystem("int pthread_attr_destroy(void *)")
def pthread_attr_destroy(proc: Process, attr: int) -> None:
    proc.memory.put_u64(attr, 0)


def _get(proc: Process, attr: int, at: int, out: int) -> int:
    if proc.memory.u64(attr) != _ATTR_SIGNATURE:
        return EINVAL
    proc.memory.put_u64(out, proc.memory.u64(attr + at))
    return 0


@libsystem("int pthread_attr_getstacksize(const void *, size_t *)")
def pthread_attr_getstacksize(proc: Process, attr: int, out: int) -> int:
    return _get(proc, attr, 8, out)


@libsystem("int pthread_attr_setstacksize(void *, size_t)")
def pthread_attr_setstacksize(proc: Process, attr: int, size: int) -> int:
    if not _SMALLEST_STACK <= size < 1 << 36 or size % 0x1000:
        return EINVAL
    proc.memory.put_u64(attr + 8, size)
    return 0


@libsystem("int pthread_attr_getdetachstate(const void *, int *)")
def pthread_attr_getdetachstate(proc: Process, attr: int, out: int) -> None:
    proc.memory.put_u32(out, proc.memory.u64(attr + 16))


@libsystem("int pthread_attr_setdetachstate(void *, int)")
def pthread_attr_setdetachstate(proc: Process, attr: int, state: int) -> int:
    if state not in (1, _DETACHED):
        return EINVAL
    proc.memory.put_u64(attr + 16, state)
    return 0


@libsystem("int pthread_attr_setguardsize(void *, size_t)")
def pthread_attr_setguardsize(proc: Process, attr: int, size: int) -> None:
    proc.memory.put_u64(attr + 32, size)


@libsystem("int pthread_attr_getguardsize(const void *, size_t *)")
def pthread_attr_getguardsize(proc: Process, attr: int, out: int) -> int:
    return _get(proc, attr, 32, out)


@libsystem(
    "int pthread_attr_setscope(void *, int)",
    "pthread_attr_setinheritsched",
    "pthread_attr_setschedpolicy",
    "pthread_attr_setschedparam",
    "pthread_attr_set_qos_class_np",
    "pthread_set_qos_class_self_np",
    "pthread_setconcurrency",
)
def pthread_attr_ignored(proc: Process, attr: int, value: int) -> None:
    """Scheduling hints: threads take turns whatever they say."""


# -- life and death


def _life(proc: Process, thread: Thread, start: int, argument: int) -> Work:
    """What a created thread does."""
    result = yield Call(start, argument)
    yield from _farewell(proc, thread)
    return result


def _farewell(proc: Process, thread: Thread) -> Work:
    """Destructors: thread-local variables, then keys, a few rounds."""
    while thread.exit_functions:
        yield Call(*thread.exit_functions.pop())
    keys = proc.state(Keys).destructors
    for _ in range(_DESTRUCTOR_ROUNDS):
        found = False
        for key, destructor in list(keys.items()):
            slot = thread.tsd + 8 * key
            value = proc.memory.u64(slot)
            if destructor and value:
                found = True
                proc.memory.put_u64(slot, 0)
                yield Call(destructor, value)
        if not found:
            return


@libsystem("int pthread_create(void *, const void *, void *, void *)")
def pthread_create(proc: Process, out: int, attr: int, start: int, argument: int) -> int:
    size, detached = _DEFAULT_STACK, False
    if attr:
        if proc.memory.u64(attr) != _ATTR_SIGNATURE:
            return EINVAL
        size = proc.memory.u64(attr + 8)
        detached = proc.memory.u64(attr + 16) == _DETACHED
    if len(proc.scheduler.threads) >= 2048:
        return EAGAIN
    thread = proc.scheduler.spawn(None, size)
    thread.start = _life(proc, thread, start, argument)
    thread.detached = detached
    thread.signal_mask = proc.thread.signal_mask
    proc.memory.put_u64(out, thread.handle)
    return 0


@libsystem("void pthread_exit(void *)")
def pthread_exit(proc: Process, result: int) -> Work:
    thread = proc.thread
    yield from _farewell(proc, thread)
    proc.scheduler.finish(thread, result)
    yield Wait(lambda: None)


@libsystem("int pthread_join(pthread_t, void *)", "pthread_join$NOCANCEL")
def pthread_join(proc: Process, handle: int, out: int) -> Work:
    thread = proc.scheduler.by_handle.get(handle)
    if thread is None or thread.detached:
        return ESRCH
    if thread is proc.thread:
        return EDEADLK
    if not thread.dead:
        yield Wait(lambda: True if thread.dead else None)
    if out:
        proc.memory.put_u64(out, thread.result)
    proc.scheduler.forget(thread)
    return 0


@libsystem("int pthread_detach(pthread_t)")
def pthread_detach(proc: Process, handle: int) -> int:
    thread = proc.scheduler.by_handle.get(handle)
    if thread is None:
        return ESRCH
    thread.detached = True
    if thread.dead:
        proc.scheduler.forget(thread)
    return 0


@libsystem("pthread_t pthread_self(void)")
def pthread_self(proc: Process) -> int:
    return proc.thread.handle


@libsystem("int pthread_equal(pthread_t, pthread_t)")
def pthread_equal(proc: Process, one: int, other: int) -> int:
    return int(one == other)


@libsystem("int pthread_main_np(void)")
def pthread_main_np(proc: Process) -> int:
    return int(proc.thread.number == 1)


@libsystem("mach_port_t pthread_mach_thread_np(pthread_t)")
def pthread_mach_thread_np(proc: Process, handle: int) -> int:
    thread = proc.scheduler.by_handle.get(handle)
    return 0 if thread is None else 0x1000 + thread.number


@libsystem("int pthread_threadid_np(pthread_t, void *)")
def pthread_threadid_np(proc: Process, handle: int, out: int) -> int:
    thread = proc.scheduler.by_handle.get(handle or proc.thread.handle)
    if thread is None:
        return ESRCH
    proc.memory.put_u64(out, 0x10000 + thread.number)
    return 0


@libsystem("size_t pthread_get_stacksize_np(pthread_t)")
def pthread_get_stacksize_np(proc: Process, handle: int) -> int:
    thread = proc.scheduler.by_handle.get(handle)
    return 0 if thread is None else thread.stack_high - thread.stack_low


@libsystem("void *pthread_get_stackaddr_np(pthread_t)")
def pthread_get_stackaddr_np(proc: Process, handle: int) -> int:
    thread = proc.scheduler.by_handle.get(handle)
    return 0 if thread is None else thread.stack_high


@libsystem("int pthread_setname_np(const char *)")
def pthread_setname_np(proc: Process, name: int) -> None:
    proc.thread.name = proc.memory.string(name, 64)


@libsystem("int pthread_getname_np(pthread_t, char *, size_t)")
def pthread_getname_np(proc: Process, handle: int, buffer: int, size: int) -> int:
    thread = proc.scheduler.by_handle.get(handle)
    if thread is None:
        return ESRCH
    if len(thread.name) >= size:
        return ERANGE
    proc.memory.write(buffer, thread.name + b"\0")
    return 0


@libsystem("int sched_yield(void)", "pthread_yield_np")
def sched_yield(proc: Process) -> Work:
    yield Wait(lambda: True)
    return 0


@libsystem("int sched_get_priority_min(int)")
def sched_get_priority_min(proc: Process, policy: int) -> int:
    return 15


@libsystem("int sched_get_priority_max(int)")
def sched_get_priority_max(proc: Process, policy: int) -> int:
    return 47


@libsystem("int pthread_setcancelstate(int, int *)", "pthread_setcanceltype")
def pthread_setcancelstate(proc: Process, state: int, old: int) -> None:
    if old:
        proc.memory.put_u32(old, 1)


@libsystem("void pthread_testcancel(void)")
def pthread_testcancel(proc: Process) -> None:
    """No thread is ever cancelled: pthread_cancel is not emulated."""


@libsystem("int pthread_atfork(void *, void *, void *)")
def pthread_atfork(proc: Process, prepare: int, parent: int, child: int) -> None:
    """fork fails."""


@libsystem("int pthread_getschedparam(pthread_t, int *, void *)")
def pthread_getschedparam(proc: Process, handle: int, policy: int, out: int) -> None:
    proc.memory.put_u32(policy, 1)
    proc.memory.pack("<ii", out, 31, 0)


@libsystem("int pthread_setschedparam(pthread_t, int, const void *)")
def pthread_setschedparam(proc: Process, handle: int, policy: int, parameters: int) -> None:
    """Threads take turns whatever their priority."""


# -- specific data


@libsystem("int pthread_key_create(void *, void *)")
def pthread_key_create(proc: Process, out: int, destructor: int) -> int:
    keys = proc.state(Keys).destructors
    for key in range(_FIRST_KEY, _FIRST_KEY + _KEYS):
        if key not in keys:
            keys[key] = destructor
            for thread in proc.scheduler.threads:
                proc.memory.put_u64(thread.tsd + 8 * key, 0)
            proc.memory.put_u64(out, key)
            return 0
    return EAGAIN


@libsystem("int pthread_key_delete(pthread_key_t)")
def pthread_key_delete(proc: Process, key: int) -> int:
    return EINVAL if proc.state(Keys).destructors.pop(key, None) is None else 0


@libsystem("int pthread_setspecific(pthread_key_t, const void *)")
def pthread_setspecific(proc: Process, key: int, value: int) -> int:
    if key >= SLOTS:
        return EINVAL
    proc.memory.put_u64(proc.thread.tsd + 8 * key, value)
    return 0


@libsystem("void *pthread_getspecific(pthread_key_t)")
def pthread_getspecific(proc: Process, key: int) -> int:
    return proc.memory.u64(proc.thread.tsd + 8 * key) if key < SLOTS else 0


@libsystem("int pthread_once(void *, void *)")
def pthread_once(proc: Process, control: int, function: int) -> Work:
    memory, running = proc.memory, proc.state(Keys).once
    state = memory.u64(control)
    if state == _ONCE_SIGNATURE and control not in running:
        running.add(control)
        yield Call(function)
        running.discard(control)
        memory.put_u64(control, _ONCE_DONE)
    elif control in running:
        yield Wait(lambda: None if control in running else True)
    elif state != _ONCE_DONE:
        return EINVAL
    return 0


# -- thread-local variables


@libsystem.raw("__tlv_bootstrap")
def tlv_bootstrap(proc: Process) -> None:
    """The thunk of a thread-local variable's descriptor: thunk, key, offset.

    Its argument is the descriptor; it returns the variable's address and keeps all other
    registers. dyld replaces the key when it loads the image: here it is the image's number.
    """
    (descriptor, *_), sp, back = proc.cpu.entry(proc.memory.u64)
    _, key, offset = proc.memory.unpack("<QQQ", descriptor)
    if key >= len(proc.dyld.images) or not proc.dyld.images[key].tlv_template:
        where = proc.dyld.describe(descriptor)
        raise EmulatorError(f"the thread-local descriptor {where} is in no thread-local section")
    thread, loaded = proc.thread, proc.dyld.images[key]
    if key not in thread.templates:
        block = proc.memory.allocate(len(loaded.tlv_template) + 16, READ | WRITE, "TLV")
        proc.memory.write(block, loaded.tlv_template)
        thread.templates[key] = block
    proc.cpu.finish(thread.templates[key] + signed64(offset), sp, back)


@libsystem("void _tlv_atexit(void *, void *)")
def tlv_atexit(proc: Process, function: int, argument: int) -> None:
    proc.thread.exit_functions.append((function, argument))
