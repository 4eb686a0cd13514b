"""Host objects in a whole link: what the file says of them."""

from __future__ import annotations

import struct
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
