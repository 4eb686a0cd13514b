"""Reading a trie, level by level: all nodes of one depth at once, no loop over nodes.

The first pass walks from the root; a level's nodes are read together, and their children are the
next level. Where a string ends and how long a number is comes from two tables over all bytes. The
second pass spells the names from their ends: all names write their last piece, then the one
before, and so on up to the root.

A node that is reached twice (so a cycle, too) is refused, and so are a branch that leads nowhere
(an empty string), more than MAX_DEPTH levels, and names over MAX_GROWTH times the trie's size: a
trie cannot take more time or memory than in proportion to its bytes.
"""

from __future__ import annotations

import numpy as np

from pielink.arraytypes import I8, U8, Bool
from pielink.dyld import leb128
from pielink.dyld.errors import DyldInfoError
from pielink.dyld.ragged import ranges
from pielink.record import Record

MAX_DEPTH = 1 << 14
MAX_GROWTH = 64
FREE_GROWTH = 1 << 20  # bytes that names may take in any case


class Bytes:
    """The trie's bytes, with where the next NUL and the end of the next number are."""

    def __init__(self, data: bytes) -> None:
        self.raw = np.frombuffer(data, np.uint8)
        self._nul = _next(self.raw == 0)
        self._last = _next(self.raw < 0x80)

    def refuse(self, bad: Bool, at: I8, message: str) -> None:
        """Raise the error at the first bad offset; bad, at: (n,)."""
        if bad.any():
            raise DyldInfoError(message, offset=int(at[np.flatnonzero(bad)[0]]))

    def numbers(self, at: I8) -> tuple[U8, I8]:
        """The ULEBs at these offsets and the offsets behind them: (n,) each."""
        end = len(self.raw)
        self.refuse(at >= end, at, "the trie ends in the middle of a node")
        last = self._last[at]
        self.refuse(last >= end, at, "a number runs past the end of the trie")
        sizes = last + 1 - at
        signed = np.zeros(len(at), np.bool_)
        bad = leb128.overflows(self.raw, at, sizes, signed)
        self.refuse(bad, at, "a LEB128 number does not fit into 64 bits")
        return leb128.get(self.raw, at, sizes), last + 1

    def strings(self, at: I8) -> I8:
        """Where the strings that start at these offsets have their NUL: (n,)."""
        end = len(self.raw)
        self.refuse(at >= end, at, "the trie ends in the middle of a node")
        nul = self._nul[at]
        self.refuse(nul >= end, at, "a string runs past the end of the trie")
        return nul


def _next(mask: Bool) -> I8:
    """The place of the first True at or behind each place, the length if there is none: (n,)."""
    places = np.where(mask, np.arange(len(mask)), len(mask))
    return np.minimum.accumulate(places[::-1])[::-1]


class Nodes(Record):
    """All nodes, level by level, the root first: (n,) int64 columns.

    parent: row, 0 at the root; edge_at, edge_size: the bytes that lead here; export_at,
    export_size: the export, size 0 if there is none.
    """

    parent: I8
    edge_at: I8
    edge_size: I8
    export_at: I8
    export_size: I8


def read(trie: Bytes) -> Nodes:
    """The nodes of a trie of at least one byte."""
    none = np.zeros(1, np.int64)
    level = _Level(none, none, none, none)
    owner = np.full(len(trie.raw), -1)  # row of the node at each offset
    levels: list[tuple[I8, ...]] = []
    rows = 0
    while len(level.at):
        if len(levels) > MAX_DEPTH:
            raise DyldInfoError(f"nodes over {MAX_DEPTH} deep", offset=int(level.at[0]))
        here = rows + np.arange(len(level.at))
        again = owner[level.at] >= 0
        owner[level.at] = here
        again |= owner[level.at] != here  # another branch of this level won
        trie.refuse(again, level.at, "two branches lead to one node")
        size, export_at = trie.numbers(level.at)
        room = np.uint64(len(trie.raw)) - export_at.astype(np.uint64)
        trie.refuse(size >= room, level.at, "a node runs past the end of the trie")
        export_size = size.astype(np.int64)
        levels.append((level.parent, level.edge_at, level.edge_size, export_at, export_size))
        level = _children(trie, export_at + export_size, rows)
        rows += len(size)
    return Nodes(*(np.concatenate(column) for column in zip(*levels, strict=True)))


class _Level(Record):
    at: I8
    parent: I8
    edge_at: I8
    edge_size: I8


def _children(trie: Bytes, count_at: I8, first_row: int) -> _Level:
    """The children of a level's nodes. count_at: (n,), where each says how many there are."""
    left = trie.raw[count_at].astype(np.int64)
    parent = np.flatnonzero(left)
    at = count_at[parent] + 1
    found = []
    nth = 0
    while len(parent):
        nul = trie.strings(at)
        trie.refuse(nul == at, at, "a branch without a name")
        target, behind = trie.numbers(nul + 1)
        bad = (target == 0) | (target >= np.uint64(len(trie.raw)))
        trie.refuse(bad, nul + 1, "a branch leads out of the trie or to the root")
        found.append(_Level(target.astype(np.int64), parent + first_row, at, nul - at))
        nth += 1
        on = left[parent] > nth
        parent, at = parent[on], behind[on]
    if not found:
        none = np.zeros(0, np.int64)
        return _Level(none, none, none, none)
    columns = [(f.at, f.parent, f.edge_at, f.edge_size) for f in found]
    return _Level(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def spell(trie: Bytes, nodes: Nodes, ends: I8) -> list[bytes]:
    """The names of the nodes in rows `ends`, in that order."""
    length = np.zeros(len(ends), np.int64)
    node = ends
    active = np.arange(len(ends))
    steps = []
    while len(active):
        active = active[node > 0]
        node = node[node > 0]
        length[active] += nodes.edge_size[node]
        steps.append((active, node))
        node = nodes.parent[node]
    total = int(length.sum())
    if total > MAX_GROWTH * len(trie.raw) + FREE_GROWTH:
        raise DyldInfoError(f"names take {total} bytes, over {MAX_GROWTH} times the trie", offset=0)
    stop = np.cumsum(length + 1) - 1
    out = np.zeros(int(stop[-1]) + 1 if len(stop) else 0, np.uint8)
    for active, node in steps:
        size = nodes.edge_size[node]
        stop[active] -= size
        out[ranges(stop[active], size)] = trie.raw[ranges(nodes.edge_at[node], size)]
    return out.tobytes().split(b"\0")[:-1]
