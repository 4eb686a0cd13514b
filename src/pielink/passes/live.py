"""The tables of live symbols: what the reach pass found, packed, and relocations made row to row.

Rows are in the order in which Go's linker numbers its symbols, because layout breaks ties by it.
Relocations that only told the reach pass something (their size is 0) are dropped, except CALLIND:
the stack check counts indirect calls.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import among, ranges
from pielink.hints import Any
from pielink.passes.reach import Reach
from pielink.program import Program
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
    (relocs, reloc_count), (auxes, aux_count, columns) = together(
        lambda: _relocs(program, reach, slot, row_of_slot),
        lambda: (*_auxes(program, slot, row_of_slot), _columns(program.slots, slot)),
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


def _columns(slots: Slots, slot: I4) -> dict[str, Any]:
    """The columns that symbols have of their slots."""
    same = (
        *("object", "name_offset", "name_size", "version", "kind", "flags", "flags2", "local"),
        *("size", "align", "data_offset", "data_size"),
    )
    return {name: getattr(slots, name).take(slot) for name in same}


def _relocs(program: Program, reach: Reach, slot: I4, row_of_slot: I4) -> tuple[Relocs, I4]:
    """The relocations of these symbols, and how many each has."""
    slots, raw = program.slots, program.relocs
    index, owner = ranges(slots.reloc_start[slot], slots.reloc_count[slot])
    size, type_ = raw.size.take(index), raw.type.take(index)
    kept = np.flatnonzero((size != 0) | (type_ == Reloc.CALLIND))
    index, owner = index.take(kept), owner.take(kept)
    size, type_ = size.take(kept), type_.take(kept)
    objects = slots.object.take(slot).take(owner)
    resolved = program.resolve(objects, raw.package.take(index), raw.symbol.take(index))
    weak_calls = np.flatnonzero(type_ == Reloc.WEAK | Reloc.CALL)
    pruned = weak_calls[among(index[weak_calls], reach.pruned_calls)]
    resolved[pruned] = reach.map_init_noop
    target = row_of_slot.take(resolved)
    target[(target == NO_TARGET) & (resolved != 0)] = UNREACHED
    table = Relocs(
        owner=owner,
        offset=raw.offset.take(index),
        size=size,
        type=type_ & np.uint16(Reloc.WEAK - 1),
        weak=type_ >= Reloc.WEAK,
        addend=raw.addend.take(index),
        target=target,
    )
    return table, np.bincount(owner, minlength=len(slot)).astype(np.int32)


def _auxes(program: Program, slot: I4, row_of_slot: I4) -> tuple[Auxes, I4]:
    """The auxiliary symbols of these symbols, and how many each has."""
    slots, raw = program.slots, program.auxes
    wanted = np.ones(256, np.bool_)
    wanted[list(LEFT_OUT)] = False
    holders = np.flatnonzero(slots.aux_count[slot]).astype(np.int32)
    index, holder = ranges(slots.aux_start[slot[holders]], slots.aux_count[slot[holders]])
    type_ = raw.type.take(index)
    kept = np.flatnonzero(wanted.take(type_))
    index, owner = index.take(kept), holders.take(holder.take(kept))
    objects = slots.object.take(slot).take(owner)
    resolved = program.resolve(objects, raw.package.take(index), raw.symbol.take(index))
    table = Auxes(owner=owner, type=type_.take(kept), target=row_of_slot.take(resolved))
    return table, np.bincount(owner, minlength=len(slot)).astype(np.int32)
