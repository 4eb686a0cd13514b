"""Programs for the tests of `pielink run`, compiled when a test needs them and kept on disk.

`go_program(name)` builds tests/cases/NAME (or a package of the GOROOT) for darwin/amd64 with Go's
own linker; `c_program(sources)` builds C or C++ with `zig cc`; `native(...)` builds the same for
this machine, to compare with. A program is made again when its sources, its flags or the compiler
change. File locks make it safe under pytest-xdist.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from go_inputs import CACHE, RELEASE, ROOT, go_environment, goroot

CASES = ROOT / "tests" / "cases"
PROGRAMS = CACHE / "emulator"
RUN_TIMEOUT = 120


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cached(name: str, parts: Sequence[bytes], make: Callable[[Path], None]) -> Path:
    """The file that `make` writes, kept under a name that changes with `parts`."""
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    path = PROGRAMS / f"{name}-{digest}"
    with _locked(PROGRAMS / f".{path.name}.lock"):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=PROGRAMS) as work:
                made = Path(work) / "program"
                make(made)
                made.rename(path)
    return path


def _checked(command: Sequence[str], **options: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


def _build_go(directory: Path, release: str, target: dict[str, str], out: Path) -> None:
    environment = {**go_environment(release), "CGO_ENABLED": "0", **target}
    command = [str(goroot(release) / "bin" / "go"), "build", "-o", str(out)]
    command += ["-ldflags=-linkmode=internal", "."]
    _checked(command, cwd=directory, env=environment)


DARWIN = {"GOOS": "darwin", "GOARCH": "amd64"}
NATIVE = {"GOOS": "", "GOARCH": ""}  # the go command's default: this machine


ZIG_CC = f"{sys.executable} -m ziglang cc -target x86_64-macos"
CGO = {**DARWIN, "CGO_ENABLED": "1", "CC": ZIG_CC, "ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig")}


def go_program(name: str, release: str = RELEASE, cgo: bool = False) -> Path:
    """The darwin/amd64 program of tests/cases/NAME."""
    sources = sorted((CASES / name).glob("*.go"))
    target = CGO if cgo else DARWIN
    parts = [release.encode(), *(source.read_bytes() for source in sources)]

    def make(out: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            for source in sources:
                (Path(work) / source.name).write_bytes(source.read_bytes())
            (Path(work) / "go.mod").write_text(f"module {name}\n\ngo 1.26\n")
            _build_go(Path(work), release, target, out)

    return _cached(name, parts, make)


def goroot_program(package: str, native: bool = False) -> Path:
    """A command of the GOROOT, such as cmd/gofmt, for darwin/amd64 or for this machine."""
    target = NATIVE if native else DARWIN
    name = package.replace("/", "-") + ("-native" if native else "")
    directory = goroot(RELEASE) / "src" / package
    return _cached(name, [RELEASE.encode()], lambda out: _build_go(directory, RELEASE, target, out))


def _compile_c(name: str, sources: Sequence[Path], flags: Sequence[str], driver: str) -> Path:
    version = importlib.metadata.version("ziglang")
    parts = [version.encode(), driver.encode(), *(flag.encode() for flag in flags)]
    parts += [source.read_bytes() for source in sources]
    command = [sys.executable, "-m", "ziglang", driver, *flags, *map(str, sources)]
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig")}
    return _cached(name, parts, lambda out: _checked([*command, "-o", str(out)], env=environment))


def c_program(name: str, *flags: str, sources: Sequence[str] = ("main.c",)) -> Path:
    """The macOS program of the C (or, with main.cc, C++) sources in tests/cases/NAME."""
    files = [CASES / name / source for source in sources]
    driver = "c++" if files[0].suffix == ".cc" else "cc"
    options = ["-target", "x86_64-macos", "-O1", "-fno-sanitize=all", *flags]
    return _compile_c(name, files, options, driver)


def native_c_program(name: str, *flags: str, sources: Sequence[str] = ("main.c",)) -> Path:
    """The same for this machine."""
    files = [CASES / name / source for source in sources]
    driver = "c++" if files[0].suffix == ".cc" else "cc"
    options = ["-O1", "-fno-sanitize=all", *flags]
    return _compile_c(name + "-native", files, options, driver)


def c_object(source: str) -> Path:
    """The macOS object of tests/cases/SOURCE."""
    name = source.replace("/", "-") + ".o"
    options = ["-target", "x86_64-macos", "-O1", "-fno-sanitize=all", "-c"]
    return _compile_c(name, [CASES / source], options, "cc")


def libsystem_stub(root: Path, symbols: str) -> Path:
    """A text stub of libSystem that exports `symbols`, at its place under `root`."""
    out = root / "usr" / "lib" / "libSystem.B.tbd"
    out.parent.mkdir(parents=True, exist_ok=True)
    names = ", ".join([*(f"_{name}" for name in symbols.split()), "dyld_stub_binder"])
    out.write_text(f"""--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos ]
install-name: '/usr/lib/libSystem.B.dylib'
exports:
  - targets: [ x86_64-macos ]
    symbols: [ {names} ]
...
""")
    return out


def zig_libsystem_stub() -> Path:
    """The list of libSystem's symbols that the ziglang package brings along."""
    found = importlib.util.find_spec("ziglang")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "lib" / "libc" / "darwin" / "libSystem.tbd"


@dataclass(frozen=True)
class Ran:
    """What a run printed, and its exit status."""

    status: int
    out: str
    err: str


def pielink_run(
    program: Path, *arguments: str, options: Sequence[str] = (), stdin: str = ""
) -> Ran:
    """`pielink run OPTIONS PROGRAM ARGUMENTS`, as a user types it."""
    command = [sys.executable, "-m", "pielink", "run", *options, str(program), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=RUN_TIMEOUT)
    return Ran(done.returncode, done.stdout, done.stderr)


def native_run(program: Path, *arguments: str, stdin: str = "") -> Ran:
    """Run a program of this machine."""
    done = subprocess.run(
        [str(program), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
