"""The tables of live symbols: random programs against the plain twin, and what must hold."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from program_tables import Ref, Sym, program, random_symbols, reach, slot
from reference import live as plain
from reference.records import content

from pielink.passes.live import live
from pielink.tables import UNREACHED, Auxes, Kind, Reloc, Relocs


def rows_of(table: Relocs | Auxes, columns: str) -> list[tuple[Any, ...]]:
    """The table as tuples."""
    return list(zip(*(getattr(table, c).tolist() for c in columns.split()), strict=True))


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_against_the_twin(seed: int) -> None:
    rng = random.Random(seed)
    made = program(random_symbols(rng), rng=rng)
    found = reach(made, (b"entry", b"entry.1"), prune_weak_map=seed % 4 != 0)
    symbols, relocs, auxes, row_of_slot = live(made, found)
    order, want_relocs, want_auxes = plain.live(made, found)
    assert symbols.slot.tolist() == order
    assert rows_of(relocs, "owner offset size type weak addend target") == want_relocs
    assert rows_of(auxes, "owner type target") == want_auxes
    assert row_of_slot[order].tolist() == list(range(len(order)))
    assert np.count_nonzero(row_of_slot) == len(order) - 1
    for column in ("name_offset", "kind", "object", "flags2"):
        assert (getattr(symbols, column) == getattr(made.slots, column)[order]).all()
    places = zip(symbols.data_offset.tolist(), symbols.data_size.tolist(), strict=True)
    for row, (start, size) in zip(order, places, strict=True):
        assert made.memory.get(start, size) == content(made, row)
    for table, start, count in (
        (relocs, symbols.reloc_start, symbols.reloc_count),
        (auxes, symbols.aux_start, symbols.aux_count),
    ):
        owner = np.repeat(np.arange(len(symbols)), count)
        assert (table.owner == owner).all()
        assert (start == np.cumsum(count) - count).all()


def test_targets_that_are_not_live() -> None:
    """Weak ones and methods are UNREACHED; what nobody defines is a row all the same."""
    weak = Ref(Reloc.WEAK | Reloc.ADDR, "dead", 0, size=8)
    made = program([
        Sym("main..inittask", Kind.NOPTR_DATA),
        Sym("entry", refs=[weak, Ref(Reloc.CALL, "missing", 8, size=4), Ref(Reloc.CALLIND, "", 12),
                           Ref(Reloc.METHODOFF, "dead", 16, size=4), Ref(Reloc.USETYPE, "dead")]),
        Sym("missing", Kind.UNDEFINED),
        Sym("dead"),
    ])  # fmt: skip
    symbols, relocs, _, row_of_slot = live(made, reach(made, (b"entry",)))
    missing = row_of_slot[slot(made, "missing")]
    assert symbols.kind[missing] == Kind.UNDEFINED
    assert relocs.target.tolist() == [UNREACHED, missing, 0, UNREACHED]
    assert relocs.type.tolist() == [Reloc.ADDR, Reloc.CALL, Reloc.CALLIND, Reloc.METHODOFF]
    assert relocs.weak.tolist() == [True, False, False, False]


def test_unused_map_initializers_become_calls_of_the_noop() -> None:
    made = program(random_symbols(random.Random(1)))
    found = reach(made, (b"entry", b"entry.1"))
    assert len(found.pruned_calls) == 1
    _, relocs, _, row_of_slot = live(made, found)
    calls = relocs.target[relocs.owner == row_of_slot[slot(made, "p.init")]]
    assert calls.tolist() == [row_of_slot[slot(made, "runtime.mapinitnoop")]]
