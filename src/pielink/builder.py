"""Symbols that the linker makes or completes, by name.

Some are new, some exist already because objects refer to them or declare them. The builder hides
which is which: `row` finds or makes a row, `define` gives it a kind and contents, and `finish`
returns the tables with all of that applied. New rows come in the order in which they were first
asked for, which is the order in which layout breaks ties.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import ranges
from pielink.program import Program
from pielink.rows import NewReloc, NewSymbol, concatenate, made_rows, take
from pielink.tables import ABI0, I4, U1, Bool, Kind, Memory, Relocs, Symbols

# Columns that a definition replaces; names stay, and alignment only grows.
_REPLACED = (
    *("kind", "local", "size", "data_offset", "data_size"),
    *("reloc_start", "reloc_count"),
)


class SymbolBuilder:
    """Collects definitions on top of finished tables."""

    def __init__(self, program: Program, symbols: Symbols, relocs: Relocs, row_of_slot: I4) -> None:
        self.program, self.symbols, self.relocs = program, symbols, relocs
        self.row_of_slot = row_of_slot
        self.made: list[NewSymbol] = []
        self.row_of_name: dict[tuple[str, int], int] = {}
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
            slot = self.program.find(name.encode("utf-8", "surrogateescape"), version)
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

    def kind(self, row: int) -> int:
        """What a row is by now."""
        if row >= len(self.symbols):
            return self.made[row - len(self.symbols)].kind
        if row in self.changed:
            return self.changed[row].kind
        return int(self.symbols.kind[row])

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
        """The tables with everything applied, and which rows are special.

        The builder can go on from there; it does not keep the tables that it came from.
        """
        changed, count = np.array(list(self.changed), np.int32), len(self.symbols)
        new = [*self.changed.values(), *self.made]
        rows = [*self.changed, *range(count, self.next_row)]
        added, added_relocs = made_rows(self.memory, new, rows, len(self.relocs))
        symbols = concatenate(self.symbols, take(added, slice(len(changed), None)))
        relocs = concatenate(self.relocs, *added_relocs)
        # The relocations of what was there before are left without a size: nothing applies them.
        start, many = self.symbols.reloc_start[changed], self.symbols.reloc_count[changed]
        relocs.size[ranges(start, many)[0]] = 0
        for name in _REPLACED:
            getattr(symbols, name)[changed] = getattr(added, name)[: len(changed)]
        align = np.maximum(self.symbols.align[changed], added.align[: len(changed)])
        symbols.align[changed] = align
        special = np.zeros(len(symbols), np.bool_)
        special[self.special] = True
        self.symbols, self.relocs, self.made, self.changed = symbols, relocs, [], {}
        return symbols, relocs, special
