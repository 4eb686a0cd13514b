"""The unwinder's interface for C++ and others: _Unwind_RaiseException and its kin.

Raising goes over the stack twice. The search phase asks each function's personality routine
whether it handles the exception; the cleanup phase calls them again, and a landing pad is entered
whenever one says so. A personality routine sees a frame as an opaque context.

Source: the Itanium C++ ABI, exception handling, level I.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pielink.emulator.errors import EmulatorError
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.threads import Call, Work
from pielink.emulator.unwind import PRESERVED, RSP, Frame, Procedure, Unwinder, with_pc

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_END_OF_STACK, _FATAL_1, _FATAL_2 = 5, 3, 2
_HANDLER_FOUND, _INSTALL_CONTEXT, _CONTINUE = 6, 7, 8
_SEARCH, _CLEANUP, _HANDLER_FRAME, _FORCE = 1, 2, 4, 8
_VERSION = 1
_DEEPEST = 1 << 17
_RAX, _RDX = 0, 1


class _Context:
    """What a personality routine sees of a frame."""

    def __init__(self, frame: Frame, procedure: Procedure | None) -> None:
        self.frame, self.procedure = frame, procedure
        self.results = {_RAX: 0, _RDX: 0}


class Contexts:
    """The live contexts by handle."""

    def __init__(self, proc: Process) -> None:
        self.by_handle: dict[int, _Context] = {}
        self._free: list[int] = []
        self.proc = proc

    def open(self, context: _Context) -> int:
        """A handle that is valid until `close`."""
        handle = self._free.pop() if self._free else self.proc.allocate_data(16)
        self.by_handle[handle] = context
        return handle

    def close(self, handle: int) -> None:
        """Forget the context."""
        del self.by_handle[handle]
        self._free.append(handle)

    def get(self, handle: int) -> _Context:
        """The context of a handle."""
        if handle not in self.by_handle:
            raise EmulatorError(f"{handle:#x} is no unwind context")
        return self.by_handle[handle]


def _ask(proc: Process, context: _Context, actions: int, exception: int) -> Work:
    """Call the personality routine of a frame."""
    contexts = proc.state(Contexts)
    handle = contexts.open(context)
    assert context.procedure is not None
    kind = proc.memory.u64(exception)
    personality = context.procedure.personality
    answer = yield Call(personality, _VERSION, actions, kind, exception, handle)
    contexts.close(handle)
    return answer & 0xFFFF_FFFF


def _frames(proc: Process, frame: Frame | None) -> Any:
    """The frames from `frame` outward, with their functions."""
    unwinder = proc.state(Unwinder)
    for _ in range(_DEEPEST):
        if frame is None:
            return
        procedure = unwinder.procedure(frame)
        if procedure is None:
            return
        yield frame, procedure
        frame = unwinder.step(frame, procedure)


def _search(proc: Process, start: Frame, exception: int) -> Work:
    """Phase 1: the stack pointer of the frame that handles the exception; 0 if none does."""
    for frame, procedure in _frames(proc, start):
        if not procedure.personality:
            continue
        answer = yield from _ask(proc, _Context(frame, procedure), _SEARCH, exception)
        if answer == _HANDLER_FOUND:
            return frame.registers[RSP]
        if answer != _CONTINUE:
            return -1
    return 0


def _clean_up(proc: Process, start: Frame, exception: int, handler: int) -> Work:
    """Phase 2: enter the next landing pad; returns only on failure."""
    for frame, procedure in _frames(proc, start):
        if not procedure.personality:
            continue
        context = _Context(frame, procedure)
        last = _HANDLER_FRAME if frame.registers[RSP] == handler else 0
        answer = yield from _ask(proc, context, _CLEANUP | last, exception)
        if answer == _INSTALL_CONTEXT:
            yield Install(context)
        if answer != _CONTINUE or last:
            break
    return _FATAL_2


class Install:
    """What a generator yields to go on in a frame, at its landing pad."""

    def __init__(self, context: _Context) -> None:
        self.context = context

    def apply(self, proc: Process) -> None:
        """Set the registers."""
        registers = self.context.frame.registers
        results = self.context.results
        proc.cpu.restore([registers[number] for number in PRESERVED], results[_RAX])
        proc.cpu.set_second_result(results[_RDX])
        proc.cpu.jump(proc.memory, self.context.frame.pc, registers[RSP])


def _raise(proc: Process, exception: int) -> Work:
    start = proc.state(Unwinder).current()
    handler = yield from _search(proc, start, exception)
    if handler <= 0:
        return _END_OF_STACK if handler == 0 else _FATAL_1
    proc.memory.pack("<QQ", exception + 16, 0, handler)
    return (yield from _clean_up(proc, start, exception, handler))


@libsystem("int _Unwind_RaiseException(void *)")
def raise_exception(proc: Process, exception: int) -> Work:
    return _raise(proc, exception)


@libsystem("int _Unwind_Resume_or_Rethrow(void *)")
def resume_or_rethrow(proc: Process, exception: int) -> Work:
    if proc.memory.u64(exception + 16):
        return _resume_forced(proc, exception)
    return _raise(proc, exception)


def _resume_forced(proc: Process, exception: int) -> Work:
    stop, parameter = proc.memory.unpack("<QQ", exception + 16)
    return _force(proc, proc.state(Unwinder).current(), exception, stop, parameter)


@libsystem("void _Unwind_Resume(void *)")
def resume(proc: Process, exception: int) -> Work:
    start = proc.state(Unwinder).current()
    stop, handler = proc.memory.unpack("<QQ", exception + 16)
    if stop:
        yield from _force(proc, start, exception, stop, handler)
    else:
        yield from _clean_up(proc, start, exception, handler)
    where = proc.dyld.describe(start.pc)
    raise EmulatorError(f"_Unwind_Resume at {where} found no frame to go on in")


def _force(proc: Process, start: Frame, exception: int, stop: int, parameter: int) -> Work:
    """Unwind whatever handlers there are; `stop` says when it is enough."""
    contexts, kind = proc.state(Contexts), proc.memory.u64(exception)
    for frame, procedure in _frames(proc, start):
        context = _Context(frame, procedure)
        handle = contexts.open(context)
        actions = _CLEANUP | _FORCE
        answer = yield Call(stop, _VERSION, actions, kind, exception, handle, parameter)
        contexts.close(handle)
        if answer & 0xFFFF_FFFF:
            return _FATAL_2
        if not procedure.personality:
            continue
        answer = yield from _ask(proc, context, actions, exception)
        if answer == _INSTALL_CONTEXT:
            yield Install(context)
        if answer != _CONTINUE:
            return _FATAL_2
    return _END_OF_STACK


@libsystem("int _Unwind_ForcedUnwind(void *, void *, void *)")
def forced_unwind(proc: Process, exception: int, stop: int, parameter: int) -> Work:
    proc.memory.pack("<QQ", exception + 16, stop, parameter)
    return _force(proc, proc.state(Unwinder).current(), exception, stop, parameter)


@libsystem("void _Unwind_DeleteException(void *)")
def delete_exception(proc: Process, exception: int) -> Work:
    cleanup = proc.memory.u64(exception + 8)
    if cleanup:
        yield Call(cleanup, 1, exception)  # _URC_FOREIGN_EXCEPTION_CAUGHT
    return 0


@libsystem("int _Unwind_Backtrace(void *, void *)")
def backtrace(proc: Process, function: int, argument: int) -> Work:
    contexts = proc.state(Contexts)
    for frame, procedure in _frames(proc, proc.state(Unwinder).current()):
        handle = contexts.open(_Context(frame, procedure))
        answer = yield Call(function, handle, argument)
        contexts.close(handle)
        if answer & 0xFFFF_FFFF:
            return _FATAL_1
    return _END_OF_STACK


# -- what a personality routine asks of its context


@libsystem("uintptr_t _Unwind_GetIP(void *)")
def get_ip(proc: Process, handle: int) -> int:
    return proc.state(Contexts).get(handle).frame.pc


@libsystem("uintptr_t _Unwind_GetIPInfo(void *, int *)")
def get_ip_info(proc: Process, handle: int, before: int) -> int:
    proc.memory.put_u32(before, 0)
    return proc.state(Contexts).get(handle).frame.pc


@libsystem("void _Unwind_SetIP(void *, uintptr_t)")
def set_ip(proc: Process, handle: int, pc: int) -> None:
    context = proc.state(Contexts).get(handle)
    context.frame = with_pc(context.frame, pc)


@libsystem("uintptr_t _Unwind_GetGR(void *, int)")
def get_register(proc: Process, handle: int, number: int) -> int:
    context = proc.state(Contexts).get(handle)
    return context.results.get(number, context.frame.registers.get(number, 0))


@libsystem("void _Unwind_SetGR(void *, int, uintptr_t)")
def set_register(proc: Process, handle: int, number: int, value: int) -> None:
    context = proc.state(Contexts).get(handle)
    if number in context.results:
        context.results[number] = value
    else:
        registers = {**context.frame.registers, number: value}
        context.frame = Frame(registers, context.frame.call)


@libsystem("uintptr_t _Unwind_GetCFA(void *)")
def get_cfa(proc: Process, handle: int) -> int:
    return proc.state(Contexts).get(handle).frame.registers[RSP]


@libsystem("uintptr_t _Unwind_GetLanguageSpecificData(void *)")
def get_lsda(proc: Process, handle: int) -> int:
    procedure = proc.state(Contexts).get(handle).procedure
    return procedure.lsda if procedure else 0


@libsystem("uintptr_t _Unwind_GetRegionStart(void *)")
def get_region_start(proc: Process, handle: int) -> int:
    procedure = proc.state(Contexts).get(handle).procedure
    return procedure.start if procedure else 0


@libsystem("uintptr_t _Unwind_GetTextRelBase(void *)", "_Unwind_GetDataRelBase")
def get_base(proc: Process, handle: int) -> int:
    return 0


@libsystem("void *_Unwind_FindEnclosingFunction(void *)")
def find_enclosing(proc: Process, pc: int) -> int:
    frame = Frame({16: pc}, call=True)
    procedure = proc.state(Unwinder).procedure(frame)
    return procedure.start if procedure else 0


@libsystem("int backtrace(void **, int)")
def backtrace_array(proc: Process, out: int, size: int) -> int:
    found: list[int] = []
    for frame, _ in _frames(proc, proc.state(Unwinder).current()):
        if len(found) >= size:
            break
        found.append(frame.pc)
    proc.memory.pack(f"<{len(found)}Q", out, *found)
    return len(found)
