"""pielink.dyld.chained: exact bytes, every import and pointer format, round trips, damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import dyld_chained as reference
from test_dyld_bind import columns, named, row

from pielink.dyld import REBASE, DyldInfoError, chained

BASE = 0x100000000
PAGE = 0x4000
# __PAGEZERO, __TEXT, __DATA_CONST, __DATA
LAYOUT = [(0, BASE), (BASE, PAGE), (BASE + PAGE, 2 * PAGE), (BASE + 3 * PAGE, 3 * PAGE)]
SEGMENTS = np.array(LAYOUT, chained.SEGMENT)


def encode(rebases, binds, pointer_format=6, page_size=PAGE):
    """rebases: (segment, offset, target)."""
    table = np.array([(segment, 1, offset) for segment, offset, _ in rebases], REBASE)
    targets = np.array([target for *_, target in rebases], np.uint64)
    bound, names = columns(binds)
    return chained.encode(table, targets, bound, names, SEGMENTS, BASE, pointer_format, page_size)


def contents_of(encoded, segments=LAYOUT):
    contents = [bytearray(size if address != 0 else 0) for address, size in segments]
    for segment, offset, word in zip(
        encoded.segment.tolist(), encoded.offset.tolist(), encoded.word.tolist(), strict=True
    ):
        struct.pack_into("<Q", contents[segment], offset, word)
    return [bytes(content) for content in contents]


def decode(encoded, segments=SEGMENTS):
    return chained.decode(encoded.payload, segments, contents_of(encoded), BASE)


def shown(chains):
    """Rebases as given to `encode` here, and binds as rows with names."""
    rebases = [
        (segment, offset, target)
        for (segment, _, offset), target in zip(
            chains.rebases.tolist(), chains.targets.tolist(), strict=True
        )
    ]
    return rebases, named(chains.binds, chains.names)


def bound(offset=0, name=b"_f", segment=2, **more):
    return row(offset, name, segment, **more)


def test_exact_payload_and_words():
    encoded = encode([(2, 8, BASE + 0x10), (3, 0x4000, BASE + 0x20)], [bound(0, flags=1)])
    starts = [
        "04 00 00 00 00 00 00 00 00 00 00 00 18 00 00 00 30 00 00 00 00 00 00 00",
        "18 00 00 00 00 40 06 00 00 40 00 00 00 00 00 00 00 00 00 00 01 00 00 00",
        "1a 00 00 00 00 40 06 00 00 c0 00 00 00 00 00 00 00 00 00 00 02 00 ff ff 00 00",
        "00 00 00 00 00 00",
    ]
    header = "00 00 00 00 20 00 00 00 70 00 00 00 74 00 00 00 01 00 00 00 01 00 00 00 00 00 00 00"
    tables = f"{header} 00 00 00 00 {' '.join(starts)} 01 03 00 00 00 5f 66 00"
    assert encoded.payload.hex(" ") == bytes.fromhex(tables).hex(" ")
    assert list(zip(encoded.segment.tolist(), encoded.offset.tolist(), strict=True)) == [
        (2, 0),
        (2, 8),
        (3, 0x4000),
    ]
    assert [f"{word:016x}" for word in encoded.word.tolist()] == [
        "8010000000000000",
        "0000000000000010",
        "0000000000000020",
    ]


@pytest.mark.parametrize(("pointer_format", "word"), [(2, 0x5A100000010), (6, 0x5A000000010)])
def test_targets_are_addresses_or_offsets_with_their_top_byte(pointer_format, word):
    target = 0x5A << 56 | BASE + 0x10
    encoded = encode([(2, 0, target)], [], pointer_format)
    assert encoded.word.tolist() == [word]
    assert shown(decode(encoded)) == ([(2, 0, target)], [])


IMPORTS = {
    "plain": ([bound()], 1),
    "addend 255: in the word": ([bound(addend=255)], 1),
    "addend 256": ([bound(addend=256)], 2),
    "addend -1": ([bound(addend=-1)], 2),
    "addend -2**31": ([bound(addend=-(2**31))], 2),
    "addend 2**31 + 255": ([bound(addend=2**31 + 255)], 3),
    "addend -2**63": ([bound(addend=-(2**63))], 3),
    "ordinal 240": ([bound(ordinal=240)], 1),
    "ordinal 241": ([bound(ordinal=241)], 3),
    "ordinal 65520": ([bound(ordinal=65520)], 3),
    "ordinal -3": ([bound(ordinal=-3)], 1),
    "ordinal -3 beside a large one": ([bound(ordinal=-3), bound(8, ordinal=300)], 3),
    "weak import": ([bound(flags=1)], 1),
    "weak import and large ordinal": ([bound(flags=1, ordinal=300)], 3),
    "names of 8 MiB": ([bound(0, b"x" * (1 << 23)), bound(8, b"y")], 3),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_smallest_imports_format(name):
    binds, imports_format = IMPORTS[name]
    encoded = encode([], binds)
    chains = decode(encoded)
    assert chains.imports_format == imports_format
    assert shown(chains) == ([], binds)


def test_one_import_serves_addends_that_are_near():
    encoded = encode([], [bound(8 * i, addend=1000 + i) for i in range(20)])
    assert len(decode(encoded).imports) == 1


def test_chains_end_with_their_page():
    places = [0, 8, PAGE - 8, PAGE, PAGE + 16]
    encoded = encode([(2, place, BASE) for place in places], [])
    steps = [word >> 51 & 0xFFF for word in encoded.word.tolist()]
    assert steps == [2, (PAGE - 16) // 4, 0, 4, 0]


def test_no_fixups():
    encoded = encode([], [])
    assert (len(encoded.word), shown(decode(encoded))) == (0, ([], []))


def test_order_and_duplicates_make_no_difference():
    rebases = [(3, 8 * i, BASE + i) for i in range(9)]
    binds = [bound(8 * i, b"_%d" % i) for i in range(9)]
    expected = encode(rebases, binds)
    again = encode([*rebases[::-1], rebases[4]], [*binds, binds[3]])
    assert again.payload == expected.payload
    assert again.word.tolist() == expected.word.tolist()


REFUSED = {
    "outside the segment": ([(2, 2 * PAGE - 4, BASE)], [], "lies outside the segment"),
    "no such segment": ([(4, 0, BASE)], [], "lies outside the segment"),
    "unaligned": ([(2, 2, BASE)], [], "no multiple of 4"),
    "across a page": ([(2, PAGE - 4, BASE)], [], "across the end of a page"),
    "overlapping": ([(2, 0, BASE), (2, 4, BASE)], [], "overlaps"),
    "twice": ([(2, 0, BASE)], [bound(0)], "fixed up twice"),
    "two targets": ([(2, 0, BASE), (2, 0, BASE + 8)], [], "fixed up twice"),
    "target below the image": ([(2, 0, BASE - 1)], [], "target 0xffffffff is out of range"),
    "target over 64 GiB": ([(2, 0, BASE + (1 << 36))], [], "out of range"),
    "ordinal": ([], [bound(ordinal=65521)], "65521 is too large"),
    "flags": ([], [bound(flags=8)], "flags other than WEAK_IMPORT"),
    "type": ([], [bound(kind=2)], "another type"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rows_that_chains_cannot_express(name):
    rebases, binds, message = REFUSED[name]
    with pytest.raises(DyldInfoError, match=message):
        encode(rebases, binds)


def test_each_rebase_needs_a_target():
    rows, none = np.zeros(1, REBASE), columns([])[0]
    with pytest.raises(DyldInfoError, match="0 targets for 1 rebases"):
        chained.encode(rows, np.zeros(0, np.uint64), none, [], SEGMENTS, BASE)


places = st.tuples(st.sampled_from([2, 3]), st.integers(0, 2 * PAGE // 8 - 1).map(lambda i: 8 * i))
targets = st.tuples(st.integers(0, 255), st.integers(0, 2**35)).map(
    lambda pair: pair[0] << 56 | pair[1] + BASE
)
symbols = st.builds(
    dict,
    name=st.sampled_from([b"_a", b"_b", b"_long"]),
    ordinal=st.one_of(st.integers(-3, 20), st.integers(-3, 300)),
    flags=st.integers(0, 1),
    addend=st.one_of(st.just(0), st.integers(-300, 300), st.integers(-(2**63), 2**63 - 1)),
)


@given(
    st.dictionaries(places, st.one_of(targets, symbols), max_size=40),
    st.sampled_from([2, 6]),
    st.sampled_from([0x1000, 0x4000]),
    st.randoms(),
)
def test_round_trip(fixups, pointer_format, page_size, rng):
    rebases = [(*place, t) for place, t in fixups.items() if isinstance(t, int)]
    binds = [
        bound(place[1], segment=place[0], **s) for place, s in fixups.items() if isinstance(s, dict)
    ]
    rng.shuffle(rebases)
    rng.shuffle(binds)
    encoded = encode(rebases, binds, pointer_format, page_size)
    chains = decode(encoded)
    in_order = sorted(binds, key=lambda b: (b[0], b[6]))
    assert shown(chains) == (sorted(rebases), in_order)
    contents = contents_of(encoded)
    plain = reference.decode(encoded.payload, LAYOUT, contents, BASE)
    expected = [(s, o, "rebase", t, None) for s, o, t in rebases]
    expected += [(b[0], b[6], "bind", (b[3], bool(b[2]), b[4]), b[5], None) for b in binds]
    assert plain == sorted(expected, key=lambda fixup: fixup[:2])


def payload_for(pointer_format, first, names=(b"_f", b"_g"), page_size=PAGE):
    """A payload whose only chain starts at offset `first` of segment 2; imports 0, 1 with names."""
    pool = b"\0" + b"".join(name + b"\0" for name in names)
    starts = struct.pack("<5I4x", 4, 0, 0, 24, 0)
    starts += struct.pack("<IHHQIHH", 24, page_size, pointer_format, PAGE, 0, 1, first)
    rows, at = b"", 1
    for name in names:
        rows += struct.pack("<Ii", 1 | at << 9, 100)
        at += len(name) + 1
    imports = 32 + len(starts)
    header = struct.pack("<8I", 0, 32, imports, imports + len(rows), len(names), 2, 0, 0)
    return header + starts + rows + pool


def test_payload_for_these_tests_is_well_formed():
    words = encode([(2, 16, BASE)], []).word
    content = bytes(16) + words.tobytes() + bytes(100)
    chains = chained.decode(payload_for(6, 16), SEGMENTS, [b"", b"", content, b""], BASE)
    assert shown(chains)[0] == [(2, 16, BASE)]


words = st.integers(0, 2**64 - 1)


@given(st.lists(words, min_size=1, max_size=8), st.sampled_from([1, 2, 6, 7, 9, 10, 12]))
def test_every_pointer_format_decodes_as_the_reference_does(values, pointer_format):
    """A chain of arbitrary words, 16 bytes apart, that import 0 or 1."""
    stride = {1: 8, 9: 8, 12: 8}.get(pointer_format, 4)
    arm64e = pointer_format not in (2, 6)
    content = b""
    for i, value in enumerate(values):
        step = 0 if i == len(values) - 1 else 16 // stride
        value &= ~((0x7FF if arm64e else 0xFFF) << 51)
        value |= step << 51
        if value >> (62 if arm64e else 63) & 1:
            value &= ~0xFFFFFE
        content += struct.pack("<QQ", value, 0)
    contents = [b"", b"", content, b""]
    payload = payload_for(pointer_format, 0)
    chains = chained.decode(payload, SEGMENTS, contents, BASE)
    found = []
    for (segment, _, offset), target, auth in zip(
        chains.rebases.tolist(), chains.targets.tolist(), chains.rebase_auth.tolist(), strict=True
    ):
        found.append((segment, offset, "rebase", target, auth[1:] if auth[0] else None))
    for b, auth in zip(named(chains.binds, chains.names), chains.bind_auth.tolist(), strict=True):
        symbol = (b[3], bool(b[2]), b[4])
        found.append((b[0], b[6], "bind", symbol, b[5], auth[1:] if auth[0] else None))
    expected = reference.decode(payload, LAYOUT, contents, BASE)
    assert sorted(found, key=lambda fixup: fixup[:2]) == expected


def patched(payload, at, form, *values):
    data = bytearray(payload)
    struct.pack_into(form, data, at, *values)
    return bytes(data)


GOOD = payload_for(6, 16)
DAMAGED = {
    "version": (patched(GOOD, 0, "<I", 1), "unknown version", 0),
    "symbols format": (patched(GOOD, 24, "<I", 1), "compressed", 24),
    "imports format": (patched(GOOD, 20, "<I", 4), "unknown imports format 4", 20),
    "imports over symbols": (patched(GOOD, 16, "<I", 3), "do not end before", 8),
    "symbols outside": (patched(GOOD, 12, "<I", 1 << 20), "do not end before", 8),
    "name outside": (patched(GOOD, 80, "<I", 1 | 1000 << 9), "name of an import runs past", 80),
    "starts outside": (patched(GOOD, 4, "<I", 1 << 20), "in the middle", len(GOOD)),
    "too many segments": (patched(GOOD, 32, "<I", 5), "starts for 5 segments", 32),
    "starts of a segment outside": (patched(GOOD, 44, "<I", 1 << 20), "in the middle", len(GOOD)),
    "pointer format": (patched(GOOD, 62, "<H", 3), "pointer format 3 is not supported", 62),
    "page size": (patched(GOOD, 60, "<H", 0x2000), "page size of 0x2000", 60),
    "segment offset": (patched(GOOD, 64, "<Q", 0), "not where the segment is", 64),
    "page starts over size": (patched(GOOD, 76, "<H", 2), "do not fit", 56),
    "several starts": (patched(GOOD, 78, "<H", 0x8000), "outside the page", 78),
    "chain leaves the contents": (patched(GOOD, 78, "<H", 120), "leaves its page", 78),
    "bind without import": (GOOD, "not there", 78),
    "cut off": (GOOD[:20], "in the middle", 0),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_offset(name):
    payload, message, offset = DAMAGED[name]
    content = bytearray(124)
    struct.pack_into("<Q", content, 16, 1 << 63 | 2)
    with pytest.raises(DyldInfoError, match=message) as caught:
        chained.decode(payload, SEGMENTS, [b"", b"", bytes(content), b""], BASE)
    assert caught.value.offset == offset


def test_a_chain_may_not_run_into_the_next_page():
    content = bytearray(2 * PAGE)
    struct.pack_into("<Q", content, 16, 0xFFF << 51)
    with pytest.raises(DyldInfoError, match="leaves its page at segment 2, offset 0x400c"):
        chained.decode(GOOD, SEGMENTS, [b"", b"", bytes(content), b""], BASE)


@settings(max_examples=300)
@given(st.randoms())
def test_random_damage_is_refused_or_decodes_as_the_reference_does(rng):
    encoded = encode(
        [(2, 8 * i, BASE + i) for i in range(1, 30)], [bound(8 * i, segment=3) for i in range(5)]
    )
    contents = [bytearray(content) for content in contents_of(encoded)]
    payload = bytearray(encoded.payload)
    for _ in range(rng.randint(1, 3)):
        which = rng.choice([payload, contents[2], contents[3]])
        which[rng.randrange(min(len(which), 240))] = rng.randrange(256)
    data = [bytes(content) for content in contents]
    try:
        chains = chained.decode(bytes(payload), SEGMENTS, data, BASE)
    except DyldInfoError as error:
        offset = error.offset
    else:
        offset = 0
        rebases, binds = shown(chains)
        plain = reference.decode(bytes(payload), LAYOUT, data, BASE)
        assert len(plain) == len(rebases) + len(binds)
    assert offset is not None
    assert 0 <= offset <= len(payload)
