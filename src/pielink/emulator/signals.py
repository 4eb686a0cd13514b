"""Signals: faults of the processor, kill and raise, and the frames that handlers run on.

Signal numbers, flags and structures are Darwin's. A handler runs on a frame that holds the
siginfo and the ucontext with the interrupted registers; it returns to a trap that restores them,
with the changes that the handler made (the Go runtime injects calls that way).

A stream of signals must not keep a thread inside its handler for ever: signals are delivered at
the start of a turn only, and after a handler returned the thread goes on with its turn.

Source: <sys/signal.h>, <sys/_types/_ucontext.h>, xnu's bsd/dev/i386/unix_signal.c.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unicorn import unicorn_const as uc_const

from pielink.emulator.errors import (
    EmulatorError,
    Errno,
    GuestFault,
    GuestKilled,
    UnimplementedImportError,
)
from pielink.emulator.threads import SignalFrame, Suspended, Thread

if TYPE_CHECKING:
    from pielink.emulator.process import Process

SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGKILL, SIGBUS, SIGSEGV = 4, 5, 6, 8, 9, 10, 11
SIGPIPE, SIGALRM, SIGSTOP = 13, 14, 17
_NAMES = (
    "HUP INT QUIT ILL TRAP ABRT EMT FPE KILL BUS SEGV SYS PIPE ALRM TERM URG STOP TSTP CONT "
    "CHLD TTIN TTOU IO XCPU XFSZ VTALRM PROF WINCH INFO USR1 USR2"
)
NAMES = dict(enumerate(_NAMES.split(), start=1))
_IGNORED_BY_DEFAULT = {16, 19, 20, 23, 28, 29}  # URG CONT CHLD IO WINCH INFO
SIG_DFL, SIG_IGN = 0, 1
SA_ONSTACK, SA_RESTART, SA_RESETHAND, SA_NODEFER = 1, 2, 4, 0x10
SS_DISABLE = 4
_SI_USER = 0x10001
_EINTR = 4
_RED_ZONE = 128
_WRITES = (uc_const.UC_MEM_WRITE_UNMAPPED, uc_const.UC_MEM_WRITE_PROT)


@dataclass
class Fault:
    """A processor exception, as the machine context records it."""

    trap: int = 0
    error: int = 0
    address: int = 0


@dataclass
class Action:
    """struct sigaction."""

    handler: int = SIG_DFL
    mask: int = 0
    flags: int = 0


@dataclass
class Signals:
    """The signal state of a process."""

    proc: Process
    actions: dict[int, Action] = field(default_factory=dict)
    fault: tuple[int, int] | None = None  # what the hook saw: access, address
    delivered: int = 0
    pending: list[int] = field(default_factory=list)  # sent to the process, not to a thread

    def __post_init__(self) -> None:
        uc = self.proc.cpu.uc
        uc.hook_add(uc_const.UC_HOOK_MEM_INVALID, self._on_invalid_memory)
        uc.hook_add(uc_const.UC_HOOK_INTR, self._on_exception)
        uc.hook_add(uc_const.UC_HOOK_INSN_INVALID, self._on_invalid_instruction)

    # -- hooks

    def _on_invalid_memory(
        self, _uc: Any, access: int, address: int, _size: int, _value: int, _data: Any
    ) -> bool:
        self.fault = (access, address)
        return False

    def _on_exception(self, _uc: Any, number: int, _data: Any) -> None:
        self._stop_for(number)

    def _on_invalid_instruction(self, _uc: Any, _data: Any) -> bool:
        self._stop_for(6)
        return True

    def _stop_for(self, number: int) -> None:
        self.proc.scheduler.after_turn = lambda: self._exception(number)
        self.proc.leaving = True
        self.proc.cpu.uc.emu_stop()

    # -- faults

    def _exception(self, number: int) -> None:
        """A processor exception other than a memory fault becomes its signal."""
        signal, code = self.proc.cpu.exception_signals.get(number, (SIGILL, 1))
        pc = self.proc.cpu.pc()
        self.raise_now(signal, code, pc, Fault(number, 0, pc), f"exception {number}")

    def memory_fault(self, error: Exception) -> None:
        """Unicorn stopped at an access that the address space forbids."""
        if self.fault is None:
            if getattr(error, "errno", 0) == uc_const.UC_ERR_INSN_INVALID:
                self._exception(6)
                return
            raise EmulatorError(f"{error}\n{self.proc.scheduler.dump()}")
        access, address = self.fault
        self.access_fault(address, access in _WRITES)

    def access_fault(self, address: int, write: bool) -> None:
        """SIGBUS for a page with another protection, SIGSEGV where nothing is mapped."""
        proc = self.proc
        trap = proc.traps.at(address)
        if trap is not None and proc.traps.at(proc.cpu.pc()) is None:
            where = proc.dyld.describe(proc.cpu.pc())
            raise UnimplementedImportError(trap.symbol, trap.library, where, as_data=True)
        mapped = proc.memory.find(address) is not None
        signal, code = (SIGBUS, 2) if mapped else (SIGSEGV, 1)
        fault = Fault(14, 4 | (2 if write else 0) | int(mapped), address)
        how = "write to" if write else "access to"
        self.raise_now(signal, code, address, fault, f"{how} {address:#x}")

    def raise_now(self, signal: int, code: int, address: int, fault: Fault, why: str) -> None:
        """A signal that the current instruction caused: it cannot be blocked or ignored."""
        action = self.actions.get(signal, Action())
        thread = self.proc.thread
        blocked = thread.signal_mask >> (signal - 1) & 1
        if action.handler in (SIG_DFL, SIG_IGN) or blocked:
            reason = f"{why} at {self.proc.dyld.describe(self.proc.cpu.pc())}"
            raise GuestKilled(signal, f"{reason}\n{self.proc.scheduler.dump()}")
        self.push(thread, signal, code, address, fault, None)

    # -- sending and delivering

    def send(self, signal: int, thread: Thread | None = None) -> None:
        """Send to one thread, or to the process."""
        queue = self.pending if thread is None else thread.pending
        if signal and signal not in queue:
            queue.append(signal)

    def _next(self, thread: Thread) -> tuple[list[int], int] | None:
        """The first signal that the thread does not block, and its queue."""
        for queue in (thread.pending, self.pending):
            for signal in queue:
                if not thread.signal_mask >> (signal - 1) & 1:
                    return queue, signal
        return None

    def _discard_ignored(self, thread: Thread) -> None:
        for queue in (thread.pending, self.pending):
            queue[:] = [signal for signal in queue if not self.ignored(signal)]

    def ignored(self, signal: int) -> bool:
        """Whether the signal would have no effect."""
        handler = self.actions.get(signal, Action()).handler
        return handler == SIG_IGN or (handler == SIG_DFL and signal in _IGNORED_BY_DEFAULT)

    def deliverable(self, thread: Thread) -> bool:
        """Whether a signal would change what the thread does."""
        if not thread.pending and not self.pending:
            return False
        self._discard_ignored(thread)
        return self._next(thread) is not None

    def deliver(self, thread: Thread, suspended: Suspended | None = None) -> bool:
        """Start the handler of one pending signal, if there is one."""
        if not self.deliverable(thread):
            return False
        found = self._next(thread)
        if found is None:
            return False
        queue, signal = found
        queue.remove(signal)
        if self.actions.get(signal, Action()).handler == SIG_DFL:
            raise GuestKilled(signal, "default action")
        self.push(thread, signal, _SI_USER, 0, Fault(), suspended)
        return True

    def interrupt(self, thread: Thread, held: Suspended) -> None:
        """A signal arrived while an emulated function waits: run the handler, wait on later."""
        thread.suspended = None
        if not self.deliver(thread, held):
            thread.suspended = held

    # -- frames

    def push(
        self,
        thread: Thread,
        signal: int,
        code: int,
        address: int,
        fault: Fault,
        suspended: Suspended | None,
    ) -> None:
        """Make the thread run the handler of `signal`."""
        self.delivered += 1
        try:
            self._push(thread, signal, code, address, fault, suspended)
        except GuestFault as failure:
            where = f"{failure.address:#x}\n{self.proc.scheduler.dump()}"
            raise GuestKilled(signal, f"no stack for its handler at {where}") from failure

    def _push(
        self,
        thread: Thread,
        signal: int,
        code: int,
        address: int,
        fault: Fault,
        suspended: Suspended | None,
    ) -> None:
        cpu, memory, action = self.proc.cpu, self.proc.memory, self.actions[signal]
        context, machine = cpu.uc.context_save(), cpu.pack_context(fault)
        sp, on_alternate = self._handler_stack(thread, action)
        at = (sp - len(machine)) & -64
        memory.write(at, machine)
        ucontext = at - 64
        stack = thread.alternate_stack
        memory.pack(
            "<iIQQiiQQQ", ucontext, int(on_alternate), thread.signal_mask,
            *stack, 0, 0, len(machine), at,
        )  # fmt: skip
        info = ucontext - 128
        sender = os.getpid() if code == _SI_USER else 0
        memory.pack("<iiiiIiQ72x", info, signal, 0, code, sender, 0, 0, address)
        thread.signal_mask |= action.mask
        if not action.flags & SA_NODEFER:
            thread.signal_mask |= 1 << (signal - 1)
        if action.flags & SA_RESETHAND:
            self.actions[signal] = Action()
        arguments = (signal, info, ucontext)
        back = cpu.begin_call(memory, action.handler, arguments, info, self.proc.signal_return)
        restart = bool(action.flags & SA_RESTART)
        thread.signal_frames.append(SignalFrame(context, ucontext, back, suspended, restart))

    def _handler_stack(self, thread: Thread, action: Action) -> tuple[int, bool]:
        """Where the handler's frame goes, and whether the thread was on the alternate stack."""
        sp = self.proc.cpu.stack_pointer()
        base, size, flags = thread.alternate_stack
        inside = base <= sp < base + size and not flags & SS_DISABLE
        if action.flags & SA_ONSTACK and not flags & SS_DISABLE and not inside:
            return base + size, inside
        return sp - _RED_ZONE, inside

    def returned(self, proc: Process) -> None:
        """A handler came back (this is the trap that handlers return to)."""
        sp = proc.cpu.stack_pointer()
        proc.scheduler.after_turn = lambda: self._restore(sp)
        proc.traps.leave()

    def _restore(self, sp: int) -> None:
        """Take the registers from the frame, as the handler left them."""
        proc = self.proc
        thread = proc.thread
        while thread.signal_frames:  # siglongjmp may have left frames behind: they lie lower
            frame = thread.signal_frames.pop()
            if frame.return_sp == sp:
                break
        else:
            raise EmulatorError("return from a signal handler that is not running")
        at = proc.memory.u64(frame.ucontext + 48)
        machine = proc.memory.read(at, proc.cpu.context_size)
        thread.signal_mask = proc.memory.u32(frame.ucontext + 4)
        proc.cpu.uc.context_restore(frame.context)
        proc.cpu.unpack_context(machine)
        if frame.suspended is not None:
            self._resume(thread, frame.suspended, frame.restart)

    def _resume(self, thread: Thread, held: Suspended, restart: bool) -> None:
        """Go on with the wait that the handler interrupted, or end it with EINTR."""
        if held.wait.interruptible and not restart:
            outcome: Any = Errno(_EINTR)
            self.proc.scheduler.advance(thread, held.work, outcome, held.sp, held.return_address)
        else:
            thread.suspended = held
