"""What -c prints: which function calls which, and the sizes of the segments.

Source: callgraph in cmd/link/internal/ld/lib.go, asmb2 in asmb.go.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pielink.arrays import ranges
from pielink.golang.stackchains import Names
from pielink.tables import I4, Kind, Layout, Memory, Reloc, Relocs, Symbols


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


def size_lines(layout: Layout) -> list[str]:
    """The sizes in bytes, as Go counts them: code and constants without the header, then data.

    The sizes of the symbol table and of the load commands are always given as 0 for Mach-O.
    """
    names, sections = layout.segments.name, layout.sections
    in_text = sections.segment == names.index("__TEXT")
    start, end = sections.address[in_text], (sections.address + sections.size)[in_text]
    text, data = int(end.max() - start.min()), 0
    bss = 0
    if "__DATA" in names:
        row = names.index("__DATA")
        data = int(layout.segments.filesize[row])
        bss = int(layout.segments.vmsize[row]) - data
    sizes = {"text": text, "dat": data, "bss": bss, "sym": 0, "lc": 0}
    return [*(f"{k}size={v}" for k, v in sizes.items()), f"total={sum(sizes.values())}"]
