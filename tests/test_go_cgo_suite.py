"""Go's own cgo tests, linked by pielink as PIE without an external linker, run and pass.

cmd/cgo/internal/test is Go's test suite for C code. Of each of its tests this knows whether it
passes; those that skip themselves are listed with the reason that they give. Issue 4029's files,
which Go excludes in this mode, are included: pielink exports what they look for.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cgo_suite import (
    CGO_TESTS,
    STDIO_PROGRAMS,
    declared_tests,
    package_folder,
    run_tests,
    stdio_inputs,
    stdio_output,
    suite_inputs,
)
from emulator_programs import pielink_run

from pielink.check import check

# Where the tests of cmd/cgo/internal/test for Darwin are declared.
SUITE_FILES = (
    "cgo_test.go",
    "cgo_unix_test.go",
    "cgo_darwin_test.go",
    "issue7234_test.go",
)
# Each skips itself on every Mac with an amd64 processor, before any C code runs: nothing is left
# out for the linker's or the emulator's sake.
SUITE_SKIPS = {
    "Test3250": "skipped, see golang.org/issue/5885",
    "Test8517": "skipping windows only test",
    "Test17065": "broken on darwin; issue 17065",
    "Test21897": "test runs only on darwin+cgo",
    "Test24206": "skipping on darwin/amd64",
    "Test42018": "skipping Windows-only test",
    "Test18146": "skipping flaky test on darwin; see golang.org/issue/18202",
    "TestDITCgo": "CPU does not support DIT",
    "TestDITCgoCallback": "CPU does not support DIT",
    "TestDITCgoCallbackEnableDIT": "CPU does not support DIT",
    "TestDITCgoCallbackDisableDIT": "CPU does not support DIT",
}


def linked_tests(package: str, tmp_path: Path) -> Path:
    """The tests of a package, linked by pielink; the file keeps every rule of Mach-O."""
    binary = suite_inputs(package).link_with_pielink(("-verify",), tmp_path / "tests")
    assert check(binary) == []
    return binary


def test_the_suite_passes(tmp_path: Path) -> None:
    ran = run_tests(linked_tests("test", tmp_path), package_folder(f"{CGO_TESTS}/test"))
    assert ran.skipped() == SUITE_SKIPS, ran.output
    expected = declared_tests("test", *SUITE_FILES) - SUITE_SKIPS.keys()
    assert ran.named("PASS") == expected, ran.output
    assert ran.named("FAIL") == set()
    assert ran.status == 0, ran.output


def test_dlsym_finds_what_go_exports(tmp_path: Path) -> None:
    """Issue 4029: a program finds its own //export functions by name."""
    binary = linked_tests("test", tmp_path)
    ran = run_tests(binary, tmp_path, "-test.run=^Test4029$")
    assert ran.outcomes == {"Test4029": "PASS"}, ran.output
    found = [line.split()[1] for line in ran.output.splitlines() if "issue4029.go" in line]
    assert found == ["IMPWindowResize", "IMPDrawRect", "IMPInitWithFrame", "IMPIsOpaque"]


@pytest.mark.parametrize(
    ("package", "outcomes"),
    [("testtls", {"TestTLS": "PASS"}), ("testnocgo", {"TestNop": "PASS"})],
)
def test_small_packages_pass(package: str, outcomes: dict[str, str], tmp_path: Path) -> None:
    ran = run_tests(linked_tests(package, tmp_path), tmp_path)
    assert (ran.outcomes, ran.status) == (outcomes, 0), ran.output


@pytest.mark.parametrize("program", STDIO_PROGRAMS)
def test_stdio(program: str, tmp_path: Path) -> None:
    binary = stdio_inputs(program).link_with_pielink(("-verify",), tmp_path / program)
    assert check(binary) == []
    ran = pielink_run(binary)
    assert (ran.out, ran.status) == (stdio_output(program), 0), ran.err
