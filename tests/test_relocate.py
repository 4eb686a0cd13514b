"""Relocation: random images against the plain twin, special references, and every error."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Container, Mapping
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from link_tables import lay_out, memory, objects, tables
from reference import relocate as plain

from pielink.errors import LinkError
from pielink.passes.fixups import Patches, fixups, place
from pielink.passes.relocate import Inputs, relocate
from pielink.passes.verify import verify
from pielink.rows import NewReloc, NewSymbol, with_columns
from pielink.tables import ABI0, ABI_INTERNAL, UNREACHED, Kind, Reloc

NOTHING: Mapping[tuple[bytes, int], int] = MappingProxyType({})
KINDS = (
    *(Reloc.ADDR, Reloc.CALL, Reloc.PCREL, Reloc.ADDROFF, Reloc.METHODOFF),
    *(Reloc.SIZE, Reloc.CONST, Reloc.TLS_LE, Reloc.CALLIND),
)
PLACED = (Kind.TEXT, Kind.RODATA, Kind.RODATA_RELRO, Kind.TYPE, Kind.DATA)


def inputs_of(
    new: list[NewSymbol],
    patches: Patches | None = None,
    defined: Mapping[tuple[bytes, int], int] = NOTHING,
) -> Inputs:
    """All that the pass wants, from symbols in rows 1 and up."""
    store = memory()
    symbols, relocs = tables(store, new)
    none = np.zeros(0, np.int32)
    return Inputs(
        memory=store,
        objects=objects(),
        symbols=symbols,
        relocs=relocs,
        patches=patches or Patches(none, none, np.zeros(0, np.uint8)),
        layout=lay_out(symbols),
        unreachable_method=1,
        lookup=lambda names: np.array([defined.get(n, 0) for n in names], np.int32),
    )


def random_symbols(
    rng: random.Random, count: int, pointers: Container[Kind] = Kind
) -> list[NewSymbol]:
    """Symbols that refer to each other in every way; only `pointers` have 8-byte relocations."""
    made = [NewSymbol("runtime.unreachableMethod", Kind.TEXT, b"\x90" * 5)]
    for i in range(count):
        kind = rng.choice((*PLACED, Kind.BSS))
        size = rng.choice((0, 1, 7, 16, 40, 333))
        stored = b"" if kind == Kind.BSS else rng.randbytes(size)
        relocs, at = [], 0
        while at + 8 <= len(stored):
            relocs.append(random_reloc(rng, at, count + 2))
            at += rng.choice((8, 8, 9, 13))
        kept = [r for r in relocs if r.size < 8 or kind in pointers]
        size += rng.choice((0, 0, 9))
        made.append(NewSymbol(f"s{i}", kind, stored, size, relocs=kept))
    return made


def random_reloc(rng: random.Random, offset: int, rows: int) -> NewReloc:
    """One relocation at `offset` that fits into 8 bytes."""
    kind = rng.choice(KINDS)
    size = {Reloc.ADDR: 8, Reloc.CALLIND: 0}.get(kind, 4)
    if kind == Reloc.CONST:
        size = rng.choice((1, 2, 4, 8))
    target = rng.randrange(1, rows)
    if kind in (Reloc.ADDR, Reloc.METHODOFF, Reloc.ADDROFF) and rng.random() < 0.2:
        target = UNREACHED
    return NewReloc(offset, target, kind, size, rng.choice((0, 0, 3, 100)))


@pytest.mark.parametrize("seed", range(20))
def test_image_equals_the_plain_twin(seed: int) -> None:
    rng = random.Random(seed)
    inputs = inputs_of(random_symbols(rng, rng.choice((1, 5, 60, 300))))
    for slide in (0, 0x123000):
        assert relocate(inputs, slide).tobytes() == plain.relocate(inputs, slide)


def test_gaps_between_functions_trap_and_others_are_zero() -> None:
    inputs = inputs_of(
        [
            NewSymbol(n, k, b"\1" * 3)
            for n, k in (("f", Kind.TEXT), ("g", Kind.TEXT), ("d", Kind.DATA), ("e", Kind.DATA))
        ]
    )
    image = relocate(inputs).tobytes()
    assert image[4096:4107] == b"\1\1\1" + b"\xcc" * 5 + b"\1\1\1"
    assert image.endswith(b"\1\1\1" + b"\0" * 5 + b"\1\1\1")
    assert not image[:4096].strip(b"\0")


def test_patches_replace_single_bytes() -> None:
    one = np.array([1], np.int32)
    patches = Patches(one, one, np.array([0x8B], np.uint8))
    image = relocate(inputs_of([NewSymbol("f", Kind.TEXT, b"\x48\x8d\x05")], patches))
    assert image[4096:4099].tobytes() == b"\x48\x8b\x05"


def errors_of(inputs: Inputs) -> list[str]:
    """The problems of a link that must fail."""
    with pytest.raises(LinkError) as caught:
        relocate(inputs)
    return [str(p) for p in caught.value.problems]


def test_undefined_targets_are_reported_once_each() -> None:
    calls = [NewReloc(0, 2, Reloc.CALL, 4), NewReloc(4, 2, Reloc.CALL, 4), NewReloc(8, 3)]
    inputs = inputs_of(
        [
            NewSymbol("main.main", Kind.TEXT, bytes(16), relocs=calls),
            NewSymbol("lib.F", Kind.UNDEFINED, version=ABI_INTERNAL),
            NewSymbol("lib.G", Kind.UNDEFINED, version=ABI0),
        ],
        defined={(b"lib.G", ABI_INTERNAL): 7},
    )
    assert errors_of(inputs) == [
        "main.main: relocation target lib.F not defined",
        "main.main: relocation target lib.G not defined for ABI0 (but is defined for ABIInternal)",
    ]


def test_a_program_without_main_is_told_so() -> None:
    inputs = inputs_of(
        [
            NewSymbol("runtime.main", Kind.TEXT, bytes(8), relocs=[NewReloc(0, 2, Reloc.CALL, 4)]),
            NewSymbol("main.main", Kind.UNDEFINED, version=ABI_INTERNAL),
        ]
    )
    assert errors_of(inputs) == ["runtime.main: function main is undeclared in the main package"]


@pytest.mark.parametrize(
    ("reloc", "message"),
    [
        (NewReloc(6, 1, Reloc.CALL, 4), "R_CALL relocation at offset 0x6 to f: it reaches outside"),
        (NewReloc(-1, 1, Reloc.CALL, 4), "at offset -0x1 to f: it reaches outside its symbol"),
        (NewReloc(0, 1, Reloc.CALL, 3), "3 is not a width that can be relocated"),
        (NewReloc(0, 1, Reloc.TLS_IE, 4), "R_TLS_IE relocation at offset 0x0 to f: internal"),
        (
            NewReloc(0, 1, Reloc.CALL, 4, (1 << 31) + 4),
            "pc-relative relocation address for f is too big",
        ),
        (NewReloc(0, 1, Reloc.PCREL, 2, (1 << 15) + 2), "pc-relative relocation address for f"),
        (NewReloc(0, 1, Reloc.ADDR, 4, 1 << 31), "non-pc-relative relocation address for f is too"),
        (NewReloc(0, 1, Reloc.SIZE, 4, 1 << 32), "non-pc-relative relocation address for f is too"),
        (NewReloc(0, 2, Reloc.ADDROFF, 4), "R_ADDROFF: nowhere is in no section"),
    ],
)
def test_errors_name_the_symbol_and_the_reason(reloc: NewReloc, message: str) -> None:
    made = [
        NewSymbol("f", Kind.TEXT, bytes(8), relocs=[reloc]),
        NewSymbol("nowhere", Kind.DYNIMPORT),
    ]
    (problem,) = errors_of(inputs_of(made))
    assert problem.startswith("f: ")
    assert message in problem


def test_a_type_of_a_newer_release_is_an_error() -> None:
    inputs = inputs_of(
        [NewSymbol("f", Kind.TEXT, bytes(8), relocs=[NewReloc(0, 1, Reloc.CALL, 4)])]
    )
    relocs = with_columns(inputs.relocs, type=np.array([999], np.uint16))
    (problem,) = errors_of(with_columns(inputs, relocs=relocs))
    assert "type 999 relocation at offset 0x0 to f: internal linking knows no" in problem


def test_a_go_object_cannot_use_the_types_of_host_objects() -> None:
    reloc = NewReloc(0, 1, Reloc.DELTA, 8)
    inputs = inputs_of([NewSymbol("d", Kind.DATA, bytes(8), relocs=[reloc])])
    symbols = with_columns(inputs.symbols, slot=np.array([0, 1], np.int32))
    (problem,) = errors_of(with_columns(inputs, symbols=symbols))
    assert "R_DELTA relocation at offset 0x0 to d: internal linking knows no" in problem


def test_unsigned_values_may_use_all_bits() -> None:
    reloc = NewReloc(0, 1, Reloc.SIZE, 4, 0xFFFFFFF0)
    image = relocate(inputs_of([NewSymbol("d", Kind.DATA, bytes(8), relocs=[reloc])]))
    assert image[-8:].tobytes() == b"\xf8\xff\xff\xff\0\0\0\0"


MAY_BE_UNREACHED = (Reloc.ADDR, Reloc.ADDROFF, Reloc.METHODOFF)
HOSTILE = st.builds(
    NewReloc,
    offset=st.integers(-(2**31), 2**31 - 1) | st.integers(-4, 20),
    target=st.integers(-1, 6),
    type=st.sampled_from(list(Reloc)).filter(lambda r: r != Reloc.WEAK),
    size=st.integers(0, 255) | st.sampled_from((1, 2, 4, 8)),
    addend=st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9),
).filter(lambda r: r.target != UNREACHED or r.type in MAY_BE_UNREACHED)


@given(st.lists(st.tuples(st.integers(0, 4), HOSTILE), max_size=6), st.booleans())
def test_hostile_relocations_end_in_link_errors(
    relocs: list[tuple[int, NewReloc]], pie: bool
) -> None:
    kinds = (Kind.TEXT, Kind.DATA, Kind.TYPE, Kind.BSS, Kind.DYNIMPORT, Kind.UNDEFINED)
    new = [
        NewSymbol(
            kind.name,
            kind,
            b"\x48\x8d\x05" * 5 if i < 3 else b"",
            size=16,
            relocs=[reloc for owner, reloc in relocs if owner == i],
        )
        for i, kind in enumerate(kinds)
    ]
    inputs = inputs_of(new)
    inputs = with_columns(inputs, symbols=with_columns(inputs.symbols, slot=np.arange(7)))
    text = np.array([1], np.int32)
    with contextlib.suppress(LinkError):
        made = fixups(inputs.memory, inputs.objects, inputs.symbols, inputs.relocs, text, pie)
        layout = lay_out(made.symbols)
        columns = {"symbols": made.symbols, "relocs": made.relocs, "patches": made.patches}
        inputs = with_columns(inputs, layout=layout, **columns)
        image = relocate(inputs)
        assert image.tobytes() == plain.relocate(inputs)
        verify(inputs, image, place(inputs.memory, made.symbols, made.pointers, layout))
