"""Reads LC_DYLD_CHAINED_FIXUPS and the chains that it starts.

The payload has a header, then a table of starts: for each segment the page size, the pointer
format, and for each page the offset of its first fixup. Then come the imports (library ordinal,
weak bit, name offset, maybe an addend) and their names. Each fixup is a 64-bit word in the
segment itself: either a rebase (its target) or a bind (an import's index), plus the distance to
the next fixup of the page in units of the format's stride; distance 0 ends the chain.

All chains of a segment are followed at once, one link per array pass.

Source: <mach-o/fixup-chains.h>; dyld mach_o/ChainedFixups.cpp, validLinkedit, forEachBindTarget
and the PointerFormat classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pielink.arraytypes import NDArray
from pielink.inspect.columns import BIND_ROW, REBASE, BindRows, Columns, StreamError

HEADER = np.dtype(
    [
        (n, "<u4")
        for n in (
            *("fixups_version", "starts_offset", "imports_offset", "symbols_offset"),
            *("imports_count", "imports_format", "symbols_format"),
        )
    ]
)
STARTS = np.dtype(
    [
        *(("size", "<u4"), ("page_size", "<u2"), ("pointer_format", "<u2")),
        *(("segment_offset", "<u8"), ("max_valid_pointer", "<u4"), ("page_count", "<u2")),
    ]
)
START_NONE, START_MULTI = 0xFFFF, 0x8000
# DYLD_CHAINED_IMPORT, _ADDEND, _ADDEND64; `packed` has ordinal, weak bit and name offset.
IMPORTS = {
    1: np.dtype([("packed", "<u4")]),
    2: np.dtype([("packed", "<u4"), ("addend", "<i4")]),
    3: np.dtype([("packed", "<u8"), ("addend", "<i8")]),
}


@dataclass(frozen=True, slots=True)
class PointerFormat:
    """Where the fields of one DYLD_CHAINED_PTR format lie in the 64-bit word."""

    name: str
    stride: int
    next_bits: int  # from bit 51
    bind_bit: int
    auth: bool  # bit 63 marks an authenticated pointer
    ordinal_bits: int
    addend_shift: int
    addend_bits: int
    target_bits: int
    target_is_offset: bool  # from the mach header; else an unslid address


FORMATS = {
    1: PointerFormat("ARM64E", 8, 11, 62, True, 16, 32, 19, 43, False),
    2: PointerFormat("64", 4, 12, 63, False, 24, 24, 8, 36, False),
    6: PointerFormat("64_OFFSET", 4, 12, 63, False, 24, 24, 8, 36, True),
    7: PointerFormat("ARM64E_KERNEL", 4, 11, 62, True, 16, 32, 19, 43, True),
    9: PointerFormat("ARM64E_USERLAND", 8, 11, 62, True, 16, 32, 19, 43, True),
    10: PointerFormat("ARM64E_FIRMWARE", 4, 11, 62, True, 16, 32, 19, 43, False),
    12: PointerFormat("ARM64E_USERLAND24", 8, 11, 62, True, 24, 32, 19, 43, True),
}


@dataclass(frozen=True, slots=True)
class SegmentStarts:
    """dyld_chained_starts_in_segment of one segment, and its page starts."""

    segment: int
    at: int
    header: dict[str, int]
    pages: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Found:
    """The fixups of one segment: offset in it (ascending) and word of each."""

    offsets: NDArray[np.int64]
    words: NDArray[np.uint64]
    form: PointerFormat

    @property
    def is_bind(self) -> NDArray[np.bool_]:
        return np.asarray(_field(self.words, self.form.bind_bit, 1) != 0)


@dataclass(frozen=True, slots=True)
class Chained:
    """Decoded chained fixups.

    `rebases` and `binds` are REBASE and BIND_ROW rows whose `at` is the word's offset in its
    segment (low 32 bits); `targets` has the unslid target address of each rebase. `imports` are
    (ordinal, weak, addend, name) in table order.
    """

    header: dict[str, int]
    starts: list[SegmentStarts]
    rebases: Columns
    targets: NDArray[np.uint64]
    binds: BindRows
    imports: list[tuple[int, int, int, bytes]]


def _fail(kind: str, message: str, at: int) -> StreamError:
    return StreamError("chained", kind, message, at)


def _row(data: bytes, dtype: np.dtype[np.void], at: int, kind: str, what: str) -> dict[str, int]:
    if at + dtype.itemsize > len(data):
        raise _fail(kind, f"{what} is outside the payload of {len(data)} bytes", at)
    row = np.frombuffer(data, dtype, 1, at)[0]
    return {name: int(row[name]) for name in dtype.names or ()}


def decode(payload: bytes, contents: list[bytes], base: int, limit: int) -> Chained:
    """Decode the payload and follow the chains through `contents`, the segments' file bytes.

    `base` is the unslid address of the mach header. Raises StreamError if anything is malformed,
    out of bounds, or describes more than `limit` fixups.
    """
    header = read_header(payload)
    imports = read_imports(payload, header)
    starts = read_starts(payload, header, len(contents))
    rebases, targets, binds, total = [], [], [], 0
    for each in starts:
        found = follow(each, contents[each.segment], limit - total)
        total += len(found.offsets)
        rows, where = rebase_rows(each.segment, found, base)
        rebases.append(rows)
        targets.append(where)
        binds.append(bind_rows(each.segment, found, imports))
    none = np.zeros(0, REBASE), np.zeros(0, np.uint64), np.zeros(0, BIND_ROW)
    names = [name for *_, name in imports]
    return Chained(
        header,
        starts,
        np.concatenate([none[0], *rebases]),
        np.concatenate([none[1], *targets]),
        BindRows(np.concatenate([none[2], *binds]), names),
        imports,
    )


def read_header(payload: bytes) -> dict[str, int]:
    """dyld_chained_fixups_header."""
    header = _row(payload, HEADER, 0, "header", "the header")
    if header["fixups_version"] != 0:
        raise _fail("header", f"unknown fixups_version {header['fixups_version']}", 0)
    return header


def read_imports(payload: bytes, header: dict[str, int]) -> list[tuple[int, int, int, bytes]]:
    """The import table: (library ordinal, weak import, addend, name) rows."""
    if header["imports_format"] not in IMPORTS:
        raise _fail("imports", f"unknown imports_format {header['imports_format']}", 20)
    if header["symbols_format"] != 0:
        raise _fail("imports", f"symbols_format {header['symbols_format']} is not supported", 24)
    size = IMPORTS[header["imports_format"]].itemsize
    start, count, pool_at = (
        header[key] for key in ("imports_offset", "imports_count", "symbols_offset")
    )
    if pool_at > len(payload) or start > pool_at or count * size > pool_at - start:
        raise _fail("imports", "the import table overlaps the names or the end", start)
    table = np.frombuffer(payload, IMPORTS[header["imports_format"]], count, start)
    packed = table["packed"].astype(np.uint64)
    bits, shift = (16, 32) if size == 16 else (8, 9)
    ordinals = _field(packed, 0, bits).astype(np.int64)
    ordinals[ordinals > (1 << bits) - 16] -= 1 << bits  # the special ordinals are negative
    weak = _field(packed, bits, 1).tolist()
    names = (packed >> np.uint64(shift)).tolist()
    addends = table["addend"].tolist() if size > 4 else [0] * count
    pool = payload[pool_at:]
    return [
        (ordinal, weak[i], addends[i], _name(pool, names[i], i))
        for i, ordinal in enumerate(ordinals.tolist())
    ]


def _name(pool: bytes, at: int, index: int) -> bytes:
    end = pool.find(b"\0", at) if at < len(pool) else -1
    if end < 0:
        raise _fail("imports", f"the name of import {index} is outside the names", at)
    return pool[at:end]


def read_starts(payload: bytes, header: dict[str, int], segments: int) -> list[SegmentStarts]:
    """The page starts of each segment that has fixups."""
    at = header["starts_offset"]
    if at + 4 > len(payload):
        raise _fail("header", "starts_offset is outside the payload", at)
    count = int.from_bytes(payload[at : at + 4], "little")
    if count > segments:
        raise _fail("starts", f"{count} segments in the table, {segments} in the file", at)
    if at + 4 + 4 * count > len(payload):
        raise _fail("starts", "the table of segments is outside the payload", at)
    offsets = np.frombuffer(payload, "<u4", count, at + 4).tolist()
    return [_segment_starts(payload, i, at + off) for i, off in enumerate(offsets) if off]


def _segment_starts(payload: bytes, index: int, at: int) -> SegmentStarts:
    row = _row(payload, STARTS, at, "starts", f"the page table of segment {index}")
    end = STARTS.itemsize + 2 * row["page_count"]
    if row["size"] < end or at + row["size"] > len(payload):
        raise _fail("starts", f"the page table of segment {index} does not fit its size", at)
    pages = np.frombuffer(payload, "<u2", row["page_count"], at + STARTS.itemsize)
    return SegmentStarts(index, at, row, pages)


def follow(starts: SegmentStarts, content: bytes, limit: int) -> Found:
    """Follow every chain of a segment. Raises StreamError as `decode` does."""
    form = FORMATS.get(starts.header["pointer_format"])
    if form is None:
        number = starts.header["pointer_format"]
        raise _fail("format", f"pointer_format {number} is not supported", starts.at)
    place, page_end = _chain_starts(starts)
    raw, found, words, total = np.frombuffer(content, "u1"), [], [], 0
    while len(place):
        bad = (place + 8 > len(raw)) | (place >= page_end)
        if bad.any():
            where = int(place[int(np.argmax(bad))])
            message = f"a chain of segment {starts.segment} leaves its page or the file"
            raise _fail("chain", f"{message} at +{where:#x}", starts.at)
        word = raw[place[:, None] + np.arange(8)].view("<u8")[:, 0]
        found.append(place)
        words.append(word)
        total += len(place)
        if total > limit:
            raise _fail("count", "more fixups than the file can hold", starts.at)
        step = _field(word, 51, form.next_bits).astype(np.int64)
        goes_on = step != 0
        place, page_end = (place + step * form.stride)[goes_on], page_end[goes_on]
    offsets = np.concatenate([np.zeros(0, np.int64), *found])
    order = np.argsort(offsets, kind="stable")
    return Found(offsets[order], np.concatenate([np.zeros(0, np.uint64), *words])[order], form)


def _chain_starts(starts: SegmentStarts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offset in the segment of each chain's first fixup, and of the end of its page."""
    size, at = starts.header["page_size"], starts.at
    if size not in (0x1000, 0x4000):
        raise _fail("page", f"page_size is {size:#x}, not 4 or 16 KiB", at)
    pages = np.flatnonzero(starts.pages != START_NONE)
    first = starts.pages[pages].astype(np.int64)
    if (first & START_MULTI).any():
        raise _fail("page", "a page with several chains is not valid in 64-bit images", at)
    if (first >= size).any():
        raise _fail("page", "a chain starts outside its page", at)
    return pages * size + first, (pages + 1) * size


