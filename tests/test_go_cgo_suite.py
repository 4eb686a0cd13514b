"""Go's own cgo tests, linked by pielink as PIE without an external linker, run and pass.

cmd/cgo/internal/test is Go's test suite for C code. Of each of its tests this knows whether it
passes; those that skip themselves are listed with the reason that they give. Issue 4029's files,
which Go excludes in this mode, are included: pielink exports what they look for.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cgo_suite import (
    CGO_TESTS,
    STDIO_PROGRAMS,
    declared_tests,
    package_folder,
    run_tests,
    so_program,
    stdio_inputs,
    stdio_output,
    suite_inputs,
)
from emulator_programs import pielink_run

from pielink.check import check
from pielink.inspect import read_macho

SUITE = f"{CGO_TESTS}/test"
# Where its tests for Darwin are declared.
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


# Packages of the library that call C, and which of their tests run. Those of net are the ones that
# resolve names, look at interfaces and pass descriptors; the rest of them are about time.
LIBRARY = {
    "os/user": ".",
    "net": "Cgo|Lookup|Resolver|Interface|^TestFile|^TestUnix|^TestTCP|^TestUDP|Parse",
    "crypto/x509": ".",
}
# It wants the network, and does not say so when it skips itself.
LEFT_OUT = "^TestHybridPool$"
# The tests that must be among those that pass: C functions are called here.
CALL_C = {
    "os/user": declared_tests("os/user", "user_test.go", "cgo_user_test.go"),
    "net": declared_tests("net", "cgo_unix_test.go") - {"TestCgoLookupCNAME"},
    "crypto/x509": declared_tests("crypto/x509", "root_test.go", "cert_pool_test.go"),
}
# Why a test of the library may skip itself, as it says. Frameworks (Security) and other processes
# are not emulated; the network and what only root may do are not for a test.
LIBRARY_SKIPS = re.compile(
    "(skipping test: no external network|skipping|skipping generation .*) in -?short mode"
    "|Skip it during short testing"
    "|avoid external network"
    "|test disabled; use -.* to enable"
    "|skipping known flaky test without the -flaky flag; .*"
    "|(IPv6 is required|must be root|.* not supported)"
    "|hostLookupOrder did not return hostLookupFiles"
    "|test root is not in trust store, skipping .*"
    '|skipping verify test using system APIs on "darwin"'
    "|Windows and darwin do not use .* systemRoots"
    "|not implemented on Windows .* or darwin .*"
    "|skipping test: sw_vers: exec: .*"
)


def linked_tests(package: str, tmp_path: Path) -> Path:
    """The tests of a package, linked by pielink; the file keeps every rule of Mach-O."""
    binary = suite_inputs(package).link_with_pielink(("-verify",), tmp_path / "tests")
    assert check(binary) == []
    return binary


def test_the_suite_passes(tmp_path: Path) -> None:
    ran = run_tests(linked_tests(SUITE, tmp_path), package_folder(SUITE))
    assert ran.skipped() == SUITE_SKIPS, ran.output
    expected = declared_tests(SUITE, *SUITE_FILES) - SUITE_SKIPS.keys()
    assert ran.named("PASS") == expected, ran.output
    assert ran.named("FAIL") == set()
    assert ran.status == 0, ran.output


def test_dlsym_finds_what_go_exports(tmp_path: Path) -> None:
    """Issue 4029: a program finds its own //export functions by name."""
    binary = linked_tests(SUITE, tmp_path)
    ran = run_tests(binary, tmp_path, "-test.run=^Test4029$")
    assert ran.outcomes == {"Test4029": "PASS"}, ran.output
    found = [line.split()[1] for line in ran.output.splitlines() if "issue4029.go" in line]
    assert found == ["IMPWindowResize", "IMPDrawRect", "IMPInitWithFrame", "IMPIsOpaque"]


@pytest.mark.parametrize(
    ("package", "outcomes"),
    [("testtls", {"TestTLS": "PASS"}), ("testnocgo", {"TestNop": "PASS"})],
)
def test_small_packages_pass(package: str, outcomes: dict[str, str], tmp_path: Path) -> None:
    ran = run_tests(linked_tests(f"{CGO_TESTS}/{package}", tmp_path), tmp_path)
    assert (ran.outcomes, ran.status) == (outcomes, 0), ran.output


@pytest.mark.parametrize("program", STDIO_PROGRAMS)
def test_stdio(program: str, tmp_path: Path) -> None:
    binary = stdio_inputs(program).link_with_pielink(("-verify",), tmp_path / program)
    assert check(binary) == []
    ran = pielink_run(binary)
    assert (ran.out, ran.status) == (stdio_output(program), 0), ran.err


@pytest.mark.parametrize(("name", "symbol"), [("so", b"_sofunc"), ("sovar", b"_exported_var")])
def test_libraries_of_ones_own(
    name: str, symbol: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dylib that the cgo directives name: called, read, and calling back into Go."""
    program = so_program(name, tmp_path / name)
    assert check(program) == []
    file = read_macho(program)
    names = [file.binds.names[row] for row in file.binds.rows["name"]]
    row = file.binds.rows[names.index(symbol)]
    assert file.library(int(row["ordinal"])).endswith("libcgosotest.dylib")
    monkeypatch.chdir(program.parent)  # its install name is a file name alone
    ran = pielink_run(program)
    assert (ran.out, ran.err, ran.status) == ("", "", 0)


@pytest.mark.slow
@pytest.mark.parametrize("package", LIBRARY)
def test_library_packages_pass(package: str, tmp_path: Path) -> None:
    binary = linked_tests(package, tmp_path)
    flags = ("-test.short", f"-test.run={LIBRARY[package]}", f"-test.skip={LEFT_OUT}")
    ran = run_tests(binary, package_folder(package), *flags)
    assert (ran.status, ran.named("FAIL")) == (0, set()), ran.output
    assert ran.named("PASS") >= CALL_C[package]
    assert [s for s in ran.skipped().values() if not LIBRARY_SKIPS.fullmatch(s)] == []
