"""Processors: registers, calling conventions and signal frames, one class per architecture.

`open_cpu` looks an architecture up by its Mach-O cputype. All that the rest of the emulator knows
of a processor is the `Cpu` interface; a further architecture is a further row of `_ARCHITECTURES`.

Unicorn's own register calls cost microseconds each, so groups of registers are read and written
in one call through preallocated ctypes arrays.

The code at an import (`trap_code`) is a system call instruction and a return instruction. The hook
on the former runs the emulated function. So inside a hook (`in_hook`) the way to go on at an
address is to put it where the return instruction finds it; the program counter is written outside
of the emulation only. (A block hook will not do: Unicorn can stop after the hook and before the
block, which then seems not to have run.)

Source: the System V ABI (AMD64 supplement), which macOS follows on x86_64; <mach/i386/_structs.h>
for the machine context that a signal handler sees.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Sequence
from typing import Any, Protocol

from pielink.emulator.errors import EmulatorError
from pielink.formats import macho

try:
    from unicorn import unicorn_const as uc_const
    from unicorn import x86_const
    from unicorn.unicorn_py3.unicorn import Uc, uclib
except ImportError as error:  # the extra is optional: linking does not need it
    raise EmulatorError(
        f"the emulator needs the unicorn package ({error}): pip install 'pielink[run]'"
    ) from error

MASK64 = (1 << 64) - 1


class Fault(Protocol):
    """What a machine context records of a processor exception."""

    trap: int
    error: int
    address: int


class Cpu(Protocol):
    """One emulated processor; it runs one thread's registers at a time."""

    name: str
    page_size: int
    uc: Any
    trap_code: bytes
    context_size: int
    exception_signals: dict[int, tuple[int, int]]
    integer_arguments: int
    in_hook: bool

    def on_trap(self, callback: Any) -> None:
        """Have `callback(uc, data)` called at each system call instruction."""

    def pc(self) -> int:
        """The program counter."""

    def stack_pointer(self) -> int:
        """The stack pointer."""

    def entry(self, read_u64: Any) -> tuple[list[int], int, int]:
        """At a function's first instruction: integer arguments, stack pointer, return address."""

    def stack_argument(self, sp: int, index: int) -> int:
        """The address of the index-th 8-byte argument on the stack."""

    def vector_argument(self, index: int) -> bytes:
        """The 16 bytes of the index-th floating-point argument register."""

    def finish(self, result: int, sp: int, return_address: int) -> None:
        """Return `result` from a function entered with stack pointer `sp`."""

    def set_vector(self, index: int, data: bytes) -> None:
        """Set the 16 bytes of a floating-point register; number 0 holds results."""

    def set_extended_result(self, value: float) -> None:
        """Return a long double."""

    def set_second_result(self, value: int) -> None:
        """Set the register of a second integer result."""

    def result(self) -> int:
        """The integer result register."""

    def begin_call(
        self, memory: Any, function: int, arguments: Sequence[int], sp: int, return_to: int
    ) -> int:
        """Enter `function`; return the stack pointer that it will return with."""

    def va_list(self, memory: Any, address: int) -> tuple[list[int], list[bytes], int]:
        """The rest of a va_list: general and vector registers saved, address of the stack part."""

    def start(self, memory: Any, pc: int, sp: int) -> None:
        """Begin at `pc` as the kernel does, with all other registers zero."""

    def set_thread_pointer(self, address: int) -> None:
        """Set the base of the thread-specific data."""

    def jump(self, memory: Any, pc: int, sp: int) -> None:
        """Go on at `pc` with stack pointer `sp`, all other registers unchanged."""

    def preserved(self) -> list[int]:
        """The registers that a call preserves, apart from the stack pointer."""

    def restore(self, registers: Sequence[int], result: int) -> None:
        """Set the preserved registers and the result register."""

    def pack_context(self, fault: Fault) -> bytes:
        """The registers as the machine context of a signal handler."""

    def unpack_context(self, data: bytes) -> None:
        """Take the registers that a signal handler left in its machine context."""