def _field(words: NDArray[np.uint64], shift: int, bits: int) -> NDArray[np.uint64]:
    return words >> np.uint64(shift) & np.uint64((1 << bits) - 1)


def rebase_targets(words: NDArray[np.uint64], form: PointerFormat, base: int) -> NDArray[np.uint64]:
    """The unslid target address, top byte included, that each rebase word encodes."""
    plain = _field(words, 0, form.target_bits) | _field(words, form.target_bits, 8) << np.uint64(56)
    add = np.full(len(words), base if form.target_is_offset else 0, np.uint64)
    if form.auth:
        signed = words >> np.uint64(63) != 0
        plain = np.where(signed, _field(words, 0, 32), plain)
        add = np.where(signed, np.uint64(base), add)
    return np.asarray(plain + add, np.uint64)


def rebase_rows(segment: int, found: Found, base: int) -> tuple[Columns, NDArray[np.uint64]]:
    """The rebases among the fixups of a segment: REBASE rows and their targets."""
    is_rebase = ~found.is_bind
    rows = np.zeros(int(is_rebase.sum()), REBASE)
    rows["segment"], rows["type"] = segment, 1
    rows["offset"] = rows["at"] = found.offsets[is_rebase]
    return rows, rebase_targets(found.words[is_rebase], found.form, base)


