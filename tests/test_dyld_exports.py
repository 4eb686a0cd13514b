"""pielink.dyld.exports: exact bytes, round trips, size, damage."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import dyld_trie as reference

from pielink.dyld import EXPORT, DyldInfoError, exports


def columns(rows):
    """(name, flags, address, other, import name) rows as EXPORT and a list of names."""
    names = list(dict.fromkeys([row[0] for row in rows] + [row[4] for row in rows if row[4]]))
    table = [
        (names.index(n), f, a, o, names.index(i) if i else exports.NO_NAME)
        for n, f, a, o, i in rows
    ]
    return np.array(table, EXPORT), names


def named(rows, names):
    return [
        (names[n], f, a, o, b"" if i == exports.NO_NAME else names[i])
        for n, f, a, o, i in rows.tolist()
    ]


def row(name=b"_f", flags=0, address=0x10, other=0, there=b""):
    return (name, flags, address, other, there)


# The root has no export: 00; one child: 01, its bytes, NUL, its offset.
ONE = "00 01 5f 66 00 06"
FORMS = {
    "regular": ([row()], f"{ONE} 02 00 10 00"),
    "address 127": ([row(address=127)], f"{ONE} 02 00 7f 00"),
    "address 128": ([row(address=128)], f"{ONE} 03 00 80 01 00"),
    "address of 64 bits": (
        [row(address=2**64 - 1)],
        f"{ONE} 0b 00 ff ff ff ff ff ff ff ff ff 01 00",
    ),
    "thread-local": ([row(flags=1)], f"{ONE} 02 01 10 00"),
    "absolute": ([row(flags=2)], f"{ONE} 02 02 10 00"),
    "weak definition": ([row(flags=4)], f"{ONE} 02 04 10 00"),
    "re-export, same name": ([row(flags=8, address=0, other=2)], f"{ONE} 03 08 02 00 00"),
    "re-export, other name": (
        [row(flags=8, address=0, other=200, there=b"_g")],
        f"{ONE} 06 08 c8 01 5f 67 00 00",
    ),
    "stub and resolver": ([row(flags=0x10, other=0x80)], f"{ONE} 04 10 10 80 01 00"),
    "function variant": ([row(flags=0x20, other=3)], f"{ONE} 03 20 10 03 00"),
    "a name that another begins with": (
        [row(b"_f"), row(b"_fg", address=0x20)],
        "00 01 5f 66 00 0a 02 00 20 00 02 00 10 01 67 00 06",
    ),
    "names that part": (
        [row(b"_a"), row(b"_b", address=0x20)],
        "00 01 5f 00 0d 02 00 10 00 02 00 20 00 00 02 61 00 05 62 00 09",
    ),
    "the empty name": ([row(b"")], "02 00 10 00"),
}


@pytest.mark.parametrize("name", FORMS)
def test_exact_bytes(name):
    rows, expected = FORMS[name]
    data = exports.encode(*columns(rows))
    assert data.hex(" ") == bytes.fromhex(expected).hex(" ")
    assert named(*exports.decode(data)) == rows
    assert named(*exports.decode(data + bytes(7))) == rows  # padded
    assert reference.decode(data) == rows


@pytest.mark.parametrize("length", [1, 127, 128, 4096, 65536])
def test_names_from_one_byte_to_64_kib(length):
    rows = [row(b"x" * length), row(b"x" * length + b"y")]
    assert named(*exports.decode(exports.encode(*columns(rows)))) == rows


def test_long_export_has_a_size_of_two_bytes():
    rows = [row(flags=8, address=0, other=1, there=b"z" * 200)]
    data = exports.encode(*columns(rows))
    assert data.startswith(bytes.fromhex(f"{ONE} cb 01 08 01"))
    assert named(*exports.decode(data)) == rows


def test_no_rows_give_no_bytes():
    assert exports.encode(np.empty(0, EXPORT), []) == b""
    assert len(exports.decode(b"")[0]) == 0


def test_255_children():
    rows = [row(bytes([i]), address=i) for i in range(1, 256)]
    assert named(*exports.decode(exports.encode(*columns(rows)))) == rows


def test_a_thousand_names_each_beginning_with_the_last():
    rows = [row(b"a" * i, address=i) for i in range(1, 1001)]
    assert named(*exports.decode(exports.encode(*columns(rows)))) == rows


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(address=0x20), "b'_f' is to be exported twice"),
        (row(b"_g", flags=0x40), "row 1 cannot be encoded: flags above 0x3f"),
        (row(b"_g", other=1), "row 1 cannot be encoded: unused other"),
        (row(b"_g", there=b"_h"), "only a re-export has an import name"),
        (row(b"_g", flags=8), "a re-export has no address"),
        (row(b"_g\0h"), "holds a NUL"),
        (row(b"_g", flags=8, address=0, there=b"a\0"), "holds a NUL"),
    ],
)
def test_rows_that_cannot_be_encoded(bad, reason):
    with pytest.raises(DyldInfoError, match=reason):
        exports.encode(*columns([row(), bad]))


def test_a_name_that_is_not_there():
    table, names = columns([row(flags=8, address=0, there=b"_g")])
    for count in (0, 1):
        with pytest.raises(DyldInfoError, match=f"row 0 cannot be encoded: there are {count} name"):
            exports.encode(table, names[:count])


u64 = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))
name_bytes = st.one_of(
    st.text("ab_", max_size=6).map(str.encode),
    st.sampled_from([b"_main", b"_main.main", b"_main.init", b"__ZN3foo3barEv", b"__ZN3foo3bazEv"]),
    st.binary(min_size=1, max_size=4).map(lambda name: name.replace(b"\0", b"?")),
)
rows_strategy = st.one_of(
    st.builds(row, name_bytes, st.integers(0, 7), u64),
    st.builds(row, name_bytes, st.sampled_from([0x10, 0x20, 0x14]), u64, u64),
    st.builds(row, name_bytes, st.sampled_from([8, 12]), st.just(0), u64, name_bytes),
)


@given(st.lists(rows_strategy, unique_by=lambda export: export[0], max_size=60), st.randoms())
def test_round_trip(rows, rng):
    given_rows = [*rows, *rows[: len(rows) // 2]]
    rng.shuffle(given_rows)
    data = exports.encode(*columns(given_rows))
    assert named(*exports.decode(data)) == sorted(rows)
    assert reference.decode(data) == sorted(rows)


def symbol_names(count, seed):
    rng = random.Random(seed)
    packages = [b"_main.", b"_runtime.", b"_net/http.(*Server).", b"__ZNSt3__112basic_stringIc"]
    words = [b"%x" % rng.getrandbits(rng.choice([4, 8, 24])) for _ in range(count)]
    return sorted({rng.choice(packages) + word for word in words})


@pytest.mark.parametrize("count", [1, 5, 12, 40, 300, 3000])
def test_small_nodes_first_is_never_larger_than_depth_first(count):
    rows = [row(name, address=i * 24) for i, name in enumerate(symbol_names(count, count))]
    data = exports.encode(*columns(rows))
    depth_first = reference.encode_depth_first(rows)
    assert reference.decode(data) == reference.decode(depth_first) == rows
    assert named(*exports.decode(depth_first)) == rows
    assert len(data) <= len(depth_first)


DAMAGED = {
    "empty root cut off": ("00", "runs past the end", 0),
    "export past the end": ("05 00 10 00", "runs past the end", 0),
    "export of 2**63 bytes": ("80 80 80 80 80 80 80 80 80 01 00", "runs past the end", 0),
    "number cut off": ("80", "number runs past", 0),
    "number of 65 bits": ("ff " * 9 + "02 00", "64 bits", 0),
    "branch name cut off": ("00 01 61 62", "string runs past", 2),
    "child count without children": ("00 01", "ends in the middle", 2),
    "branch without a name": ("00 01 00 04 00 00", "without a name", 2),
    "branch to the root": ("00 01 61 00 00", "to the root", 4),
    "branch out of the trie": ("00 01 61 00 05", "out of the trie", 4),
    "branch far out of the trie": ("00 01 61 00 ff ff ff ff ff ff ff ff ff 01", "out of", 4),
    "cycle": ("00 01 61 00 05 00 01 62 00 05", "two branches lead to one node", 5),
    "shared node": ("00 02 61 00 08 62 00 08 02 00 10 00", "two branches", 8),
    "unknown flags": ("02 40 10 00", "unknown export flags", 1),
    "export shorter than it says": ("03 00 10 00 00", "not as long as it says", 1),
    "export longer than it says": ("01 00 00", "not as long as it says", 1),
    "re-export's name cut off": ("03 08 01 61 00", "not as long as it says", 1),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_offset(name):
    data, message, offset = DAMAGED[name]
    with pytest.raises(DyldInfoError, match=message) as caught:
        exports.decode(bytes.fromhex(data))
    assert caught.value.offset == offset


@settings(max_examples=300)
@given(st.randoms())
def test_random_damage_is_refused_or_decodes_as_the_reference_does(rng):
    rows = [row(name, address=i * 24) for i, name in enumerate(symbol_names(20, 1))]
    data = bytearray(exports.encode(*columns(rows)))
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    data = bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
    try:
        decoded = named(*exports.decode(data))
    except DyldInfoError as error:
        offset = error.offset
    else:
        offset = 0
        assert decoded == reference.decode(data)
    assert offset is not None
    assert 0 <= offset <= len(data)


def test_depth_is_bounded():
    links = b"".join(b"\0\1a\0" + bytes([0x80 | i & 0x7F, i >> 7]) for i in range(6, 6 * 2700, 6))
    with pytest.raises(DyldInfoError):
        exports.decode(links)


def test_names_cannot_outgrow_the_trie():
    """Each of the nested nodes ends a name, so that names take the square of the trie's bytes."""
    rows = [row(b"ab" * i, address=1) for i in range(1, 3000)]
    data = exports.encode(*columns(rows))
    assert len(data) < 40_000
    with pytest.raises(DyldInfoError, match="times the trie"):
        exports.decode(data)
