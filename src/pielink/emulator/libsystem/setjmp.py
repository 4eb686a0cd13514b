"""setjmp and longjmp. Source: <setjmp.h>.

The buffer keeps the registers that a call preserves, the stack pointer behind the call and the
return address; for the variants that save it, also the signal mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.abi import signed32
from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_MASK_AT = 80  # behind eight registers and the return address


def _save(proc: Process, with_mask: bool) -> None:
    cpu, memory = proc.cpu, proc.memory
    (buffer, *_), sp, back = cpu.entry(memory.u64)
    words = (*cpu.preserved(), sp + 8, back)
    memory.pack(f"<{len(words)}Q", buffer, *words)
    memory.pack("<II", buffer + _MASK_AT, proc.thread.signal_mask, int(with_mask))
    cpu.finish(0, sp, back)


def _restore(proc: Process) -> None:
    cpu, memory = proc.cpu, proc.memory
    (buffer, value, *_), _, _ = cpu.entry(memory.u64)
    count = len(cpu.preserved())
    *registers, sp, back = memory.unpack(f"<{count + 2}Q", buffer)
    mask, has_mask = memory.unpack("<II", buffer + _MASK_AT)
    if has_mask:
        proc.thread.signal_mask = mask
    cpu.restore(registers, signed32(value) or 1)
    cpu.jump(memory, back, sp)


@libsystem.raw("_setjmp")
def setjmp(proc: Process) -> None:
    _save(proc, with_mask=True)


@libsystem.raw("__setjmp")
def setjmp_plain(proc: Process) -> None:
    _save(proc, with_mask=False)


@libsystem.raw("_sigsetjmp")
def sigsetjmp(proc: Process) -> None:
    _save(proc, with_mask=bool(proc.cpu.entry(proc.memory.u64)[0][1] & 0xFFFF_FFFF))


@libsystem.raw("_longjmp", "__longjmp", "_siglongjmp")
def longjmp(proc: Process) -> None:
    _restore(proc)
