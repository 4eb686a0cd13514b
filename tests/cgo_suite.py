"""Go's own cgo tests: what they are built from, and what their output says.

The sources are those of the GOROOT. An overlay (`go help build`, -overlay) changes them where they
leave something out that pielink links: it is made from the sources, and a change that no longer
fits them is an error.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from go_inputs import CACHE, GoInputs, go_environment, go_inputs, goroot, locked

CGO_TESTS = "cmd/cgo/internal"
MADE = CACHE / "cgo-suite"
RUN_TIMEOUT = 300
STDIO_PROGRAMS = ("chain", "fib", "hello")

# What -overlay changes: (file of the GOROOT, text, what stands there instead). A text of None
# leaves the file out.
SUITE_CHANGES = (
    # Its packages include CoreFoundation's headers, which only an SDK has.
    ("src/cmd/cgo/internal/test/issue24161_darwin_test.go", None, ""),
    # Excluded because Go's linker does not export C's names from what it links by itself.
    (
        "src/cmd/cgo/internal/test/issue4029.go",
        "!windows && !static && !(darwin && internal)",
        "darwin",
    ),
    (
        "src/cmd/cgo/internal/test/issue4029.c",
        "!windows && !static && !(darwin && internal)",
        "darwin",
    ),
    ("src/cmd/cgo/internal/test/issue4029w.go", None, ""),
)
TLS_CHANGES = (
    # macOS has no threads.h, so the compiler says __STDC_NO_THREADS__; _Thread_local works.
    ("src/cmd/cgo/internal/testtls/tls.c", " && !defined(__STDC_NO_THREADS__)", ""),
)
X509_CHANGES = (
    # A key that the tests make before they start: minutes of arithmetic for the emulator.
    (
        "src/crypto/x509/verify_test.go",
        "rsa.GenerateKey(rand.Reader, 4096)",
        "rsa.GenerateKey(rand.Reader, 1024)",
    ),
)
SUITE_TAGS = "-tags=internal,internal_pie"
STDIO_TAGS = "-tags=test_run"


def overlay(changes: tuple[tuple[str, str | None, str], ...]) -> str:
    """The build flag for an overlay with `changes`; its name changes with what it holds."""
    root = goroot()
    texts = {name: _changed(root / name, old, new) for name, old, new in changes}
    digest = hashlib.sha256(json.dumps([str(root), texts]).encode()).hexdigest()[:10]
    directory = MADE / f"overlay-{digest}"
    replacements = {}
    with locked(directory):
        for name, text in texts.items():
            replacements[str(root / name)] = ""
            if text is not None:
                made = directory / name
                made.parent.mkdir(parents=True, exist_ok=True)
                made.write_text(text)
                replacements[str(root / name)] = str(made)
        file = directory / "overlay.json"
        file.write_text(json.dumps({"Replace": replacements}))
    return f"-overlay={file}"


def _changed(file: Path, old: str | None, new: str) -> str | None:
    """The text of a source with `old` replaced, which must be there once; None without it."""
    text = file.read_text()
    if old is None:
        return None
    assert text.count(old) == 1, f"{file}: {old!r} is there {text.count(old)} times"
    return text.replace(old, new)


def suite_inputs(package: str) -> GoInputs:
    """The link inputs of the tests of a package of the GOROOT, with C code."""
    flags = {
        f"{CGO_TESTS}/test": (SUITE_TAGS, overlay(SUITE_CHANGES)),
        f"{CGO_TESTS}/testtls": (overlay(TLS_CHANGES),),
        "crypto/x509": (overlay(X509_CHANGES),),
    }.get(package, ())
    return go_inputs(f"test:{package}", build_flags=flags, cgo=True)


def stdio_folder(program: str) -> Path:
    """A module of a program of teststdio, whose test runs it with the go command."""
    source = goroot() / "src" / CGO_TESTS / "teststdio" / "testdata"
    directory = MADE / f"stdio-{program}"
    files = [source / f"{program}.go", *sorted((source / "stdio").glob("*.go"))]
    with locked(directory):
        (directory / "stdio").mkdir(parents=True, exist_ok=True)
        (directory / "go.mod").write_text("module cgostdio\n")
        for file in files:
            (directory / file.relative_to(source)).write_bytes(file.read_bytes())
    return directory


def stdio_inputs(program: str) -> GoInputs:
    """The link inputs of a program of teststdio."""
    return go_inputs(stdio_folder(program), build_flags=(STDIO_TAGS,), cgo=True)


def stdio_output(program: str) -> str:
    """What a program of teststdio prints."""
    testdata = goroot() / "src" / CGO_TESTS / "teststdio" / "testdata"
    return (testdata / f"{program}.out").read_text()


def so_program(name: str, directory: Path) -> Path:
    """A program of testso, linked in `directory` by `pielink build` with its dylib beside it."""
    shutil.copytree(package_folder(f"{CGO_TESTS}/testso") / "testdata" / name, directory)
    (directory / "go.mod").write_text("module cgosotest\n")
    environment = go_environment(cgo=True)
    compiler = shlex.split(environment["CC"])
    shared = ("-shared", "-undefined", "dynamic_lookup", "-o", "libcgosotest.dylib", "cgoso_c.c")
    pielink = (sys.executable, "-m", "pielink", "build", "-ldflags=-w", "-o", "main.exe")
    for command in ((*compiler, *shared), (*pielink, "main.go")):
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return directory / "main.exe"


def declared_tests(package: str, *files: str) -> set[str]:
    """The names of the tests that files of a package of the GOROOT declare."""
    text = "".join((package_folder(package) / file).read_text() for file in files)
    return set(re.findall(r"^func (Test\w+)\(t \*testing\.T\)", text, re.MULTILINE))


@dataclass(frozen=True)
class Tests:
    """What a test binary says: of each test PASS, FAIL or SKIP, and its last log line."""

    status: int
    outcomes: dict[str, str]
    messages: dict[str, str]
    output: str  # with the emulator's own messages

    def named(self, outcome: str) -> set[str]:
        """The tests that ended so."""
        return {name for name, how in self.outcomes.items() if how == outcome}

    def skipped(self) -> dict[str, str]:
        """The tests that were skipped, with the reason they gave."""
        return {name: self.messages[name] for name in self.outcomes if name in self.named("SKIP")}


def run_tests(binary: Path, directory: Path, *flags: str) -> Tests:
    """Run a test binary under `pielink run` in `directory`, as `go test` does in the package's."""
    command = [sys.executable, "-m", "pielink", "run", str(binary), "-test.v", *flags]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=RUN_TIMEOUT
    )
    return Tests(done.returncode, *_parse(done.stdout), done.stdout + done.stderr)


def _parse(output: str) -> tuple[dict[str, str], dict[str, str]]:
    """Outcomes and last log lines of the top-level tests in the output of -test.v."""
    outcomes: dict[str, str] = {}
    messages: dict[str, str] = {}
    message = ""
    for line in output.splitlines():
        if line.startswith("=== RUN"):
            message = ""
        elif log := re.match(r" +\w+\.go:\d+: (.*)", line):
            message = log[1]
        elif end := re.match(r"--- (PASS|FAIL|SKIP): (\w+) ", line):
            outcomes[end[2]] = end[1]
            messages[end[2]] = message
    return outcomes, messages


def package_folder(package: str) -> Path:
    """The folder of a package of the GOROOT."""
    return goroot() / "src" / package
