"""What -dumpdep prints: which symbol made which other symbol live, in the order of Go's linker.

That order is the one in which a walk with a single worklist, kept sorted by symbol number, comes
upon the symbols. So this is such a walk, symbol by symbol in plain Python, by the rules that the
reach pass explains. It only tells why a symbol is live; nothing depends on it.

Source: cmd/link/internal/ld/deadcode.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from pielink.arrays import ranges
from pielink.golang import typedata
from pielink.golang.inittasks import MAIN_LIST, RUNTIME_LIST, InitTasks
from pielink.program import Program
from pielink.tables import FLAG2_ITAB, FLAG_GO_TYPE, FLAG_REFLECT_METHOD, Aux, Bool, Reloc

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


class DependencyDump:
    """One walk; the two lists of init tasks, which the linker makes, are slots past the end."""

    def __init__(self, program: Program, live: Bool, tasks: InitTasks, dynlink: bool) -> None:
        """`live` must hold every symbol that the walk can come upon, those of DWARF included."""
        self.program = program
        self.dynlink = dynlink
        self.main_list = len(program.slots.canon)
        self.flags = [*program.slots.flags.tolist(), 0, 0]
        self.order = [*program.slots.order.tolist(), 2**31, 2**31]
        self.relocs: dict[int, list[_Reference]] = {}
        self.auxes: dict[int, list[int]] = {}
        self._collect(np.flatnonzero(live).astype(np.int32))
        self._add_task_lists(tasks)
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

    def _collect(self, live: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
        """Make lists of the relocations and auxiliary symbols of these slots."""
        slots, relocs, auxes = self.program.slots, self.program.relocs, self.program.auxes
        row, owner = ranges(slots.reloc_start[live], slots.reloc_count[live])
        target = self.program.resolve(
            slots.object[live[owner]], relocs.package[row], relocs.symbol[row]
        )
        columns = (relocs.type[row], relocs.offset[row], relocs.addend[row], target)
        references = map(_Reference, *(column.tolist() for column in columns))
        for slot, reference in zip(live[owner].tolist(), references, strict=True):
            self.relocs.setdefault(slot, []).append(reference)
        row, owner = ranges(slots.aux_start[live], slots.aux_count[live])
        followed = auxes.type[row] != Aux.GOTYPE
        row, owner = row[followed], live[owner[followed]]
        target = self.program.resolve(slots.object[owner], auxes.package[row], auxes.symbol[row])
        for slot, aux in zip(owner.tolist(), target.tolist(), strict=True):
            self.auxes.setdefault(slot, []).append(aux)

    def _add_task_lists(self, tasks: InitTasks) -> None:
        runtime_list = self.main_list + 1
        lists = {self.main_list: tasks.main.tolist(), runtime_list: tasks.runtime.tolist()}
        if tasks.runtime_slice:
            lists[tasks.runtime_slice] = [runtime_list]
            # Go's linker gives this symbol new contents and thereby forgets its auxiliary symbols.
            self.auxes.pop(tasks.runtime_slice, None)
        for slot, targets in lists.items():
            self.relocs[slot] = [_Reference(Reloc.ADDR, 0, 0, target) for target in targets]

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
        flags, relocs = self.flags[slot], self.relocs.get(slot, [])
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
        for aux in self.auxes.get(slot, []):
            self.mark(aux, slot)

    def is_marker(self, reference: _Reference, slot: int) -> bool:
        """Heed a relocation that leads nowhere by itself; False for the others."""
        target = reference.target
        if reference.type & Reloc.WEAK:
            return not (self.dynlink and reference.type == Reloc.WEAK | Reloc.CALL)
        if reference.type == Reloc.USEIFACE:
            if int(self.program.slots.flags2[target]) & FLAG2_ITAB:
                target = self.target_at(target, typedata.ITAB_TYPE_OFFSET)
            self.use_in_iface(target, slot)
            return True
        if reference.type == Reloc.USEIFACEMETHOD:
            name = self.name_at(target, reference.addend)
            self.called.add((name, self.target_at(target, reference.addend + 4)))
            return True
        if reference.type == Reloc.USENAMEDMETHOD:
            slots = self.program.slots
            data = int(slots.data_offset[target]), int(slots.data_size[target])
            self.called_names.add(self.program.memory.get(*data))
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
        target = np.array([self.target_at(slot, offset)], np.int32)
        return typedata.names(self.program, target)[0]

    def target_at(self, slot: int, offset: int) -> int:
        """What the first relocation at that offset refers to, or 0."""
        if slot in self.relocs:
            return next((r.target for r in self.relocs[slot] if r.offset == offset), 0)
        where = np.array([slot], np.int32), np.array([offset])
        return int(typedata.relocation_target(self.program, *where)[0])
