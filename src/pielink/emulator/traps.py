"""Where the program meets the emulator: one address for each imported function.

The trap area is execute-only, so calling an import works and reading it as data faults (a bind of
a variable to the wrong symbol shows). A hook limited to the area runs the Python function when
the processor arrives there, and goes on at the return address.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from unicorn import unicorn_const as uc_const

from pielink.emulator.abi import Function
from pielink.emulator.errors import EmulatorError, Errno, UnimplementedImport
from pielink.emulator.memory import EXECUTE

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_SIZE, _STEP = 0x10_0000, 16
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
        memory = proc.memory
        self.base = memory.allocate(_SIZE, EXECUTE, "imports")
        code = proc.cpu.trap_code
        memory.view(self.base, _SIZE)[:] = code * (_SIZE // len(code))
        proc.cpu.uc.hook_add(
            uc_const.UC_HOOK_CODE, self._hit, None, self.base, self.base + _SIZE - 1
        )

    def __iter__(self) -> Any:
        return iter(self._traps)

    def add(self, symbol: str, library: str, function: Function | None) -> int:
        """The address of an import; without a function it stops the program when called."""
        key = (library, symbol)
        if key not in self._by_key:
            address = self.base + _STEP * len(self._traps)
            if address >= self.base + _SIZE:
                raise EmulatorError(f"more than {_SIZE // _STEP} imports")
            trap = Trap(address, symbol, library, function)
            self._traps.append(trap)
            self._by_key[key] = trap
        return self._by_key[key].address

    def at(self, address: int) -> Trap | None:
        """The trap at `address`."""
        index = (address - self.base) // _STEP
        return self._traps[index] if 0 <= index < len(self._traps) else None

    def _hit(self, _uc: Any, address: int, _size: int, _data: Any) -> None:
        """The processor is at an import."""
        proc, trap = self.proc, self.at(address)
        if proc.leaving:
            return  # the turn is over already; the thread comes back here
        if trap is None:
            raise EmulatorError(f"jump to {address:#x}, an unused address among the imports")
        trap.calls += 1
        proc.clock.charge(_CALL_PRICE)
        function = trap.function
        if function is None:
            _, _, back = proc.cpu.entry(proc.memory.u64)
            raise UnimplementedImport(trap.symbol, trap.library, proc.dyld.describe(back))
        if function.raw:
            function.body(proc)
            return
        general, sp, back = proc.cpu.entry(proc.memory.u64)
        if trap.arguments is None:
            trap.arguments = function.bind(proc)
        try:
            result = function.body(proc, *trap.arguments(general, sp))
        except Errno as failure:
            result = fail(proc, failure)
        if isinstance(result, Generator):
            proc.scheduler.begin(result, sp, back, function)
        else:
            deliver(proc, function, result, sp, back)


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
            raise EmulatorError(f"{function} returns long double, which is not emulated")
        data = struct.pack("<f" if kind == "f32" else "<d", result)
        cpu.set_vector_result(data.ljust(16, b"\0"))
        result = 0
    elif isinstance(result, tuple):
        result, second = result
        cpu.set_second_result(second)
    cpu.finish(result or 0, sp, return_address)
