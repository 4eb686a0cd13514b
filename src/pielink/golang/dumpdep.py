"""What -dumpdep prints: which symbol made which other symbol live, in the order of Go's linker.

That order is the one in which a walk with a single worklist, kept sorted by symbol number, comes
upon the symbols. So this is such a walk, symbol by symbol in plain Python, by the rules that the
reach pass explains. It only tells why a symbol is live; nothing depends on it.

Source: cmd/link/internal/ld/deadcode.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

import numpy as np

from pielink.arraytypes import NDArray
from pielink.golang import typedata
from pielink.golang.inittasks import MAIN_LIST, RUNTIME_LIST, InitTasks
from pielink.program import Program
from pielink.record import NamedTuple
from pielink.records import Records
from pielink.tables import (
    FLAG2_ITAB,
    FLAG_GO_TYPE,
    FLAG_REFLECT_METHOD,
    I4,
    Aux,
    Reloc,
)

# Symbols that Go's linker makes, and holds for live before it looks.
ALWAYS_LIVE = (b"go:fipsinfo", 0)


class _Reference(NamedTuple):
    """One relocation; the target is a slot."""

    type: int  # with Reloc.WEAK
    offset: int
    addend: int
    target: int


class _Method(NamedTuple):
    """A method of a type that is used in an interface."""

    name: bytes
    type: int  # slot of the method's type
    owner: int  # slot of the type that has the method
    targets: tuple[int, ...]  # slots that its three relocations refer to


class _References:
    """What symbols refer to, each read once."""

    def __init__(self, program: Program, tasks: InitTasks) -> None:
        self.program = program
        self.known: dict[int, tuple[list[_Reference], list[int]]] = {}
        self.wanted: list[int] = []
        runtime_list = len(program.slots.canon) + 1
        lists = {runtime_list - 1: tasks.main.tolist(), runtime_list: tasks.runtime.tolist()}
        if tasks.runtime_slice:
            # This symbol gets new contents; Go's linker forgets its auxiliary symbols thereby.
            lists[tasks.runtime_slice] = [runtime_list]
        for slot, targets in lists.items():
            self.known[slot] = [_Reference(Reloc.ADDR, 0, 0, t) for t in targets], []

    def want(self, slot: int) -> None:
        """Say that `of` will be asked for this symbol: many are read at once."""
        if slot not in self.known:
            self.wanted.append(slot)

    def of(self, slot: int) -> tuple[list[_Reference], list[int]]:
        """The relocations of a symbol, and its auxiliary symbols but for the Go type."""
        if slot not in self.known:
            self._read(np.array([slot, *self.wanted], np.int32))
            self.wanted.clear()
        return self.known[slot]

    def _read(self, slots: I4) -> None:
        """Get to know these symbols."""
        for slot in slots.tolist():
            self.known[slot] = [], []
        owner, relocs, target = self._records(slots, self.program.relocs)
        columns = (relocs[name].tolist() for name in ("type", "offset", "addend"))
        references = map(_Reference, *columns, target)
        for slot, reference in zip(slots[owner].tolist(), references, strict=True):
            self.known[slot][0].append(reference)
        owner, auxes, target = self._records(slots, self.program.auxes)
        kinds = auxes["type"].tolist()
        for slot, kind, aux in zip(slots[owner].tolist(), kinds, target, strict=True):
            if kind != Aux.GOTYPE:
                self.known[slot][1].append(aux)

    def _records(self, slots: I4, table: Records) -> tuple[I4, NDArray[np.void], list[int]]:
        """Records: which of `slots` each belongs to, itself, the slot it refers to."""
        rows, owner = table.rows(slots)
        records = table.at(rows)
        target = self.program.targets(self.program.slots.object[slots].take(owner), records)
        return owner, records, target.tolist()

    def at(self, slot: int, offset: int) -> int:
        """What the first relocation at that offset refers to, or 0."""
        return next((r.target for r in self.of(slot)[0] if r.offset == offset), 0)


class DependencyDump:
    """One walk; the two lists of init tasks, which the linker makes, are slots past the end."""

    def __init__(self, program: Program, tasks: InitTasks, dynlink: bool = False) -> None:
        self.program = program
        self.dynlink = dynlink
        self.references = _References(program, tasks)
        self.main_list = len(program.slots.canon)
        self.flags = [*program.slots.flags.tolist(), 0, 0]
        self.order = [*program.slots.order.tolist(), 2**31, 2**31]
        self.used_in_iface = [*program.slots.used_in_iface.tolist(), False, False]
        self.reached = [False] * len(self.used_in_iface)
        for slot in program.lookup([ALWAYS_LIVE]).tolist():
            self.reached[slot] = True
        self.worklist: list[tuple[int, int]] = []  # (Slots.order, slot), a heap
        self.lines: list[str] = []  # not yet given out
        self.by_reflection = dynlink
        self.called: set[tuple[bytes, int]] = set()
        self.called_names: set[bytes] = set()
        self.methods: list[_Method] = []

    def walk(self, roots: Sequence[int]) -> Iterator[str]:
        """The lines "from -> to" for all that is live; roots come from "_"."""
        for root in (*roots, self.main_list):
            self.mark(root, 0)
        while self.worklist or self.lines:
            while self.worklist:
                self.visit(heappop(self.worklist)[1])
            yield from self.lines
            self.lines.clear()
            self.mark_called_methods()

    def mark(self, slot: int, parent: int) -> None:
        """Note a symbol as live, unless it is already."""
        if slot == 0 or self.reached[slot]:
            return
        self.reached[slot] = True
        self.references.want(slot)
        heappush(self.worklist, (self.order[slot], slot))
        if to := self.describe(slot):
            self.lines.append(f"{self.describe(parent) if parent else '_'} -> {to}")

    def describe(self, slot: int) -> str:
        """The name of a symbol and what is special about it; "" if it has no name."""
        if slot >= self.main_list:
            return (MAIN_LIST, RUNTIME_LIST)[slot - self.main_list]
        name = self.program.name(slot).decode("utf-8", "replace")
        marks = "<UsedInIface>" if self.used_in_iface[slot] else ""
        marks += "<ReflectMethod>" if self.flags[slot] & FLAG_REFLECT_METHOD else ""
        return f"{name} {marks}" if name and marks else name

    def visit(self, slot: int) -> None:
        """Follow the relocations and auxiliary symbols of one symbol."""
        flags, (relocs, auxes) = self.flags[slot], self.references.of(slot)
        self.by_reflection |= bool(flags & FLAG_REFLECT_METHOD)
        is_type = bool(flags & FLAG_GO_TYPE)
        self.used_in_iface[slot] |= is_type and self.dynlink
        used = is_type and self.used_in_iface[slot]
        methods: list[int] = []
        for i, reference in enumerate(relocs):
            if reference.type == Reloc.METHODOFF:
                methods.append(i)
                if used and len(methods) % 3 == 1:
                    self.use_in_iface(reference.target, slot)
            elif not self.is_marker(reference, slot):
                target = reference.target
                if used and self.flags[target] & FLAG_GO_TYPE:
                    self.use_in_iface(target, slot)
                self.mark(target, slot)
        if used:
            self.add_methods(slot, relocs, methods[::3])
        for aux in auxes:
            self.mark(aux, slot)

    def is_marker(self, reference: _Reference, slot: int) -> bool:
        """Heed a relocation that leads nowhere by itself; False for the others."""
        target = reference.target
        if reference.type & Reloc.WEAK:
            return not (self.dynlink and reference.type == Reloc.WEAK | Reloc.CALL)
        if reference.type == Reloc.USEIFACE:
            if int(self.program.slots.flags2[target]) & FLAG2_ITAB:
                target = self.references.at(target, typedata.ITAB_TYPE_OFFSET)
            self.use_in_iface(target, slot)
            return True
        if reference.type == Reloc.USEIFACEMETHOD:
            name = self.name_at(target, reference.addend)
            self.called.add((name, self.references.at(target, reference.addend + 4)))
            return True
        if reference.type == Reloc.USENAMEDMETHOD:
            self.called_names.add(self.program.memory.get(*self.program.content(target)))
            return True
        return reference.type in (Reloc.USETYPE, self.program.release.reloc_initorder)

    def use_in_iface(self, slot: int, parent: int) -> None:
        """Note a type as used in an interface; if it is live, it is visited once more."""
        if not self.used_in_iface[slot]:
            self.used_in_iface[slot] = True
            if self.reached[slot]:
                self.reached[slot] = False
                self.mark(slot, parent)

    def add_methods(self, slot: int, relocs: list[_Reference], firsts: list[int]) -> None:
        """Let the methods of a type wait for a caller."""
        for i in firsts:
            name = self.name_at(slot, relocs[i].offset - 4)
            targets = tuple(r.target for r in relocs[i : i + 3])
            self.methods.append(_Method(name, targets[0], slot, targets))

    def mark_called_methods(self) -> None:
        """Mark what the methods need that something can call by now."""
        waiting = []
        for method in self.methods:
            exported = method.name.decode("utf-8", "replace")[:1].isupper()
            if (
                (self.by_reflection and (exported or self.dynlink))
                or (method.name, method.type) in self.called
                or method.name in self.called_names
            ):
                for target in method.targets:
                    self.mark(target, method.owner)
            else:
                waiting.append(method)
        self.methods = waiting

    def name_at(self, slot: int, offset: int) -> bytes:
        """The name that the relocation at that offset refers to."""
        target = np.array([self.references.at(slot, offset)], np.int32)
        return typedata.names(self.program, target)[0]
