"""The module data: its fields against the runtime's own declaration, and its words."""

from __future__ import annotations

import re
import struct

import pytest
from go_inputs import PREVIOUS_RELEASE, RELEASE, goroot
from reference.golang_program import Maker

from pielink.errors import FormatError, LinkError
from pielink.golang.moduledata import (
    FIELDS,
    Form,
    last_module_data,
    module_data,
    text_section_map,
)
from pielink.golang.pclntab import PclnTables
from pielink.rows import NewSymbol
from pielink.tables import Kind

SIZES = {"uintptr": 8, "*pcHeader": 8, "uint8": 1, "string": 16}
TABLES = PclnTables(
    symbols=[],
    funcdata=Maker().finish()[4],
    function_count=7,
    first_function=100,
    last_function=101,
)


def declared(release: str) -> list[tuple[str, int]]:
    """(name, size) of the fields of moduledata that come before the runtime's own state."""
    source = (goroot(release) / "src/runtime/symtab.go").read_text()
    body = source.split("type moduledata struct {")[1].split("\n}")[0]
    found = []
    for line in body.splitlines():
        match = re.match(r"\t(\w+(?:, \w+)*) +(\S+)", line)
        if not match:
            continue
        names, kind = match.groups()
        size = 24 if kind.startswith("[]") else SIZES.get(kind, 0)
        found += [(name, size) for name in names.split(", ")]
    names = [name for name, _ in found]
    return found[: names.index("bad")]


def size_of(form: Form, unit: int) -> int:
    """Bytes of a field."""
    slices = (Form.SLICE, Form.COUNTED)
    return 24 if form in slices else {Form.ZERO: unit, Form.TRUE: 1}.get(form, 8)


@pytest.mark.parametrize("release", [RELEASE, PREVIOUS_RELEASE])
def test_fields_are_those_that_the_runtime_declares(release: str) -> None:
    fields = FIELDS[".".join(release.split(".")[:2])]
    assert [(f.name, size_of(f.form, f.unit)) for f in fields] == declared(release)


def make(release: str = "1.27", type_size: int = 600, missing: str = "") -> NewSymbol:
    """Module data with a row for every symbol, 64 bytes each."""
    maker = Maker(release=release)
    if type_size:
        content = struct.pack("<Q", type_size) + bytes(40)
        maker.symbol("type:runtime.moduledata", content, live=False)
    program, *_ = maker.finish()
    names = [f.symbol for f in FIELDS[release] if f.symbol]
    rows = {name: 1 + i for i, name in enumerate(dict.fromkeys(names)) if name != missing}
    numbers = {"typedesclen": 11, "itaboffset": 22, "itabsize": 33}
    return module_data(program, lambda name: rows.get(name, 0), lambda row: 64, TABLES, numbers)  # type: ignore[arg-type]


def field_offset(release: str, name: str) -> int:
    """Where a field lies."""
    at = 0
    for field in FIELDS[release]:
        if field.name == name:
            return at
        at += size_of(field.form, field.unit)
    raise KeyError(name)


def word(new: NewSymbol, release: str, name: str, index: int = 0) -> int:
    at = field_offset(release, name) + 8 * index
    return int(struct.unpack_from("<Q", bytes(new.content), at)[0])


@pytest.mark.parametrize("release", ["1.26", "1.27"])
def test_slices_have_length_and_capacity_in_elements(release: str) -> None:
    new = make(release)
    for name, length in (("cutab", 16), ("pctab", 64), ("ftab", 8), ("textsectmap", 1),
                         ("inittasks", 8), ("ptab", 0)):  # fmt: skip
        assert word(new, release, name, 1) == word(new, release, name, 2) == length, name


def test_numbers_of_the_layout_are_filled_in() -> None:
    new = make()
    names = ("typedesclen", "itaboffset", "itabsize")
    assert [word(new, "1.27", name) for name in names] == [11, 22, 33]


def test_links_are_slices_in_the_older_release() -> None:
    new = make("1.26")
    assert word(new, "1.26", "typelinks", 1) == 16
    assert word(new, "1.26", "itablinks", 1) == 8


def test_the_end_of_text_is_that_of_the_last_function() -> None:
    relocs = {r.offset: (r.target, r.addend) for r in make().relocs}  # type: ignore[union-attr]
    assert relocs[field_offset("1.27", "minpc")] == (100, 0)
    assert relocs[field_offset("1.27", "maxpc")] == (101, 64)


def test_without_init_tasks_the_slice_is_zero() -> None:
    new = make(missing="go:main.inittasks")
    at = field_offset("1.27", "inittasks")
    assert bytes(new.content)[at : at + 24] == bytes(24)
    assert at not in {r.offset for r in new.relocs}  # type: ignore[union-attr]


def test_the_size_is_that_of_the_type() -> None:
    new = make()
    assert (new.size, new.kind) == (600, Kind.MODULE_DATA)
    assert len(new.content) == field_offset("1.27", "hasmain") + 1


def test_a_missing_symbol_is_an_error() -> None:
    with pytest.raises(LinkError, match=r"missing symbol runtime\.etext"):
        make(missing="runtime.etext")


def test_a_missing_or_too_small_type_is_an_error() -> None:
    with pytest.raises(LinkError, match="type descriptor is missing"):
        make(type_size=0)
    with pytest.raises(FormatError, match="has 500 bytes"):
        make(type_size=500)


def test_the_text_section_map_has_one_section() -> None:
    new = text_section_map(5, 0x1234)
    assert struct.unpack("<3Q", bytes(new.content)) == (0, 0x1234, 0)
    assert [(r.offset, r.target) for r in new.relocs] == [(16, 5)]  # type: ignore[union-attr]


def test_the_list_of_modules_ends_with_this_one() -> None:
    new = last_module_data(9)
    assert [(r.offset, r.target) for r in new.relocs] == [(0, 9)]  # type: ignore[union-attr]
    assert (new.content, new.kind) == (bytes(8), Kind.NOPTR_DATA)
