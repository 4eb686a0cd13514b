"""Programs with C code that Go's linker can link by itself: pielink's output is the same.

What cgo asks for without naming a library is bound to the library that has it, and exports are in
the trie; all else is equal byte for byte.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from go_inputs import PREVIOUS_RELEASE, RELEASE, go_inputs

from pielink.check import check
from pielink.inspect import compare, read_macho

CASES = Path(__file__).parent / "cases"
PROGRAMS = {"cgo_exports": CASES / "cgo_exports", "testlife": "test:cmd/cgo/internal/testlife"}


@pytest.fixture(scope="module", params=PROGRAMS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """One program, linked by Go and by pielink with -verify."""
    name: str = request.param
    inputs = go_inputs(PROGRAMS[name], cgo=True)
    ours = tmp_path_factory.mktemp("linked") / name
    inputs.link_with_pielink(("-verify",), ours)
    return inputs.reference(), ours


def test_sections_symbols_and_fixups_are_the_same(pair: tuple[Path, Path]) -> None:
    theirs, ours = pair
    found = compare(read_macho(theirs), read_macho(ours))
    assert [str(d) for d in found if not d.deliberate] == []


def test_dylib_symbols_have_a_library(pair: tuple[Path, Path]) -> None:
    file = read_macho(pair[1])
    assert len(file.binds.rows) > 50
    assert {file.library(n) for n in file.binds.rows["ordinal"].tolist()} <= {
        "/usr/lib/libSystem.B.dylib",
        "/usr/lib/libresolv.9.dylib",
    }


def test_no_rule_is_broken(pair: tuple[Path, Path]) -> None:
    assert check(pair[1]) == []


def test_c_and_go_call_each_other(tmp_path: Path) -> None:
    program = tmp_path / "program"
    go_inputs(PROGRAMS["cgo_exports"], cgo=True).link_with_pielink((), program)
    command = [sys.executable, "-m", "pielink", "run", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("3 42 16\n", 0), done.stderr


@pytest.mark.parametrize("release", [RELEASE, PREVIOUS_RELEASE])
def test_sections_of_host_objects_are_aligned(release: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    go_inputs(CASES / "cgo_aligned", release, cgo=True).link_with_pielink(("-verify",), program)
    command = [sys.executable, "-m", "pielink", "run", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