def encode_f80(value: float) -> tuple[int, int]:
    """A float as an x87 extended value: significand, and sign with exponent."""
    sign = 0x8000 if math.copysign(1.0, value) < 0 else 0
    if value == 0:
        return 0, sign
    if math.isnan(value) or math.isinf(value):
        return (3 if math.isnan(value) else 2) << 62, sign | 0x7FFF
    mantissa, exponent = math.frexp(abs(value))
    return int(mantissa * (1 << 53)) << 11, sign | exponent + 16382


class Registers:
    """A group of 64-bit registers that is read or written in one call."""

    def __init__(self, uc: Any, names: str) -> None:
        ids = [getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in names.split()]
        self._count, self._handle = len(ids), uc._uch
        self._ids = (ctypes.c_int * len(ids))(*ids)
        self._values = (ctypes.c_uint64 * len(ids))()
        base = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_void_p * len(ids))(*(base + 8 * i for i in range(len(ids))))

    def get(self) -> list[int]:
        """The values, in the order of the names."""
        uclib.uc_reg_read_batch(self._handle, self._ids, self._pointers, self._count)
        return list(self._values)

    def put(self, *values: int) -> None:
        """Set all of them."""
        self._values[:] = list(values)
        uclib.uc_reg_write_batch(self._handle, self._ids, self._pointers, self._count)


