"""Plain-Python reader of `__TEXT,__unwind_info`: one entry at a time, by struct."""

from __future__ import annotations

import itertools
import struct
from typing import NamedTuple


class Unwind(NamedTuple):
    """Entries (function, encoding) ascending, the end, LSDAs by function, personality slots."""

    entries: list[tuple[int, int]]
    end: int
    lsda: dict[int, int]
    personalities: list[int]
    page_kinds: list[int]


def decode(data: bytes) -> Unwind:
    """Read a whole section, checking what the format promises of it."""
    words = struct.unpack_from("<7I", data)
    version, common_at, common_count, personality_at, personality_count, index_at, count = words
    assert version == 1
    assert common_count <= 127
    assert personality_count <= 3
    common = struct.unpack_from(f"<{common_count}I", data, common_at)
    personalities = list(struct.unpack_from(f"<{personality_count}I", data, personality_at))
    index = [struct.unpack_from("<3I", data, index_at + 12 * i) for i in range(count)]
    assert index == sorted(index)
    entries: list[tuple[int, int]] = []
    lsda: dict[int, int] = {}
    kinds = []
    for (first, page, lsdas), (following, _, lsdas_end) in itertools.pairwise(index):
        kinds.append(struct.unpack_from("<I", data, page)[0])
        found = _page(data, page, first, common)
        assert found[0][0] == first
        assert found[-1][0] < following
        entries += found
        for at in range(lsdas, lsdas_end, 8):
            function, where = struct.unpack_from("<II", data, at)
            assert first <= function < following
            lsda[function] = where
    assert index[-1][1] == 0
    assert entries == sorted(entries)
    return Unwind(entries, index[-1][0], lsda, personalities, kinds)


def _page(data: bytes, at: int, first: int, common: tuple[int, ...]) -> list[tuple[int, int]]:
    kind, start, count = struct.unpack_from("<IHH", data, at)
    if kind == 2:
        return [struct.unpack_from("<II", data, at + start + 8 * i) for i in range(count)]  # type: ignore[misc]
    assert kind == 3
    own_at, own_count = struct.unpack_from("<HH", data, at + 8)
    assert own_at + 4 * own_count <= 4096
    own = struct.unpack_from(f"<{own_count}I", data, at + own_at)
    encodings = (*common, *own)
    words = struct.unpack_from(f"<{count}I", data, at + start)
    return [(first + (word & 0xFFFFFF), encodings[word >> 24]) for word in words]


def lookup(unwind: Unwind, address: int) -> tuple[int, int, int | None]:
    """Return (start, encoding, LSDA) of what covers an address; encoding 0 where nothing does."""
    if not unwind.entries or not unwind.entries[0][0] <= address < unwind.end:
        return 0, 0, None
    start, encoding = max(entry for entry in unwind.entries if entry[0] <= address)
    return start, encoding, unwind.lsda.get(start)
