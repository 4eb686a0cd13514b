"""Unwind information: from `__compact_unwind` and `__eh_frame` to `__TEXT,__unwind_info`.

An object's `__LD,__compact_unwind` has a 32-byte record a function: address (relocated), length,
encoding, personality and LSDA (both relocated, or 0). An encoding of mode DWARF, or a function
without a record, means that its FDE in `__eh_frame` tells.

`__unwind_info` maps addresses to encodings in two levels. All offsets of functions, LSDAs and
personality slots count from the image's header, others from the start of the section:

    header: version 1, then offset and count of: common encodings, personalities, first level
    common encodings     u4 each, at most 127
    personalities        u4 each: where the GOT slot is; at most 3
    first level          (function, second-level page, LSDAs of the page) each; the last is the end
    LSDAs                (function, LSDA) each, ascending
    second-level pages   regular: kind 2, (function, encoding) each; or
                         compressed: kind 3, u4 each: index of the encoding << 24 | distance from
                         the page's first function; indexes above the common ones are the page's own

An entry counts up to the next one, so that ranges without information need entries with encoding
0, and neighbours that say the same need one entry only. Source: compact_unwind_encoding.h;
libunwind's UnwindCursor.hpp; LLVM's lld/MachO/UnwindInfoSection.cpp.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import append, classes, isin, row_classes
from pielink.arraytypes import NDArray
from pielink.errors import FormatError, LinkError, Problem
from pielink.hints import Any
from pielink.native import atoms as atoms_pass
from pielink.native.ehframe import Frames
from pielink.native.tables import NONE, Atoms, Host, Relocs, UnwindEntries
from pielink.record import Record, fields
from pielink.tables import I4, I8, U4, Bool

FUNCTION_FIELD, LENGTH_FIELD, ENCODING_FIELD, PERSONALITY_FIELD, LSDA_FIELD = 0, 8, 12, 16, 24

MODE_MASK, MODE_STACK_IND, MODE_DWARF = 0x0F000000, 0x03000000, 0x04000000
PERSONALITY_SHIFT, PERSONALITY_MASK, HAS_LSDA = 28, 0x30000000, 0x40000000
DWARF_OFFSET_MASK = 0x00FFFFFF
MAX_PERSONALITIES = 3

VERSION = 1
HEADER_WORDS, INDEX_WORDS, LSDA_WORDS = 7, 3, 2
REGULAR, COMPRESSED = 2, 3  # kinds of second-level pages
PAGE_SIZE, REGULAR_HEADER, COMPRESSED_HEADER = 4096, 8, 12
MAX_REGULAR = (PAGE_SIZE - REGULAR_HEADER) // 8
MAX_COMPRESSED = (PAGE_SIZE - COMPRESSED_HEADER) // 4
MAX_COMMON, MAX_ENCODINGS = 127, 256
MAX_DISTANCE = (1 << 24) - 1


def collect(host: Host, atoms: Atoms, relocs: Relocs, frames: Frames) -> UnwindEntries:
    """Return one row a function: its compact encoding, or its FDE where it has none.

    `relocs` are settled. Records of functions whose name another file's definition has taken are
    left out. Raises FormatError for a record without a function.
    """
    compact = _compact_entries(host, atoms, relocs)
    encoded = (compact.encoding & MODE_MASK) != MODE_DWARF
    compact = UnwindEntries(*(getattr(compact, c)[encoded] for c in fields(compact)))
    described = _describes_own_file(host, atoms, frames.fde, frames.function)
    described &= ~isin(_places(frames), _places(compact))
    count = int(described.sum())
    none = np.full(count, NONE, np.int32)
    dwarf = UnwindEntries(
        function=frames.function[described],
        offset=frames.offset[described],
        length=frames.length[described].astype(np.uint32),
        encoding=np.full(count, MODE_DWARF, np.uint32),
        personality=none,
        personality_name=none,
        personality_offset=np.zeros(count, np.int64),
        lsda=none,  # the FDE names it
        lsda_offset=np.zeros(count, np.int64),
        fde=frames.fde[described],
    )
    columns = [np.concatenate([getattr(compact, c), getattr(dwarf, c)]) for c in fields(dwarf)]
    return UnwindEntries(*columns)


def _places(table: UnwindEntries | Frames) -> I8:
    """Return the place of each row's function as one number."""
    return table.function.astype(np.int64) << atoms_pass.OFFSET_BITS | table.offset


