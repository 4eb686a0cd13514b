"""`Program`: all that was loaded, with references and names resolved to slots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import halves
from pielink.arraytypes import NDArray
from pielink.errors import LinkError, Problem
from pielink.golang.release import Release
from pielink.names import NameIndex
from pielink.record import Record
from pielink.records import Records
from pielink.tables import I4, U4, U8, Bool, Memory, Objects, Slots

# A package index p of a reference is looked up in row (p + SPECIAL_BIAS) & 0x7fffffff of its
# object's part of the package table: the special indices (self, builtin, hashed, hashed64, none)
# wrap around to rows 0 to 4, the invalid index 0 to row 5, and imported packages follow.
SPECIAL_BIAS = 5
SELF_ROW, BUILTIN_ROW, HASHED_ROW, HASHED64_ROW, NONE_ROW, INVALID_ROW = range(6)

_NO_PACKAGE = "malformed object: a reference names no package; compile the package anew"
_NO_SYMBOL = "malformed object: a reference names no symbol; compile both packages anew"


class PackageTable(Record):
    """Where the symbols of each package that an object refers to begin.

    Both columns hold pairs (arrays.paired). `rows[o]`: the first row of object row o, and the one
    behind its last. `symbols`, row by row: the slot of symbol 0 of the package, and how many
    symbols it has.
    """

    rows: U8
    symbols: U8


class Program(Record):
    """The whole input, immutable from here on."""

    memory: Memory
    objects: Objects
    slots: Slots
    relocs: Records
    auxes: Records
    contents: Records
    packages: PackageTable
    index: NameIndex
    release: Release

    def resolve(self, objects: I4, package: U4, symbol: U4) -> I4:
        """The canonical slot of each reference (package, symbol) made in an object row.

        All arguments have one length, or `objects` has one element; the result is 0 for a nil
        reference. Raises LinkError for references that lie outside of their package or name a
        builtin that no object defines.
        """
        table = self.packages
        row = package.astype(np.int64)
        row += SPECIAL_BIAS
        row &= 0x7FFFFFFF
        start, end = halves(table.rows.take(objects))
        row += start
        past_end = row >= end
        if past_end.any():
            self._bad_reference(objects, past_end, _NO_PACKAGE)
        slot, count = halves(table.symbols.take(row))
        number = symbol.astype(np.int64)
        outside = number >= count
        if outside.any():
            self._bad_reference(objects, outside, _NO_SYMBOL)
        slot += number
        found = self.slots.canon.take(slot)
        if not found.all() and (missing := (found == 0) & (slot != 0)).any():
            builtin = int(slot[missing][0]) - 1
            name = self.release.builtins[builtin][0].decode()
            self._bad_reference(
                objects,
                missing,
                f"reference to undefined builtin {name}: link the runtime of the same Go release",
            )
        return found

    def targets(self, objects: I4, records: NDArray[np.void]) -> I4:
        """What these records of relocations or auxiliary symbols refer to; see `resolve`."""
        return self.resolve(objects, records["package"], records["symbol"])

    def _bad_reference(self, objects: I4, bad: Bool, message: str) -> None:
        rows = np.unique(np.broadcast_to(objects, bad.shape)[bad])
        raise LinkError([Problem(message, self.objects.file[o]) for o in rows])

    def lookup(self, names: Sequence[tuple[bytes, int]]) -> I4:
        """Canonical slots of symbols by (name, version), 0 where there is none."""
        return self.slots.canon.take(self.index.lookup(names))

    def find(self, name: bytes, version: int) -> int:
        """The canonical slot of one symbol, 0 if there is none."""
        return int(self.slots.canon[self.index.find(name, version)])

    def content(self, slot: int) -> tuple[int, int]:
        """Offset in the flat memory and size of the contents of a slot."""
        (start,), (size,) = (c.tolist() for c in self.contents.spans(np.array([slot], np.int32)))
        return start, size

    def name(self, slot: int) -> bytes:
        """The name of a slot; empty for content-addressable symbols without one."""
        slots = self.slots
        return self.memory.get(int(slots.name_offset[slot]), int(slots.name_size[slot]))
