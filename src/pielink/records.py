"""The records of Go objects, read where they lie in the flat memory.

A program needs a small part of what is in its archives: a tenth of the symbols and a fifteenth of
the relocations of a short one. So the records of relocations, auxiliary symbols and contents are
not made into columns. They are looked up for the symbols that somebody asks for.

The index blocks of an object (RelocIdx, AuxIdx, DataIdx; see formats/goobj.py) have an entry for
each definition and one more: its records are those from its entry up to the next one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pielink.arrays import halves, ranges
from pielink.arraytypes import I4, I8, Bool, NDArray
from pielink.blocks import windows
from pielink.formats import goobj
from pielink.hints import Any
from pielink.record import NamedTuple
from pielink.tables import Memory, Objects, Slots


class Entries(NamedTuple):
    """Where the index blocks have the entries of some slots: for the definitions that won.

    It is the same for records of all kinds.
    """

    offset: I8  # in bytes, from where the entry of slot 0 would be
    owner: I4  # row of the object
    defined: Bool


class Records:
    """The records of one kind. A row is the offset of a record in the flat memory."""

    def __init__(
        self, memory: Memory, objects: Objects, slots: Slots, index: int, dtype: np.dtype[Any]
    ) -> None:
        """`index` is the index block, `dtype` that of a record (packed)."""
        self._slots, self._dtype = slots, dtype
        # Where the entry of slot 0 would be, and where the records begin.
        self._index = objects.blocks[:, index] - 4 * objects.first.astype(np.int64)
        self._start = objects.blocks[:, goobj.INDEXED[index]].copy()
        self._pairs = windows(memory.bytes, "<u8")
        self._records = windows(memory.bytes, f"V{dtype.itemsize}")

    def entries(self, slots: I4) -> Entries:
        """What `spans` needs to know of these slots, to be used for records of several kinds."""
        entry, owner = self._slots.definition.take(slots), self._slots.object.take(slots)
        return Entries(4 * entry.astype(np.int64), owner, entry != 0)

    def spans(self, slots: I4 | Entries) -> tuple[I8, I8]:
        """Of each slot the row of its first record, and how many it has: (n,) each.

        They are those of the definition that won; what is not defined has none.
        """
        offset, owner, defined = slots if isinstance(slots, Entries) else self.entries(slots)
        at = self._index.take(owner)
        at += offset
        at *= defined  # zeros are there
        start, end = halves(self._pairs[at])
        count = end - start
        start *= self._dtype.itemsize
        start += self._start.take(owner)
        return start, count

    def rows(self, slots: I4 | Entries) -> tuple[I8, I4]:
        """The rows of all records of these slots, and for each the i of the slot in `slots`."""
        return ranges(*self.spans(slots), self._dtype.itemsize)

    def chosen(
        self, slots: I4 | Entries, wanted: Callable[[NDArray[Any]], Bool]
    ) -> tuple[I4, NDArray[np.void]]:
        """The records of these slots whose types are `wanted`.

        Returns for each the i of the slot in `slots`, and itself.
        """
        rows, owner = self.rows(slots)
        records = self.at(rows)
        kept = np.flatnonzero(wanted(records["type"]))
        return owner.take(kept), records.take(kept)

    def at(self, rows: I8) -> NDArray[np.void]:
        """The records at these rows: a structured array, shape (n,)."""
        # Unlike a view of another dtype this imports nothing more of NumPy (see lean_numpy).
        return np.frombuffer(self._records[rows], self._dtype)


def relocations(memory: Memory, objects: Objects, slots: Slots) -> Records:
    """Relocations, as `goobj.RELOC`; types may have Reloc.WEAK."""
    return Records(memory, objects, slots, goobj.RELOCIDX, goobj.RELOC)


def auxiliaries(memory: Memory, objects: Objects, slots: Slots) -> Records:
    """Auxiliary symbols, as `goobj.AUX`."""
    return Records(memory, objects, slots, goobj.AUXIDX, goobj.AUX)


def contents(memory: Memory, objects: Objects, slots: Slots) -> Records:
    """Contents; a record is a byte, so that `spans` gives offsets in the flat memory and sizes."""
    return Records(memory, objects, slots, goobj.DATAIDX, np.dtype(np.uint8))
