"""Threads of the program, and what they can wait for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from pielink.emulator.memory import READ, WRITE, AddressSpace

Work = Generator[Any, Any, Any]
TIMEOUT = object()  # what a Wait yields when its deadline passed
SLOTS = 768  # thread-specific data slots; Darwin keeps the first 256 for itself
_TSD_SIZE = 0x4000
_GUARD = 0x4000


@dataclass
class Wait:
    """Blocks the thread until `ready()` gives something other than None, or until `deadline`.

    `fds` are (host descriptor, poll events) whose readiness may end the wait. A wait with
    `interruptible` fails with EINTR when a signal handler ran; `forever` marks one that only a
    signal can end, so that it is no deadlock.
    """

    ready: Callable[[], Any] | None = None
    deadline: int | None = None
    fds: tuple[tuple[int, int], ...] = ()
    interruptible: bool = False
    forever: bool = False


class Call:
    """Calls a function of the program; the generator gets its result."""

    def __init__(self, function: int, *arguments: int) -> None:
        self.function, self.arguments = function, arguments


class Enter:
    """Starts running at `pc` and never comes back."""

    def __init__(self, pc: int, sp: int) -> None:
        self.pc, self.sp = pc, sp


@dataclass
class Frame:
    """An emulated function that waits for its call into the program to return."""

    work: Work
    sp: int
    return_address: int | None
    return_sp: int


@dataclass
class Suspended:
    """An emulated function that waits: for `wait`, entered with `sp` from `return_address`."""

    wait: Wait
    work: Work
    sp: int
    return_address: int | None
    outcome: Any = None


@dataclass
class SignalFrame:
    """What sigreturn needs of the interrupted code."""

    context: Any
    ucontext: int
    return_sp: int
    suspended: Suspended | None
    restart: bool


@dataclass(eq=False)
class Thread:
    """One thread: its registers (`context`) live in the processor while it runs."""

    number: int
    tsd: int
    stack_low: int
    stack_high: int
    start_sp: int
    context: Any = None
    frames: list[Frame] = field(default_factory=list)
    suspended: Suspended | None = None
    start: Work | None = None
    signal_mask: int = 0
    pending: list[int] = field(default_factory=list)
    alternate_stack: tuple[int, int, int] = (0, 0, 4)
    signal_frames: list[SignalFrame] = field(default_factory=list)
    dead: bool = False
    detached: bool = False
    result: int = 0
    name: bytes = b""
    templates: dict[int, int] = field(default_factory=dict)  # image header -> its TLV block
    exit_functions: list[tuple[int, int]] = field(default_factory=list)

    @property
    def errno_address(self) -> int:
        """Where this thread's errno lives."""
        return self.tsd + 8 * SLOTS

    @property
    def handle(self) -> int:
        """Its pthread_t."""
        return self.tsd - 0x100


def make_thread(memory: AddressSpace, number: int, stack_size: int) -> Thread:
    """Allocate a thread's data and its stack, with a guard below."""
    tsd = memory.allocate(_TSD_SIZE, READ | WRITE, f"thread {number}") + 0x1000
    size = memory.page_round(stack_size)
    guard = memory.allocate(size + _GUARD, 0, f"stack guard {number}")
    low = memory.map(guard + _GUARD, size, READ | WRITE, f"stack {number}")
    thread = Thread(number, tsd, low, low + size, low + size - 512)
    memory.put_u64(tsd, thread.handle)  # slot 0: pthread_self; slot 1: the address of errno
    memory.put_u64(tsd + 8, thread.errno_address)
    return thread


def release_thread(memory: AddressSpace, thread: Thread) -> None:
    """Free what `make_thread` allocated."""
    low = thread.stack_low - _GUARD
    memory.unmap(low, thread.stack_high - low)
    memory.unmap(thread.tsd - 0x1000, _TSD_SIZE)
