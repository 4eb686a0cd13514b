"""The order of the data symbols: for each kind, the rows that lie one after the other.

Symbols of a kind are ordered by size, then by row; runtime.zerobase comes right after the empty
symbols, whose address it shares. Type descriptors that reflection can find by name come first
and are ordered by their strings, itabs come last. Source: dodataSect in
cmd/link/internal/ld/data.go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pielink.golang import typedata
from pielink.golang.sequence import alignment
from pielink.passes.text import place
from pielink.program import Program
from pielink.tables import FLAG2_ITAB, FLAG_TYPELINK, I4, I8, Bool, Kind, Symbols

_FLAG_EXTRA_STAR = 2  # abi.TFlagExtraStar: the type's string has a "*" that is not its own
_NAME_OFFSET = 40  # of a descriptor's reference to its string


@dataclass(frozen=True, slots=True)
class TypeSizes:
    """What the module data says about the section of types; bytes from its start."""

    described: int = 0  # end of the descriptors that reflection can find
    itabs: int = 0  # start of the itabs
    itabs_size: int = 0


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Rows in order, for each kind that has any; and the alignment of every row, in bytes."""

    rows: dict[Kind, I4]
    align: I8
    types: TypeSizes


def arrange(program: Program, symbols: Symbols, special: Bool, zerobase: int) -> Arrangement:
    """Order the data symbols of each kind. `zerobase` is the row of runtime.zerobase."""
    laid_out = (symbols.kind > Kind.TEXT_END) & (symbols.kind < Kind.FIRST_UNALLOCATED)
    laid_out &= ~special & (symbols.name_size > 0)
    rows = np.flatnonzero(laid_out).astype(np.int32)
    size = symbols.size[rows] * 2
    size[rows == zerobase] = 1
    order = np.argsort(symbols.kind[rows].astype(np.int64) << 40 | size, kind="stable")
    rows = rows[order]
    kinds, start = np.unique(symbols.kind[rows], return_index=True)
    found = {
        Kind(kind): part
        for kind, part in zip(kinds.tolist(), np.split(rows, start[1:]), strict=True)
    }
    for fixed in (Kind.PCLNTAB,):
        found = {k: np.sort(r) if k == fixed else r for k, r in found.items()}
    align = alignment(symbols.size, symbols.align)
    types = TypeSizes()
    if Kind.TYPE in found and not program.release.type_links:
        found[Kind.TYPE], types = _types(program, symbols, found[Kind.TYPE], align)
    return Arrangement(found, align, types)


def _types(program: Program, symbols: Symbols, rows: I4, align: I8) -> tuple[I4, TypeSizes]:
    """The marker type:*, types with links by string, other types, itabs; each by size and row."""
    made = symbols.slot[rows] == 0
    itab = ((symbols.flags2[rows] & FLAG2_ITAB) != 0) & ~made
    linked = ((symbols.flags[rows] & FLAG_TYPELINK) != 0) & ~itab & ~made
    links = np.sort(rows[linked])
    links = links[link_order(type_strings(program, symbols.slot[links]))]
    others, itabs = rows[~linked & ~itab & ~made], rows[itab]
    ordered = np.concatenate([rows[made], links, others, itabs])
    described = _end(symbols, align, links, 8)
    end = _end(symbols, align, others, described)
    if len(itabs):
        end = -(-end // int(align[itabs[0]])) * int(align[itabs[0]])
    return ordered, TypeSizes(described, end, _end(symbols, align, itabs, 0))


def _end(symbols: Symbols, align: I8, rows: I4, start: int) -> int:
    return place(symbols.size[rows], align[rows], start)[1]


def type_strings(program: Program, slots: I4) -> list[bytes]:
    """The string of each type descriptor, as reflection gives it."""
    offsets = np.full(len(slots), _NAME_OFFSET, np.int64)
    names = typedata.relocation_target(program, slots, offsets)
    flags = program.memory.bytes[program.slots.data_offset[slots] + typedata.FLAGS_OFFSET]
    star = (flags & _FLAG_EXTRA_STAR) != 0
    strings = (typedata.name_bytes(program, slot) for slot in names.tolist())
    return [text[1:] if cut else text for text, cut in zip(strings, star.tolist(), strict=True)]


def link_order(strings: list[bytes]) -> I4:
    """Indices that sort the strings; equal ones stay in order."""
    return np.array(sorted(range(len(strings)), key=strings.__getitem__), np.int32)