def _describes_own_file(host: Host, atoms: Atoms, record: I4 | I8, function: I4) -> Bool:
    file = host.sections.file[atoms.section]
    own: Bool = file[record] == file[function]
    return own


def _compact_entries(host: Host, atoms: Atoms, relocs: Relocs) -> UnwindEntries:
    records = np.flatnonzero(atoms_pass.is_named(host, atoms_pass.COMPACT_UNWIND)[atoms.section])
    start = host.sections.data[atoms.section[records]] + atoms.offset[records]
    words = host.contents[start[:, None] + np.arange(LENGTH_FIELD, PERSONALITY_FIELD)]
    length, encoding = words.view("<u4").reshape(len(records), 2).T
    function, _, offset = _pointer(relocs, records, FUNCTION_FIELD, len(atoms))
    if (function == NONE).any():
        row = int(records[np.argmax(function == NONE)])
        section, place = int(atoms.section[row]), int(atoms.offset[row])
        what = f"record at {host.title(section)}+{place:#x} describes no function"
        raise FormatError(what, host.file_name(section))
    personality, personality_name, personality_offset = _pointer(
        relocs, records, PERSONALITY_FIELD, len(atoms)
    )
    lsda, _, lsda_offset = _pointer(relocs, records, LSDA_FIELD, len(atoms))
    entries = UnwindEntries(
        function=function,
        offset=offset,
        length=length.astype(np.uint32),
        encoding=(encoding & ~np.uint32(PERSONALITY_MASK | HAS_LSDA)).astype(np.uint32),
        personality=personality,
        personality_name=personality_name,
        personality_offset=personality_offset,
        lsda=lsda,
        lsda_offset=lsda_offset,
        fde=np.full(len(records), NONE, np.int32),
    )
    kept = _describes_own_file(host, atoms, records, function)
    return UnwindEntries(*(getattr(entries, column)[kept] for column in fields(entries)))


def _pointer(relocs: Relocs, records: I8, field: int, count: int) -> tuple[I4, I4, I8]:
    """Return target atom, target name and offset of one pointer of each record; NONE: no such."""
    row_of = np.full(count, NONE, np.int64)
    rows = np.flatnonzero(relocs.offset == field)
    row_of[relocs.atom[rows]] = rows
    row = row_of[records]
    present = row != NONE
    if not len(relocs):
        return np.full(len(row), NONE, np.int32), np.full(len(row), NONE, np.int32), row * 0
    target = np.where(present, relocs.target[row], NONE).astype(np.int32)
    name = np.where(present, relocs.name[row], NONE).astype(np.int32)
    offset = relocs.target_offset[row] + relocs.addend[row]
    return target, name, np.where(present, offset, 0)


def personalities(entries: UnwindEntries) -> tuple[I4, I8]:
    """Number the personality functions that compact entries use: each needs a GOT slot.

    Returns (index of each row, 0 for none, counting from 1; shape (n, 3) of the distinct ones:
    atom, name, offset). Raises LinkError when there are more than the format can number.
    """
    columns = (entries.personality, entries.personality_name, entries.personality_offset)
    keys = np.stack([column.astype(np.int64) for column in columns], axis=1)
    has = (entries.personality != NONE) | (entries.personality_name != NONE)
    found, _, inverse = row_classes(keys[has])
    if len(found) > MAX_PERSONALITIES:
        why = f"{len(found)} personality functions; the format of __unwind_info has room for 3"
        raise LinkError([Problem(why)])
    index = np.zeros(len(entries), np.int32)
    index[has] = inverse + 1
    return index, found


