"""GC programs: the array passes against their plain twin, and decoded again."""

from __future__ import annotations

import random
import struct
from contextlib import suppress

import numpy as np
import pytest
from reference.golang_gcprog import (
    Program,
    Type,
    array,
    decode,
    make,
    pointer_words,
    struct_of,
    variable,
)
from reference.golang_program import Maker

from pielink.errors import FormatError, LinkError
from pielink.golang.gcprog import encode, gc_programs
from pielink.golang.typedata import POINTER

SCALAR = Type(2, 8, 0)
REFERENCE = Type(POINTER, 8, 8, 1)
STRING = Type(24, 16, 8, 1)
INTERFACE = Type(20, 16, 16, 3)
SLICE = Type(23, 24, 8, 1)


def random_type(pick: random.Random, depth: int) -> Type:
    kind = pick.random() if depth else 1.0
    if kind < 0.3:
        return array(random_type(pick, depth - 1), pick.choice([1, 1, 2, 3, 40, 300]))
    if kind < 0.8:
        at, fields = 0, []
        for _ in range(pick.randint(0, 5)):
            inner = random_type(pick, depth - 1)
            fields.append((at, inner))
            at += inner.size + pick.choice([0, 0, 0, 8, 800])
        return struct_of(fields, at, uncommon=pick.random() < 0.3)
    return pick.choice([SCALAR, REFERENCE, REFERENCE, STRING, INTERFACE, SLICE])


def build(types: list[Type], gaps: list[int], maker: Maker | None = None) -> tuple[bytes, int]:
    """The program for variables of these types, with gaps in bytes in front; and the words."""
    maker = maker or Maker()
    made = [variable(maker, f"main.v{i}", kind) for i, kind in enumerate(types)]
    program, symbols, _, _, row_of_slot = maker.finish()
    offset, at = [], 0
    for kind, gap in zip(types, gaps, strict=True):
        offset.append(at + gap)
        at += gap + kind.size
    rows = row_of_slot[[m.id for m in made]]
    variables = (rows, np.array(offset, np.int64), at + 64)
    (code,) = gc_programs(program, symbols, [variables])  # type: ignore[arg-type]
    return code, (at + 64) // 8


def with_pointers(pick: random.Random, depth: int) -> Type:
    while not (found := random_type(pick, depth)).pointer_bytes or found.size > 200_000:
        pass
    return found


def clear(kind: Type) -> None:
    """Forget the symbols of an earlier program."""
    kind.made = None
    for inner in [kind.element, *(t for _, t in kind.fields)]:
        if inner:
            clear(inner)


@pytest.mark.parametrize("seed", range(40))
def test_programs_equal_those_of_the_plain_twin(seed: int) -> None:
    pick = random.Random(seed)
    types = [with_pointers(pick, pick.randint(0, 3)) for _ in range(pick.randint(1, 30))]
    gaps = [pick.choice([0, 0, 8, 240, 248, 256, 264, 4000]) for _ in types]
    for kind in types:
        clear(kind)
    code, words = build(types, gaps)
    plain, first, pointers = Program(), 0, []
    for kind, gap in zip(types, gaps, strict=True):
        first += gap // 8
        plain.add(kind, first)
        pointers += pointer_words(kind, first)
        first += kind.size // 8
    assert code == plain.finish(words)
    bits = decode(code)
    assert len(bits) == words
    assert [i for i, bit in enumerate(bits) if bit] == pointers


@pytest.mark.parametrize(
    ("pointers", "words", "code"),
    [
        ([], 0, "00"),
        ([0], 1, "01 01 00"),
        ([0, 2], 3, "03 05 00"),
        ([31], 32, "20 00 00 00 80 00"),  # a gap of 31 words: bits
        ([32], 33, "01 00 81 1f 01 01 00"),  # one of 32: a repetition
        ([0], 33, "02 01 81 1f 00"),
        ([], 129, "01 00 81 80 01 00"),
        (list(range(127)), 127, "7f" + "ff" * 15 + "7f 00"),
        (list(range(128)), 128, "7f" + "ff" * 15 + "7f 01 01 00"),
    ],
)
def test_bytes_of_each_form(pointers: list[int], words: int, code: str) -> None:
    nothing = np.zeros(0, np.int64)
    got = encode(np.array(pointers, np.int64), nothing, nothing, nothing, words)
    assert got == bytes.fromhex(code)


@pytest.mark.parametrize(
    ("period", "times", "code"),
    [
        (1, 2, "01 01 81 02 00"),
        (5, 1, "05 01 85 01 00"),
        (127, 1, "02 01 81 7d ff 01 00"),
        (128, 1, "02 01 81 7e 80 80 01 01 00"),
        (200, 300, "02 01 81 c6 01 80 c8 01 ac 02 00"),
    ],
)
def test_bytes_of_repetitions(period: int, times: int, code: str) -> None:
    """One pointer, then zeros up to `period` words, all of that `times` times more."""
    columns = (np.array([v]) for v in (period, period, times))
    got = encode(np.array([0]), *columns, period * (times + 1))
    assert got == bytes.fromhex(code)
    assert decode(got) == ([1] + [0] * (period - 1)) * (times + 1)


