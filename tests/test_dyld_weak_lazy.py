"""pielink.dyld.weak_bind and lazy_bind: exact bytes, round trips, damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import dyld_opcodes as reference
from test_dyld_bind import columns, named, row

from pielink.dyld import BIND, DyldInfoError, lazy_bind, weak_bind


def weak(offset=0, name=b"_f", **more):
    return row(offset, name, ordinal=-3, **more)


def strong(name):
    return row(0, name, segment=0, kind=0, flags=8, ordinal=-3)


F, G = "5f 66 00", "5f 67 00"
WEAK_FORMS = {
    "one": ([weak()], f"40 {F} 51 72 00 90"),
    "a strong definition alone": ([strong(b"_f")], f"48 {F}"),
    "two strong definitions": ([strong(b"_f"), strong(b"_g")], f"48 {F} 48 {G}"),
    "a strong definition in front of binds": (
        [strong(b"_f"), weak(0, b"_g"), weak(8, b"_g")],
        f"48 {F} 40 {G} 51 72 00 90 90",
    ),
    "a strong definition between and behind": (
        [weak(0, b"_a"), strong(b"_f"), weak(8, b"_g"), strong(b"_z")],
        f"40 5f 61 00 51 72 00 90 48 {F} 40 {G} 90 48 5f 7a 00",
    ),
    "a strong definition of what is bound as well": (
        [weak(0, b"_f"), strong(b"_f")],
        f"40 {F} 51 72 00 90 48 {F}",
    ),
    "a bind that is marked strong": ([weak(flags=8)], f"48 {F} 51 72 00 90"),
    "by name, not by address": (
        [weak(8, b"_a"), weak(0, b"_b")],
        "40 5f 61 00 51 72 08 90 40 5f 62 00 72 00 90",
    ),
}


@pytest.mark.parametrize("name", WEAK_FORMS)
def test_weak_exact_bytes(name):
    rows, expected = WEAK_FORMS[name]
    data = weak_bind.encode(*columns(rows[::-1]))
    assert data.hex(" ") == (bytes.fromhex(expected) + b"\0").hex(" ")
    assert named(*weak_bind.decode(data)) == rows


def test_weak_names_ascend_as_bytes():
    rows = [weak(8 * i, name) for i, name in enumerate([b"b", b"\xff", b"a", b"aa", b"B"])]
    decoded = named(*weak_bind.decode(weak_bind.encode(*columns(rows))))
    assert [bound[4] for bound in decoded] == [b"B", b"a", b"aa", b"b", b"\xff"]


weak_rows = st.one_of(
    st.sampled_from([b"a", b"b", b"zz"]).map(strong),
    st.builds(
        weak,
        st.integers(0, 300),
        st.sampled_from([b"a", b"b", b"_long_name", b"c"]),
        segment=st.integers(0, 15),
        kind=st.integers(1, 3),
        flags=st.sampled_from([0, 1, 8]),
        addend=st.sampled_from([0, 0, 16, -8]),
    ),
)


@given(st.lists(weak_rows, unique_by=lambda r: (r[0], r[6]) if r[3] else r[4]), st.randoms())
def test_weak_round_trip(rows, rng):
    rows = [r for i, r in enumerate(rows) if r[1] or r not in rows[:i]]
    binds = {(r[0], r[6]): r for r in rows if r[1]}
    rows = [*binds.values(), *{r for r in rows if not r[1]}]
    given_rows = [*rows, *rows[: len(rows) // 2]]
    rng.shuffle(given_rows)
    data = weak_bind.encode(*columns(given_rows))
    decoded = named(*weak_bind.decode(data))
    # A strong definition that a bind of the same symbol and flags stands for is not told apart.
    shown = {(r[2], r[4]) for r in rows if r[1]}
    expected = [r for r in rows if r[1] or (r[2], r[4]) not in shown]
    assert sorted(decoded) == sorted(expected)
    assert [r[4] for r in decoded] == sorted(r[4] for r in decoded)
    binds_only = [(*r[:3], 0, *r[4:]) for r in decoded if r[1]]
    assert binds_only == reference.decode_bind(data)


LAZY_FORMS = {
    "one": ([row()], f"72 00 11 40 {F} 90 00", [0]),
    "ordinal 16": ([row(ordinal=16)], f"72 00 20 10 40 {F} 90 00", [0]),
    "flat look-up": ([row(ordinal=-2)], f"72 00 3e 40 {F} 90 00", [0]),
    "weak import": ([row(flags=1)], f"72 00 11 41 {F} 90 00", [0]),
    "each complete in itself": (
        [row(0), row(8), row(0x80, b"_g")],
        f"72 00 11 40 {F} 90 00 72 08 11 40 {F} 90 00 72 80 01 11 40 {G} 90 00",
        [0, 9, 18],
    ),
}


@pytest.mark.parametrize("name", LAZY_FORMS)
def test_lazy_exact_bytes(name):
    rows, expected, offsets = LAZY_FORMS[name]
    data, starts = lazy_bind.encode(*columns(rows))
    assert data.hex(" ") == bytes.fromhex(expected).hex(" ")
    assert (starts.dtype, starts.tolist()) == (np.uint32, offsets)
    decoded, names, again = lazy_bind.decode(data + bytes(7))
    assert named(decoded, names) == rows
    assert again.tolist() == offsets


lazy_rows = st.builds(
    row,
    st.integers(0, 300),
    st.sampled_from([b"a", b"b", b"_long_name"]),
    segment=st.integers(0, 15),
    flags=st.sampled_from([0, 1]),
    ordinal=st.integers(-3, 300),
)


@given(st.lists(lazy_rows, unique_by=lambda r: (r[0], r[6])), st.randoms())
def test_lazy_round_trip_and_each_offset_starts_its_own_row(rows, rng):
    given_rows = [*rows, *rows[: len(rows) // 2]]
    rng.shuffle(given_rows)
    data, starts = lazy_bind.encode(*columns(given_rows))
    decoded, names, offsets = lazy_bind.decode(data)
    assert sorted(named(decoded, names)) == sorted(rows)
    assert named(decoded, names) == reference.decode_bind(data, lazy=True)
    assert offsets.tolist() == sorted(set(starts.tolist()))
    for bound, start in zip(given_rows, starts.tolist(), strict=True):
        own = data[start : data.find(b"\x90\0", start) + 2]
        assert reference.decode_bind(own, lazy=True)[0] == bound


@pytest.mark.parametrize("change", [{"addend": 1}, {"kind": 2}])
def test_lazy_refuses_what_the_binder_cannot_do(change):
    with pytest.raises(DyldInfoError, match="row 1 cannot be bound lazily"):
        lazy_bind.encode(*columns([row(), row(8, **change)]))


def test_no_rows_give_no_bytes():
    assert weak_bind.encode(np.empty(0, BIND), []) == b""
    data, offsets = lazy_bind.encode(np.empty(0, BIND), [])
    assert (data, len(offsets)) == (b"", 0)
    assert len(weak_bind.decode(b"")[0]) == len(lazy_bind.decode(b"")[0]) == 0


@given(st.binary(max_size=60))
def test_any_bytes_decode_as_the_reference_does_or_are_refused(data):
    for lazy, decode in ((False, weak_bind.decode), (True, lazy_bind.decode)):
        try:
            rows, names, *_ = decode(data)
        except DyldInfoError as error:
            offset = error.offset
        else:
            offset = 0
            binds = [r for r in named(rows, names) if r[1]]
            if not lazy:
                binds = [(*r[:3], 0, *r[4:]) for r in binds]
            expected = reference.decode_bind(data, lazy)
            assert [(*r[:3], r[3] if lazy else 0, *r[4:]) for r in expected] == binds
        assert offset is not None
        assert 0 <= offset <= len(data)
