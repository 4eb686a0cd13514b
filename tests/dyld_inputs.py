"""Programs linked by ld64.lld, as input for the dyld info tests: every form of fixup.

Objects are compiled with the pinned zig; the libraries to link with are text stubs written here.
All is kept under .cache/dyld-inputs.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from go_inputs import CACHE, locked

CASES = Path(__file__).resolve().parent / "cases" / "dyld"
ZIG_TARGETS = {"x86_64": "x86_64-macos.12.0", "arm64": "aarch64-macos.12.0"}
FORMS = {"opcodes": "-no_fixup_chains", "chained": "-fixup_chains"}
LIBRARIES = {
    "/usr/lib/libSystem.B.dylib": (
        *("dyld_stub_binder", "_printf", "_puts", "_malloc", "__tlv_bootstrap", "_missing"),
        *("_table",),
    ),
    "/usr/lib/libc++.1.dylib": (
        "__ZTVN10__cxxabiv117__class_type_infoE",
        "__ZTVN10__cxxabiv120__si_class_type_infoE",
        "__ZTISt13runtime_error",
        "___gxx_personality_v0",
        "___cxa_throw",
    ),
}


def tool(*names: str) -> str:
    """The first of the programs that is installed; the test is skipped if none is."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{names[0]} is not installed")


def objdump(*options: str) -> str:
    """What llvm-objdump prints for a Mach-O file."""
    program = tool("llvm-objdump", *(f"llvm-objdump-{version}" for version in range(22, 13, -1)))
    return subprocess.run(
        [program, "--macho", *options], check=True, capture_output=True, text=True
    ).stdout


def stub(install_name: str, symbols: Sequence[str]) -> str:
    """A text stub of a library for both processors."""
    targets = "[ x86_64-macos, arm64-macos ]"
    return (
        f"--- !tapi-tbd\ntbd-version: 4\ntargets: {targets}\ninstall-name: '{install_name}'\n"
        f"exports:\n  - targets: {targets}\n    symbols: [ {', '.join(symbols)} ]\n...\n"
    )


@functools.cache
def linked(
    source: str,
    arch: str = "x86_64",
    form: str = "opcodes",
    libraries: tuple[tuple[str, tuple[str, ...]], ...] = tuple(LIBRARIES.items()),
    flags: tuple[str, ...] = ("-undefined", "dynamic_lookup", "-export_dynamic"),
) -> Path:
    """Link a source file of tests/cases/dyld, or source text, with ld64.lld."""
    lld = tool("ld64.lld", *(f"ld64.lld-{version}" for version in range(22, 13, -1)))
    path = CASES / source if "\n" not in source else None
    text = path.read_text() if path else source
    suffix = path.suffix if path else ".cc"
    key = hashlib.sha256(repr((text, arch, form, libraries, flags)).encode()).hexdigest()[:16]
    output = CACHE / "dyld-inputs" / key / "linked"
    with locked(output):
        if not output.exists():
            (output.parent / f"input{suffix}").write_text(text)
            _compile(output.parent, f"input{suffix}", arch)
            stubs = []
            for number, (name, symbols) in enumerate(libraries):
                (output.parent / f"{number}.tbd").write_text(stub(name, symbols))
                stubs.append(f"{number}.tbd")
            versions = ("-platform_version", "macos", "12.0", "12.0")
            command = [lld, "-arch", arch, *versions, *stubs, "input.o", FORMS[form], *flags]
            subprocess.run([*command, "-o", "part"], check=True, cwd=output.parent)
            (output.parent / "part").rename(output)
    return output


def _compile(where: Path, source: str, arch: str) -> None:
    driver = "c++" if source.endswith(".cc") else "cc"
    command = [sys.executable, "-m", "ziglang", driver, "-target", ZIG_TARGETS[arch], "-O1", "-g0"]
    caches = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(CACHE / "zig"))
    environment = os.environ | caches
    subprocess.run(
        [*command, "-c", source, "-o", "input.o"], check=True, cwd=where, env=environment
    )


def forty_libraries() -> tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """C++ source that takes one pointer from each of forty libraries, and the libraries."""
    numbers = range(1, 41)
    source = "".join(f'extern "C" int from_{n};\n' for n in numbers)
    source += f"int *all[] = {{{', '.join(f'&from_{n}' for n in numbers)}}};\n"
    source += "int main() { return 0; }\n"
    libraries = tuple((f"/usr/lib/lib{n}.dylib", (f"_from_{n}",)) for n in numbers)
    return source, (("/usr/lib/libSystem.B.dylib", ("dyld_stub_binder",)), *libraries)
