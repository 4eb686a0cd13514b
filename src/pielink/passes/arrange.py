"""The order of the data symbols: for each kind, the rows that lie one after the other.

Symbols of a kind are ordered by size, then by row; runtime.zerobase comes right after the empty
symbols, whose address it shares. Type descriptors that reflection can find by name come first
and are ordered by their strings, itabs come last. Source: dodataSect in
cmd/link/internal/ld/data.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import changes, split
from pielink.golang.gosort import go_sort
from pielink.golang.sequence import alignment
from pielink.golang.typedata import type_strings
from pielink.names import ranks
from pielink.passes.text import place
from pielink.program import Program
from pielink.record import Record
from pielink.tables import FLAG2_ITAB, FLAG_TYPELINK, I4, I8, Bool, Kind, Symbols


class Arrangement(Record):
    """Rows in order, for each kind that has any; and the alignment of every row, in bytes."""

    rows: dict[int, I4]
    align: I8
    types: dict[str, int]  # what the module data says about the types: see `_types`


def arrange(program: Program, symbols: Symbols, special: Bool, zerobase: int) -> Arrangement:
    """Order the data symbols of each kind. `zerobase` is the row of runtime.zerobase."""
    laid_out = (symbols.kind > Kind.TEXT_END) & (symbols.kind < Kind.FIRST_UNALLOCATED)
    laid_out &= ~special & ((symbols.name_size > 0) | (symbols.slot == 0))
    rows = np.flatnonzero(laid_out)
    size, kind = symbols.size.take(rows) * 2, symbols.kind.take(rows)
    size[rows == zerobase] = 1
    size[kind >= Kind.FIRST_HOST_SECTION] = 0  # their order means something
    order = np.argsort(kind.astype(np.int64) << 40 | size, kind="stable")
    rows, kind = rows.take(order).astype(np.int32), kind.take(order)
    start = np.flatnonzero(changes(kind))
    found = dict(zip(kind[start].tolist(), split(rows, start[1:]), strict=True))
    for fixed in (Kind.PCLNTAB,):
        found = {k: np.sort(r) if k == fixed else r for k, r in found.items()}
    align = alignment(symbols.size, symbols.align)
    types: dict[str, int] = {}
    if Kind.TYPE in found and not program.release.type_links:
        found[Kind.TYPE], types = _types(program, symbols, found[Kind.TYPE], align)
    return Arrangement(found, align, types)


def _types(program: Program, symbols: Symbols, rows: I4, align: I8) -> tuple[I4, dict[str, int]]:
    """The marker type:*, types with links by string, other types, itabs; each by size and row.

    The numbers are bytes from the start of the section: typedesclen, the end of the types with
    links; itaboffset, where itabs begin; and itabsize, how long they are.
    """
    made = symbols.slot[rows] == 0
    itab = ((symbols.flags2[rows] & FLAG2_ITAB) != 0) & ~made
    linked = ((symbols.flags[rows] & FLAG_TYPELINK) != 0) & ~itab & ~made
    links, others, itabs = np.sort(rows[linked]), rows[~linked & ~itab & ~made], rows[itab]
    rank = np.zeros(len(symbols), np.int64)
    rank[links] = 1 + ranks(program.memory, *type_strings(program, symbols.slot[links]))
    rest = np.concatenate([others, itabs])
    rank[rest] = 1 + len(links) + np.arange(len(rest))
    by_row = np.sort(rows)
    ordered = by_row[go_sort(rank[by_row])]
    links = ordered[np.count_nonzero(made) :][: len(links)]
    described = _end(symbols, align, links, 8)
    end = _end(symbols, align, others, described)
    if len(itabs):
        end = -(-end // int(align[itabs[0]])) * int(align[itabs[0]])
    size = _end(symbols, align, itabs, 0)
    return ordered, {"typedesclen": described, "itaboffset": end, "itabsize": size}


def _end(symbols: Symbols, align: I8, rows: I4, start: int) -> int:
    return place(symbols.size[rows], align[rows], start)[1]
