"""pielink.dyld.rebase: exact bytes for each opcode form, round trips, the optimum, damage."""

from __future__ import annotations

import random
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import dyld_opcodes as reference

from pielink.dyld import REBASE, DyldInfoError, rebase


def rows_of(offsets, segment=2, kind=1):
    return np.array([(segment, kind, offset) for offset in offsets], REBASE)


def strided(start, stride, count):
    return [start + stride * i for i in range(count)]


# Name -> (offsets in segment 2, the bytes between SET_TYPE 11, SET_SEGMENT 22 <offset>, and DONE).
FORMS = {
    "one pointer": ([0], "51"),
    "offset of one byte, the largest": ([0x78], "51"),
    "offset of two bytes, the smallest": ([0x80], "51"),
    "offset of four bytes": ([0x1000000], "51"),
    "two neighbours": ([0, 8], "52"),
    "15 neighbours: the last immediate": (strided(0, 8, 15), "5f"),
    "16 neighbours: the first ULEB": (strided(0, 8, 16), "60 10"),
    "127 neighbours": (strided(0, 8, 127), "60 7f"),
    "128 neighbours": (strided(0, 8, 128), "60 80 01"),
    "16,383 neighbours": (strided(0, 8, 16383), "60 ff 7f"),
    "16,384 neighbours": (strided(0, 8, 16384), "60 80 80 01"),
    "one, a gap of one word": ([0, 16], "80 02 08"),
    "two, a scaled add of 1": ([0, 8, 24], "52 41 51"),
    "two, a scaled add of 15": ([0, 8, 16 + 120], "52 4f 51"),
    "two, two scaled adds for 16": ([0, 8, 16 + 128], "52 4f 41 51"),
    "two, two scaled adds for 30": ([0, 8, 16 + 240], "52 4f 4f 51"),
    "two, an add of 31 words": ([0, 8, 264, 272], "52 30 f8 01 52"),
    "two, an add that is no multiple of 8": ([0, 8, 28, 36], "52 30 0c 52"),
    "two, an unaligned add of 127": ([0, 8, 143, 151], "52 30 7f 52"),
    "two, an add of three bytes": ([0, 8, 0x4010, 0x4018], "52 30 80 80 01 52"),
    "one and a long gap": ([0, 256, 264], "70 f8 01 52"),
    "one and an unaligned gap": ([0, 11, 24, 32], "70 03 70 05 52"),
    "fifteen, then one that carries the gap": (
        [*strided(0, 8, 16), 376, 384],
        "5f 70 f8 01 52",
    ),
    "a stride of 16": (strided(0, 16, 3), "80 03 08"),
    "a stride of 16, 128 times": (strided(0, 16, 128), "80 80 01 08"),
    "a stride of two ULEB bytes": (strided(0, 0x108, 4), "80 04 80 02"),
    "a stride, then neighbours": ([0, 24, 48, 56, 64], "80 02 10 53"),
    "a stride, a residual move": ([0, 16, 32, 48, 72], "80 04 08 41 51"),
    "alternating pairs": ([0, 8, 24, 32, 48, 56], "52 41 52 41 52"),
}


@pytest.mark.parametrize("name", FORMS)
def test_exact_bytes(name):
    offsets, expected = FORMS[name]
    opening = bytes([0x11, 0x22]) + reference.uleb(offsets[0])
    data = rebase.encode(rows_of(offsets))
    assert data.hex(" ") == (opening + bytes.fromhex(expected) + b"\0").hex(" ")
    assert rebase.decode(data)["offset"].tolist() == offsets


def test_no_rows_give_no_bytes():
    assert rebase.encode(np.empty(0, REBASE)) == b""
    assert len(rebase.decode(b"")) == 0


def test_segment_changes_set_the_segment_once_each():
    rows = np.concatenate([rows_of([8], 3), rows_of([0, 8], 1), rows_of([0x200], 15)])
    assert rebase.encode(rows).hex(" ") == "11 21 00 52 23 08 51 2f 80 04 51 00"


def test_type_changes_set_the_type_once_each():
    rows = np.concatenate([rows_of([0], 1, 3), rows_of([0], 2), rows_of([4], 1, 2)])
    assert rebase.encode(rows).hex(" ") == "11 22 00 51 12 21 04 51 13 21 00 51 00"


