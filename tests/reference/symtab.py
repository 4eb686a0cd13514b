"""The symbol table one symbol at a time: the plain twin of pielink.passes.symtab."""

from __future__ import annotations

from collections.abc import Callable

from pielink.passes.symtab import HIDDEN_NAMES, MERGED_KINDS
from pielink.tables import ABI0, STATIC, Kind, Layout, Memory, Symbols

Entry = tuple[bytes, int, int, int]  # name, n_type, n_sect, n_value


def local_entries(
    memory: Memory,
    symbols: Symbols,
    layout: Layout,
    assembly: Callable[[int], bool],
    is_function: Callable[[bytes], bool],
) -> list[Entry]:
    """The local symbols in the order of their addresses, if nothing is exported."""
    found = []
    for row in range(1, len(symbols)):
        name = memory.get(int(symbols.name_offset[row]), int(symbols.name_size[row]))
        kind, made = Kind(symbols.kind[row]), symbols.slot[row] == 0
        text = Kind.TEXT <= kind <= Kind.TEXT_END
        if not layout.section[row] or not name:
            continue
        if made and kind == Kind.PCLNTAB and name in HIDDEN_NAMES:
            continue
        if not text:
            if name.startswith(b"."):
                continue
            if not made and kind in MERGED_KINDS:
                continue
            if not made and symbols.version[row] == STATIC and not assembly(row):
                continue
        if text and symbols.version[row] == ABI0 and is_function(name):
            name += b".abi0"
        shown = b"_" + name.replace("·".encode(), b".")
        found.append((shown, 0x0E, int(layout.section[row]), int(layout.address[row])))
    return sorted(found, key=lambda entry: entry[3])
