"""Chained fixups: the payload of LC_DYLD_CHAINED_FIXUPS, and the words that the chains run through.

The fixups are written into the pointers themselves. Each 64-bit word says what it is to become,
and how far away the next one on its page is; the payload only says where each page's chain starts,
and which symbols are imported:

    dyld_chained_fixups_header
    dyld_chained_starts_in_image      u4 number of segments, u4 offset of each one's starts or 0
    dyld_chained_starts_in_segment    per segment: page size, pointer format, then for each page
                                      u2 offset of its first fixup, or 0xffff
    imports                           library, weak or not, name, and in formats 2 and 3 an addend
    symbols                           the names, each ended by NUL

The words, from the low bits up (DYLD_CHAINED_PTR_64 and _64_OFFSET; `chained_reader` has arm64e):

    rebase   target 36, high8 8, zero 7, next 12, bind 1 = 0
    bind     import 24, addend 8, zero 19, next 12, bind 1 = 1

`next` counts words of 4 bytes, 0 ends the chain. The target is an address in _64, and counts from
the mach header in _64_OFFSET (macOS 12 and later); high8 is the top byte of the pointer.

Source: <mach-o/fixup-chains.h>; dyld's mach_o/ChainedFixups.cpp, `validLinkedit` and
`PointerFormat_DYLD_CHAINED_PTR_64::writeChainEntry`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import append, classes, distinct, without
from pielink.arraytypes import I8, U1, U8
from pielink.dyld import bind_writer
from pielink.dyld.chained_reader import (
    AUTH,
    IMPORT,
    IMPORT_FORMATS,
    NEXT_SHIFT,
    SEGMENT,
    SPECIAL_ORDINALS,
    Chains,
    decode,
)
from pielink.dyld.columns import (
    LOCATION_MASK,
    MAX_OFFSET_BITS,
    POINTER_SIZE,
    Rows,
    location_keys,
)
from pielink.dyld.errors import DyldInfoError
from pielink.dyld.strings import join
from pielink.formats import macho
from pielink.record import Record

__all__ = ["AUTH", "IMPORT", "SEGMENT", "Chained", "Chains", "decode", "encode"]


FORMATS = (macho.DYLD_CHAINED_PTR_64, macho.DYLD_CHAINED_PTR_64_OFFSET)
PAGE_SIZES = (0x1000, 0x4000)
STRIDE = 4  # what `next` counts
TARGET_BITS = 36
HIGH8_SHIFT = 56
MAX_IMPORTS = (1 << 24) - 2  # dyld wants fewer than the field can count
WORD_ADDEND = 0xFF  # the largest addend that a word holds
MAX_PAGES = 0xFFFF
HEADER_SIZE = 32  # of dyld_chained_fixups_header, up to the next multiple of 8


class Chained(Record):
    """What `encode` gives: the payload, and the words to store in the image.

    segment (n,) uint8, offset (n,) uint64: where each word goes, ascending; word: (n,) uint64.
    """

    payload: bytes
    segment: U1
    offset: U8
    word: U8


def encode(
    rebases: Rows,
    targets: U8,
    binds: Rows,
    names: Sequence[bytes],
    segments: Rows,
    base: int,
    pointer_format: int = macho.DYLD_CHAINED_PTR_64_OFFSET,
    page_size: int = 0x4000,
) -> Chained:
    """Encode rebases and binds.

    rebases: (n,) REBASE; targets: (n,) uint64, the address without slide that each pointer holds,
    its top byte as it is to be; binds: (m,) BIND; names: what their `name` indexes. Both of type
    pointer, in any order; a row given twice counts once. segments: (s,) SEGMENT in the order of
    the load commands; base: the address of the mach header without slide. page_size: 0x1000 or
    0x4000. No rows give a payload without chains.
    Raises DyldInfoError for a row that the format cannot express: a location outside its segment,
    across a page's end, or no multiple of 4; a target or an addend that is too large; two fixups
    that overlap; flags other than WEAK_IMPORT.
    """
    if pointer_format not in FORMATS or page_size not in PAGE_SIZES:
        raise DyldInfoError(f"pointer format {pointer_format}, page size {page_size:#x}")
    if len(targets) != len(rebases):
        raise DyldInfoError(f"{len(targets)} targets for {len(rebases)} rebases")
    bind_writer.check_rows(binds, names)
    imports, index, embedded = _imports(binds)
    counted_from = base if pointer_format == macho.DYLD_CHAINED_PTR_64_OFFSET else 0
    words = append(
        _rebase_words(targets.astype(np.uint64), counted_from), _bind_words(index, embedded)
    )
    segment, offset, order = _locations(rebases, binds, words, segments)
    _check_places(segment, offset, segments, page_size)
    word = words[order] | _next(segment, offset, page_size) << np.uint64(NEXT_SHIFT)
    starts = _starts_in_image(segment, offset, segments, base, pointer_format, page_size)
    payload = _payload(starts, imports, names)
    return Chained(payload, segment.astype(np.uint8), offset.view(np.uint64), word)


def _next(segment: I8, offset: I8, page_size: int) -> U8:
    """Distance of each fixup to the next one on its page in units of STRIDE, 0 at the last."""
    step = np.zeros(len(offset), np.uint64)
    page = offset // page_size
    chained = np.flatnonzero((segment[1:] == segment[:-1]) & (page[1:] == page[:-1]))
    step[chained] = (offset[chained + 1] - offset[chained]) // STRIDE
    return step


def _imports(binds: Rows) -> tuple[Rows, I8, I8]:
    """The imports table (its name still an index of names), each bind's row, addend in its word.

    The table holds the addends' multiples of 256, so that one row serves all that are near.
    """
    bad = np.flatnonzero(binds["flags"] > macho.BIND_SYMBOL_FLAGS_WEAK_IMPORT)
    if len(bad):
        raise DyldInfoError(f"bind {bad[0]} cannot be encoded: flags other than WEAK_IMPORT")
    wanted = np.zeros(len(binds), IMPORT)
    wanted["ordinal"], wanted["weak"] = binds["ordinal"], binds["flags"]
    wanted["name"], wanted["addend"] = binds["name"], binds["addend"] & ~WORD_ADDEND
    imports, _, index = classes(wanted)
    if len(imports) > MAX_IMPORTS:
        raise DyldInfoError(f"{len(imports)} imports, over {MAX_IMPORTS}")
    return imports, index, binds["addend"] & WORD_ADDEND


def _rebase_words(targets: U8, base: int) -> U8:
    """Words without `next`. base: what targets count from."""
    high8 = targets >> np.uint64(HIGH8_SHIFT)
    low = (targets & np.uint64((1 << HIGH8_SHIFT) - 1)).astype(np.int64) - base
    bad = np.flatnonzero((low < 0) | (low >> TARGET_BITS > 0))
    if len(bad):
        raise DyldInfoError(f"rebase {bad[0]}: the target {targets[bad[0]]:#x} is out of range")
    return low.view(np.uint64) | high8 << np.uint64(TARGET_BITS)


def _bind_words(index: I8, embedded: I8) -> U8:
    return (index | embedded << 24).astype(np.uint64) | np.uint64(1 << 63)


def _locations(rebases: Rows, binds: Rows, words: U8, segments: Rows) -> tuple[I8, I8, I8]:
    """Segment and offset of each fixup, ascending and distinct; the index of its word."""
    if len(rebases) and (rebases["type"] != macho.REBASE_TYPE_POINTER).any():
        raise DyldInfoError("chained fixups are pointers, but a rebase has another type")
    if len(binds) and (binds["type"] != macho.BIND_TYPE_POINTER).any():
        raise DyldInfoError("chained fixups are pointers, but a bind has another type")
    pointer = range(macho.REBASE_TYPE_POINTER, macho.REBASE_TYPE_POINTER + 1)
    key = np.concatenate([location_keys(rows, pointer) for rows in (rebases, binds)])
    key &= LOCATION_MASK
    order = np.argsort(key, kind="stable")
    key = key[order]
    again = np.flatnonzero(key[1:] == key[:-1])
    differ = again[words[order[again]] != words[order[again + 1]]]
    offset = (key & np.uint64((1 << MAX_OFFSET_BITS) - 1)).astype(np.int64)
    segment = (key >> np.uint64(MAX_OFFSET_BITS)).astype(np.int64)
    if len(differ):
        where = f"segment {segment[differ[0]]}, offset {offset[differ[0]]:#x}"
        raise DyldInfoError(f"{where} is to be fixed up twice")
    return without(segment, again + 1), without(offset, again + 1), without(order, again + 1)


def _check_places(segment: I8, offset: I8, segments: Rows, page_size: int) -> None:
    size = append(segments["size"].astype(np.int64), 0)[np.minimum(segment, len(segments))]
    overlaps = np.zeros(len(offset), np.bool_)
    overlaps[1:] = (segment[1:] == segment[:-1]) & (offset[1:] < offset[:-1] + POINTER_SIZE)
    for bad, what in (
        (offset + POINTER_SIZE > size, "lies outside the segment"),
        (offset % STRIDE != 0, f"is no multiple of {STRIDE}"),
        (offset % page_size > page_size - POINTER_SIZE, "lies across the end of a page"),
        (overlaps, "overlaps the fixup before it"),
    ):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise DyldInfoError(f"segment {segment[at]}, offset {offset[at]:#x} {what}")


def _starts_in_image(
    segment: I8, offset: I8, segments: Rows, base: int, pointer_format: int, page_size: int
) -> bytes:
    """dyld_chained_starts_in_image and what it points at, a multiple of 8 bytes."""
    offsets = np.zeros(len(segments) + 1, "<u4")
    offsets[0] = len(segments)
    tables = [_aligned(offsets.tobytes())]
    for index in distinct(segment).tolist():
        offsets[1 + index] = sum(map(len, tables))
        mine = offset[segment == index]
        page, first, _ = classes(mine // page_size)
        if int(page[-1]) >= MAX_PAGES:
            raise DyldInfoError(f"segment {index} has fixups on over {MAX_PAGES} pages")
        pages = np.full(int(page[-1]) + 1, macho.DYLD_CHAINED_PTR_START_NONE, "<u2")
        pages[page] = mine[first] % page_size
        starts = np.zeros(1, macho.DYLD_CHAINED_STARTS_IN_SEGMENT)
        starts["size"] = starts.itemsize + pages.nbytes
        starts["page_size"], starts["pointer_format"] = page_size, pointer_format
        starts["segment_offset"] = int(segments["address"][index]) - base
        starts["page_count"] = len(pages)
        tables.append(_aligned(starts.tobytes() + pages.tobytes()))
    return b"".join([_aligned(offsets.tobytes()), *tables[1:]])


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _payload(starts: bytes, imports: Rows, names: Sequence[bytes]) -> bytes:
    """Header, starts, imports in the smallest format that holds them, and names."""
    used, _, index = classes(imports["name"])
    # Offset 0 of the pool is the empty name.
    pool, sizes = join([b"", *map(names.__getitem__, used.tolist())])
    name_at = np.cumsum(sizes)[index]
    imports_format = _imports_format(imports, name_at)
    _, ordinal_bits, name_shift = IMPORT_FORMATS[imports_format]
    bits = imports["ordinal"].astype(np.int64) & ((1 << ordinal_bits) - 1)
    bits |= imports["weak"].astype(np.int64) << ordinal_bits | name_at << name_shift
    table = np.zeros(len(imports), _IMPORT_ROWS[imports_format])
    table["bits"] = bits.astype(np.uint64)
    if "addend" in (table.dtype.names or ()):
        table["addend"] = imports["addend"]
    header = np.zeros(1, macho.DYLD_CHAINED_FIXUPS_HEADER)
    header["starts_offset"] = HEADER_SIZE
    header["imports_offset"] = HEADER_SIZE + len(starts)
    header["symbols_offset"] = HEADER_SIZE + len(starts) + table.nbytes
    header["imports_count"], header["imports_format"] = len(imports), imports_format
    return _aligned(header.tobytes()) + starts + table.tobytes() + pool


_IMPORT_ROWS = {
    macho.DYLD_CHAINED_IMPORT: np.dtype([("bits", "<u4")]),
    macho.DYLD_CHAINED_IMPORT_ADDEND: np.dtype([("bits", "<u4"), ("addend", "<i4")]),
    macho.DYLD_CHAINED_IMPORT_ADDEND64: np.dtype([("bits", "<u8"), ("addend", "<i8")]),
}


def _imports_format(imports: Rows, name_at: I8) -> int:
    """The smallest imports format that holds ordinals, addends and offsets of names."""
    if not len(imports):
        return macho.DYLD_CHAINED_IMPORT
    small_ordinals = int(imports["ordinal"].max()) <= 0xFF - SPECIAL_ORDINALS
    if int(imports["ordinal"].max()) > 0xFFFF - SPECIAL_ORDINALS:
        raise DyldInfoError(f"library ordinal {imports['ordinal'].max()} is too large for chains")
    if int(name_at.max()) >> 32:
        raise DyldInfoError("the names of the imports take over 4 GiB")
    small = small_ordinals and int(name_at.max()) < 1 << 23
    addend = imports["addend"]
    if not small or addend.min() < -(1 << 31) or addend.max() >= 1 << 31:
        return macho.DYLD_CHAINED_IMPORT_ADDEND64
    if addend.any():
        return macho.DYLD_CHAINED_IMPORT_ADDEND
    return macho.DYLD_CHAINED_IMPORT