def test_overlapping_pointers_are_set_anew():
    assert rebase.encode(rows_of([0, 4])).hex(" ") == "11 22 00 51 22 04 51 00"


def test_order_and_duplicates_make_no_difference():
    offsets = [*strided(0, 24, 50), 8, 4096, 4104]
    shuffled = random.Random(1).sample(offsets * 3, 3 * len(offsets))
    assert rebase.encode(rows_of(shuffled)) == rebase.encode(rows_of(sorted(offsets)))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((16, 1, 0), "row 1 cannot be encoded: the segment index is above 15"),
        ((1, 0, 0), "row 1 cannot be encoded: the type is unknown"),
        ((1, 4, 0), "row 1 cannot be encoded: the type is unknown"),
        ((1, 1, 1 << 58), "row 1 cannot be encoded: the offset needs over 58 bits"),
        ((0, 2, 0), "segment 0, offset 0x0 is to be rebased with two types"),
    ],
)
def test_rows_that_no_opcode_expresses(row, reason):
    with pytest.raises(DyldInfoError, match=reason) as caught:
        rebase.encode(np.array([(0, 1, 0), row], REBASE))
    assert caught.value.offset is None


locations = st.tuples(
    st.integers(0, 15), st.integers(1, 3), st.one_of(st.integers(0, 400), st.integers(0, 2**58 - 8))
)


@given(st.lists(locations, unique_by=lambda row: (row[0], row[2])), st.randoms())
def test_round_trip(rows, rng):
    given_rows = rows + rng.choices(rows, k=len(rows) // 2) if rows else []
    rng.shuffle(given_rows)
    data = rebase.encode(np.array(given_rows, REBASE))
    assert sorted(rebase.decode(data).tolist()) == sorted(rows)
    assert rebase.decode(data).tolist() == reference.decode_rebase(data)


# Gaps as compilers make them: runs of equal gaps, lone gaps, alternations.
gap_runs = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 8, 8, 16, 24, 40, 120, 128, 240, 248, 3, 1000, 16384, 70000]),
        st.sampled_from([1, 1, 1, 2, 2, 3, 5, 14, 15, 16, 17, 126, 127, 128]),
    ),
    max_size=8,
)


def offsets_from(runs, start=0x1000):
    gaps = [gap for gap, count in runs for _ in range(count)]
    return (start + np.cumsum([0, *(gap + 8 for gap in gaps)])).tolist()


@settings(max_examples=150)
@given(gap_runs)
def test_ordered_encoding_is_the_shortest_there_is(runs):
    offsets = offsets_from(runs)
    opening, done = 2 + len(reference.uleb(offsets[0])), 1
    data = rebase.encode(rows_of(offsets))
    assert reference.decode_rebase(data) == rows_of(offsets).tolist()
    assert len(data) <= opening + reference.shortest_rebase(offsets) + done


# Arrays of structures: a unit of gaps, repeated.
arrays = st.lists(
    st.tuples(
        st.lists(st.sampled_from([0, 0, 0, 8, 8, 16, 24, 40, 128, 300, 3]), min_size=1, max_size=6),
        st.sampled_from([1, 1, 2, 3, 4, 6, 8, 12, 20]),
    ),
    max_size=5,
)


@settings(max_examples=200)
@given(arrays, st.sampled_from([0, 0x1000, 0x100000]))
def test_no_ascending_encoding_is_shorter_and_arrays_are_taken_apart(units, start):
    gaps = [(gap, 1) for unit, count in units for gap in unit * count]
    offsets = offsets_from(gaps, start)
    opening, done = 2 + len(reference.uleb(offsets[0])), 1
    data = rebase.encode(rows_of(offsets))
    assert sorted(reference.decode_rebase(data)) == rows_of(offsets).tolist()
    assert sorted(rebase.decode(data).tolist()) == rows_of(offsets).tolist()
    assert len(data) <= opening + reference.shortest_rebase(offsets) + done


def test_an_array_of_structures_takes_one_pass_for_each_pointer_of_its_element():
    """Pointers at 0, 16 and 24 of a hundred elements of 48 bytes."""
    offsets = [48 * i + pointer for i in range(100) for pointer in (0, 16, 24)]
    data = rebase.encode(rows_of(offsets))
    assert data.hex(" ") == "11 22 00 80 64 28 22 10 80 64 28 22 18 80 64 28 00"


