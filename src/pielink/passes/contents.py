"""Contents that follow from the layout of the data: pointer maps, and the module data."""

from __future__ import annotations

from pielink.builder import SymbolBuilder
from pielink.golang.gcprog import gc_program
from pielink.passes.layout import Placed
from pielink.program import Program
from pielink.rows import NewSymbol, with_columns
from pielink.tables import Kind, Memory, Symbols


def fill_pointer_maps(
    program: Program, symbols: Symbols, builder: SymbolBuilder, data: list[Placed]
) -> Symbols:
    """Fill runtime.gcdata and runtime.gcbss: which words of the data hold pointers."""
    for name, section, kind in (
        ("runtime.gcdata", "__data", Kind.DATA),
        ("runtime.gcbss", "__bss", Kind.BSS),
    ):
        placed = next(p for p in data if p.name == section)
        own = symbols.kind[placed.rows] == kind
        program_bytes = gc_program(
            program, symbols, placed.rows[own], placed.offset[own], placed.size
        )
        new = NewSymbol(name, Kind.RODATA, program_bytes)
        symbols = with_content(program.memory, symbols, builder.find(name), new)
    return symbols


def with_content(memory: Memory, symbols: Symbols, row: int, new: NewSymbol) -> Symbols:
    """Other contents, and their size, for one row."""
    columns = {name: getattr(symbols, name).copy() for name in ("size", "data_offset", "data_size")}
    columns["size"][row] = new.size if new.size >= 0 else len(new.content)
    columns["data_offset"][row] = memory.add(new.content)
    columns["data_size"][row] = len(new.content)
    return with_columns(symbols, **columns)
