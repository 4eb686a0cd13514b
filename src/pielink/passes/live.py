"""The tables of live symbols: what the reach pass found, packed, and relocations made row to row.

Rows are in the order in which Go's linker numbers its symbols, because layout breaks ties by it.
Relocations that only told the reach pass something (their size is 0) are dropped, except CALLIND:
the stack check counts indirect calls.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import among
from pielink.hints import Any
from pielink.passes.reach import Reach
from pielink.program import Program
from pielink.records import Entries
from pielink.tables import (
    I4,
    NO_TARGET,
    UNREACHED,
    Aux,
    Auxes,
    Reloc,
    Relocs,
    Slots,
    Symbols,
)
from pielink.together import together

# Auxiliary symbols that no later pass asks for by function.
LEFT_OUT = (Aux.GOTYPE, Aux.DWARF_INFO, Aux.DWARF_LOC, Aux.DWARF_RANGES, Aux.DWARF_LINES)


def live(program: Program, reach: Reach) -> tuple[Symbols, Relocs, Auxes, I4]:
    """Pack the live symbols with their relocations and auxiliary symbols.

    The fourth result leads from a slot to its row in Symbols: 0 for slots that are not live or
    not canonical. References that nobody defines are rows of kind UNDEFINED. A relocation whose
    target is not live (it is weak or a METHODOFF) has the target UNREACHED.
    """
    slot = _in_go_order(program.slots, reach)
    row_of_slot = np.zeros(len(program.slots.canon), np.int32)
    row_of_slot[slot] = np.arange(len(slot), dtype=np.int32)
    entries = program.relocs.entries(slot)
    (relocs, reloc_count), (auxes, aux_count, columns) = together(
        lambda: _relocs(program, reach, entries, row_of_slot),
        lambda: (*_auxes(program, entries, row_of_slot), _columns(program, slot, entries)),
    )
    symbols = Symbols(
        slot=slot,
        reloc_start=np.cumsum(reloc_count, dtype=np.int64) - reloc_count,
        reloc_count=reloc_count.astype(np.int64),
        aux_start=np.cumsum(aux_count, dtype=np.int64) - aux_count,
        aux_count=aux_count.astype(np.int64),
        **columns,
    )
    return symbols, relocs, auxes, row_of_slot


def _in_go_order(slots: Slots, reach: Reach) -> I4:
    """Slot 0, then the live slots by ascending `order`."""
    found = np.flatnonzero(reach.reachable)
    keyed = slots.order[found].astype(np.int64) << 32 | found
    keyed.sort()
    return np.concatenate([[0], keyed & 0xFFFFFFFF]).astype(np.int32)


def _columns(program: Program, slot: I4, entries: Entries) -> dict[str, Any]:
    """The columns that symbols have of their slots."""
    same = (
        *("object", "name_offset", "name_size", "version", "kind", "flags", "flags2", "local"),
        *("size", "align"),
    )
    columns = {name: getattr(program.slots, name).take(slot) for name in same}
    columns["data_offset"], columns["data_size"] = program.contents.spans(entries)
    return columns


def _relocs(program: Program, reach: Reach, entries: Entries, row_of_slot: I4) -> tuple[Relocs, I4]:
    """The relocations of these symbols, and how many each has."""
    index, owner = program.relocs.rows(entries)
    records = program.relocs.at(index)
    kept = np.flatnonzero((records["size"] != 0) | (records["type"] == Reloc.CALLIND))
    index, owner, records = index.take(kept), owner.take(kept), records.take(kept)
    type_ = np.ascontiguousarray(records["type"])
    resolved = program.targets(entries.owner.take(owner), records)
    weak_calls = np.flatnonzero(type_ == Reloc.WEAK | Reloc.CALL)
    pruned = weak_calls[among(index[weak_calls], reach.pruned_calls)]
    resolved[pruned] = reach.map_init_noop
    target = row_of_slot.take(resolved)
    target[(target == NO_TARGET) & (resolved != 0)] = UNREACHED
    table = Relocs(
        owner=owner,
        offset=np.ascontiguousarray(records["offset"]),
        size=np.ascontiguousarray(records["size"]),
        type=type_ & np.uint16(Reloc.WEAK - 1),
        weak=type_ >= Reloc.WEAK,
        addend=np.ascontiguousarray(records["addend"]),
        target=target,
    )
    return table, np.bincount(owner, minlength=len(entries.owner)).astype(np.int32)


def _auxes(program: Program, entries: Entries, row_of_slot: I4) -> tuple[Auxes, I4]:
    """The auxiliary symbols of these symbols, and how many each has."""
    wanted = np.ones(256, np.bool_)
    wanted[list(LEFT_OUT)] = False
    owner, records = program.auxes.chosen(entries, wanted.take)
    resolved = program.targets(entries.owner.take(owner), records)
    kinds = np.ascontiguousarray(records["type"])
    table = Auxes(owner=owner, type=kinds, target=row_of_slot.take(resolved))
    return table, np.bincount(owner, minlength=len(entries.owner)).astype(np.int32)
