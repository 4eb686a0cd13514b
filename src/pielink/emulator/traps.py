"""Where the program meets the emulator: one address for each imported function.

Each import is a system call instruction, whose hook runs the Python function, and a return
instruction. Each has a page of its own, which is execute-only: calling an import works, and
reading it as data faults, so that a bind of a variable to a function shows. (Unicorn does not see
reads of a page that was executed before.)
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from pielink.emulator.abi import Function
from pielink.emulator.errors import (
    EmulatorError,
    Errno,
    GuestExit,
    GuestFault,
    GuestKilled,
    UnimplementedImportError,
)
from pielink.emulator.memory import EXECUTE
from pielink.errors import PielinkError

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_LIMIT, _STEP = 1 << 14, 0x1000  # imports, bytes for each
_SIZE = _LIMIT * _STEP
_ON_PURPOSE = (PielinkError, GuestExit, GuestFault, GuestKilled)
_CALL_PRICE = 200  # nanoseconds, on the counting clock


class Trap:
    """One import: what runs when the program calls it."""

    __slots__ = ("address", "arguments", "calls", "function", "library", "symbol")

    def __init__(self, address: int, symbol: str, library: str, function: Function | None) -> None:
        self.address, self.symbol, self.library = address, symbol, library
        self.function = function
        self.arguments: Callable[[list[int], int], list[Any]] | None = None
        self.calls = 0


class Traps:
    """All traps of a process, by index and by (library, symbol)."""

    def __init__(self, proc: Process) -> None:
        self.proc, self._traps = proc, list[Trap]()
        self._by_key: dict[tuple[str, str], Trap] = {}
        self._entered = 0  # the address of the last hit
        memory = proc.memory
        self.base = memory.allocate(_SIZE, EXECUTE, "imports")
        self._code = memory.view(self.base, _SIZE)
        proc.cpu.on_trap(self._hit)

    def __iter__(self) -> Any:
        return iter(self._traps)

    def add(self, symbol: str, library: str, function: Function | None) -> int:
        """The address of an import; without a function it stops the program when called."""
        key = (library, symbol)
        if key not in self._by_key:
            address = self.base + _STEP * len(self._traps)
            if len(self._traps) == _LIMIT:
                raise EmulatorError(f"more than {_LIMIT} imports")
            code, at = self.proc.cpu.trap_code, address - self.base
            self._code[at : at + len(code)] = code
            trap = Trap(address, symbol, library, function)
            self._traps.append(trap)
            self._by_key[key] = trap
        return self._by_key[key].address

    def at(self, address: int) -> Trap | None:
        """The trap at `address`."""
        index = (address - self.base) // _STEP
        return self._traps[index] if 0 <= index < len(self._traps) else None

    def leave(self) -> None:
        """End the turn; called inside a hook."""
        self.proc.leaving = True
        self.proc.cpu.uc.emu_stop()

    def rewind(self) -> None:
        """Put the processor back to the import whose function failed."""
        cpu = self.proc.cpu
        cpu.jump(self.proc.memory, self._entered, cpu.stack_pointer())

    def _hit(self, _uc: Any, _data: Any) -> None:
        """The processor executes a system call instruction."""
        cpu = self.proc.cpu
        cpu.in_hook = True
        self._entered = cpu.pc()
        try:
            self._call(self._entered)
        finally:
            cpu.in_hook = False

    def _call(self, address: int) -> None:
        proc, trap = self.proc, self.at(address)
        if trap is None or address != trap.address:
            where = proc.dyld.describe(address)
            raise EmulatorError(f"raw system call at {where}: only calls of libSystem are emulated")
        trap.calls += 1
        proc.clock.charge(_CALL_PRICE)
        function = trap.function
        if function is None:
            _, _, back = proc.cpu.entry(proc.memory.u64)
            raise UnimplementedImportError(trap.symbol, trap.library, proc.dyld.describe(back))
        if function.raw:
            function.body(proc)
            return
        general, sp, back = proc.cpu.entry(proc.memory.u64)
        if trap.arguments is None:
            trap.arguments = function.bind(proc)
        try:
            result = function.body(proc, *trap.arguments(general, sp))
            if isinstance(result, Generator):
                proc.scheduler.begin(result, sp, back, function)
            else:
                deliver(proc, function, result, sp, back)
        except Errno as failure:
            deliver(proc, function, fail(proc, failure), sp, back)
        except _ON_PURPOSE:
            raise
        except Exception as error:  # arguments that the function does not expect
            where = proc.dyld.describe(back)
            raise EmulatorError(
                f"{trap.symbol} cannot handle its arguments ({error!r}); called from {where}"
            ) from error


def fail(proc: Process, failure: Errno) -> int:
    """Set errno of the current thread; the result that tells of the failure."""
    proc.memory.put_u32(proc.thread.errno_address, failure.number)
    return failure.result


def deliver(
    proc: Process, function: Function | None, result: Any, sp: int, return_address: int
) -> None:
    """Return `result` to the program as its prototype says."""
    cpu = proc.cpu
    if isinstance(result, float):
        kind = function.result_kind if function else "f64"
        if kind == "f80":
            cpu.set_extended_result(result)
        else:
            cpu.set_vector(0, _pack_float(kind, result).ljust(16, b"\0"))
        result = 0
    elif isinstance(result, tuple):
        result, second = result
        cpu.set_second_result(second)
    cpu.finish(result or 0, sp, return_address)


def _pack_float(kind: str, value: float) -> bytes:
    if kind != "f32":
        return struct.pack("<d", value)
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))
