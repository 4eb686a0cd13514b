"""pielink.dyld.bind: exact bytes for each opcode form, round trips, the optimum, damage."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import dyld_opcodes as reference

from pielink.dyld import BIND, DyldInfoError, bind


def columns(rows):
    """(segment, type, flags, ordinal, name, addend, offset) rows as BIND and a list of names."""
    names = list(dict.fromkeys(row[4] for row in rows))
    return np.array([(*r[:4], names.index(r[4]), *r[5:]) for r in rows], BIND), names


def row(offset=0, name=b"_f", segment=2, kind=1, flags=0, ordinal=1, addend=0):
    return (segment, kind, flags, ordinal, name, addend, offset)


def named(rows, names):
    return [(*r[:4], names[r[4]], *r[5:]) for r in rows.tolist()]


def strided(start, stride, count, **more):
    return [row(start + stride * i, **more) for i in range(count)]


F = "40 5f 66 00"  # SET_SYMBOL _f
G = "40 5f 67 00"  # SET_SYMBOL _g
FORMS = {
    "ordinal 0: this image": ([row(ordinal=0)], f"30 {F} 51 72 00 90"),
    "ordinal 1": ([row(ordinal=1)], f"11 {F} 51 72 00 90"),
    "ordinal 15: the last immediate": ([row(ordinal=15)], f"1f {F} 51 72 00 90"),
    "ordinal 16: the first ULEB": ([row(ordinal=16)], f"20 10 {F} 51 72 00 90"),
    "ordinal 127": ([row(ordinal=127)], f"20 7f {F} 51 72 00 90"),
    "ordinal 128: two bytes": ([row(ordinal=128)], f"20 80 01 {F} 51 72 00 90"),
    "ordinal -1: main executable": ([row(ordinal=-1)], f"3f {F} 51 72 00 90"),
    "ordinal -2: flat look-up": ([row(ordinal=-2)], f"3e {F} 51 72 00 90"),
    "ordinal -3: weak look-up": ([row(ordinal=-3)], f"3d {F} 51 72 00 90"),
    "weak import": ([row(flags=1)], "11 41 5f 66 00 51 72 00 90"),
    "type 3": ([row(kind=3)], f"11 {F} 53 72 00 90"),
    "segment 15": ([row(segment=15)], f"11 {F} 51 7f 00 90"),
    "offset 127": ([row(127)], f"11 {F} 51 72 7f 90"),
    "offset 128": ([row(128)], f"11 {F} 51 72 80 01 90"),
    "addend 63: one byte": ([row(addend=63)], f"11 {F} 51 60 3f 72 00 90"),
    "addend 64: two bytes": ([row(addend=64)], f"11 {F} 51 60 c0 00 72 00 90"),
    "addend -1": ([row(addend=-1)], f"11 {F} 51 60 7f 72 00 90"),
    "addend -64: one byte": ([row(addend=-64)], f"11 {F} 51 60 40 72 00 90"),
    "addend -65: two bytes": ([row(addend=-65)], f"11 {F} 51 60 bf 7f 72 00 90"),
    "addend -2**63": (
        [row(addend=-(2**63))],
        f"11 {F} 51 60 80 80 80 80 80 80 80 80 80 7f 72 00 90",
    ),
    "neighbours": (strided(0, 8, 2), f"11 {F} 51 72 00 90 90"),
    "four neighbours: a repeat": (strided(0, 8, 5), f"11 {F} 51 72 00 c0 05 00"),
    "128 neighbours": (strided(0, 8, 128), f"11 {F} 51 72 00 c0 80 01 00"),
    "a gap of 1 word": ([row(0), row(16)], f"11 {F} 51 72 00 b1 90"),
    "a gap of 15 words": ([row(0), row(128)], f"11 {F} 51 72 00 bf 90"),
    "a gap of 16 words": ([row(0), row(136), row(144)], f"11 {F} 51 72 00 a0 80 01 90 90"),
    "an unaligned gap": ([row(0), row(11), row(19)], f"11 {F} 51 72 00 a0 03 90 90"),
    "a stride": (strided(0, 0x108, 4), f"11 {F} 51 72 00 c0 04 80 02"),
    "a stride, a residual move": (
        [*strided(0, 0x108, 4), row(0x108 * 4 + 3), row(0x108 * 4 + 11)],
        f"11 {F} 51 72 00 c0 04 80 02 80 03 90 90",
    ),
    "two symbols side by side": ([row(0), row(8, b"_g")], f"11 {F} 51 72 00 90 {G} 90"),
    "two symbols, a gap between": ([row(0), row(24, b"_g")], f"11 {F} 51 72 00 b2 {G} 90"),
    "two symbols, two libraries": (
        [row(0), row(8, b"_g", ordinal=40)],
        f"11 {F} 51 72 00 90 20 28 {G} 90",
    ),
    "the addend stays set": (
        [row(0, addend=16), row(8, b"_g", addend=16)],
        f"11 {F} 51 60 10 72 00 90 {G} 90",
    ),
    "another segment": (
        [row(0), row(8, b"_g", segment=3)],
        f"11 {F} 51 72 00 90 {G} 73 08 90",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_exact_bytes(name):
    rows, expected = FORMS[name]
    data = bind.encode(*columns(rows))
    assert data.hex(" ") == (bytes.fromhex(expected) + b"\0").hex(" ")
    assert named(*bind.decode(data)) == rows


@pytest.mark.parametrize("length", [1, 2, 127, 128, 4096, 65535, 65536])
def test_names_from_one_byte_to_64_kib(length):
    rows = [row(name=b"x" * length)]
    data = bind.encode(*columns(rows))
    assert data == b"\x11\x40" + b"x" * length + b"\0" + bytes.fromhex("51 72 00 90 00")
    assert named(*bind.decode(data)) == rows


def test_names_may_hold_any_byte_but_nul():
    rows = [row(name=bytes(range(1, 256)))]
    assert named(*bind.decode(bind.encode(*columns(rows)))) == rows
    with pytest.raises(DyldInfoError, match="holds a NUL"):
        bind.encode(*columns([row(name=b"a\0b")]))


def test_no_rows_give_no_bytes():
    assert bind.encode(np.empty(0, BIND), []) == b""
    rows, names = bind.decode(b"")
    assert (len(rows), names) == (0, [])


def test_each_symbol_is_named_once_however_its_binds_lie():
    rows = [row(8 * i, b"_even" if i % 2 == 0 else b"_odd") for i in range(20)]
    data = bind.encode(*columns(rows))
    assert data.hex(" ") == (
        "11 40 5f 65 76 65 6e 00 51 72 00 c0 0a 08 40 5f 6f 64 64 00 72 08 c0 0a 08 00"
    )


def test_each_library_is_named_once_if_that_is_cheaper():
    rows = [row(8 * i, b"_%c" % (65 + i), ordinal=1 + i % 2) for i in range(20)]
    data = bind.encode(*columns(rows))
    ordinals = [o for o in bind.opcodes(data) if o.opcode in (0x10, 0x20, 0x30)]
    assert [o.immediate for o in ordinals] == [1, 2]


def test_forty_libraries_keep_their_ordinals():
    rows = [row(8 * i, b"_from_%d" % i, ordinal=i) for i in range(1, 41)]
    assert sorted(named(*bind.decode(bind.encode(*columns(rows))))) == sorted(rows)


def test_order_and_duplicates_make_no_difference():
    rows = [row(8 * i * i, b"_%d" % (i % 7), ordinal=1 + i % 7 % 3) for i in range(60)]
    table, names = columns(rows)
    shuffled = table[random.Random(1).sample([*range(60)] * 2, 120)]
    assert bind.encode(shuffled, names) == bind.encode(table, names)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"segment": 16}, "row 1 cannot be encoded: the segment index is above 15"),
        ({"kind": 0}, "row 1 cannot be encoded: the type is unknown"),
        ({"flags": 16}, "row 1 cannot be encoded: flags above 15"),
        ({"ordinal": -4}, "row 1 cannot be encoded: a library ordinal below -3"),
        ({"offset": 1 << 58}, "row 1 cannot be encoded: the offset needs over 58 bits"),
        ({"name": b"_g"}, "segment 2, offset 0x0 is to be bound twice"),
        ({"kind": 2}, "segment 2, offset 0x0 is to be bound twice"),
    ],
)
def test_rows_that_no_opcode_expresses(change, reason):
    with pytest.raises(DyldInfoError, match=reason):
        bind.encode(*columns([row(), row(**change)]))


def test_a_name_that_is_not_there():
    with pytest.raises(DyldInfoError, match="row 0 cannot be encoded: there are 0 names"):
        bind.encode(columns([row()])[0], [])


symbols = st.sampled_from([b"_a", b"_b", b"_long_name", b"__ZTVN10__cxxabiv117__class_type_infoE"])
binds = st.tuples(
    st.integers(0, 15),
    st.integers(1, 3),
    st.sampled_from([0, 1, 8, 15]),
    st.one_of(st.integers(-3, 20), st.integers(0, 2**31 - 1)),
    st.one_of(symbols, st.binary(max_size=5).map(lambda name: name.replace(b"\0", b"?"))),
    st.one_of(st.just(0), st.integers(-100, 100), st.integers(-(2**63), 2**63 - 1)),
    st.one_of(st.integers(0, 400), st.integers(0, 2**58 - 8)),
)


@given(st.lists(binds, unique_by=lambda bound: (bound[0], bound[6])), st.randoms())
def test_round_trip(rows, rng):
    given_rows = rows + rng.choices(rows, k=len(rows) // 2) if rows else []
    rng.shuffle(given_rows)
    data = bind.encode(*columns(given_rows))
    assert sorted(named(*bind.decode(data))) == sorted(rows)
    assert named(*bind.decode(data)) == reference.decode_bind(data)


@given(st.binary(max_size=60))
def test_any_bytes_decode_as_the_reference_does_or_are_refused(data):
    try:
        rows, names = bind.decode(data)
    except DyldInfoError as error:
        offset = error.offset
    else:
        offset = 0
        assert named(rows, names) == reference.decode_bind(data)
    assert offset is not None
    assert 0 <= offset <= len(data)


def small_programs():
    """Binds as programs have them, few enough for the search over all orders.

    The encoder looks at all orders of up to 9 rows; beyond that it has to be clever.
    """
    rng = random.Random(20)
    for least, most, symbols in [(1, 8, 6)] * 60 + [(10, 16, 6), (10, 16, 16)] * 20:
        libraries = rng.choice([1, 2, 3, 8])
        addends = rng.choice([[0], [0, 0, 16], [0, 8, -8]])
        symbol = [
            (b"_symbol_%d" % i, rng.randint(1, libraries) * rng.choice([1, 1, 9]))
            for i in range(rng.randint(1, symbols))
        ]
        at, rows = 0, []
        for _ in range(rng.randint(least, most)):
            name, ordinal = rng.choice(symbol)
            at += 8 * rng.choice([1, 1, 1, 2, 5, 30, 300])
            addend = rng.choice(addends) if ordinal % 2 else 0
            rows.append(row(at, name, rng.choice([2, 2, 2, 3]), ordinal=ordinal, addend=addend))
        yield rows


def test_size_is_within_two_percent_of_the_best_order():
    ratios = []
    for rows in small_programs():
        best = reference.shortest_bind(rows) + 1
        ratios.append(len(bind.encode(*columns(rows))) / best)
    assert sum(ratios) / len(ratios) <= 1.005
    assert max(ratios) <= 1.02


S = "40 78 00"  # SET_SYMBOL x
DAMAGED = {
    "unknown opcode": ("11 e0", "unknown bind opcode", 1),
    "unknown threaded sub-opcode": ("11 d2 00", "unknown bind opcode", 1),
    "threaded": ("11 d0 05 d1 00", "threaded binds are not supported", 1),
    "operand cut off": ("11 72 80", "runs past the end", 1),
    "name without end": ("11 40 78 78", "runs past the end", 1),
    "number of 65 bits": ("60" + " ff" * 9 + " 02", "64 bits", 0),
    "ordinal of 32 bits": ("20 80 80 80 80 08", "31 bits", 0),
    "no segment": (f"11 {S} 51 90", "before any SET_SEGMENT", 5),
    "no symbol": ("11 51 72 00 90", "before any SET_SYMBOL", 4),
    "no ordinal": (f"{S} 51 72 00 90", "before any SET_DYLIB_ORDINAL", 6),
    "no type": (f"11 {S} 72 00 90", "unknown type", 6),
    "type 4": (f"11 {S} 54 72 00 90", "unknown type", 7),
    "too many": (f"11 {S} 51 72 00 c0 ff ff ff ff 7f 00", "more than 16777216", 7),
    "outside": (f"11 {S} 51 72 ff ff ff ff ff ff ff ff 7f 90", "outside segment 2", 15),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_offset(name):
    data, message, offset = DAMAGED[name]
    with pytest.raises(DyldInfoError, match=message) as caught:
        bind.decode(bytes.fromhex(data))
    assert caught.value.offset == offset


def test_segment_sizes_bound_the_locations():
    data = bind.encode(*columns(strided(0, 8, 3)))
    assert len(bind.decode(data, [0, 0, 24])[0]) == 3
    with pytest.raises(DyldInfoError, match="outside segment 2"):
        bind.decode(data, [0, 0, 23])


def test_opcodes_are_listed_with_offsets_and_operands():
    listed = bind.opcodes(bytes.fromhex("20 10 41 5f 66 00 51 60 7f 72 08 c0 02 10 d0 05 d1 00"))
    assert [(o.offset, o.text) for o in listed] == [
        (0, "BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB(0x10)"),
        (2, "BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM(1, _f)"),
        (6, "BIND_OPCODE_SET_TYPE_IMM(1)"),
        (7, "BIND_OPCODE_SET_ADDEND_SLEB(-0x1)"),
        (9, "BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB(2, 0x8)"),
        (11, "BIND_OPCODE_DO_BIND_ULEB_TIMES_SKIPPING_ULEB(0x2, 0x10)"),
        (14, "BIND_SUBOPCODE_THREADED_SET_BIND_ORDINAL_TABLE_SIZE_ULEB(0x5)"),
        (16, "BIND_SUBOPCODE_THREADED_APPLY()"),
        (17, "BIND_OPCODE_DONE()"),
    ]
