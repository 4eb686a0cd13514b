"""`run`: one call from a path to an exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pielink.emulator.errors import GuestExit, GuestKilled
from pielink.emulator.process import Process
from pielink.errors import UsageError

BindMode = Literal["now", "lazy"]


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """What a run did. Times are in seconds."""

    slide: int
    rebases: int
    binds: int
    libraries: int
    load_time: float
    run_time: float
    threads: int
    slices: int
    switches: int
    signals: int
    calls: dict[str, int] = field(default_factory=dict)  # import -> how often it was called


@dataclass(frozen=True, slots=True)
class RunResult:
    """How the program ended: `signal` is the Darwin signal that killed it, or 0."""

    exit_status: int
    signal: int
    message: str  # why a signal killed it: place and threads
    statistics: RunStatistics


def _statistics(proc: Process, loaded: float, started: float) -> RunStatistics:
    images, scheduler = proc.dyld.images, proc.scheduler
    return RunStatistics(
        slide=proc.dyld.main.slide,
        rebases=sum(image.rebases for image in images),
        binds=sum(image.binds for image in images),
        libraries=len(images) - 1,
        load_time=loaded - started,
        run_time=time.perf_counter() - loaded,
        threads=scheduler.started,
        slices=scheduler.slices,
        switches=scheduler.switches,
        signals=proc.signals.delivered,
        calls={trap.symbol: trap.calls for trap in proc.traps if trap.calls},
    )


@contextlib.contextmanager
def _forwarding(proc: Process) -> Iterator[None]:
    """Send the signals of a terminal session on to the program; their numbers are Darwin's too."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = {
        number: signal.signal(number, lambda number, _: proc.signals.send(number))
        for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _host_state() -> Iterator[None]:
    """Keep this process's working directory and file mode mask, which the program may change."""
    directory = os.open(".", os.O_RDONLY)
    mask = os.umask(0o22)
    os.umask(mask)
    try:
        yield
    finally:
        os.umask(mask)
        os.fchdir(directory)
        os.close(directory)


def run(
    path: str | os.PathLike[str],
    args: Sequence[str] = (),
    *,
    env: Mapping[str, str] | None = None,
    slide: int | None = None,
    seed: int | None = None,
    bind: BindMode = "now",
    forward_signals: bool = False,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
) -> RunResult:
    """Run a macOS executable and wait for its end.

    `args` are the arguments after argv[0]; `env` is the whole environment (default: this
    process's). `slide` is in bytes (default: random); `seed` makes slide, scheduling, clocks and
    random numbers the same at every run. `bind` tells when function stubs are bound. With
    `forward_signals` (main thread only), SIGINT, SIGTERM, SIGHUP and SIGQUIT sent to this process
    go to the program. `stdin`, `stdout` and `stderr` are descriptors of this process.

    Raises FormatError for a malformed file, LoadError for a missing library or symbol,
    UnimplementedImportError when the program uses what the emulator lacks, EmulatorError otherwise.
    """
    if bind not in ("now", "lazy"):
        raise UsageError(f"bind must be 'now' or 'lazy', not {bind!r}")
    started = time.perf_counter()
    proc = Process(
        os.fspath(path),
        args,
        dict(os.environ if env is None else env),
        slide=slide,
        seed=seed,
        bind_lazily=bind == "lazy",
        descriptors=(stdin, stdout, stderr),
    )
    loaded = time.perf_counter()
    status, killed_by, message = 0, 0, ""
    try:
        with _host_state(), _forwarding(proc) if forward_signals else contextlib.nullcontext():
            proc.run()
    except GuestExit as end:
        status = end.status
    except GuestKilled as end:
        status, killed_by, message = 128 + end.signal, end.signal, end.reason
    finally:
        proc.close()
    return RunResult(status, killed_by, message, _statistics(proc, loaded, started))
