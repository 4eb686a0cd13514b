"""What compilers call or refer to by themselves: stack protector, assertions, blocks, probes.

Source: <assert.h>, <Block_private.h>, compiler-rt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.errors import GuestKilled
from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.signals import SIGABRT
from pielink.emulator.threads import Call, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process


@libsystem.data("__stack_chk_guard", 8)
def stack_chk_guard(proc: Process, address: int) -> None:
    proc.memory.put_u64(address, proc.random.getrandbits(56) << 8)


@libsystem("void __stack_chk_fail(void)")
def stack_chk_fail(proc: Process) -> None:
    raise GuestKilled(SIGABRT, f"stack buffer overflow detected\n{proc.scheduler.dump()}")


@libsystem("void __assert_rtn(const char *, const char *, int, const char *)")
def assert_rtn(proc: Process, function: int, file: int, line: int, text: int) -> None:
    read = proc.memory.string
    place = f"{read(file).decode('utf-8', 'replace')}:{line}"
    what = read(text).decode("utf-8", "replace")
    raise GuestKilled(SIGABRT, f"Assertion failed: ({what}), {place}\n{proc.scheduler.dump()}")


@libsystem.raw("____chkstk_darwin")
def chkstk(proc: Process) -> None:
    """Touches the stack pages below: they are all mapped. All registers stay."""
    cpu = proc.cpu
    _, sp, back = cpu.entry(proc.memory.u64)
    cpu.jump(proc.memory, back, sp + 8)


@libsystem("int _availability_version_check(uint32_t, const void *)")
def availability_version_check(proc: Process, count: int, versions: int) -> int:
    """Whether the system is at least each {platform, version}: it is macOS 15."""
    pairs = proc.memory.unpack(f"<{2 * count}I", versions)
    return int(all(version <= 15 << 16 for version in pairs[1::2]))


def _class_object(proc: Process, address: int) -> None:
    """An isa pointer target: its address is all that matters."""


for _name in ("_NSConcreteStackBlock", "_NSConcreteGlobalBlock", "_NSConcreteMallocBlock"):
    libsystem.data(_name, 256)(_class_object)

_BLOCK_GLOBAL, _BLOCK_HAS_HELPERS, _BLOCK_NEEDS_FREE = 1 << 28, 1 << 25, 1 << 24


@libsystem("void *_Block_copy(const void *)")
def block_copy(proc: Process, block: int) -> Work:
    """A block: isa, flags, reserved, invoke, descriptor {reserved, size, copy, dispose}."""
    memory = proc.memory
    flags = memory.u32(block + 8)
    if flags & _BLOCK_GLOBAL:
        return block
    descriptor = memory.u64(block + 24)
    size = memory.u64(descriptor + 8)
    copy = proc.state(Heap).allocate(size)
    memory.write(copy, memory.read(block, size))
    memory.put_u32(copy + 8, flags | _BLOCK_NEEDS_FREE)
    if flags & _BLOCK_HAS_HELPERS:
        yield Call(memory.u64(descriptor + 16), copy, block)
    return copy


@libsystem("void _Block_release(const void *)")
def block_release(proc: Process, block: int) -> Work:
    memory, flags = proc.memory, proc.memory.u32(block + 8)
    if flags & _BLOCK_NEEDS_FREE:
        if flags & _BLOCK_HAS_HELPERS:
            yield Call(memory.u64(memory.u64(block + 24) + 24), block)
        proc.state(Heap).free(block)
    return 0


@libsystem("void dispatch_once(long *, void *)")
def dispatch_once(proc: Process, predicate: int, block: int) -> Work:
    return dispatch_once_f(proc, predicate, block, proc.memory.u64(block + 16))


@libsystem("void dispatch_once_f(long *, void *, void *)")
def dispatch_once_f(proc: Process, predicate: int, context: int, function: int) -> Work:
    if not proc.memory.u64(predicate):
        proc.memory.put_u64(predicate, (1 << 64) - 1)
        yield Call(function, context)
    return 0


_FIELD_BLOCK, _FIELD_BYREF = 7, 8


def _copy_byref(proc: Process, byref: int) -> Work:
    """A __block variable moves to the heap once: isa, forwarding, flags, size, helpers, value."""
    memory = proc.memory
    current = memory.u64(byref + 8)
    if memory.u32(current + 16) & _BLOCK_NEEDS_FREE:
        return current
    flags, size = memory.unpack("<II", byref + 16)
    copy = proc.state(Heap).allocate(size)
    memory.write(copy, memory.read(byref, size))
    memory.put_u32(copy + 16, flags | _BLOCK_NEEDS_FREE)
    memory.put_u64(copy + 8, copy)
    memory.put_u64(byref + 8, copy)
    if flags & _BLOCK_HAS_HELPERS:
        yield Call(memory.u64(byref + 24), copy, byref)
    return copy


@libsystem("void _Block_object_assign(void *, const void *, int)")
def block_object_assign(proc: Process, to: int, item: int, flags: int) -> Work:
    """What the copy helper of a block does for each captured pointer."""
    if flags & _FIELD_BYREF:
        item = yield from _copy_byref(proc, item)
    elif flags & _FIELD_BLOCK == _FIELD_BLOCK:
        item = yield from block_copy(proc, item)
    proc.memory.put_u64(to, item)
    return 0


@libsystem("void _Block_object_dispose(const void *, int)")
def block_object_dispose(proc: Process, item: int, flags: int) -> Work:
    """The reverse: captured blocks are released; __block variables on the heap stay."""
    if not flags & _FIELD_BYREF and flags & _FIELD_BLOCK == _FIELD_BLOCK:
        yield from block_release(proc, item)
    return 0