def test_few_locations_take_no_more_than_in_the_best_of_all_orders():
    rng = random.Random(3)
    for _ in range(25):
        gaps = [rng.choice([0, 8, 8, 16, 40, 300]) for _ in range(rng.randint(1, 4))]
        offsets = offsets_from([(gap, 1) for gap in gaps], 0x40)
        best = min(
            2 + len(reference.uleb(order[0])) + reference.shortest_rebase(order) + 1
            for order in permutations(offsets)
        )
        assert len(rebase.encode(rows_of(offsets))) == best


@given(st.binary(max_size=60))
def test_any_bytes_decode_as_the_reference_does_or_are_refused(data):
    try:
        rows = rebase.decode(data)
    except DyldInfoError as error:
        offset = error.offset
    else:
        offset = 0
        assert rows.tolist() == reference.decode_rebase(data)
    assert offset is not None
    assert 0 <= offset <= len(data)


DAMAGED = {
    "unknown opcode": ("11 22 00 90", "unknown rebase opcode", 3),
    "operand cut off": ("11 22 80", "runs past the end", 1),
    "second operand cut off": ("11 22 00 80 01", "runs past the end", 3),
    "number of 65 bits": ("11 22" + " ff" * 9 + " 02 51", "64 bits", 1),
    "number of 11 bytes": ("11 22" + " 80" * 10 + " 00 51", "64 bits", 1),
    "no segment": ("11 51", "before any SET_SEGMENT", 1),
    "no type": ("22 00 51", "unknown type", 2),
    "type 4": ("14 22 00 51", "unknown type", 3),
    "junk behind DONE": ("11 22 00 51 00 01", "not zero", 4),
    "16 bytes behind DONE": ("11 22 00 51 00" + " 00" * 16, "over 15 bytes", 4),
    "a count without end": ("11 22 00 60 ff ff ff ff ff ff ff ff 7f", "more than 16777216", 3),
    "a count in one place": (
        "11 22 08 80 ff ff ff ff 0f f8 ff ff ff ff ff ff ff ff 01",
        "more than 16777216 locations",
        3,
    ),
    "a stride over the end": ("11 22 00 80 02 80 80 80 80 80 80 80 80 40", "outside", 3),
    "below the segment": ("11 22 00 30 f8 ff ff ff ff ff ff ff ff 01 51", "outside", 14),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_offset(name):
    data, message, offset = DAMAGED[name]
    with pytest.raises(DyldInfoError, match=message) as caught:
        rebase.decode(bytes.fromhex(data))
    assert caught.value.offset == offset


def test_padding_of_15_zeros_is_allowed():
    assert len(rebase.decode(bytes.fromhex("11 22 00 51 00") + bytes(15))) == 1


def test_segment_sizes_bound_the_locations():
    data = rebase.encode(rows_of([0, 8, 16]))
    assert len(rebase.decode(data, [0, 0, 24])) == 3
    for sizes in ([0, 0, 23], [0, 0], [1 << 40, 1 << 40, 8]):
        with pytest.raises(DyldInfoError, match="outside segment 2") as caught:
            rebase.decode(data, sizes)
        assert caught.value.offset == 3


def test_stream_may_move_backwards():
    minus_24 = reference.uleb(2**64 - 24)
    data = bytes.fromhex("11 22 20 51 30") + minus_24 + bytes.fromhex("51 00")
    assert rebase.decode(data)["offset"].tolist() == [0x20, 0x10]


def test_opcodes_are_listed_with_offsets_and_operands():
    listed = rebase.opcodes(bytes.fromhex("11 22 80 01 52 4f 80 03 08 00"))
    assert [(o.offset, o.opcode, o.immediate, o.operands) for o in listed] == [
        (0, 0x10, 1, ()),
        (1, 0x20, 2, (128,)),
        (4, 0x50, 2, ()),
        (5, 0x40, 15, ()),
        (6, 0x80, 0, (3, 8)),
        (9, 0x00, 0, ()),
    ]
    assert listed[1].text == "REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB(2, 0x80)"
    assert listed[4].text == "REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB(0x3, 0x8)"
