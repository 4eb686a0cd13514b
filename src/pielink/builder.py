"""Symbols that the linker makes or completes, by name.

Some are new, some exist already because objects refer to them or declare them. The builder hides
which is which: `row` finds or makes a row, `define` gives it a kind and contents, and `finish`
returns the tables with all of that applied. New rows come in the order in which they were first
asked for, which is the order in which layout breaks ties.
"""

from __future__ import annotations

import numpy as np

from pielink.program import Program
from pielink.tables import (
    ABI0,
    I4,
    U1,
    Bool,
    Kind,
    Memory,
    NewReloc,
    NewSymbol,
    Relocs,
    Symbols,
    extend,
    with_columns,
)


class SymbolBuilder:
    """Collects definitions on top of finished tables.

    `row_of_name` has the rows that a builder before this one found.
    """

    def __init__(
        self,
        program: Program,
        symbols: Symbols,
        relocs: Relocs,
        row_of_slot: I4,
        row_of_name: dict[tuple[str, int], int] | None = None,
    ) -> None:
        self.program, self.symbols, self.relocs = program, symbols, relocs
        self.row_of_slot = row_of_slot
        self.made: list[NewSymbol] = []
        self.row_of_name = {} if row_of_name is None else row_of_name
        self.changed: dict[int, NewSymbol] = {}
        self.special: list[int] = []

    @property
    def memory(self) -> Memory:
        """Where contents go."""
        return self.program.memory

    def find(self, name: str, version: int = ABI0) -> int:
        """The row of a symbol, 0 if nobody has asked for it and no live object symbol has it."""
        known = self.row_of_name.get((name, version))
        if known is None:
            slot = int(self.program.lookup([(name.encode("utf-8", "surrogateescape"), version)])[0])
            known = int(self.row_of_slot[slot])
            if known:
                self.row_of_name[name, version] = known
        return known

    def row(self, name: str, version: int = ABI0) -> int:
        """The row of a symbol, which is made (undefined) if need be."""
        found = self.find(name, version)
        if not found:
            found = self.next_row
            self.made.append(NewSymbol(name, Kind.UNDEFINED, version=version))
            self.row_of_name[name, version] = found
        return found

    def kind(self, row: int) -> Kind:
        """What a row is by now."""
        if row >= len(self.symbols):
            return self.made[row - len(self.symbols)].kind
        if row in self.changed:
            return self.changed[row].kind
        return Kind(self.symbols.kind[row])

    def size(self, row: int) -> int:
        """The size of a row by now, in bytes."""
        if row >= len(self.symbols) or row in self.changed:
            new = self.changed[row] if row in self.changed else self.made[row - len(self.symbols)]
            return new.size if new.size >= 0 else len(new.content)
        return int(self.symbols.size[row])

    def define(
        self,
        name: str,
        kind: Kind,
        content: bytes | U1 = b"",
        *,
        size: int = -1,
        align: int = 0,
        local: bool = False,
        relocs: list[NewReloc] | None = None,
        special: bool = False,
    ) -> int:
        """Give a symbol its kind, contents and relocations; return its row.

        `special` symbols get an address in the end, but no room in the layout.
        """
        row = self.row(name)
        new = NewSymbol(name, kind, content, size, align, local, ABI0, relocs or [])
        self.put(row, new)
        if special:
            self.special.append(row)
        return row

    @property
    def next_row(self) -> int:
        """The row that the next new symbol will have."""
        return len(self.symbols) + len(self.made)

    def append(self, new: list[NewSymbol]) -> list[int]:
        """Add symbols with names that nobody has asked for yet; return their rows."""
        rows = list(range(self.next_row, self.next_row + len(new)))
        self.made += new
        self.row_of_name.update({(s.name, s.version): r for s, r in zip(new, rows, strict=True)})
        return rows

    def put(self, row: int, new: NewSymbol) -> None:
        """Replace what a row holds; its name and version stay."""
        if row >= len(self.symbols):
            old = self.made[row - len(self.symbols)]
            self.made[row - len(self.symbols)] = new._replace(name=old.name, version=old.version)
        else:
            self.changed[row] = new

    def finish(self) -> tuple[Symbols, Relocs, Bool]:
        """The tables with everything applied, and which rows are special."""
        symbols, relocs = self._apply_changes()
        symbols, relocs = extend(symbols, relocs, self.memory, self.made)
        special = np.zeros(len(symbols), np.bool_)
        special[self.special] = True
        return symbols, relocs, special

    def _apply_changes(self) -> tuple[Symbols, Relocs]:
        """Write the changed rows over the old ones: append them, then move their columns."""
        if not self.changed:
            return self.symbols, self.relocs
        rows = np.array(list(self.changed), np.int32)
        count = len(self.symbols)
        both, relocs = extend(self.symbols, self.relocs, self.memory, list(self.changed.values()))
        columns = {}
        for name in ("kind", "local", "size", "data_offset", "data_size"):
            columns[name] = getattr(both, name)[:count].copy()
            columns[name][rows] = getattr(both, name)[count:]
        align = both.align[:count].copy()
        align[rows] = np.maximum(align[rows], both.align[count:])
        start, many = both.reloc_start[:count].copy(), both.reloc_count[:count].copy()
        stale = np.isin(relocs.owner[: len(self.relocs)], rows)
        size, owner = relocs.size.copy(), relocs.owner.copy()
        size[: len(self.relocs)][stale] = 0
        owner[len(self.relocs) :] = rows[owner[len(self.relocs) :] - count]
        start[rows], many[rows] = both.reloc_start[count:], both.reloc_count[count:]
        symbols = with_columns(
            self.symbols, **columns, align=align, reloc_start=start, reloc_count=many
        )
        return symbols, with_columns(relocs, size=size, owner=owner)
