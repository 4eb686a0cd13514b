"""Contents that follow from the layout of the data: pointer maps, and the module data."""

from __future__ import annotations

from pielink.builder import SymbolBuilder
from pielink.golang.gcprog import gc_programs
from pielink.passes.layout import Placed
from pielink.program import Program
from pielink.rows import NewSymbol, with_columns
from pielink.tables import Kind, Memory, Symbols


def fill_pointer_maps(
    program: Program, symbols: Symbols, builder: SymbolBuilder, data: list[Placed]
) -> Symbols:
    """Fill runtime.gcdata and runtime.gcbss: which words of the data hold pointers."""
    sections = []
    for section, kind in (("__data", Kind.DATA), ("__bss", Kind.BSS)):
        placed = next(p for p in data if p.name == section)
        own = symbols.kind[placed.rows] == kind
        sections.append((placed.rows[own], placed.offset[own], placed.size))
    contents = gc_programs(program, symbols, sections)
    names = ("runtime.gcdata", "runtime.gcbss")
    new = {
        builder.find(name): NewSymbol(name, Kind.RODATA, content)
        for name, content in zip(names, contents, strict=True)
    }
    return with_contents(program.memory, symbols, new)


def with_contents(memory: Memory, symbols: Symbols, new: dict[int, NewSymbol]) -> Symbols:
    """Other contents, and their sizes, for these rows."""
    columns = {name: getattr(symbols, name).copy() for name in ("size", "data_offset", "data_size")}
    for row, one in new.items():
        columns["size"][row] = one.size if one.size >= 0 else len(one.content)
        columns["data_offset"][row] = memory.add(one.content)
        columns["data_size"][row] = len(one.content)
    return with_columns(symbols, **columns)
