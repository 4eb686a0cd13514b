"""What -c prints: which function calls which. Source: callgraph in cmd/link/internal/ld/lib.go."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pielink.arrays import ranges
from pielink.golang.stackchains import Names
from pielink.tables import I4, Kind, Memory, Reloc, Relocs, Symbols


def call_lines(memory: Memory, symbols: Symbols, relocs: Relocs, text: I4) -> Iterator[str]:
    """One line per direct call of a function, for the functions `text` (rows) in that order."""
    row, owner = ranges(symbols.reloc_start[text], symbols.reloc_count[text])
    target = relocs.target[row]
    kind = symbols.kind[target]
    shown = (relocs.type[row] == Reloc.CALL) & (target > 0)
    shown &= (kind >= Kind.TEXT) & (kind <= Kind.TEXT_END)
    shown = np.flatnonzero(shown)
    names = Names(memory, symbols)
    for caller, callee in zip(text[owner[shown]].tolist(), target[shown].tolist(), strict=True):
        yield f"{names.name(caller)} calls {names.name(callee)}"