def test_sections_have_programs_of_their_own() -> None:
    pick = random.Random(1)
    types = [with_pointers(pick, 3) for _ in range(12)]
    maker = Maker()
    for kind in types:
        clear(kind)
    made = [variable(maker, f"main.v{i}", kind) for i, kind in enumerate(types)]
    program, symbols, _, _, row_of_slot = maker.finish()
    rows = row_of_slot[[m.id for m in made]]
    sections = []
    for part in (slice(0, 7), slice(7, 7), slice(7, 12)):
        sizes = np.array([kind.size for kind in types[part]], np.int64)
        sections.append((rows[part], np.cumsum(sizes) - sizes, int(sizes.sum()) + 40))
    together = gc_programs(program, symbols, sections)  # type: ignore[arg-type]
    assert together == [gc_programs(program, symbols, [s])[0] for s in sections]  # type: ignore[arg-type]


def test_events_that_overlap_are_an_error() -> None:
    one = np.array([2])
    with pytest.raises(FormatError, match="overlap"):
        encode(np.array([3]), one, np.array([1]), np.array([4]), 10)


def test_a_variable_without_a_type_is_an_error() -> None:
    maker = Maker()
    made = maker.symbol("main.v", size=8)
    program, symbols, _, _, rows = maker.finish()
    with pytest.raises(LinkError, match=r"main.v: missing Go type information .* 8 bytes"):
        gc_programs(program, symbols, [(rows[[made.id]], np.array([0]), 8)])  # type: ignore[arg-type]


def damaged(kind: Type, at: int, value: int) -> None:
    """Build a program for one variable whose descriptor has another 8-byte number at `at`."""
    clear(kind)
    maker = Maker()
    made = make(maker, kind)
    made.content = made.content[:at] + struct.pack("<q", value) + made.content[at + 8 :]
    build([kind], [0], maker)


@pytest.mark.parametrize("value", [0, -8, 1 << 40])
def test_pointer_bytes_outside_of_the_variable_are_an_error(value: int) -> None:
    with pytest.raises(FormatError, match="outside of the variable"):
        damaged(struct_of([(0, REFERENCE)], 8), 8, value)


@pytest.mark.parametrize("value", [0, -1, 1 << 40, 1 << 62])
def test_an_array_larger_than_the_variable_is_an_error(value: int) -> None:
    with pytest.raises(FormatError, match="array larger than the variable"):
        damaged(array(REFERENCE, 4), 64, value)


@pytest.mark.parametrize("value", [-1, 3, 1 << 40])
def test_more_fields_than_the_descriptor_has_are_an_error(value: int) -> None:
    with pytest.raises(FormatError, match="fields outside of the descriptor"):
        damaged(struct_of([(0, REFERENCE), (8, REFERENCE)], 16), 64, value)


def test_a_mask_that_is_cut_short_is_an_error() -> None:
    maker, kind = Maker(), Type(POINTER, 80, 80, 1023)
    mask = maker.symbols[make(maker, kind).relocs[0][4]]
    mask.content = mask.content[:1]
    with pytest.raises(FormatError, match="mask that is cut short"):
        build([kind], [0], maker)


def test_a_type_without_a_mask_is_an_error() -> None:
    maker, kind = Maker(), Type(POINTER, 80, 80, 1023)
    made = make(maker, kind)
    made.content = made.content[:20] + bytes([16]) + made.content[21:]
    with pytest.raises(FormatError, match="has no GC mask"):
        build([kind], [0], maker)


def test_a_type_that_holds_itself_is_an_error() -> None:
    maker, kind = Maker(), struct_of([(0, REFERENCE)], 8)
    made = make(maker, kind)
    offset, size, reloc, addend, _ = made.relocs[0]
    made.relocs[0] = (offset, size, reloc, addend, made.id)
    with pytest.raises(FormatError, match="holds itself"):
        build([kind], [0], maker)


def test_types_that_multiply_are_an_error() -> None:
    maker, kind = Maker(), struct_of([(0, REFERENCE), (0, REFERENCE)], 8)
    made = make(maker, kind)
    made.relocs = [(*r[:4], made.id) for r in made.relocs]
    with pytest.raises(FormatError, match="fields that overlap"):
        build([kind], [0], maker)


def test_a_descriptor_that_is_cut_short_is_an_error() -> None:
    for kind in (struct_of([(0, REFERENCE)], 8), array(REFERENCE, 2)):
        clear(kind)
        maker = Maker()
        made = make(maker, kind)
        made.content = made.content[:60]
        made.size = 60
        with pytest.raises(FormatError, match="cut short"):
            build([kind], [0], maker)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_types_give_an_error_or_a_program(seed: int) -> None:
    pick = random.Random(seed)
    types = [with_pointers(pick, 3) for _ in range(5)]
    for kind in types:
        clear(kind)
    maker = Maker()
    for kind in types:
        make(maker, kind)
    for _ in range(pick.choice([1, 3, 10])):
        victim = pick.choice([s for s in maker.symbols if s.content])
        content = bytearray(victim.content)
        at = pick.choice([0, 1, 7, 8, 9, 20, 23, 64, 65, 71, pick.randrange(256)]) % len(content)
        content[at] = pick.choice([0, 1, 17, 25, 0x7F, 0x80, 0xFF])
        victim.content = bytes(content)
        if victim.relocs and pick.random() < 0.3:
            first = victim.relocs[0]
            victim.relocs[0] = (*first[:4], pick.randrange(len(maker.symbols)))
    with suppress(FormatError):
        code, words = build(types, [0] * len(types), maker)
        assert len(decode(code)) == words
