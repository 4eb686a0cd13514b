"""Weak definitions of host objects, beside ld64.lld's, and one for all images of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import host_inputs
import lief
import pytest
from host_inputs import compile_object
from host_program import HostProgram, host_program, parsed

from pielink.check import check
from pielink.formats import macho

CODE = """
template<class T> T twice(T x) { static T calls; calls = calls + 1; return x + x + calls; }
inline int counter() { static int count; return ++count; }
struct Base { virtual int value() { return 1; } int number; };
__attribute__((weak)) int replaceable(int x) { return x; }
__attribute__((weak)) int variable = 7;
__attribute__((weak, visibility("hidden"))) int hidden(int x) { return x + 1; }
__attribute__((constructor)) static void start() { variable++; } // not for Go's own linker
int strong(int x) { return x; }
int (*pointers[])(int) = {replaceable, twice<int>, strong, hidden};
int *inside = &variable;
Base *make(Base *base) { return new (base) Base; }
extern "C" int run(Base *base) {
    return replaceable(1) + twice(2) + counter() + pointers[base->number](3) + make(base)->value()
        + variable + hidden(1);
}
"""
HEAD = "inline void *operator new(unsigned long, void *place) { return place; }\n"
WEAK = macho.EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION
FLAGS = ("-fno-rtti", "-fno-exceptions", "-O1")
MAIN = 'extern "C" int run(void *); int main() { return run(0); }'


@pytest.fixture
def go(tmp_path: Path) -> HostProgram:
    return host_program(tmp_path)


def weak_names(binary: Any) -> set[str]:
    """The names in the weak-bind stream."""
    weak = lief.MachO.DyldBindingInfo.CLASS.WEAK
    return {str(b.symbol.name) for b in binary.dyld_info.bindings if b.binding_class == weak}


def described(binary: Any) -> dict[str, Any]:
    """What a file says of weak definitions."""
    flags = int(binary.header.flags_list and binary.header.flags)
    exports = {str(e.symbol.name): int(e.flags) for e in binary.dyld_info.exports}
    names = {str(s.name): int(s.description) for s in binary.symbols if s.has_export_info}
    return {
        "binds": weak_names(binary),
        "exported": {name for name, flag in exports.items() if flag & WEAK},
        "symbols": {name for name, desc in names.items() if desc & macho.N_WEAK_DEF},
        "flags": flags & (macho.MH_WEAK_DEFINES | macho.MH_BINDS_TO_WEAK),
    }


def test_weak_definitions_are_those_of_lld(go: HostProgram) -> None:
    linker = host_inputs.lld()
    if linker is None:
        pytest.skip("ld64.lld is not installed (Debian package lld-19)")
    made = compile_object(HEAD + CODE, ".cc", *FLAGS)
    theirs = host_inputs.link(
        linker, made, compile_object(MAIN, ".cc"), flags=("-dead_strip", "-no_fixup_chains")
    )
    ours = go.link(made, ldflags=("-Wl,-u,_run",))
    found = described(parsed(ours))
    assert {"__Z11replaceablei", "_variable", "__Z5twiceIiET_S0_"} < found["binds"]
    assert "__Z6hiddeni" not in found["exported"]
    assert found == described(parsed(theirs))


@pytest.mark.parametrize(
    "flags", [(), ("-bind=lazy",), ("-dyldinfo=chained", "-macos=13.0"), ("-s",)], ids=" ".join
)
def test_files_with_weak_definitions_keep_the_rules(go: HostProgram, flags: Any) -> None:
    made = compile_object(HEAD + CODE, ".cc", *FLAGS)
    program = go.link(made, ldflags=("-Wl,-u,_run",), flags=(*flags, "-verify"))
    assert check(program) == []


SHARED = """
inline int counter() { static int count; return ++count; }
"""
PROGRAM = (
    SHARED
    + """
extern "C" int printf(const char *, ...), fflush(void *);
int other_counter(); int (*other_address())(); int call_overridden(); int own_default();
int overridden() { return 42; }
int (*volatile address)() = counter;
__attribute__((constructor)) static void start() {
    int (*volatile own)() = overridden; // what nobody refers to is left out of the image
    int first = own() - 42 + counter(), second = other_counter(), third = address();
    printf("%d %d %d %d %d %d\\n", first, second, third, other_address() == address,
           call_overridden(), own_default());
    fflush(0);
}
"""
)
LIBRARY = (
    SHARED
    + """
int other_counter() { return counter(); }
int (*other_address())() { return counter; }
__attribute__((weak)) int overridden() { return 1; }
__attribute__((weak)) int own_default() { return 7; }
int call_overridden() { return overridden() + own_default(); }
"""
)


@pytest.mark.parametrize(
    "flags", [(), ("-bind=lazy",), ("-dyldinfo=chained", "-macos=13.0")], ids=" ".join
)
def test_all_images_share_one_definition(go: HostProgram, tmp_path: Path, flags: Any) -> None:
    library = compile_object(LIBRARY, ".cc", *FLAGS)
    dylib = tmp_path / "libother.dylib"
    shared = ("-shared", f"-Wl,-install_name,{dylib}", str(library), "-o", str(dylib))
    subprocess.run([*host_inputs.ZIG, "c++", *host_inputs.TARGET, *shared], check=True)
    made = compile_object(PROGRAM, ".cc", *FLAGS)
    program = go.link(made, ldflags=(f"-L{tmp_path}", "-lother"), flags=flags)
    assert check(program) == []
    binary = parsed(program)
    if not any("chained" in flag for flag in flags):
        assert {"__Z7counterv", "__Z11own_defaultv"} <= weak_names(binary)
    command = [sys.executable, "-m", "pielink", "run", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "1 2 3 1 49 7"
