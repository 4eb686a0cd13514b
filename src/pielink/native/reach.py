"""Which atoms the program needs: those that roots reach through relocations.

Roots are what the caller names (entry, Go's references, -u, exported symbols), and atoms that are
kept for themselves (NO_DEAD_STRIP; initializers and terminators). LIVE_SUPPORT atoms are kept if
they refer to one that is. Unwind information hangs on its function, and not the other way around:
see unwind_edges. Source: ld64's Resolver.cpp (deadStripOptimize).
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import distinct
from pielink.native.tables import NONE, AtomFlag, Atoms, Relocs, UnwindEntries
from pielink.tables import I4, I8, Bool


def live_atoms(
    atoms: Atoms,
    relocs: Relocs,
    roots: I4 | I8,
    edges: tuple[I4, I4],
    quiet: Bool,
) -> Bool:
    """Return which atoms are reached.

    `relocs` are settled. `roots` are atom rows; `edges` are (from, to) columns of atom rows
    besides the relocations; `quiet` (one row an atom) are atoms whose flags do not count: unwind
    tables, which are LIVE_SUPPORT for linkers that know no better.
    """
    source, target = [], []
    for end in (relocs.target, relocs.minus):
        used = end != NONE
        source.append(relocs.atom[used])
        target.append(end[used])
    graph = _Graph(
        np.concatenate([*source, edges[0]]).astype(np.int64),
        np.concatenate([*target, edges[1]]).astype(np.int64),
        len(atoms),
    )
    live = np.zeros(len(atoms), np.bool_)
    kept = ((atoms.flags & AtomFlag.NO_DEAD_STRIP) != 0) & ~quiet
    graph.mark(live, np.concatenate([np.flatnonzero(kept), roots.astype(np.int64)]))
    support = ((atoms.flags & AtomFlag.LIVE_SUPPORT) != 0) & ~quiet
    while True:
        waiting = support[graph.source] & ~live[graph.source]
        added = distinct(graph.source[waiting & live[graph.target]])
        if not len(added):
            return live
        graph.mark(live, added)


class _Graph:
    """Edges grouped by source."""

    def __init__(self, source: I8, target: I8, count: int) -> None:
        order = np.argsort(source, kind="stable")
        self.source, self.target = source[order], target[order]
        self.first = np.searchsorted(self.source, np.arange(count + 1))

    def mark(self, live: Bool, rows: I8) -> None:
        """Set live[row] for `rows` and all that they reach; one array pass a step away."""
        while len(rows):
            rows = distinct(rows[~live[rows]])
            live[rows] = True
            start, ends = self.first[rows], self.first[rows + 1]
            count = ends - start
            index = np.repeat(start - (np.cumsum(count) - count), count)
            rows = self.target[index + np.arange(len(index))]


def referenced_names(relocs: Relocs, live: Bool, count: int) -> Bool:
    """Return which of `count` names live atoms refer to: what the caller has to find."""
    found = np.zeros(count, np.bool_)
    used = live[relocs.atom] if len(relocs) else np.zeros(0, np.bool_)
    for column in (relocs.name, relocs.minus_name):
        found[column[used & (column != NONE)]] = True
    return found


def unwind_edges(entries: UnwindEntries) -> tuple[I4, I4]:
    """Return (from, to) columns of atoms: what a live function keeps alive for unwinding."""
    ends = [
        (entries.function[c != NONE], c[c != NONE])
        for c in (entries.lsda, entries.fde, entries.personality)
    ]
    return np.concatenate([a for a, _ in ends]), np.concatenate([b for _, b in ends])
