"""The lists of types and itabs of releases that keep them in sections of their own.

runtime.typelink has the offset of each type that reflection can find by name, from the start of
the types, in the order of their strings; runtime.itablink has the address of each itab. Source:
typelink in cmd/link/internal/ld/typelink.go of Go 1.26.
"""

from __future__ import annotations

import numpy as np

from pielink.builder import SymbolBuilder
from pielink.golang.gosort import go_sort
from pielink.golang.typedata import type_strings
from pielink.names import ranks
from pielink.rows import NewSymbol, pointer_table
from pielink.tables import FLAG2_ITAB, FLAG_TYPELINK, Kind, Reloc


def define_type_links(builder: SymbolBuilder) -> None:
    """Make both lists."""
    symbols = builder.symbols
    linked = (symbols.flags & FLAG_TYPELINK) != 0
    types = np.flatnonzero(linked).astype(np.int32)
    itabs = np.flatnonzero(((symbols.flags2 & FLAG2_ITAB) != 0) & ~linked).astype(np.int32)
    texts = type_strings(builder.program, symbols.slot[types])
    types = types[go_sort(ranks(builder.memory, *texts))]
    for name, kind, relocs, size in (
        ("runtime.typelink", Kind.TYPELINK, pointer_table(types, 4, Reloc.ADDROFF), 4),
        ("runtime.itablink", Kind.ITABLINK, pointer_table(itabs), 8),
    ):
        content = np.zeros(len(relocs) * size, np.uint8)
        builder.put(builder.row(name), NewSymbol(name, kind, content, local=True, relocs=relocs))
