"""Linked host objects beside what ld64.lld makes of the same objects.

ld64.lld has no Go program to put them into, so it makes a dylib of them that leaves Go's names to
be looked up at run time. What the objects ask dyld for must be the same in both: the names and the
libraries that have them, the functions to run at the start and at the end, the thread-locals.
"""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any

import host_inputs
import pytest
from example_sources import fetch_sources
from go_inputs import go_inputs
from host_inputs import compile_object
from host_program import host_objects, host_program, parsed

CASES = Path(__file__).parent / "cases"
TEMPLATE = ("__thread_data", "__thread_bss")


@pytest.fixture
def linker() -> str:
    found = host_inputs.lld()
    if found is None:
        pytest.skip("ld64.lld is not installed (Debian package lld-19)")
    return found


def imports(binary: Any) -> dict[str, str]:
    """Which library each bound name comes from; names that any image may have are left out.

    Only images that bind lazily, as ld64.lld's do, need dyld_stub_binder.
    """
    return {
        str(bound.symbol.name): str(bound.library.name)
        for bound in binary.bindings
        if bound.has_symbol and bound.has_library and bound.symbol.name != "dyld_stub_binder"
    }


class Image:
    """A linked file, and what its pointers lead to."""

    def __init__(self, path: Path) -> None:
        self.binary = parsed(path)
        self.name_of = {
            int(s.value): str(s.name)
            for s in self.binary.symbols
            if s.numberof_sections and not int(s.raw_type) & 0xE0
        }

    def section(self, name: str) -> bytes:
        return b"".join(bytes(s.content) for s in self.binary.sections if s.name == name)

    def pointers(self, section: str) -> list[str]:
        """The names of the functions that a section of pointers lists."""
        words = struct.iter_unpack("<Q", self.section(section))
        return [self.name_of[address] for (address,) in words]

    def thread_locals(self) -> dict[str, bytes]:
        """The initial value of each thread-local variable, up to the next one, without zeros."""
        template = {int(s.virtual_address): s for s in self.binary.sections if s.name in TEMPLATE}
        start = min(template, default=0)
        initial = b""
        for address, section in sorted(template.items()):
            content = bytes(section.content) if section.name == TEMPLATE[0] else b""
            initial = initial.ljust(address - start, b"\0") + content.ljust(section.size, b"\0")
        offset = {}
        for section in self.binary.sections:
            if section.name == "__thread_vars":
                words = [w for (w,) in struct.iter_unpack("<Q", bytes(section.content))]
                for at, word in enumerate(words[2::3]):
                    offset[self.name_of[int(section.virtual_address) + 24 * at]] = word
        bounds = sorted({*offset.values(), len(initial)})
        after = dict(itertools.pairwise(bounds))
        return {name: initial[at : after[at]].rstrip(b"\0") for name, at in offset.items()}


CODE = """
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
extern int not_there(int) __attribute__((weak_import));
static int order[8], count;
__thread int plain = 5;
_Thread_local char text[] = "thread";
static __thread long hidden_zero;
__thread double aligned __attribute__((aligned(64))) = 1.5;
__attribute__((constructor(300))) static void third(void) { order[count++] = 3; }
__attribute__((constructor(101))) static void first(void) { order[count++] = 1; }
__attribute__((constructor)) void last(void) { order[count++] = 4; }
__attribute__((destructor)) static void finish(void) { order[0] = plain; }
FILE **streams[] = {&stdin, &stdout, &stderr};
char **behind = (char **)&stdout + 1;
int (*functions[])(const char *) = {puts, atoi, 0, atoi};
double (*const functions_of_doubles[])(double) = {sin, cos};
int use(int n) {
    hidden_zero += n;
    aligned += plain;
    if (&timezone) n += timezone;
    return n + order[n] + errno + (int)strlen(text) + (int)pow(2, n) + fileno(*streams[n]) +
           functions[n](text) + (int)functions_of_doubles[n & 1](aligned) + (int)hidden_zero;
}
"""
MORE = """
#include <stdlib.h>
struct Counted { Counted(); ~Counted(); int n; };
Counted::Counted() : n(atoi("3")) {}
Counted::~Counted() { n = 0; }
static Counted here, there;
thread_local Counted each;
extern "C" int use_more() { return here.n + there.n + each.n; }
"""


def test_imports_initializers_and_thread_locals_are_those_of_lld(
    linker: str, tmp_path: Path
) -> None:
    objects = [
        compile_object(CODE, ".c", "-O1"),
        compile_object(MORE, ".cc", "-O1", "-fno-exceptions"),
    ]
    theirs = Image(host_inputs.link(linker, *objects, flags=host_inputs.DYLIB))
    ours = Image(host_program(tmp_path).link(*objects, ldflags=("-Wl,-u,_use,-u,_use_more",)))
    wanted = imports(theirs.binary)
    assert {"_puts", "___stdoutp", "__tlv_bootstrap", "_timezone", "_sin"} <= set(wanted)
    found = imports(ours.binary)
    assert {name: found.get(name) for name in wanted} == wanted
    started = theirs.pointers("__mod_init_func")
    assert len(started) > 1
    assert ours.pointers("__mod_init_func") == started
    variables = theirs.thread_locals()
    assert {"_plain": b"\5", "_text": b"thread", "_hidden_zero": b""}.items() <= variables.items()
    assert ours.thread_locals() == variables


@pytest.mark.parametrize(
    "program", ["cgo-lua", "cgo-zstd", "cgo-callbacks", "cgo-cxx", "cgo_exports"]
)
def test_programs_import_what_lld_would_from_the_same_libraries(
    program: str, linker: str, tmp_path: Path
) -> None:
    if program.startswith("cgo-"):
        fetch_sources(program)
    inputs = go_inputs(CASES / program if "_" in program else program, cgo=True)
    objects = host_objects(inputs, tmp_path)
    theirs = Image(host_inputs.link(linker, *objects, flags=host_inputs.DYLIB))
    ours = Image(inputs.link_with_pielink((), tmp_path / "program"))
    wanted = imports(theirs.binary)
    assert len(wanted) > 5
    found = imports(ours.binary)
    assert {name: found.get(name) for name in wanted} == wanted
    # What pielink takes from the compiler's archives of C++'s library follows in its file.
    started = theirs.pointers("__mod_init_func")
    assert ours.pointers("__mod_init_func")[: len(started)] == started
    assert theirs.thread_locals().items() <= ours.thread_locals().items()
