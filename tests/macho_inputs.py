"""Finished macOS executables made by other linkers, as input for diff and check.

Compiled once with the pinned Go and zig, and kept in .cache/macho-inputs.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from go_inputs import CACHE, goroot, locked

CASES = Path(__file__).resolve().parent / "cases" / "inspect"
ZIG_TARGETS = {"x86_64": "x86_64-macos", "arm64": "aarch64-macos"}
GO_ARCHS = {"x86_64": "amd64", "arm64": "arm64"}


def _made(name: str, source: Path, command: list[str], env: dict[str, str]) -> Path:
    """The output of `command -o FILE SOURCE`, run again when the source or command changes."""
    key = hashlib.sha256(source.read_bytes() + "\0".join(command).encode()).hexdigest()[:16]
    output = CACHE / "macho-inputs" / f"{name}-{key}"
    with locked(output):
        if not output.exists():
            part = output.with_suffix(".part")
            subprocess.run([*command, "-o", part, source], check=True, env=env)
            part.rename(output)
    return output


@functools.cache
def go_program(arch: str = "x86_64", *flags: str) -> Path:
    """A hello program linked by Go's own linker as PIE; `flags` are link flags such as -w."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GO") or k == "GOCACHE"}
    env |= {"GOOS": "darwin", "GOARCH": GO_ARCHS[arch], "CGO_ENABLED": "0", "GOENV": "off"}
    env |= {"GOTOOLCHAIN": "local", "GOTELEMETRY": "off"}
    go = str(goroot() / "bin" / "go")
    command = [go, "build", "-trimpath", "-buildmode=pie", f"-ldflags={' '.join(flags)}"]
    return _made(f"go-{arch}", CASES / "hello.go", command, env)


@functools.cache
def c_program(arch: str = "x86_64") -> Path:
    """A C program with thread-locals, a constructor and exports, linked by zig."""
    command = [sys.executable, "-m", "ziglang", "cc", "-target", ZIG_TARGETS[arch]]
    caches = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(CACHE / "zig"))
    return _made(f"c-{arch}", CASES / "host.c", command, os.environ | caches)


@functools.cache
def zig_object(source: str, arch: str = "x86_64") -> Path:
    """A C source of tests/cases/inspect as an object for macOS."""
    target = f"{ZIG_TARGETS[arch]}.12.0"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-O1", "-g0", "-c"]
    caches = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(CACHE / "zig"))
    env = os.environ | caches
    return _made(f"{source}-{arch}.o", CASES / source, [*command, "-fno-sanitize=all"], env)
