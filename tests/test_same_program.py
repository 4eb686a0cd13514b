"""Oracles 1 and 2: pielink's output is what `go tool link` makes of the same inputs.

Every section is the same byte for byte, the same symbols stand at the same addresses, and dyld is
told the same fixups; -verify proves for each program, without a peer, that the rebases are all.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import lief
import pytest
from go_inputs import PREVIOUS_RELEASE, RELEASE, go_inputs
from linked_programs import checked

from pielink.inspect import compare, read_macho


@dataclass(frozen=True)
class Case:
    """A program, how it is compiled, and how it is linked."""

    program: str
    release: str = RELEASE
    build: tuple[str, ...] = ()
    link: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [self.program, self.release, *self.build, *self.link]
        return " ".join(parts)


PROGRAMS = ("hello", "kitchen-sink", "http", "cmd/gofmt", "cmd/vet", "cmd/go", "cmd/compile")
CASES = [
    *(Case(program) for program in PROGRAMS),
    *(Case(program, PREVIOUS_RELEASE) for program in ("hello", "kitchen-sink", "cmd/gofmt")),
    *(Case(program, link=("-s",)) for program in ("hello", "cmd/gofmt")),
    *(Case(program, link=("-buildmode=exe",)) for program in ("hello", "cmd/gofmt", "cmd/vet")),
    Case("hello", PREVIOUS_RELEASE, link=("-buildmode=exe",)),
    Case("hello", PREVIOUS_RELEASE, link=("-s",)),
    Case("kitchen-sink", link=("-X=main.version=v1.2.3",)),
    Case("kitchen-sink", link=("-X=main.version=a b=c", "-X=runtime.buildVersion=mine")),
    Case("kitchen-sink", build=("-trimpath",)),
    Case("hello", build=("-gcflags=all=-N -l",)),
    Case("kitchen-sink", PREVIOUS_RELEASE, build=("-gcflags=all=-N -l",)),
    Case("hello", build=("-cover",)),
    Case("hello", link=("-funcalign=64",)),
    Case("hello", link=("-T=0x4001000",)),
    Case("hello", link=("-R=0x4000",)),
    Case("hello", link=("-macos=14.2", "-macsdk=15.1.2")),
    Case("hello", link=("-B=0x00112233445566778899aabbccddeeff",)),
    Case("hello", link=("-buildid=",)),
    Case("hello", link=("-E=_rt0_amd64_darwin_lib",)),
]


@pytest.fixture(scope="module", params=CASES, ids=str)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Case, Path, Path]:
    """One case, linked by Go and by pielink with -verify."""
    case: Case = request.param
    inputs = go_inputs(case.program, case.release, case.build)
    ours = tmp_path_factory.mktemp("linked") / "program"
    prove = () if "-buildmode=exe" in case.link else ("-verify",)
    inputs.link_with_pielink((*case.link, *prove), ours)
    return case, inputs.reference(case.link), ours


def test_sections_symbols_and_fixups_are_the_same(pair: tuple[Case, Path, Path]) -> None:
    _, theirs, ours = pair
    found = compare(read_macho(theirs), read_macho(ours))
    assert [str(d) for d in found if not d.deliberate] == []


def test_another_reader_finds_the_same_fixups(pair: tuple[Case, Path, Path]) -> None:
    case, theirs, ours = pair
    assert fixups(ours) == fixups(theirs)
    if "-buildmode=exe" not in case.link:
        rebases, binds = fixups(ours)
        assert len(rebases) > 1000
        assert len(binds) > 10


def test_it_keeps_the_rules_of_dyld(pair: tuple[Case, Path, Path]) -> None:
    checked(pair[2])


def test_unpruned_map_initializers_run(tmp_path: Path) -> None:
    program = tmp_path / "hello"
    go_inputs("hello").link_with_pielink(("-pruneweakmap=false", "-verify"), program)
    done = subprocess.run(
        [sys.executable, "-m", "pielink", "run", program], capture_output=True, check=True
    )
    assert done.stdout == b"Hello from Go on darwin/amd64\n"
    symbols = read_macho(program).symbol_names
    assert b"_unicode.map.init.0" in symbols


def fixups(path: Path) -> tuple[set[int], set[tuple[object, ...]]]:
    """What LIEF reads: rebased addresses, and binds as (address, library, symbol, addend, weak)."""
    binary = lief.MachO.parse(str(path)).at(0)
    rebases = {
        r.address for r in binary.relocations if r.origin == lief.MachO.Relocation.ORIGIN.DYLDINFO
    }
    binds = {
        (b.address, b.library.name if b.has_library else "", b.symbol.name, b.addend, b.weak_import)
        for b in binary.bindings
    }
    return rebases, binds