class FunctionRanges(Record):
    """What `encode` needs of each function; addresses are bytes from the image's header.

    `encoding` is complete: personality index, LSDA bit, offset of the FDE in `__eh_frame`.
    """

    start: I8
    end: I8
    encoding: U4
    lsda: I8  # NONE: has none


def place(
    entries: UnwindEntries, address: I8, personality: I4, frame_offset: I8, header: int
) -> FunctionRanges:
    """Return the functions at their addresses.

    `address` is that of each atom, `header` the image's; `frame_offset` is where each atom of
    `__eh_frame` starts in the output section. An FDE too far to say where is found by a search
    from the start of the section, which is what an offset of 0 asks for.
    """
    start = address[entries.function] + entries.offset - header
    fde = np.where(entries.fde == NONE, 0, frame_offset[entries.fde])
    hint = np.where(fde <= DWARF_OFFSET_MASK, fde, 0).astype(np.uint32)
    encoding = entries.encoding | np.where(entries.fde == NONE, 0, hint).astype(np.uint32)
    encoding |= personality.astype(np.uint32) << np.uint32(PERSONALITY_SHIFT)
    has_lsda = entries.lsda != NONE
    encoding |= np.where(has_lsda, HAS_LSDA, 0).astype(np.uint32)
    lsda = np.where(has_lsda, address[entries.lsda] + entries.lsda_offset - header, NONE)
    return FunctionRanges(start, start + entries.length, encoding, lsda)


def encode(functions: FunctionRanges, personality_slots: NDArray[Any]) -> bytes:
    """Return the contents of `__unwind_info` (alignment 4); b"" without functions.

    `personality_slots` are the addresses of the GOT slots, from the header, in index order. The
    size does not depend on them, nor on where the LSDAs are. Raises LinkError when functions
    overlap.
    """
    if not len(functions.start):
        return b""
    start, encoding, lsda, end = _entries(functions)
    common = _common_encodings(encoding)
    bounds, pages = _pages(start, encoding, common)
    with_lsda = np.flatnonzero(lsda != NONE)
    common_at = HEADER_WORDS * 4
    personality_at = common_at + 4 * len(common)
    index_at = personality_at + 4 * len(personality_slots)
    lsda_at = index_at + 4 * INDEX_WORDS * (len(pages) + 1)
    page_at = lsda_at + 4 * LSDA_WORDS * len(with_lsda)
    page_starts = np.cumsum([page_at, *(len(page) for page in pages)])
    head = (VERSION, common_at, len(common), personality_at, len(personality_slots))
    header = np.array([*head, index_at, len(pages) + 1], "<u4")
    index = np.zeros((len(pages) + 1, INDEX_WORDS), "<u4")
    index[:, 0] = append(start[bounds[:-1]], end)
    index[:-1, 1] = page_starts[:-1]
    index[:, 2] = lsda_at + 4 * LSDA_WORDS * np.searchsorted(with_lsda, bounds)
    lsdas = np.stack([start[with_lsda], lsda[with_lsda]], axis=1).astype("<u4")
    parts = (header, common.astype("<u4"), np.asarray(personality_slots, "<u4"), index, lsdas)
    return b"".join([*(part.tobytes() for part in parts), *pages])


