"""-verify: every word that slides must be rebased, and nothing else; hundreds of mutations."""

from __future__ import annotations

import random

import numpy as np
import pytest
from link_tables import lay_out
from test_relocate import inputs_of, random_symbols

from pielink.errors import LinkError
from pielink.passes.fixups import fixups, place
from pielink.passes.relocate import Inputs, relocate
from pielink.passes.verify import verify
from pielink.rows import with_columns
from pielink.tables import U1, Fixups, Kind


def linked(seed: int) -> tuple[Inputs, U1, Fixups]:
    """A random image with its fixups."""
    writable = (Kind.RODATA_RELRO, Kind.TYPE, Kind.DATA)
    inputs = inputs_of(random_symbols(random.Random(seed), 120, writable))
    text = np.flatnonzero(inputs.symbols.kind == Kind.TEXT).astype(np.int32)
    made = fixups(inputs.memory, inputs.objects, inputs.symbols, inputs.relocs, text, True)
    layout = lay_out(made.symbols)
    inputs = with_columns(inputs, symbols=made.symbols, relocs=made.relocs, layout=layout)
    return inputs, relocate(inputs), place(inputs.memory, made.symbols, made.pointers, layout)


@pytest.mark.parametrize("seed", range(5))
def test_a_complete_table_passes(seed: int) -> None:
    inputs, image, found = linked(seed)
    assert len(found.rebase_address) > 10
    verify(inputs, image, found)


def test_every_change_of_a_rebase_is_found() -> None:
    rng = random.Random(7)
    inputs, image, found = linked(1)
    for trial in range(300):
        rows = found.rebase_address
        at = rng.randrange(len(rows))
        changed = (
            np.delete(rows, at),
            np.insert(rows, at, int(rows[at]) + rng.choice((-3, 1, 8 * 3))),
            rows + (np.arange(len(rows)) == at) * rng.choice((-8, -1, 4, 8)),
        )[trial % 3]
        if set(changed.tolist()) == set(rows.tolist()):
            continue
        with pytest.raises(LinkError):
            verify(inputs, image, with_columns(found, rebase_address=changed))


def test_a_missing_rebase_is_named_by_symbol_and_offset() -> None:
    inputs, image, found = linked(2)
    gone = int(found.rebase_address[4])
    fewer = np.delete(found.rebase_address, 4)
    with pytest.raises(LinkError) as caught:
        verify(inputs, image, with_columns(found, rebase_address=fewer))
    layout = inputs.layout
    (problem,) = caught.value.problems
    assert f"(address {gone:#x}) follows the base address but is not rebased" in problem.message
    owners = [
        row
        for row in np.flatnonzero(layout.section > 0).tolist()
        if layout.address[row] <= gone < layout.address[row] + inputs.symbols.size[row]
    ]
    name = inputs.memory.get(
        int(inputs.symbols.name_offset[owners[0]]), int(inputs.symbols.name_size[owners[0]])
    )
    assert problem.symbol == name.decode()
    assert f"at offset {gone - int(layout.address[owners[0]]):#x} " in problem.message
