"""Which symbols are live, as a fixed point: the plain twin of pielink.passes.reach.

Every rule is applied to every live symbol, over and over, until nothing new comes of it. Programs
must be well-formed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pielink.formats import goobj
from pielink.program import Program
from pielink.tables import (
    FLAG2_ITAB,
    FLAG2_PKG_INIT,
    FLAG_GO_TYPE,
    FLAG_REFLECT_METHOD,
    Aux,
    Reloc,
)

from .records import AUX, RELOC, content, records

DWARF = {Aux.DWARF_INFO, Aux.DWARF_LOC, Aux.DWARF_RANGES, Aux.DWARF_LINES}


class Reference(NamedTuple):
    """One relocation."""

    row: int  # in Program.relocs
    type: int
    offset: int
    size: int
    addend: int
    target: int


class Reached(NamedTuple):
    """Slots, and rows of Program.relocs."""

    live: set[int]
    used_in_iface: set[int]
    pruned: set[int]


def references(program: Program, slot: int) -> list[Reference]:
    """The relocations of one slot."""
    return [
        Reference(row, kind, offset, size, addend, _resolve(program, slot, package, symbol))
        for row, (offset, size, kind, addend, package, symbol) in records(
            program, slot, goobj.RELOCIDX, RELOC
        )
    ]


def auxiliaries(program: Program, slot: int) -> Iterator[tuple[int, int]]:
    """(kind, slot) of the auxiliary symbols of one slot."""
    for _, (kind, package, symbol) in records(program, slot, goobj.AUXIDX, AUX):
        yield kind, _resolve(program, slot, package, symbol)


def _resolve(program: Program, slot: int, package: int, symbol: int) -> int:
    where = (
        program.slots.object[slot : slot + 1],
        np.array([package], np.uint32),
        np.array([symbol], np.uint32),
    )
    return int(program.resolve(*where)[0])


def reach(
    program: Program,
    roots: Sequence[int],
    runtime_tasks: Sequence[int] = (),
    *,
    prune: bool = True,
    dwarf: bool = False,
    dynlink: bool = False,
) -> Reached:
    """`roots` include the tasks of main; `runtime_tasks` live if runtime.runtime_inittasks does."""
    state = _State(program, dwarf, dynlink, weak_calls=dynlink or not prune)
    state.live |= {slot for slot in roots if slot}
    before = None
    while before != state.size():
        before = state.size()
        for slot in sorted(state.live):
            state.apply(slot)
            if program.name(slot) == b"runtime.runtime_inittasks":
                state.live |= set(runtime_tasks)
        state.apply_methods()
        state.live.discard(0)
    pruned = set(_pruned(program, state.live)) if prune else set()
    if pruned:
        noop = int(program.lookup([(b"runtime.mapinitnoop", 1)])[0])
        state.live |= {noop, *(t for kind, t in auxiliaries(program, noop) if t)}
    return Reached(state.live, state.used, pruned)


def _pruned(program: Program, live: set[int]) -> Iterator[int]:
    for slot in live:
        if program.slots.flags2[slot] & FLAG2_PKG_INIT:
            for r in references(program, slot):
                if r.type == Reloc.WEAK | Reloc.CALL and r.target not in live:
                    yield r.row


class _State:
    def __init__(self, program: Program, dwarf: bool, dynlink: bool, weak_calls: bool) -> None:
        self.program, self.dynlink, self.weak_calls = program, dynlink, weak_calls
        self.ignored = {Aux.GOTYPE} | (set() if dwarf else DWARF)
        self.live: set[int] = set()
        self.used = set(np.flatnonzero(program.slots.used_in_iface).tolist())
        self.refs = {s: references(program, s) for s in range(len(program.slots.canon))}
        self.called: set[tuple[bytes, int]] = set()
        self.called_names: set[bytes] = set()
        self.reflection = dynlink

    def size(self) -> tuple[int, ...]:
        return len(self.live), len(self.used), len(self.called), len(self.called_names)

    def is_type(self, slot: int) -> bool:
        return bool(self.program.slots.flags[slot] & FLAG_GO_TYPE)

    def content(self, slot: int) -> bytes:
        return content(self.program, slot)

    def at(self, slot: int, offset: int) -> int:
        return next((r.target for r in self.refs[slot] if r.offset == offset), 0)

    def name_at(self, slot: int, offset: int) -> bytes:
        data = self.content(self.at(slot, offset))
        size, i = 0, 1
        while True:
            size |= (data[i] & 0x7F) << 7 * (i - 1)
            i += 1
            if data[i - 1] < 0x80:
                return data[i : i + size]

    def apply(self, slot: int) -> None:
        slots = self.program.slots
        self.reflection |= bool(slots.flags[slot] & FLAG_REFLECT_METHOD)
        if self.dynlink and self.is_type(slot):
            self.used.add(slot)
        used = self.is_type(slot) and slot in self.used
        for i, r in enumerate(self.refs[slot]):
            if r.type == Reloc.METHODOFF:
                if used and self.refs[slot][i - 1].type != Reloc.METHODOFF:
                    self.used.add(r.target)
            elif r.type & Reloc.WEAK:
                if self.weak_calls and r.type == Reloc.WEAK | Reloc.CALL:
                    self.live.add(r.target)
            elif r.type == Reloc.USEIFACE:
                is_itab = slots.flags2[r.target] & FLAG2_ITAB
                self.used.add(self.at(r.target, 8) if is_itab else r.target)
            elif r.type == Reloc.USEIFACEMETHOD:
                method = self.name_at(r.target, r.addend), self.at(r.target, r.addend + 4)
                self.called.add(method)
            elif r.type == Reloc.USENAMEDMETHOD:
                self.called_names.add(self.content(r.target))
            elif r.type not in (Reloc.USETYPE, self.program.release.reloc_initorder):
                self.live.add(r.target)
                if used and self.is_type(r.target):
                    self.used.add(r.target)
        for kind, target in auxiliaries(self.program, slot):
            if kind not in self.ignored:
                self.live.add(target)

    def apply_methods(self) -> None:
        for slot in sorted(self.live & self.used):
            refs = [r for r in self.refs[slot] if r.type == Reloc.METHODOFF]
            if not self.is_type(slot):
                continue
            for i in range(0, len(refs), 3):
                name, type_ = self.name_at(slot, refs[i].offset - 4), refs[i].target
                exported = name.decode()[0].isupper()
                if (
                    (name, type_) in self.called
                    or name in self.called_names
                    or (self.reflection and (exported or self.dynlink))
                ):
                    self.live |= {r.target for r in refs[i : i + 3]}
