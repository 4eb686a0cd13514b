"""Host objects in a whole link: what the file says of them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from host_inputs import compile_object
from host_program import HostProgram, host_program, parsed
from reference import native_unwind

from pielink.check import check
from pielink.errors import LinkError


@pytest.fixture
def go(tmp_path: Path) -> HostProgram:
    return host_program(tmp_path)


PERSONALITY = """
    .globl _first, _thrower, ___gxx_personality_v0
_first:
    ret
___gxx_personality_v0:
    ret
_thrower:
    .cfi_startproc
    .cfi_personality 155, ___gxx_personality_v0
    .cfi_lsda 16, _table
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    pop %rbp
    ret
    .cfi_endproc
    .section __TEXT,__gcc_except_tab
_table:
    .long 0
"""


def test_a_personality_may_lie_inside_its_section(go: HostProgram) -> None:
    """Without .subsections_via_symbols a section is one atom, and the function begins inside."""
    program = go.link(compile_object(PERSONALITY, ".s"), ldflags=("-Wl,-u,_thrower",))
    assert check(program) == []
    binary = parsed(program)
    symbols = {str(s.name): s.value for s in binary.symbols}
    table = native_unwind.decode(bytes(binary.get_section("__unwind_info").content))
    assert len(table.personalities) == 1
    slot = binary.imagebase + table.personalities[0]
    word = bytes(binary.get_content_from_virtual_address(slot, 8))
    assert struct.unpack("<Q", word) == (symbols["___gxx_personality_v0"],)
    assert symbols["___gxx_personality_v0"] != symbols["_first"]


def test_a_demanded_name_that_nobody_has_is_an_error(go: HostProgram) -> None:
    made = compile_object("int main(void) { return 0; }")
    with pytest.raises(LinkError, match=r"_missing: undefined symbol; LDFLAGS ask for it with -u"):
        go.link(made, ldflags=("-Wl,-u,_missing", "-u_printf"))


SET = """
extern int printf(const char *, ...), fflush(void *);
#define PLACE(name, of) extern char name[] __asm(of)
PLACE(set_start, "section$start$__DATA$__my_set");
PLACE(set_end, "section$end$__DATA$__my_set");
PLACE(none_start, "section$start$__DATA$__none");
PLACE(none_end, "section$end$__DATA$__none");
PLACE(text_start, "segment$start$__TEXT");
PLACE(text_end, "segment$end$__TEXT");
PLACE(code_end, "section$end$__TEXT$__text");
extern char header[] __asm("__mh_execute_header");
__attribute__((used, section("__DATA,__my_set"))) static long first = 30, second = 12;
char *kept = set_end;
__attribute__((constructor)) static void start(void) {
    long sum = 0;
    for (long *each = (long *)set_start; each < (long *)set_end; each++) sum += *each;
    printf("%ld %d %d %d %d\\n", sum, none_start == none_end, text_start == header,
           (char *)start < code_end && code_end <= text_end, kept == set_end);
    fflush(0);
}
"""


@pytest.mark.parametrize("flags", [(), ("-dyldinfo=chained", "-macos=13.0")], ids=" ".join)
def test_sections_and_segments_have_names_where_they_begin_and_end(
    go: HostProgram, flags: tuple[str, ...]
) -> None:
    program = go.link(compile_object(SET), flags=(*flags, "-verify"))
    argv = [sys.executable, "-m", "pielink", "run", "--slide", "0x7000", str(program)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[0] == "42 1 1 1 1", done.stderr
