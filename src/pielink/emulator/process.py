"""One emulated process: the processor, the memory, the images, the threads, and the way out.

The state of each topic of libSystem (open files, the heap, locks, ...) is a class that its module
owns; `proc.state(Class)` makes it on first use, so that this file knows none of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from pielink.emulator.abi import Function
from pielink.emulator.clock import Clock, CountingClock, HostClock
from pielink.emulator.cpu import Cpu, open_cpu
from pielink.emulator.errors import EmulatorError
from pielink.emulator.libsystem import LIBRARIES
from pielink.emulator.loader import Dyld
from pielink.emulator.machofile import read_executable
from pielink.emulator.memory import READ, WRITE, AddressSpace
from pielink.emulator.scheduler import Scheduler
from pielink.emulator.signals import Signals
from pielink.emulator.startup import build_stack, main_thread
from pielink.emulator.threads import Thread
from pielink.emulator.traps import Traps
from pielink.formats import macho

_MAIN_STACK = 8 << 20
_SLIDE_PAGES = 0x8000
_DATA_SIZE = 0x10000


class _State(Protocol):
    def __init__(self, proc: Process) -> None: ...


S = TypeVar("S", bound=_State)


class Process:
    """Loads a program; `run` runs it to its end."""

    def __init__(
        self,
        path: str,
        arguments: Sequence[str],
        environment: dict[str, str],
        *,
        slide: int | None = None,
        seed: int | None = None,
        bind_lazily: bool = False,
        descriptors: tuple[int, int, int] = (0, 1, 2),
    ) -> None:
        data = _read(path)
        image = read_executable(data, path)
        self.path = os.path.abspath(path)
        self.arguments = [path, *arguments]
        self.environment = environment
        self.descriptors = descriptors
        self.seeded = seed is not None
        self.random = random.Random(seed) if self.seeded else random.SystemRandom()
        self.clock: Clock = CountingClock() if self.seeded else HostClock()
        self.cpu: Cpu = open_cpu(image.cputype)
        self.memory = AddressSpace(self.cpu.uc, self.cpu.page_size)
        self._states: dict[type, Any] = {}
        self.at_close: list[Callable[[], None]] = []
        self._data, self._data_end = 0, 0
        self.environ_address = self.argv_address = 0
        self.leaving = False  # the current turn is over: hooks must not act
        self.traps = Traps(self)
        self.signals = Signals(self)
        self.scheduler = Scheduler(self)
        back = Function("", self.scheduler.callback_returned, "", raw=True)
        self.callback_return = self.traps.add("<call-back return>", "", back)
        back = Function("", self.signals.returned, "", raw=True)
        self.signal_return = self.traps.add("<signal return>", "", back)
        self.dyld = Dyld(self, LIBRARIES, bind_lazily)
        movable = bool(image.flags & macho.MH_PIE)
        if slide is None:
            slide = self.random.randrange(1, _SLIDE_PAGES) * 0x4000 if movable else 0
        self._check_slide(slide, image.end)
        if slide and not movable:
            raise EmulatorError(f"{path} is no position-independent executable: it has no slide")
        self.dyld.load_main(path, data, slide)

    def _check_slide(self, slide: int, end: int) -> None:
        if slide % self.cpu.page_size or not 0 <= slide < (1 << 46) - end:
            raise EmulatorError(
                f"slide {slide:#x} is not a multiple of {self.cpu.page_size:#x} below 2^46"
            )

    @property
    def thread(self) -> Thread:
        """The thread whose registers are in the processor."""
        thread = self.scheduler.current
        assert thread is not None
        return thread

    def state(self, kind: type[S]) -> S:
        """The one instance of a topic's state."""
        found: S | None = self._states.get(kind)
        if found is None:
            found = self._states[kind] = kind(self)
        return found

    def allocate_data(self, size: int) -> int:
        """Zeroed memory for a variable of an emulated library, for ever."""
        size = (size + 15) & -16
        if self._data + size > self._data_end:
            room = max(size, _DATA_SIZE)
            self._data = self.memory.allocate(room, READ | WRITE, "library data")
            self._data_end = self._data + room
        self._data += size
        return self._data - size

    def close(self) -> None:
        """Give back what the topics hold of the host."""
        for function in self.at_close:
            function()

    def run(self) -> None:
        """Run to the end: GuestExit and GuestKilled tell how it ended."""
        thread = self.scheduler.spawn(None, _MAIN_STACK)
        vectors = build_stack(self, thread)
        thread.start, thread.start_sp = main_thread(self, vectors), vectors.sp
        self.scheduler.run()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise EmulatorError(f"{path}: {error.strerror}") from error
