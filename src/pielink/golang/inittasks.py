"""The order in which packages are initialized.

A package P with anything to initialize has a record `P..inittask`: 8 bytes of state, then the
functions to run. Markers on the record (R_INITORDER) name the records of the packages that P
imports. A package comes after all that it imports; among those that are ready, the smallest name
is next. A record of 8 bytes has nothing to run: it only takes part in the ordering.

The runtime finds two lists of pointers to records: `go:main.inittasks`, for all that package main
depends on, and `go:runtime.inittasks`, for the runtime itself, which runs earlier. The first is a
field of the module data, the second is what the slice `runtime.runtime_inittasks` leads to.

Source: cmd/link/internal/ld/inittask.go, runtime/proc.go (initTask).
"""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np

from pielink.arrays import distinct
from pielink.errors import LinkError, Problem
from pielink.program import Program
from pielink.record import Record
from pielink.rows import NewReloc, NewSymbol
from pielink.tables import I4, Kind

STATE_SIZE, POINTER_SIZE = 8, 8
MAIN_LIST, RUNTIME_LIST = "go:main.inittasks", "go:runtime.inittasks"


class InitTasks(Record):
    """Slots of the records to run, in order; `runtime_slice` is runtime.runtime_inittasks or 0."""

    main: I4
    runtime: I4
    runtime_slice: int


def init_tasks(program: Program) -> InitTasks:
    """Schedule the package initializers; LinkError if packages depend on each other in a circle."""
    names = [(b"main..inittask", 0), (b"runtime..inittask", 0), (b"runtime.runtime_inittasks", 0)]
    main, runtime, runtime_slice = program.lookup(names).tolist()
    edges = _edges(program, np.array([s for s in (main, runtime) if s], np.int32))
    return InitTasks(
        _schedule(program, main, edges),
        _schedule(program, runtime if runtime_slice else 0, edges),
        runtime_slice,
    )


def list_symbols(
    tasks: InitTasks, row_of_slot: I4, first_row: int
) -> tuple[list[NewSymbol], NewSymbol | None]:
    """The two lists as new symbols, and the new contents of the row of `runtime_slice`.

    `first_row` is the row that the first of the new symbols will have. The runtime's list is left
    out if `runtime_slice` is not live. What comes second, if any, replaces kind, size, contents
    and relocations of the row that `runtime_slice` has, and keeps its name.
    """
    made = [_list(MAIN_LIST, tasks.main, row_of_slot)]
    if not tasks.runtime_slice or not row_of_slot[tasks.runtime_slice]:
        return made, None
    length = len(tasks.runtime).to_bytes(8, "little")
    header = NewSymbol(
        "runtime.runtime_inittasks",
        Kind.NOPTR_DATA,
        bytes(POINTER_SIZE) + length + length,
        relocs=[NewReloc(0, first_row + len(made))],
    )
    return [*made, _list(RUNTIME_LIST, tasks.runtime, row_of_slot)], header


def _list(name: str, tasks: I4, row_of_slot: I4) -> NewSymbol:
    rows = row_of_slot[tasks].tolist()
    relocs = [NewReloc(POINTER_SIZE * i, row) for i, row in enumerate(rows)]
    return NewSymbol(name, Kind.NOPTR_DATA, bytes(POINTER_SIZE * len(rows)), relocs=relocs)


def _edges(program: Program, roots: I4) -> dict[int, list[int]]:
    """Record -> the records it waits for, for all records that the roots lead to."""
    order = program.release.reloc_initorder
    edges: dict[int, list[int]] = {}
    level = distinct(roots)
    while len(level):
        edges |= {slot: [] for slot in level.tolist()}
        owner, records = program.relocs.chosen(level, lambda kinds: kinds == order)
        source = level[owner]
        target = program.targets(program.slots.object[source], records)
        for waiting, first in zip(source.tolist(), target.tolist(), strict=True):
            edges[waiting].append(first)
        level = np.array([s for s in distinct(target).tolist() if s not in edges], np.int32)
    return edges


def _schedule(program: Program, root: int, edges: dict[int, list[int]]) -> I4:
    """The records that `root` leads to and that have something to run, in order."""
    waits: dict[int, int] = {}
    wanted_by: dict[int, list[int]] = {}
    found = [root] if root else []
    while found:
        slot = found.pop()
        if slot in waits:
            continue
        waits[slot] = len(edges[slot])
        for first in edges[slot]:
            wanted_by.setdefault(first, []).append(slot)
            found.append(first)
    name = {slot: program.name(slot) for slot in waits}
    ready: list[tuple[bytes, int]] = []
    for slot, count in waits.items():
        if count == 0:
            heappush(ready, (name[slot], slot))
    order = []
    while ready:
        slot = heappop(ready)[1]
        order.append(slot)
        for later in wanted_by.get(slot, ()):
            waits[later] -= 1
            if waits[later] == 0:
                heappush(ready, (name[later], later))
    stuck = [s for s, count in waits.items() if count]
    if stuck:
        message = "inittask is not schedulable: packages import each other in a circle"
        raise LinkError(Problem(message, symbol=name[s].decode("utf-8", "replace")) for s in stuck)
    slots = np.array(order, np.int32)
    return slots[program.slots.size[slots] > STATE_SIZE]