def bind_rows(segment: int, found: Found, imports: list[tuple[int, int, int, bytes]]) -> Columns:
    """The binds among the fixups of a segment: BIND_ROW rows."""
    offsets, words = found.offsets[found.is_bind], found.words[found.is_bind]
    form, rows = found.form, np.zeros(len(offsets), BIND_ROW)
    index = _field(words, 0, form.ordinal_bits).astype(np.int64)
    if (index >= len(imports)).any():
        bad = int(np.argmax(index >= len(imports)))
        message = (
            f"a bind in segment {segment} at +{int(offsets[bad]):#x} names import {index[bad]}"
        )
        raise _fail("import-index", f"{message} of {len(imports)}", int(offsets[bad]))
    addend = _field(words, form.addend_shift, form.addend_bits).astype(np.int64)
    if form.auth:
        addend = np.where(words >> np.uint64(63) != 0, 0, addend)
        addend = np.where(addend >> 18 & 1 != 0, addend - (1 << 19), addend)
    table = np.array([row[:3] for row in imports], np.int64).reshape(-1, 3)
    rows["segment"], rows["type"] = segment, 1
    rows["offset"] = rows["at"] = offsets
    rows["ordinal"], rows["flags"] = table[index, 0], table[index, 1]
    rows["addend"], rows["name"] = table[index, 2] + addend, index
    return rows
