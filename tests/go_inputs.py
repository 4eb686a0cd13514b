"""Link inputs made by the real Go tools: what `go build` would hand to its linker, kept on disk.

`go_inputs(program)` compiles for darwin/amd64 with a pinned Go release, catches the link step
through -toolexec, and keeps the archives, the importcfg, the flags and the Go variables of the
environment in .cache/go-inputs. One folder per (program, release, flags): it is made again when
the program's sources or the Go installation change. File locks make it safe under pytest-xdist.

By hand: python tests/go_inputs.py hello [--release 1.26.6] [--build-flag=-trimpath] ...
prints where the parts are and the `pielink link` command line.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
CACHE = ROOT / ".cache"
RELEASE = "1.27.3"
PREVIOUS_RELEASE = "1.26.6"

# The flags of the caught link step that name its files; they are set anew for each link.
FILE_FLAGS = ("-o", "-importcfg")
CAPTURE_SCRIPT = """\
#!/bin/sh
case "$1:$2" in
*/link:-V=full) ;;
*/link:*) printf '%s\\0' "$@" >"$LINK_STEP/argv"; env | grep '^GO' >"$LINK_STEP/env"; exit 1 ;;
esac
exec "$@"
"""


@functools.cache
def goroot(release: str = RELEASE) -> Path:
    """The folder of a Go release: the one installed beside Python, or under .cache (make deps)."""
    spec = importlib.util.find_spec("go")
    installed = [Path(spec.origin).parent] if spec and spec.origin else []
    for root in (*installed, CACHE / f"go{release}" / "go"):
        version = root / "VERSION"
        if version.is_file() and version.read_text().split()[0] == f"go{release}":
            return root
    raise FileNotFoundError(f"Go {release} is not installed: run `make deps`")


def go_environment(release: str = RELEASE, cgo: bool = False) -> dict[str, str]:
    """The environment for the go command: darwin/amd64, nothing of the caller's set-up.

    With `cgo`, C and C++ are compiled by zig.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GO") or k == "GOCACHE"}
    if cgo:
        zig = f"{sys.executable} -m ziglang"
        kept |= {
            "CC": f"{zig} cc -target x86_64-macos",
            "CXX": f"{zig} c++ -target x86_64-macos",
            "ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig"),
        }
    return kept | {
        "GOROOT": str(goroot(release)),
        "GOOS": "darwin",
        "GOARCH": "amd64",
        "CGO_ENABLED": str(int(cgo)),
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOENV": "off",
        "GOTELEMETRY": "off",
    }


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` (beside which a .lock file stays)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class GoInputs:
    """The inputs of one link step, and what Go's own linker makes of them."""

    directory: Path
    release: str
    argv: tuple[str, ...]  # the link flags of go build, without -o and -importcfg
    environment: dict[str, str]  # the GO variables that go build gave its linker

    @property
    def importcfg(self) -> Path:
        """The importcfg.link file; the paths in it point into `directory`."""
        return self.directory / "importcfg"

    @property
    def main_archive(self) -> Path:
        """The archive of package main."""
        return self.directory / "main.a"

    def link_argv(self, output: Path | str, extra_flags: tuple[str, ...] = ("-w",)) -> list[str]:
        """The arguments of a linker that takes the flags of `go tool link`."""
        files = ["-o", str(output), "-importcfg", str(self.importcfg)]
        return [*files, *self.argv, *extra_flags, str(self.main_archive)]

    def tool_environment(self) -> dict[str, str]:
        """The environment of the caught link step."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GO")}
        return kept | self.environment

    def go_linker(self) -> Path:
        """Go's own linker of this release."""
        return next((goroot(self.release) / "pkg" / "tool").glob("*/link"))

    def reference(self, extra_flags: tuple[str, ...] = (), *, dwarf: bool = False) -> Path:
        """What `go tool link -w` makes of these inputs (with `dwarf`, without -w); made once."""
        flags = (*(() if dwarf else ("-w",)), *extra_flags)
        path = self.directory / f"go-linked-{_digest(*flags)}"
        with locked(path):
            if not path.exists():
                made = path.with_suffix(".new")
                argv = [str(self.go_linker()), *self.link_argv(made, flags)]
                subprocess.run(argv, check=True, env=self.tool_environment())
                made.rename(path)
        return path

    def link_with_pielink(self, extra_flags: tuple[str, ...] = (), out: Path | None = None) -> Path:
        """Link in this process with pielink and -w; `out` defaults to a file in `directory`."""
        from pielink import link
        from pielink.golang.flags import parse_link_flags

        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        path = out or self.directory / f"pielink-linked-{_digest(*extra_flags)}-{worker}"
        argv = self.link_argv(path, ("-w", *extra_flags))
        link(parse_link_flags(argv, self.tool_environment()))
        return path


def go_inputs(
    program: str | Path,
    release: str = RELEASE,
    build_flags: tuple[str, ...] = (),
    link_flags: tuple[str, ...] = (),
    *,
    cgo: bool = False,
) -> GoInputs:
    """Compile `program` and catch its link step.

    `program` is a folder under examples/, a package of the GOROOT ("cmd/gofmt"), the tests of one
    ("test:sort"), or the Path of a folder that holds a main package. `link_flags` go through
    `go build -ldflags`. `cgo` allows C code, for internal linking. Raises
    subprocess.CalledProcessError with Go's message on stderr.
    """
    link_flags = (*(("-linkmode=internal",) if cgo else ()), *link_flags)
    flags = (*build_flags, *((f"-ldflags=all={shlex.join(link_flags)}",) if link_flags else ()))
    name = str(program).strip("/").replace("/", "-").replace(":", "-")
    digest = _digest(str(program), *flags, *(("cgo",) if cgo else ()))
    directory = CACHE / "go-inputs" / f"{name}-{release}-{digest}"
    key = _key(program, release)
    with locked(directory):
        if not (directory / "key").exists() or (directory / "key").read_text() != key:
            shutil.rmtree(directory, ignore_errors=True)
            _capture(program, release, flags, directory, cgo)
            (directory / "key").write_text(key)
    step = json.loads((directory / "step.json").read_text())
    return GoInputs(directory, release, tuple(step["argv"]), step["environment"])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def _source_folder(program: str | Path) -> Path | None:
    """The folder whose files are the program, or None for a package of the GOROOT."""
    if isinstance(program, Path):
        return program
    return EXAMPLES / program if (EXAMPLES / program).is_dir() else None


def _key(program: str | Path, release: str) -> str:
    """Changes whenever the archives may: sources, Go installation."""
    folder = _source_folder(program)
    sources = [*folder.rglob("*"), EXAMPLES / "go.mod"] if folder else []
    files = [f"{p} {_digest(p.read_bytes().hex())}" for p in sorted(sources) if p.is_file()]
    return "\n".join([str(goroot(release)), release, *files])


def _build_command(program: str | Path) -> tuple[list[str], Path]:
    """The go command that links `program`, and the folder it runs in."""
    folder = _source_folder(program)
    if folder:
        return ["build", "-buildvcs=false"], folder
    package = str(program)
    if package.startswith("test:"):
        return ["test", "-c", "-vet=off"], ROOT
    return ["build"], ROOT


def _capture(
    program: str | Path, release: str, flags: tuple[str, ...], directory: Path, cgo: bool
) -> None:
    """Run the go command with a -toolexec script that notes the link step; keep its inputs."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    verb, folder = _build_command(program)
    package = [] if _source_folder(program) else [str(program).removeprefix("test:")]
    with tempfile.TemporaryDirectory(dir=directory.parent) as work_name:
        work = Path(work_name)
        script = work / "toolexec"
        script.write_text(CAPTURE_SCRIPT)
        script.chmod(0o755)
        go = str(goroot(release) / "bin" / "go")
        command = [go, *verb, *flags, "-work", f"-toolexec={script}", "-o", str(work / "linked")]
        environment = go_environment(release, cgo) | {"GOTMPDIR": work_name, "LINK_STEP": work_name}
        done = subprocess.run(
            [*command, *package], cwd=folder, env=environment, capture_output=True, text=True
        )
        if not (work / "argv").exists():  # the link step itself always fails: nothing is linked
            raise subprocess.CalledProcessError(done.returncode, command, stderr=done.stderr)
        _keep(work, directory)


def _keep(work: Path, directory: Path) -> None:
    """Move the inputs of the caught link step out of the go command's temporary folder."""
    argv = (work / "argv").read_text().split("\0")[1:-1]
    *flags, archive = argv
    positions = {flag: flags.index(flag) for flag in FILE_FLAGS}
    importcfg = Path(flags[positions["-importcfg"] + 1])
    dropped = {i for at in positions.values() for i in (at, at + 1)}
    packages = work / "kept" / "packages"
    packages.mkdir(parents=True)
    lines = importcfg.read_text().splitlines()
    (work / "kept" / "importcfg").write_text(
        "".join(_kept_line(line, packages, directory / "packages") + "\n" for line in lines)
    )
    _link_or_copy(Path(archive), work / "kept" / "main.a")
    step = {
        "argv": [flag for i, flag in enumerate(flags) if i not in dropped],
        "environment": dict(line.split("=", 1) for line in (work / "env").read_text().splitlines()),
    }
    (work / "kept" / "step.json").write_text(json.dumps(step, indent=1))
    (work / "kept").rename(directory)


def _kept_line(line: str, packages: Path, final: Path) -> str:
    """The importcfg line with its archive linked into `packages`, later to be called `final`."""
    if not line.startswith("packagefile "):
        return line
    name, _, path = line.removeprefix("packagefile ").partition("=")
    file = name.replace("/", "%") + ".a"
    _link_or_copy(Path(path), packages / file)
    return f"packagefile {name}={final / file}"


def _link_or_copy(source: Path, target: Path) -> None:
    """A hard link costs no room; a copy where the file systems differ."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def main() -> None:
    """Print where the inputs of one program are."""
    parser = argparse.ArgumentParser(description="catch the link step of a Go program")
    parser.add_argument(
        "program", help="examples/ folder, GOROOT package, test:PACKAGE or ./folder"
    )
    parser.add_argument("--release", default=RELEASE)
    parser.add_argument("--build-flag", action="append", default=[])
    parser.add_argument("--link-flag", action="append", default=[])
    args = parser.parse_args()
    program = Path(args.program).resolve() if args.program.startswith(".") else args.program
    inputs = go_inputs(program, args.release, tuple(args.build_flag), tuple(args.link_flag))
    print("folder:   ", inputs.directory)
    print("reference:", inputs.reference())
    print("pielink link", shlex.join(inputs.link_argv("a.out")))


if __name__ == "__main__":
    main()
