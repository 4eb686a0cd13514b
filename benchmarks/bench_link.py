"""How long pielink takes, and how much memory, as ratios to `go tool link -w` on the same inputs.

Each round runs both linkers once, so that both see the same machine; a ratio is that of the
medians over all rounds. Memory is the peak resident size that the kernel reports for the process.

example: PYTHONPATH=tests python -m benchmarks.bench_link --rounds 7 hello cmd/compile
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from example_sources import fetch_sources
from go_inputs import GoInputs, go_inputs

# This process stays small (no NumPy): a child's peak is never below its parent's size at the
# moment of the spawn.


@dataclass(frozen=True)
class Limit:
    """The largest ratios to Go's linker that are allowed; None: reported only."""

    wall: float | None
    memory: float | None


PROGRAMS = {
    "hello": Limit(wall=2.2, memory=None),
    "cmd/gofmt": Limit(wall=None, memory=None),
    "cmd/go": Limit(wall=None, memory=None),
    "cmd/compile": Limit(wall=1.3, memory=1.7),
    "cgo-lua": Limit(wall=2.0, memory=None),
    "cgo-zstd": Limit(wall=2.0, memory=None),
}


@dataclass(frozen=True)
class Run:
    """One process: wall time in seconds, peak resident size in KiB."""

    wall: float
    memory: int


def measure(argv: list[str], environment: dict[str, str]) -> Run:
    """Run a command to its end; RuntimeError if it fails."""
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, environment)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{argv[0]} failed: {os.waitstatus_to_exitcode(status)}")
    return Run(wall, usage.ru_maxrss)


def rounds(inputs: GoInputs, count: int) -> tuple[Run, Run]:
    """The medians of both linkers: pielink, Go's."""
    environment = inputs.tool_environment()
    # An installed package has its byte code beside it; a warm-up run makes that of a checkout.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    output = inputs.directory / f"bench-{os.getpid()}"
    arguments = inputs.link_argv(output)
    ours = [str(Path(sys.executable).with_name("pielink")), "link", *arguments]
    theirs = [str(inputs.go_linker()), *arguments]
    runs: tuple[list[Run], list[Run]] = ([], [])
    try:
        for argv in (ours, theirs):
            measure(argv, environment)
        for _ in range(count):
            for argv, results in zip((ours, theirs), runs, strict=True):
                results.append(measure(argv, environment))
    finally:
        output.unlink(missing_ok=True)
    return median(runs[0]), median(runs[1])


def median(runs: list[Run]) -> Run:
    """The medians of wall time and of memory, each by itself."""
    return Run(
        statistics.median(run.wall for run in runs),
        int(statistics.median(run.memory for run in runs)),
    )


def inputs_of(program: str) -> GoInputs:
    """The inputs of a program; those of the cgo examples include objects of C."""
    cgo = program.startswith("cgo-")
    if cgo:
        fetch_sources(program)
    return go_inputs(program, cgo=cgo)


def verdict(ratio: float, limit: float | None) -> str:
    """The ratio, and whether it keeps its limit."""
    if limit is None:
        return f"{ratio:6.2f}"
    return f"{ratio:6.2f} {'within' if ratio <= limit else 'OVER'} {limit}"


def main() -> int:
    """Print one line per program; 1 if a ratio is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    print(f"ratios to go tool link -w, medians of {options.rounds}")
    print(f"{'program':<16}{'wall time':<20}{'peak memory':<20}")
    over = False
    for program in options.programs:
        limit = PROGRAMS.get(program, Limit(None, None))
        ours, theirs = rounds(inputs_of(program), options.rounds)
        wall, memory = ours.wall / theirs.wall, ours.memory / theirs.memory
        over |= wall > (limit.wall or wall) or memory > (limit.memory or memory)
        columns = f"{verdict(wall, limit.wall):<20}{verdict(memory, limit.memory)}"
        print(f"{program:<16}{columns}", flush=True)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
