"""Which methods something can call: those that wait for a caller, and what is known of callers.

A method of a type used in an interface waits until an interface method of its name and type is
called, or any method of its name, or until a function is live that looks up methods by name; see
reach.py, whose walk it belongs to.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import among, append, classes, differences, distinct
from pielink.formats.goobj import RELOC
from pielink.golang import typedata
from pielink.program import Program
from pielink.tables import I4, I8


class Methods:
    """Methods that wait for a caller, and what is known of the callers.

    A signature is a number: that of the method's name, times 2**32, plus the slot of its type.
    """

    def __init__(self, program: Program, dynlink: bool) -> None:
        self.program = program
        self.dynlink = dynlink
        self.by_reflection = dynlink
        self.number_of_name: dict[bytes, int] = {}
        self.number_of_symbol = np.full(len(program.slots.canon), -1, np.int32)  # by slot
        self.exported: list[bool] = []  # by number of name
        self.waiting = np.empty((0, 3), np.int32)  # of each method its type and its two functions
        self.waiting_signature = np.empty(0, np.int64)
        # Not yet among the waiting: first row in Program.relocs, source, targets.
        self.fresh: list[tuple[I8, I4, I4]] = []
        self.fresh_calls: list[tuple[I4, I8]] = []  # not yet among the called
        self.called = np.empty(0, np.int64)  # signatures, ascending
        self.called_names: set[int] = set()

    def add(self, row: I8, source: I4, target: I4) -> None:
        """Take METHODOFF relocations; those of one type must be there together, in threes."""
        broken = len(row) % 3 != 0
        if not broken:
            first, second, third = row[0::3], row[1::3], row[2::3]
            step = RELOC.itemsize
            broken = bool(((second != first + step) | (third != second + step)).any())
            broken |= bool((source[0::3] != source[2::3]).any())
        if broken:
            raise typedata.malformed(
                self.program, int(source[0]), "or a type near it has a torn method relocation"
            )
        self.fresh.append((first, source[0::3], target.reshape(-1, 3)))

    def call(self, interfaces: I4, offsets: I8) -> None:
        """Note calls of the interface methods at these offsets of interface types."""
        self.fresh_calls.append((interfaces, offsets))

    def absorb_calls(self) -> None:
        """Find out the signatures of the methods that are called."""
        if not self.fresh_calls:
            return
        interfaces, offsets = map(np.concatenate, zip(*self.fresh_calls, strict=True))
        self.fresh_calls = []
        interface = typedata.kinds(self.program, interfaces) == typedata.INTERFACE
        if not interface.all():
            slot = int(interfaces[np.argmin(interface)])
            raise typedata.malformed(
                self.program, slot, "is not an interface, but is called as one"
            )
        names = typedata.relocation_target(self.program, interfaces, offsets)
        types = typedata.relocation_target(self.program, interfaces, offsets + 4)
        self.called = distinct(append(self.called, self.signatures(names, types)))

    def call_by_name(self, slots: I4) -> None:
        """Note calls of the methods whose names are the contents of these symbols."""
        start, size = self.program.contents.spans(slots)
        for place in set(zip(start.tolist(), size.tolist(), strict=True)):
            self.called_names.add(self.number(self.program.memory.get(*place)))

    def take_called(self) -> I4:
        """Remove the waiting methods that something can call; return their types and functions."""
        self.absorb()
        self.absorb_calls()
        names = self.waiting_signature >> 32
        called = among(self.waiting_signature, self.called)
        if self.called_names:
            called |= among(names, np.array(sorted(self.called_names)))
        if self.by_reflection:
            called |= self.dynlink | np.array(self.exported, np.bool_)[names]
        taken = self.waiting[called]
        self.waiting = self.waiting[~called]
        self.waiting_signature = self.waiting_signature[~called]
        return taken.ravel()

    def absorb(self) -> None:
        """Find out the signatures of the fresh methods, and let them wait."""
        if not self.fresh:
            return
        row, source, target = map(np.concatenate, zip(*self.fresh, strict=True))
        self.fresh = []
        offset = self.program.relocs.at(row)["offset"].astype(np.int64)
        self.check_records(offset, source)
        before = row - RELOC.itemsize
        names = typedata.relocation_target(self.program, source, offset - 4, guess=before)
        signature = self.signatures(names, target[:, 0])
        self.waiting = np.concatenate([self.waiting, target])
        self.waiting_signature = np.concatenate([self.waiting_signature, signature])

    def check_records(self, offset: I8, source: I4) -> None:
        """Each type must have one method record per three relocations, where they point."""
        first = np.flatnonzero(differences(source, before=-1))
        count = differences(first, end=len(source))
        start, expected = typedata.methods(self.program, source[first])
        place = np.arange(len(offset)) - np.repeat(first, count)
        wanted = np.repeat(start, count) + typedata.METHOD_SIZE * place + 4
        wrong = np.repeat(count != expected, count) | (offset != wanted)
        if wrong.any():
            slot = int(source[np.argmax(wrong)])
            raise typedata.malformed(self.program, slot, "has methods that its relocations miss")

    def signatures(self, names: I4, types: I4) -> I8:
        """The signatures of methods with these name symbols and types."""
        symbols, _, place = classes(names)
        fresh = symbols[self.number_of_symbol.take(symbols) < 0]
        texts = typedata.names(self.program, fresh)
        self.number_of_symbol[fresh] = [self.number(text) for text in texts]
        numbers = self.number_of_symbol.take(symbols).astype(np.int64)
        return numbers[place] << 32 | types

    def number(self, name: bytes) -> int:
        """The number of a name; numbers count up from 0."""
        number = self.number_of_name.setdefault(name, len(self.exported))
        if number == len(self.exported):
            self.exported.append(name.decode("utf-8", "replace")[:1].isupper())
        return number
