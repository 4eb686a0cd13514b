"""What host objects must not hold is refused with file, section, offset and symbol."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from host_inputs import compile_object
from host_writer import (
    BRANCH,
    CODE,
    CSTRING,
    GOT,
    LITERAL8,
    N_EXT,
    N_SECT,
    SIGNED,
    SUBTRACTOR,
    TLV,
    UNSIGNED,
    Section,
    Symbol,
    address_sections,
    write,
)
from invalid.host_objects import mutate, refusal

from pielink.errors import FormatError, LinkError, Problems
from pielink.formats import machobj
from pielink.native import diagnose, gather, prepare
from pielink.native.diagnose import Where
from pielink.native.prepare import Prepared


def linked(*objects: bytes, roots: tuple[bytes, ...] = (b"_f",), imports: bool = False) -> Prepared:
    """Run the passes and the diagnosis; raise what they find wrong."""
    files = [machobj.read(data, f"{number}.o") for number, data in enumerate(objects)]
    problems = Problems()
    found = prepare.keep(prepare.analyse(gather.gather(files), problems), roots)
    place = Where.IMPORT if imports else Where.NOWHERE
    where = np.full(len(found.names), place, np.uint8)
    diagnose.report(found, where, problems)
    problems.raise_if_any()
    return found


def one_object(*relocs: Any, text: bytes = bytes(16), more: Section | None = None) -> bytes:
    sections = [
        Section("__TEXT", "__text", text, CODE, 4, relocs=list(relocs)),
        Section("__DWARF", "__debug_line", bytes(8), 0x02000000),
    ]
    if more:
        sections.append(replace(more))
    address_sections(sections)
    symbols = [
        Symbol("_f", N_SECT | N_EXT, 1),
        Symbol("_g", N_EXT),
        Symbol("_line", N_SECT, 2),
        Symbol("_stab", 0x24, 1),
    ]
    return write(sections, symbols)


BAD_RELOCS = (
    ("unknown type", [(0, 12, 2, 0, 1, 1)], "__TEXT,__text\\+0x0 has an unknown type"),
    ("pcrel pointer", [(0, UNSIGNED, 3, 1, 1, 1)], "is pc-relative by mistake, or is not"),
    ("absolute branch", [(8, BRANCH, 2, 0, 1, 1)], "text\\+0x8 is pc-relative by mistake"),
    ("wide branch", [(0, BRANCH, 3, 1, 1, 1)], "field of the wrong size"),
    ("two-byte pointer", [(0, UNSIGNED, 1, 0, 1, 1)], "field of the wrong size"),
    ("got of a section", [(0, GOT, 2, 1, 0, 1)], "needs a symbol as its target"),
    ("tlv of a section", [(0, TLV, 2, 1, 0, 1)], "needs a symbol as its target"),
    ("debug symbol", [(0, SIGNED, 2, 1, 1, 3)], "has a debug symbol as its target"),
    ("symbol in debug section", [(0, SIGNED, 2, 1, 1, 2)], "has a target that is left out"),
    ("debug section", [(0, SIGNED, 2, 1, 0, 2)], "has a target section that is left out"),
    ("lone subtractor", [(0, SUBTRACTOR, 3, 0, 1, 0)], "is a SUBTRACTOR without its UNSIGNED"),
    (
        "subtractor and branch",
        [(0, SUBTRACTOR, 2, 0, 1, 0), (0, BRANCH, 2, 1, 1, 1)],
        "is a SUBTRACTOR without its UNSIGNED",
    ),
    (
        "subtractor elsewhere",
        [(0, SUBTRACTOR, 3, 0, 1, 0), (8, UNSIGNED, 3, 0, 1, 1)],
        "is a SUBTRACTOR without its UNSIGNED",
    ),
)


@pytest.mark.parametrize(("title", "relocs", "message"), BAD_RELOCS, ids=[b[0] for b in BAD_RELOCS])
def test_a_relocation_that_amd64_does_not_have(title: str, relocs: Any, message: str) -> None:
    with pytest.raises(FormatError, match=f"^0\\.o: relocation at .*{message}"):
        linked(one_object(*relocs))


def test_a_relocation_over_the_end_of_its_subsection() -> None:
    sections = [Section("__TEXT", "__text", bytes(16), CODE, 4)]
    sections[0].relocs.append((4, UNSIGNED, 3, 0, 1, 1))
    symbols = [Symbol("_f", N_SECT | N_EXT, 1), Symbol("_g", N_SECT | N_EXT, 1, value=8)]
    with pytest.raises(FormatError, match="reaches over the end of its subsection"):
        linked(write(sections, symbols))


NOT_PIC = (
    ("pointer in four bytes", (0, UNSIGNED, 2, 0, 1, 0), "_f", "can be loaded anywhere"),
    ("import without the GOT", (0, SIGNED, 2, 1, 1, 1), "_g", "without the GOT"),
    ("import in four bytes", (0, UNSIGNED, 2, 0, 1, 1), "_g", "can be loaded anywhere"),
)


@pytest.mark.parametrize(("title", "reloc", "symbol", "why"), NOT_PIC, ids=[n[0] for n in NOT_PIC])
def test_what_cannot_be_position_independent(title: str, reloc: Any, symbol: str, why: str) -> None:
    with pytest.raises(LinkError) as caught:
        linked(one_object(reloc), imports=True)
    (problem,) = caught.value.problems
    assert (problem.file, problem.symbol) == ("0.o", symbol)
    assert problem.message.startswith("relocation at __TEXT,__text+0x0 ")
    assert problem.message.endswith(why)


def test_a_difference_of_an_import() -> None:
    minus = one_object((0, SUBTRACTOR, 3, 0, 1, 1), (0, UNSIGNED, 3, 0, 1, 0))
    with pytest.raises(LinkError, match=r"0\.o: _f: .* subtracts the address of a symbol"):
        linked(minus, imports=True)
    plus = one_object((0, SUBTRACTOR, 3, 0, 1, 0), (0, UNSIGNED, 3, 0, 1, 1))
    with pytest.raises(LinkError, match=r"0\.o: _g: .* reaches into a dynamic library"):
        linked(plus, imports=True)


def test_a_branch_into_an_import() -> None:
    data = one_object((0, BRANCH, 2, 1, 1, 1), text=b"\x04" + bytes(15))
    with pytest.raises(LinkError, match="branches into the middle of an import"):
        linked(data, imports=True)
    assert linked(one_object((0, BRANCH, 2, 1, 1, 1)), imports=True)


def test_undefined_symbols_are_reported_once_for_each_file() -> None:
    data = one_object((0, BRANCH, 2, 1, 1, 1), (8, BRANCH, 2, 1, 1, 1))
    other = data.replace(b"_f\0", b"_h\0")
    with pytest.raises(LinkError) as caught:
        linked(data, other, roots=(b"_f", b"_h"))
    assert [str(each) for each in caught.value.problems] == [
        "0.o: _g: undefined symbol; name its library in LDFLAGS (-l, -framework)",
        "1.o: _g: undefined symbol; name its library in LDFLAGS (-l, -framework)",
    ]


def test_duplicate_definitions_name_both_files() -> None:
    with pytest.raises(LinkError) as caught:
        linked(one_object(), one_object())
    assert str(caught.value) == "1.o: _f: duplicate definition; the first is in 0.o"


def test_what_is_not_reached_need_not_be_defined() -> None:
    data = one_object((0, BRANCH, 2, 1, 1, 1))
    assert not linked(data, roots=()).needed.any()


def frame(content: bytes) -> Section:
    """Return an `__eh_frame` of one 16-byte record."""
    return Section("__TEXT", "__eh_frame", b"\x0c\0\0\0" + content.ljust(12, b"\x01"))


CIE = bytes(4)
BAD_SECTIONS = (
    (Section("__TEXT", "__cstring", b"abc", CSTRING), "has no NUL"),
    (Section("__TEXT", "__literal8", bytes(12), LITERAL8), "not a whole number of 8-byte records"),
    (Section("__LD", "__compact_unwind", bytes(33)), "not a whole number of 32-byte records"),
    (Section("__LD", "__compact_unwind", bytes(32)), "unwind\\+0x0 describes no function"),
    (Section("__TEXT", "__eh_frame", b"\x40\0\0\0" + bytes(12)), "has a wrong length"),
    (frame(b"\x44\0\0\0"), "record at __TEXT,__eh_frame\\+0x0 has no CIE"),
    (frame(CIE + b"\x07\0"), "is a CIE of unknown version 7"),
    (frame(CIE + b"\x01zR" + b"\xff" * 5), "is cut off"),
    (frame(CIE + b"\x01zR\0" + b"\xff" * 4), "is cut off"),
    (frame(CIE + b"\x01X\0\1\1\1"), "unknown augmentation 'X'"),
    (frame(CIE + b"\x01\0\1\1\1"), "function pointers are not pc-relative"),
    (frame(CIE + b"\x01R\0\1\1\1\x50"), "unknown encoding 0x50 of its pointers"),
    (Section("__DATA", "__objc_imageinfo", bytes(4)), "objc_imageinfo is not 8 bytes long"),
    (Section("__DATA", "__objc_imageinfo", b"\1" + bytes(7)), "image info of unknown version 1"),
)


@pytest.mark.parametrize(("section", "message"), BAD_SECTIONS, ids=[b[1] for b in BAD_SECTIONS])
def test_a_malformed_section(section: Section, message: str) -> None:
    with pytest.raises(FormatError, match=f"^0\\.o: .*{message}"):
        linked(one_object(more=section))


@pytest.mark.parametrize("seed", range(6))
def test_mutated_objects_are_linked_or_refused_by_name(seed: int) -> None:
    from test_machobj import CASES, SOURCES

    path = CASES / SOURCES[seed % 3]
    data = compile_object(path.read_text(), path.suffix, "-O1").read_bytes()
    rng = random.Random(seed)

    def link(damaged: bytes) -> None:
        file = machobj.read(damaged, "bad.o")
        problems = Problems()
        found = prepare.keep(prepare.analyse(gather.gather([file]), problems), [b"_main"])
        where = np.full(len(found.names), Where.IMPORT, np.uint8)
        diagnose.report(found, where, problems)
        for problem in problems:
            assert problem.file in ("bad.o", "")

    errors = [refusal(link, mutate(data, rng)) for _ in range(120)]
    assert all(error.startswith("bad.o: ") for error in errors if error)
    assert sum(map(bool, errors)) > 20
