"""Programs with C code that Go's linker can link by itself: pielink's output is the same.

What cgo asks for without naming a library is bound to the library that has it, and exports are in
the trie; all else is equal byte for byte.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cgo_suite
import pytest
from example_sources import fetch_sources
from go_inputs import PREVIOUS_RELEASE, RELEASE, go_inputs

from pielink.check import check
from pielink.inspect import compare, read_macho

CASES = Path(__file__).parent / "cases"
SUITE = (cgo_suite.SUITE_TAGS, cgo_suite.overlay(cgo_suite.SUITE_CHANGES))
PROGRAMS: dict[str, tuple[str | Path, tuple[str, ...]]] = {  # name -> what to build, build flags
    "cgo_exports": (CASES / "cgo_exports", ()),
    "cgo-lua": ("cgo-lua", ()),
    "cgo-zstd": ("cgo-zstd", ()),
    "race": ("hello", ("-race",)),  # its code is a .syso file of C++ code
    "testlife": ("test:cmd/cgo/internal/testlife", ()),
    "suite": ("test:cmd/cgo/internal/test", SUITE),
    "stdio": (cgo_suite.stdio_folder("fib"), (cgo_suite.STDIO_TAGS,)),
    "user": ("test:os/user", ()),
    "net": ("test:net", ()),
    "x509": ("test:crypto/x509", (cgo_suite.overlay(cgo_suite.X509_CHANGES),)),
}

FRAMEWORKS = "/System/Library/Frameworks"
LIBRARIES = {
    "/usr/lib/libSystem.B.dylib",
    "/usr/lib/libresolv.9.dylib",
    f"{FRAMEWORKS}/CoreFoundation.framework/Versions/A/CoreFoundation",
    f"{FRAMEWORKS}/Security.framework/Versions/A/Security",
}


@pytest.fixture(scope="module", params=PROGRAMS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """One program, linked by Go and by pielink with -verify."""
    name: str = request.param
    if name.startswith("cgo-"):
        fetch_sources(name)
    program, flags = PROGRAMS[name]
    inputs = go_inputs(program, build_flags=flags, cgo=True)
    ours = tmp_path_factory.mktemp("linked") / name
    inputs.link_with_pielink(("-verify",), ours)
    return inputs.reference(), ours


def test_sections_symbols_and_fixups_are_the_same(pair: tuple[Path, Path]) -> None:
    theirs, ours = pair
    found = compare(read_macho(theirs), read_macho(ours))
    assert [str(d) for d in found if not d.deliberate] == []


def test_stripped_programs_are_the_same(tmp_path: Path) -> None:
    inputs = go_inputs(PROGRAMS["cgo_exports"][0], cgo=True)
    ours = inputs.link_with_pielink(("-s",), tmp_path / "program")
    found = compare(read_macho(inputs.reference(("-s",))), read_macho(ours))
    assert [str(d) for d in found if not d.deliberate] == []
    assert check(ours) == []


def test_dylib_symbols_have_a_library(pair: tuple[Path, Path]) -> None:
    file = read_macho(pair[1])
    assert len(file.binds.rows) > 50
    libraries: dict[str, set[bytes]] = {}
    for row in file.binds.rows:
        library = file.library(int(row["ordinal"]))
        libraries.setdefault(library, set()).add(file.binds.names[row["name"]])
    nowhere = libraries.pop("flat-namespace", set())
    assert nowhere <= {b"___gotest_cgo_null_api"}  # weak: no library has it
    assert set(libraries) <= LIBRARIES


def test_no_rule_is_broken(pair: tuple[Path, Path]) -> None:
    assert check(pair[1]) == []


def test_c_and_go_call_each_other(tmp_path: Path) -> None:
    program = tmp_path / "program"
    go_inputs(CASES / "cgo_exports", cgo=True).link_with_pielink((), program)
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
