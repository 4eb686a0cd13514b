"""Damaged Go objects end in an error or in a file: never in a traceback, a hang or a memory hog.

Each case is a link in a forked process with limits on time and memory.
"""

from __future__ import annotations

import mmap
import os
import random
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from go_compile import Workshop
from go_inputs import ROOT, go_inputs
from goobj_edit import edited, join, member
from goobj_mutate import FAMILIES, mutated
from host_inputs import compile_object
from invalid.host_objects import mutate

from pielink.check import check
from pielink.cli import main
from pielink.inspect import read_macho

TARGET = ROOT / "tests" / "cases" / "fuzz-target"
HOST_SOURCE = ROOT / "tests" / "cases" / "host" / "features.c"
# What is damaged: mostly the program's own packages, sometimes parts of the standard library.
VICTIMS = (*["main"] * 6, *["example/part"] * 3, "internal/abi", "internal/bytealg", "runtime")
# Flags that let passes run that others leave out.
FLAGS: tuple[tuple[str, ...], ...] = (
    *[()] * 4,
    ("-c", "-dumpdep", "-debugnosplit"),
    ("-strictdups=1", "-checklinkname=0", "-export-dynamic", "-bind=lazy"),
    ("-verify", "-dyldinfo=chained", "-macos=13", "-X=example/part.Message=other"),
    ("-buildmode=exe", "-s", "-randlayout=3"),
)
CPU_SECONDS = 20
# What a link may take beyond what the tests' own process, from which it is forked, has already.
MEMORY = 3 << 30  # of address space: 1 GiB is what the linker reserves for its own tables
RESIDENT = 500 << 20
QUICK, THOROUGH = 18, 180  # cases of each family


class Outcome(NamedTuple):
    """How a link in a child process ended."""

    status: int  # as os.waitstatus_to_exitcode gives it
    report: str  # the traceback, if there was one
    resident: int  # peak less what the tests' own process had, in bytes


CRASHED = 70


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The program, compiled."""
    import_module("pielink.pipeline")  # so that the children need not import it
    work = Workshop(go_inputs("hello"), tmp_path_factory.mktemp("fuzz"))
    part = TARGET / "part"
    work.compile("example/part", (part / "part.go").read_text(), (part / "part.s").read_text())
    work.compile("main", (TARGET / "main.go").read_text())
    return work


def link_in_child(argv: list[str], output: Path, report: Path) -> Outcome:
    """Link in a forked process, then read what came out."""
    space, before = taken()
    child = os.fork()
    if child == 0:
        os._exit(_link(argv, output, report, space + MEMORY))
    _, status, usage = os.wait4(child, 0)
    text = report.read_text(errors="replace") if report.exists() else ""
    return Outcome(os.waitstatus_to_exitcode(status), text, (usage.ru_maxrss << 10) - before)


def taken() -> tuple[int, int]:
    """Address space and resident memory of this process, in bytes."""
    pages = Path("/proc/self/statm").read_text().split()
    return int(pages[0]) * mmap.PAGESIZE, int(pages[1]) * mmap.PAGESIZE


def _link(argv: list[str], output: Path, report: Path, space: int) -> int:
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
        signal.alarm(10 * CPU_SECONDS)
        with open(os.devnull, "w") as sys.stdout, open(report, "w", errors="replace") as sys.stderr:
            status = main(["link", *argv])
        if status == 0:
            check(output, "26.0")
            read_macho(output)
    except BaseException:
        report.write_text(traceback.format_exc())
        return CRASHED
    return status


def cases(family: str, numbers: range) -> Iterator[tuple[str, random.Random]]:
    for number in numbers:
        name = f"{family} {number}"
        yield name, random.Random(name)


def fault(work: Workshop, name: str, family: str, chance: random.Random, folder: Path) -> str:
    """What is wrong with how the linker takes one case of Go objects; "" if nothing is."""
    victim = chance.choice(VICTIMS)
    members = edited(work.path(victim))
    damaged = folder / "damaged.a"
    damaged.write_bytes(mutated(members, family, chance))
    output = folder / "out" / "program"
    argv = work.link_argv(output, *chance.choice(FLAGS))
    if victim == "main":
        argv[-1] = str(damaged)
    else:
        config = folder / "importcfg"
        text = Path(argv[argv.index("-importcfg") + 1]).read_text()
        config.write_text(text.replace(f"={work.path(victim)}\n", f"={damaged}\n"))
        argv[argv.index("-importcfg") + 1] = str(config)
    return fault_of(argv, output, f"{name} ({victim})")


def host_fault(work: Workshop, name: str, chance: random.Random, folder: Path) -> str:
    """The same for an object of a C compiler in the archive of package main."""
    body = mutate(compile_object(HOST_SOURCE.read_text()).read_bytes(), chance)
    damaged = folder / "damaged.a"
    damaged.write_bytes(join([*edited(work.main), member("c.o", body)]))
    output = folder / "out" / "program"
    flags = ("-extldflags=-Wl,-u,_main", *chance.choice(FLAGS))
    argv = [*work.link_argv(output, *flags)[:-1], str(damaged)]
    return fault_of(argv, output, name)


def fault_of(argv: list[str], output: Path, where: str) -> str:
    """Link; what is wrong with how that ended."""
    report = output.parent.with_name("report")
    output.parent.mkdir()
    ended = link_in_child(argv, output, report)
    left = list(output.parent.iterdir())
    shutil.rmtree(output.parent)
    report.unlink(missing_ok=True)
    if ended.status not in (0, 1):
        return f"{where}: status {ended.status}\n{ended.report}"
    if bool(left) == bool(ended.status):
        return f"{where}: status {ended.status}, but there is {left}\n{ended.report}"
    if ended.status and "pielink link: " not in ended.report:
        return f"{where}: no message, but {ended.report!r}"
    if ended.resident > RESIDENT or "out of memory" in ended.report:
        return f"{where}: took {ended.resident >> 20} MiB"
    return ""


def faults(work: Workshop, family: str, numbers: range, folder: Path) -> list[str]:
    found = (fault(work, name, family, chance, folder) for name, chance in cases(family, numbers))
    return [each for each in found if each]


@pytest.mark.parametrize("family", [*FAMILIES, "archive"])
def test_damaged_objects(family: str, target: Workshop, tmp_path: Path) -> None:
    assert faults(target, family, range(QUICK), tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, "archive"])
def test_more_damaged_objects(family: str, target: Workshop, tmp_path: Path) -> None:
    assert faults(target, family, range(QUICK, THOROUGH), tmp_path) == []


@pytest.mark.parametrize(
    "numbers",
    [range(2 * QUICK), pytest.param(range(2 * QUICK, 4 * THOROUGH), marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_damaged_host_objects(numbers: range, target: Workshop, tmp_path: Path) -> None:
    found = (host_fault(target, name, chance, tmp_path) for name, chance in cases("host", numbers))
    assert [each for each in found if each] == []


def test_the_sound_program_links(target: Workshop, tmp_path: Path) -> None:
    ended = link_in_child(target.link_argv(tmp_path / "out"), tmp_path / "out", tmp_path / "report")
    assert (ended.status, ended.report) == (0, "")
    assert ended.resident < RESIDENT
