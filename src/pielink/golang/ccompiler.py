"""Finds a C compiler that makes objects for macOS, for programs with cgo.

The go command asks for it in CC (and CXX) and only lets it compile: pielink links. A compiler is
taken if it compiles a file that includes a header of the C library.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pielink.errors import PielinkError
from pielink.record import Record

TARGET = "x86_64-macos"
# What a compiler must be able to do: find the C library's headers for the target, and compile.
PROBE = "#include <stdlib.h>\nint probe(void) { return EXIT_FAILURE; }\n"
PROBE_SECONDS = 120


class Compiler(Record):
    """The commands for C and for C++, as words."""

    cc: tuple[str, ...]
    cxx: tuple[str, ...]

    def works(self) -> bool:
        """Does it compile the probe to an object?"""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "probe.c").write_text(PROBE)
            command = [*self.cc, "-c", "-o", "probe.o", "probe.c"]
            try:
                done = subprocess.run(
                    command, cwd=folder, capture_output=True, timeout=PROBE_SECONDS, check=False
                )
            except (OSError, subprocess.TimeoutExpired):
                return False
            return done.returncode == 0 and (Path(folder) / "probe.o").exists()


def candidates() -> Iterator[Compiler]:
    """The compilers to try, best first: those that bring headers for macOS with them."""
    zig = shutil.which("zig")
    if zig:
        yield _zig(zig)
    if importlib.util.find_spec("ziglang"):
        yield _zig(sys.executable, "-m", "ziglang")
    clang = shutil.which("clang")
    if clang:
        options = ("-target", "x86_64-apple-macos")
        yield Compiler((clang, *options), (shutil.which("clang++") or clang, *options))


def _zig(*command: str) -> Compiler:
    return Compiler((*command, "cc", "-target", TARGET), (*command, "c++", "-target", TARGET))


def find_compiler() -> Compiler:
    """The first candidate that works; PielinkError says what was tried and what to install."""
    tried = []
    for compiler in candidates():
        if compiler.works():
            return compiler
        tried.append(" ".join(compiler.cc))
    found = f" (these do not compile for {TARGET}: {'; '.join(tried)})" if tried else ""
    raise PielinkError(
        f"cgo needs a C compiler that makes objects for macOS{found}: "
        "pip install ziglang, or name one with --cc"
    )


def quoted(words: tuple[str, ...]) -> str:
    """The words as the go command splits CC: quotes around a word that holds a space."""
    return " ".join(_quoted_word(word) for word in words)


def _quoted_word(word: str) -> str:
    if not any(c in word for c in " \t\n\r'\""):
        return word
    return f"'{word}'" if "'" not in word else f'"{word}"'
