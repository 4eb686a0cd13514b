"""The tables of live symbols, row by row: the plain twin of pielink.passes.live."""

from __future__ import annotations

from typing import Any

import numpy as np

from pielink.passes.reach import Reach
from pielink.program import Program
from pielink.tables import UNREACHED, Aux, Reloc

from .reach import DWARF, auxiliaries, references


def live(program: Program, reach: Reach) -> tuple[list[int], list[Any], list[Any]]:
    """Slots by row; relocations (columns of Relocs); auxiliary symbols (columns of Auxes)."""
    found = np.flatnonzero(reach.reachable).tolist()
    order = [0, *sorted(found, key=lambda slot: int(program.slots.order[slot]))]
    row_of = {slot: row for row, slot in enumerate(order)}
    relocs, auxes = [], []
    for row, slot in enumerate(order):
        for r in references(program, slot):
            kind, weak = r.type & ~Reloc.WEAK, bool(r.type & Reloc.WEAK)
            if r.size == 0 and kind != Reloc.CALLIND:
                continue
            to = reach.map_init_noop if r.row in reach.pruned_calls else r.target
            relocs.append((row, r.offset, r.size, kind, weak, r.addend, row_of.get(to, UNREACHED)))
        for kind, to in auxiliaries(program, slot):
            if kind != Aux.GOTYPE and kind not in DWARF:
                auxes.append((row, kind, row_of[to]))
    return order, relocs, auxes