def _entries(functions: FunctionRanges) -> tuple[I8, U4, I8, int]:
    """Return the entries in order: gaps filled with encoding 0, equal neighbours folded."""
    order = np.argsort(functions.start, kind="stable")
    start, end = functions.start[order], functions.end[order]
    if (start[1:] < end[:-1]).any():
        row = int(np.argmax(start[1:] < end[:-1]))
        why = f"unwind information of functions at {start[row]:#x} and {start[row + 1]:#x} overlaps"
        raise LinkError([Problem(why)])
    gap = np.flatnonzero(start[1:] > end[:-1]) + 1
    # A gap is an entry of its own, in front of the function behind it.
    place = np.argsort(append(2 * np.arange(len(start)) + 1, 2 * gap))
    starts = append(start, end[gap - 1])[place]
    encodings = append(functions.encoding[order], np.zeros(len(gap), np.uint32))[place]
    lsdas = append(functions.lsda[order], np.full(len(gap), NONE))[place]
    mode = encodings & MODE_MASK
    # The unwinder reads a function's start from its entry for these, so they stay apart.
    alone = (lsdas != NONE) | (mode == MODE_STACK_IND) | (mode == MODE_DWARF)
    folded = np.zeros(len(starts), np.bool_)
    folded[1:] = (encodings[1:] == encodings[:-1]) & ~alone[1:] & ~alone[:-1]
    kept = ~folded
    return starts[kept], encodings[kept], lsdas[kept], int(end[-1])


def _common_encodings(encoding: U4) -> U4:
    """Return the encodings that all pages share: those used more than once, most used first."""
    values, _, inverse = classes(encoding)
    counts = np.bincount(inverse, minlength=len(values))
    order = np.lexsort((values, -counts))[:MAX_COMMON]
    return values[order[counts[order] > 1]]


def _pages(start: I8, encoding: U4, common: U4) -> tuple[I8, list[bytes]]:
    """Return the entries at which pages begin (and the end), and the pages.

    The loop runs over pages, of some 500 to 1,000 entries each.
    """
    sorter = np.argsort(common, kind="stable")
    at = np.minimum(np.searchsorted(common[sorter], encoding), max(len(common) - 1, 0))
    index = sorter[at] if len(common) else np.zeros(len(encoding), np.int64)
    shared = common[index] == encoding if len(common) else np.zeros(len(encoding), np.bool_)
    bounds, pages, first = [0], [], 0
    while first < len(start):
        limit = min(first + MAX_COMPRESSED, len(start))
        reach = int(np.searchsorted(start, start[first] + MAX_DISTANCE, "right"))
        window = slice(first, min(limit, reach))
        count, own, number = _compressed(
            encoding[window], shared[window], index[window], len(common)
        )
        if count < MAX_REGULAR and first + count < len(start):
            count = min(MAX_REGULAR, len(start) - first)
            rows = slice(first, first + count)
            pages.append(_regular_page(start[rows], encoding[rows]))
        else:
            distance = start[first : first + count] - start[first]
            pages.append(_compressed_page(distance, number[:count], own))
        first += count
        bounds.append(first)
    return np.array(bounds), pages


def _compressed(encoding: U4, shared: Bool, index: I8, common: int) -> tuple[int, U4, I8]:
    """Return how many entries one compressed page takes, its own encodings, and their numbers."""
    foreign = np.flatnonzero(~shared)
    values, first, inverse = classes(encoding[foreign])
    order = np.argsort(first, kind="stable")  # in the order of first use
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    number = index.copy()
    number[foreign] = common + rank[inverse.reshape(-1)]
    new = np.zeros(len(encoding), np.int64)
    new[foreign[first]] = 1
    own = np.cumsum(new)
    fits = (np.arange(1, len(encoding) + 1) + own <= MAX_COMPRESSED) & (
        common + own <= MAX_ENCODINGS
    )
    count = len(fits) if fits.all() else int(np.argmin(fits))
    used = int(own[count - 1]) if count else 0
    return count, values[order[:used]], number


def _regular_page(start: I8, encoding: U4) -> bytes:
    head = np.array([REGULAR, REGULAR_HEADER | len(start) << 16], "<u4")
    return head.tobytes() + np.stack([start, encoding], axis=1).astype("<u4").tobytes()


def _compressed_page(distance: I8, number: I8, own: U4) -> bytes:
    after = COMPRESSED_HEADER + 4 * len(distance)
    words = [COMPRESSED, COMPRESSED_HEADER | len(distance) << 16, after | len(own) << 16]
    entries = (number << 24 | distance).astype("<u4")
    return np.array(words, "<u4").tobytes() + entries.tobytes() + own.astype("<u4").tobytes()