class X86Cpu:
    """x86_64, as macOS programs see it."""

    name, page_size = "x86_64", 0x1000
    trap_code = b"\x0f\x05\xc3"  # syscall; ret
    integer_arguments = 6
    # struct __darwin_mcontext64: exception state, 21 thread registers, floating-point state
    _exception, _thread, _float_size = struct.Struct("<HHIQ"), struct.Struct("<21Q"), 524
    context_size = _exception.size + _thread.size + _float_size + 4
    # processor exception -> (signal, si_code)
    exception_signals = {  # noqa: RUF012 - the Protocol has no ClassVar
        0: (8, 7),  # divide error: SIGFPE, FPE_INTDIV
        1: (5, 1),  # debug: SIGTRAP
        3: (5, 1),  # breakpoint: SIGTRAP
        6: (4, 1),  # invalid opcode: SIGILL, ILL_ILLOPC
        13: (11, 1),  # general protection: SIGSEGV
        16: (8, 3),  # x87 error: SIGFPE
        19: (8, 3),  # SIMD error: SIGFPE
    }

    def __init__(self) -> None:
        engine: Any = Uc  # its methods have no types
        self.uc: Any = engine(uc_const.UC_ARCH_X86, uc_const.UC_MODE_64)
        uc = self.uc
        uc.ctl_set_cpu_model(x86_const.UC_CPU_X86_HASWELL)
        self._entry = Registers(uc, "rdi rsi rdx rcx r8 r9 rsp")
        self._return = Registers(uc, "rax rsp")
        self._call = Registers(uc, "rdi rsi rdx rcx r8 r9 rax")
        self._all = Registers(
            uc, "rax rbx rcx rdx rdi rsi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags"
        )
        self._sp = Registers(uc, "rsp")
        self._preserved = Registers(uc, "rbx rbp r12 r13 r14 r15 rax")
        self.in_hook = False

    def on_trap(self, callback: Any) -> None:
        self.uc.hook_add(uc_const.UC_HOOK_INSN, callback, None, 1, 0, x86_const.UC_X86_INS_SYSCALL)

    def pc(self) -> int:
        return int(self.uc.reg_read(x86_const.UC_X86_REG_RIP))

    def stack_pointer(self) -> int:
        return int(self.uc.reg_read(x86_const.UC_X86_REG_RSP))

    def entry(self, read_u64: Any) -> tuple[list[int], int, int]:
        values = self._entry.get()
        sp = values.pop()
        return values, sp, read_u64(sp)

    def stack_argument(self, sp: int, index: int) -> int:
        return sp + 8 + 8 * index

    def vector_argument(self, index: int) -> bytes:
        value = self.uc.reg_read(x86_const.UC_X86_REG_XMM0 + index)
        return int(value).to_bytes(16, "little")

    def finish(self, result: int, sp: int, return_address: int) -> None:
        if self.in_hook:  # the return address is still where the call put it
            self._return.put(result & MASK64, sp)
        else:
            self._return.put(result & MASK64, sp + 8)
            self.uc.reg_write(x86_const.UC_X86_REG_RIP, return_address)

    def set_vector(self, index: int, data: bytes) -> None:
        register = x86_const.UC_X86_REG_XMM0 + index
        self.uc.reg_write(register, int.from_bytes(data, "little"))

    def set_extended_result(self, value: float) -> None:
        status = self.uc.reg_read(x86_const.UC_X86_REG_FPSW)
        top = (status >> 11) - 1 & 7  # push onto the x87 stack
        self.uc.reg_write(x86_const.UC_X86_REG_FPSW, status & ~0x3800 | top << 11)
        tags = self.uc.reg_read(x86_const.UC_X86_REG_FPTAG)
        self.uc.reg_write(x86_const.UC_X86_REG_FPTAG, tags & ~(3 << 2 * top))
        self.uc.reg_write(x86_const.UC_X86_REG_FP0 + top, encode_f80(value))

    def set_second_result(self, value: int) -> None:
        self.uc.reg_write(x86_const.UC_X86_REG_RDX, value & MASK64)

    def result(self) -> int:
        return int(self.uc.reg_read(x86_const.UC_X86_REG_RAX))

    def begin_call(
        self, memory: Any, function: int, arguments: Sequence[int], sp: int, return_to: int
    ) -> int:
        sp = (sp - 256) & -16  # below the red zone; a called function finds rsp + 8 aligned to 16
        memory.put_u64(sp - 8, return_to)
        padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
        self._call.put(*(value & MASK64 for value in padded), 0)
        self.jump(memory, function, sp - 8)
        return sp

    def va_list(self, memory: Any, address: int) -> tuple[list[int], list[bytes], int]:
        general, vector, stack, saved = memory.unpack("<IIQQ", address)
        integers = [memory.u64(saved + at) for at in range(general, 48, 8)]
        vectors = [memory.read(saved + at, 16) for at in range(max(vector, 48), 176, 16)]
        return integers, vectors, stack

    def start(self, memory: Any, pc: int, sp: int) -> None:
        here = self.pc() if self.in_hook else pc
        self._all.put(0, 0, 0, 0, 0, 0, 0, sp, 0, 0, 0, 0, 0, 0, 0, 0, here, 2)
        self.jump(memory, pc, sp)

    def set_thread_pointer(self, address: int) -> None:
        self.uc.reg_write(x86_const.UC_X86_REG_GS_BASE, address)

    def jump(self, memory: Any, pc: int, sp: int) -> None:
        if self.in_hook:
            memory.put_u64(sp - 8, pc)
            self._sp.put(sp - 8)
        else:
            self._sp.put(sp)
            self.uc.reg_write(x86_const.UC_X86_REG_RIP, pc)

    def preserved(self) -> list[int]:
        return self._preserved.get()[:-1]

    def restore(self, registers: Sequence[int], result: int) -> None:
        self._preserved.put(*registers, result & MASK64)

    def pack_context(self, fault: Fault) -> bytes:
        registers = self._all.get()
        segments = (0x2B, 0, 0)
        return (
            self._exception.pack(fault.trap, 0, fault.error, fault.address)
            + self._thread.pack(*registers, *segments)
            + bytes(self._float_size + 4)
        )

    def unpack_context(self, data: bytes) -> None:
        self._all.put(*self._thread.unpack_from(data, self._exception.size)[:18])


_ARCHITECTURES = {macho.CPU_TYPE_X86_64: X86Cpu}
_NAMES = {macho.CPU_TYPE_X86_64: "x86_64", macho.CPU_TYPE_ARM64: "arm64"}


def supported(cputype: int) -> bool:
    """Whether programs of this Mach-O cputype can run."""
    return cputype in _ARCHITECTURES


def architecture_name(cputype: int) -> str:
    """The usual name of a Mach-O cputype."""
    return _NAMES.get(cputype, f"cputype {cputype:#x}")


def open_cpu(cputype: int) -> Cpu:
    """A fresh processor; EmulatorError for an architecture that is not emulated."""
    if not supported(cputype):
        known = ", ".join(map(architecture_name, _ARCHITECTURES))
        raise EmulatorError(f"cannot emulate {architecture_name(cputype)} (emulated: {known})")
    return _ARCHITECTURES[cputype]()
