"""Which thread runs, for how long, and what happens when its turn ends.

One processor runs one thread at a time. A turn ends when the thread blocks, or when its slice is
over: after a number of basic blocks, which a seeded run draws from the seed. Without slices, a
spinning thread would hang all others.

An emulated function that blocks or calls back is a generator; `advance` drives it until it
waits, calls the program, or returns.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

from unicorn.unicorn_py3.unicorn import UcError

from pielink.emulator.abi import Function
from pielink.emulator.errors import EmulatorError, Errno, GuestFault
from pielink.emulator.slices import Slices
from pielink.emulator.threads import (
    TIMEOUT,
    Call,
    Enter,
    Frame,
    Suspended,
    Thread,
    Wait,
    Work,
    make_thread,
    release_thread,
)
from pielink.emulator.traps import deliver, fail

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_SLICE = 100_000  # blocks
_BLOCK_PRICE = 20  # nanoseconds, on the counting clock
_PAUSE = 0.004  # seconds between looks for a signal from outside
_LONGEST_POLL_MS = 100  # so that signals from outside are seen soon


class Scheduler:
    """The run queue of one process."""

    def __init__(self, proc: Process) -> None:
        self.proc = proc
        self.threads: list[Thread] = []
        self.by_handle: dict[int, Thread] = {}
        self.current: Thread | None = None
        self.slices = self.switches = self.started = 0
        self._next = 0
        self._slices = Slices(proc.cpu.uc)
        self._functions: dict[int, Function] = {}
        self.after_turn: Any = None  # what a hook wants done outside of the emulation

    # -- threads

    def spawn(self, work: Work | None, stack_size: int) -> Thread:
        """A new thread whose life is `work`."""
        self.started += 1
        thread = make_thread(self.proc.memory, self.started, stack_size)
        thread.start = work
        self.threads.append(thread)
        self.by_handle[thread.handle] = thread
        return thread

    def finish(self, thread: Thread, result: int) -> None:
        """The thread is over: its memory goes, its result stays for pthread_join."""
        thread.dead, thread.result = True, result
        self.threads.remove(thread)
        thread.context = None
        if thread.detached:
            self.forget(thread)

    def forget(self, thread: Thread) -> None:
        """Give back the memory of a finished thread."""
        self.by_handle.pop(thread.handle, None)
        release_thread(self.proc.memory, thread)

    def switch(self, thread: Thread) -> None:
        """Put the thread's registers into the processor."""
        if self.current is thread:
            return
        uc = self.proc.cpu.uc
        if self.current is not None and not self.current.dead:
            if self.current.context is None:
                self.current.context = uc.context_save()
            else:
                uc.context_update(self.current.context)
        self.current = thread
        self.switches += 1
        if thread.context is not None:
            uc.context_restore(thread.context)
        else:
            self.proc.cpu.set_thread_pointer(thread.tsd)

    # -- emulated functions that block or call back

    def begin(self, work: Work, sp: int, return_address: int, function: Function) -> None:
        """Run a function that is a generator; called inside the emulation."""
        self._functions[id(work)] = function
        self.advance(self.proc.thread, work, None, sp, return_address)
        if self.proc.leaving:
            self.proc.traps.leave()

    def advance(
        self, thread: Thread, work: Work, value: Any, sp: int, return_address: int | None
    ) -> None:
        """Drive `work` until it waits, calls the program, or returns."""
        try:
            thrown = isinstance(value, Errno | GuestFault)
            step = work.throw(value) if thrown else work.send(value)
        except StopIteration as stop:
            self._return(thread, work, stop.value, sp, return_address)
        except Errno as failure:
            self._return(thread, work, fail(self.proc, failure), sp, return_address)
        else:
            self._suspend(thread, work, step, sp, return_address)

    def _suspend(
        self, thread: Thread, work: Work, step: Any, sp: int, return_address: int | None
    ) -> None:
        cpu = self.proc.cpu
        if isinstance(step, Wait):
            thread.suspended = Suspended(step, work, sp, return_address)
            self.proc.leaving = True
        elif isinstance(step, Call):
            back = self.proc.callback_return
            low = cpu.begin_call(self.proc.memory, step.function, step.arguments, sp, back)
            thread.frames.append(Frame(work, sp, return_address, low))
        elif isinstance(step, Enter):
            thread.frames.append(Frame(work, sp, return_address, 0))
            cpu.start(self.proc.memory, step.pc, step.sp)
        elif hasattr(step, "apply"):  # a register state to go on with
            self._functions.pop(id(work), None)
            step.apply(self.proc)
        else:
            raise EmulatorError(f"an emulated function yielded {step!r}")

    def _return(
        self, thread: Thread, work: Work, result: Any, sp: int, return_address: int | None
    ) -> None:
        function = self._functions.pop(id(work), None)
        thread.suspended = None
        if return_address is None:
            self.finish(thread, result or 0)
            self.proc.leaving = True
        else:
            deliver(self.proc, function, result, sp, return_address)

    def callback_returned(self, proc: Process) -> None:
        """The program came back from a Call (this is the trap that Calls return to)."""
        thread, sp = proc.thread, proc.cpu.stack_pointer()
        while thread.frames:  # longjmp may have left frames behind: they lie lower
            frame = thread.frames.pop()
            if frame.return_sp == sp:
                self.advance(thread, frame.work, proc.cpu.result(), frame.sp, frame.return_address)
                if proc.leaving:
                    proc.traps.leave()
                return
            self._functions.pop(id(frame.work), None)
        raise EmulatorError(f"return to a call-back that is over (stack pointer {sp:#x})")

    # -- the run queue

    def _ready(self, thread: Thread) -> bool:
        """Whether the thread can run; notes what its wait brought."""
        held = thread.suspended
        if held is None:
            return True
        try:
            outcome = held.wait.ready() if held.wait.ready is not None else None
        except GuestFault as fault:  # the program unmapped what the function waits for
            outcome = fault
        if outcome is not None:
            held.outcome = outcome
            return True
        if held.wait.deadline is not None and self.proc.clock.now() >= held.wait.deadline:
            held.outcome = TIMEOUT
            return True
        return self.proc.signals.deliverable(thread)

    def run(self) -> None:
        """Run until the program ends (GuestExit and GuestKilled tell how)."""
        while self.threads:
            count = len(self.threads)
            for offset in range(count):
                at = (self._next + offset) % count
                if self._ready(self.threads[at]):
                    self._next = at + 1
                    self.turn(self.threads[at])
                    break
            else:
                self.idle()

    def turn(self, thread: Thread) -> None:
        """Let one thread run until it blocks or its slice is over."""
        self.switch(thread)
        try:
            self._resume(thread)
        except GuestFault as fault:
            self.proc.signals.access_fault(fault.address, fault.write)
        while thread.suspended is None and not thread.dead:
            if not self.slice():
                return

    def _resume(self, thread: Thread) -> None:
        """Start the thread, or go on with what it waited for; then deliver a signal."""
        proc = self.proc
        proc.leaving = False
        if thread.start is not None:
            work, thread.start = thread.start, None
            self.advance(thread, work, None, thread.start_sp, None)
        elif (held := thread.suspended) is not None:
            if held.outcome is None:
                proc.signals.interrupt(thread, held)
            else:
                thread.suspended = None
                self.advance(thread, held.work, held.outcome, held.sp, held.return_address)
        if thread.suspended is None and not thread.dead:
            proc.signals.deliver(thread)

    def slice(self) -> bool:
        """Emulate; True when the thread should go on (a signal frame was left, a fault handled)."""
        proc = self.proc
        proc.leaving, self.after_turn = False, None
        proc.signals.fault = None
        blocks = proc.random.randrange(_SLICE // 10, _SLICE) if proc.seeded else _SLICE
        self.slices += 1
        proc.clock.charge(1000)
        try:
            self._slices.run(proc.cpu.pc(), blocks)
        except UcError as error:
            proc.signals.memory_fault(error)
            return True
        except GuestFault as fault:
            proc.traps.rewind()
            proc.signals.access_fault(fault.address, fault.write)
            return True
        if self.after_turn is not None:
            self.after_turn()
            return True
        if not proc.leaving:
            proc.clock.charge(blocks * _BLOCK_PRICE)
            return False
        return True

    def idle(self) -> None:
        """No thread can run: wait for a descriptor, or skip to the next deadline."""
        waits = [thread.suspended.wait for thread in self.threads if thread.suspended]
        deadlines = [wait.deadline for wait in waits if wait.deadline is not None]
        fds = {pair for wait in waits for pair in wait.fds}
        clock = self.proc.clock
        left = max(0, min(deadlines) - clock.now()) if deadlines else None
        if fds:
            started = time.monotonic_ns()
            if not self._poll(fds, left) and left is not None:
                spent = time.monotonic_ns() - started if self.proc.seeded else 0
                clock.skip(min(left, spent))
        elif left is not None:
            clock.skip(left)
        elif any(wait.forever for wait in waits):
            time.sleep(_PAUSE)
        else:
            raise EmulatorError("deadlock: every thread waits for another\n" + self.dump())

    @staticmethod
    def _poll(fds: set[tuple[int, int]], left: int | None) -> bool:
        """Wait for a descriptor on the host, at most `left` nanoseconds."""
        poll = select.poll()
        for fd, events in fds:
            poll.register(fd, events)
        timeout = _LONGEST_POLL_MS if left is None else min(left / 1e6, _LONGEST_POLL_MS)
        return bool(poll.poll(timeout))

    def dump(self) -> str:
        """One line for each thread: where it is."""
        lines = []
        for thread in self.threads:
            if thread is self.current:
                where = self.proc.dyld.describe(self.proc.cpu.pc())
            elif thread.suspended is not None:
                held = thread.suspended
                name = getattr(held.work, "__name__", "?")
                where = f"{name}, called from {self.proc.dyld.describe(held.return_address or 0)}"
            else:
                where = "ready"
            lines.append(f"  thread {thread.number}: {where}")
        return "\n".join(lines)
