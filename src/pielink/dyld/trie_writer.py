"""Building a trie: from sorted names to nodes, to offsets, to bytes.

The nodes are the places where names part or end. Let lcp[i] be how many bytes name i has in common
with name i - 1. Every node is a pair (start, depth): the first name below it, and how many bytes
are behind it there. A name's own end is (i, length of i). Where names i - 1 and i part is
(p, lcp[i]), where p is the last place before i with a smaller lcp. Sorted, the pairs are the nodes
in preorder; a node's parent is the one before it if that has the same start, else the node where
its start parts from the name before.

The order of the nodes is free, and each is referred to once by an offset of 1 to 5 bytes or more.
So small nodes go first: as many as can be have short offsets. A child's offset makes its parent
longer and moves what follows; sizes only ever grow until nothing changes, which gives the
smallest that fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import append, changes, classes, differences, without
from pielink.arraytypes import I8, U1, Bool
from pielink.dyld import leb128
from pielink.dyld.ragged import ranges
from pielink.dyld.strings import join
from pielink.dyld.writer import Opcodes
from pielink.record import Record

STRIDE = 32  # bytes compared at a time


class Names(Record):
    """Sorted names: all bytes with a NUL behind each name, where each starts, how long it is.

    lcp: bytes in common with the name before, (n,), 0 for the first.
    """

    raw: U1
    start: I8
    length: I8
    lcp: I8

    @staticmethod
    def of(names: Sequence[bytes]) -> Names:
        """The columns of sorted names. Raises DyldInfoError if one holds a NUL."""
        joined, sizes = join(names)
        raw = np.frombuffer(joined, np.uint8)
        start, length = np.cumsum(sizes) - sizes, sizes - 1
        return Names(raw, start, length, _common(raw, start, length))

    def repeated(self) -> Bool:
        """True where a name equals the one before: (n,)."""
        again: Bool = (self.lcp == self.length) & ~changes(self.length)
        return again

    def without(self, rows: I8) -> Names:
        """The names but for rows, each of which repeats the name before it."""
        columns = (without(column, rows) for column in (self.start, self.length, self.lcp))
        return Names(self.raw, *columns)


def _common(raw: U1, start: I8, length: I8) -> I8:
    """Bytes that each name has in common with the one before: (n,), 0 for the first."""
    padded = append(raw, np.zeros(STRIDE, np.uint8))
    window = np.ndarray((len(raw) + 1, STRIDE), np.uint8, padded, strides=(1, 1))
    common = np.zeros(len(start), np.int64)
    open_rows = np.arange(1, len(start))
    while len(open_rows):
        at = common[open_rows]
        here, before = start[open_rows] + at, start[open_rows - 1] + at
        differs = window[here] != window[before]
        run = np.where(differs.any(axis=1), differs.argmax(axis=1), STRIDE)
        common[open_rows] = at + run
        shorter = np.minimum(length[open_rows], length[open_rows - 1])
        ended = (run < STRIDE) | (common[open_rows] >= shorter)
        common[open_rows] = np.minimum(common[open_rows], shorter)
        open_rows = open_rows[~ended]
    return common


class _Nodes(Record):
    """Nodes in preorder, (n,) int64 columns, the root first.

    start: first name below; depth: bytes in front of it; parent: row of the parent, -1 at the
    root; name: the name that ends here, -1 if none.
    """

    start: I8
    depth: I8
    parent: I8
    name: I8


def write(names: Names, payload: Opcodes) -> bytes:
    """The trie of sorted distinct names (n >= 1) with the payload of each."""
    nodes = _nodes(names)
    named = np.flatnonzero(nodes.name >= 0)
    of_name = np.zeros(len(names.start), np.int64)
    of_name[nodes.name[named]] = named
    export = np.zeros(len(nodes.start), np.int64)
    export[of_name] = payload.size
    edge = nodes.depth - nodes.depth[nodes.parent]
    edge[0] = 0
    offset, reference, total = _offsets(nodes.parent, export, edge)
    out = np.zeros(total, np.uint8)
    head = leb128.uleb_sizes(export)
    leb128.put(out, offset, export, head)
    payload.write(out, (offset + head)[of_name])
    count_at = offset + head + export
    out[count_at] = np.bincount(nodes.parent[1:], minlength=len(export))
    _write_children(out, names, nodes, edge, count_at + 1, offset, reference)
    return out.tobytes()


def _smaller_before(value: I8) -> I8:
    """The last place before each with a smaller value: (n,), 0 if that is none but the first.

    A place hops from candidate to candidate; each hop skips what the candidate skipped.
    """
    value = append(-1, value[1:])
    found = np.maximum(np.arange(len(value)) - 1, 0)
    searching = np.arange(1, len(value))
    while len(searching):
        candidate = found[searching]
        on = value[candidate] >= value[searching]
        searching = searching[on]
        found[searching] = found[candidate[on]]
    return found


def _nodes(names: Names) -> _Nodes:
    n = len(names.start)
    every, shift = np.arange(n), np.int64(32)
    ends = every << shift | names.length
    parts = _smaller_before(names.lcp) << shift | names.lcp  # at 0: the root
    keys, _, node = classes(np.concatenate([ends, parts]))
    start, depth = keys >> shift, keys & np.int64((1 << 32) - 1)
    name = np.full(len(keys), -1, np.int64)
    name[node[:n]] = every
    parent = np.arange(len(keys)) - 1
    new = np.flatnonzero(differences(start, before=0))
    parent[new] = node[n + start[new]]
    return _Nodes(start, depth, parent, name)


def _offsets(parent: I8, export: I8, edge: I8) -> tuple[I8, I8, int]:
    """Where each node starts, bytes of the reference to it (0 at the root), bytes of the trie."""
    nodes = len(parent)
    fixed = leb128.uleb_sizes(export) + export + 1
    fixed += np.bincount(parent[1:], edge[1:] + 1, nodes).astype(np.int64)
    reference = np.ones(nodes, np.int64)
    reference[0] = 0
    least = fixed + np.bincount(parent[1:], minlength=nodes)
    least[0] = 0  # the root goes first
    order = np.argsort(least, kind="stable")
    offset = np.empty(nodes, np.int64)
    while True:
        size = fixed + np.bincount(parent[1:], reference[1:], nodes).astype(np.int64)
        ends = np.cumsum(size[order])
        offset[order] = ends - size[order]
        needed = np.maximum(leb128.uleb_sizes(offset), reference)
        needed[0] = 0
        if (needed == reference).all():
            return offset, reference, int(ends[-1])
        reference = needed


def _write_children(
    out: U1, names: Names, nodes: _Nodes, edge: I8, at: I8, offset: I8, reference: I8
) -> None:
    """Write each child's bytes and offset behind the other children of its parent.

    at: where the children of each node start.
    """
    child = np.argsort(nodes.parent[1:], kind="stable") + 1
    parent = nodes.parent[child]
    size = edge[child] + 1 + reference[child]
    before = np.cumsum(size) - size
    first = np.flatnonzero(differences(parent, before=-1))
    counts = differences(first, end=len(parent))
    place = at[parent] + before - np.repeat(before[first], counts)
    source = names.start[nodes.start[child]] + nodes.depth[parent]
    out[ranges(place, edge[child])] = names.raw[ranges(source, edge[child])]
    leb128.put(out, place + edge[child] + 1, offset[child], reference[child])
