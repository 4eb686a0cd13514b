"""Finding symbols by name without making a Python object per name.

Names are (offset, size) into the flat memory, and symbols have the same name if their versions
agree as well. The key of a name mixes its size, its last eight bytes, the eight bytes around its
middle and the version, which costs two wide reads; its hash reads all of it, in words of eight
bytes. Names whose hashes and keys agree are the same: that two others agree in both, 128 bits, does
not happen by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import append, changes, first_equal, ranges
from pielink.blocks import windows
from pielink.tables import I4, I8, U2, U4, U8, Memory

_K1, _K2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_HALF, _WORD = np.uint64(32), (1 << 64) - 1
_FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)  # masks


def words_at(memory: Memory, offset: I8) -> U8:
    """The eight bytes from each offset on, as little-endian words; shape as `offset`, uint64."""
    words: U8 = windows(memory.bytes, "<u8")[offset]
    return words


def keys(memory: Memory, offset: I8, size: U4, version: U2) -> U8:
    """A 64-bit key of each (name, version)."""
    tail = words_at(memory, offset + np.maximum(size.astype(np.int64) - 8, 0))
    tail &= _FIRST_BYTES.take(np.minimum(size, 8))
    half = size >> np.uint32(1)
    middle = words_at(memory, offset + half)
    middle &= _FIRST_BYTES.take(np.minimum(size - half, 8))
    middle *= _K2
    middle >>= _HALF
    key: U8 = (tail ^ (size.astype(np.uint64) * _K2)) * _K1
    key ^= key >> _HALF
    key ^= middle
    key ^= version
    return key


def key(name: bytes, version: int) -> int:
    """The key of one name; what `keys` says of many."""
    half, k1, k2 = len(name) >> 1, int(_K1), int(_K2)
    tail = (int.from_bytes(name[-8:], "little") ^ (len(name) * k2)) * k1 & _WORD
    middle = int.from_bytes(name[half : half + 8], "little") * k2 & _WORD
    return tail ^ (tail >> 32) ^ (middle >> 32) ^ version


def hashes(memory: Memory, offset: I8, size: U4, version: U2) -> U8:
    """A 64-bit hash of each (name, version).

    It is the sum of its words, each mixed with its place, and of the version.
    """
    count = (size.astype(np.int64) + 7) >> 3
    ends = append(0, np.cumsum(count))
    at, owner = ranges(offset, count, 8)
    word = words_at(memory, at)
    filled = np.flatnonzero(count)
    word[ends[1:].take(filled) - 1] &= _FIRST_BYTES.take(1 + ((size.take(filled) - 1) & 7))
    word ^= (at - offset.take(owner)).view(np.uint64) * _K2
    word = _mixed(word)
    sums = append(np.uint64(0), np.cumsum(word))
    total = sums.take(ends[1:]) - sums.take(ends[:-1])
    return _mixed(total + version.astype(np.uint64) * _K2)


def _mixed(word: U8) -> U8:
    """Words whose bits each depend on all bits of the given ones; different ones stay different."""
    word = word * _K1
    word ^= word >> np.uint64(29)
    word *= _K2
    word ^= word >> _HALF
    return word


def groups(memory: Memory, key: U8, offset: I8, size: U4, version: U2) -> I4:
    """For each (name, version), which has this key, the index of the first that is the same.

    Only names with a key in common are hashed. Where sizes or versions say that different names
    collide, the names decide.
    """
    group = first_equal(key)
    twins = np.flatnonzero(group != np.arange(len(group), dtype=np.int32))
    if not len(twins):
        return group
    alike = np.zeros(len(group), np.bool_)
    alike[twins] = alike[group.take(twins)] = True
    rows = np.flatnonzero(alike).astype(np.int32)
    names = offset.take(rows), size.take(rows), version.take(rows)
    first = rows.take(first_equal(hashes(memory, *names)))
    group[rows] = first
    same = (key.take(rows) == key.take(first)) & (names[1] == size.take(first))
    same &= names[2] == version.take(first)
    strangers: dict[tuple[bytes, int], int] = {}
    for row in rows.compress(~same).tolist():
        name = memory.get(int(offset[row]), int(size[row]))
        group[row] = strangers.setdefault((name, int(version[row])), row)
    return group


def ranks(memory: Memory, offset: I8, size: I8) -> I8:
    """Numbers in the order of the texts, bytewise; equal ones for equal texts: (n,).

    Texts that agree so far are told apart by their next eight bytes, until none agree.
    """
    rank = np.zeros(len(offset), np.int64)
    tied = np.arange(len(offset))
    at = 0
    while len(tied):
        left = np.minimum(size[tied] - at, 8)
        word = words_at(memory, offset[tied] + at) & _FIRST_BYTES.take(left)
        word = word.byteswap()  # so that the first byte weighs most
        order = np.lexsort((left, word, rank[tied]))
        tied, word, left = tied[order], word[order], left[order]
        group = rank[tied]
        opens = changes(group)
        new = opens | changes(word) | changes(left)
        # A rank is that of the first of its group, plus those that come before it there.
        place = np.arange(len(tied))
        first = np.maximum.accumulate(np.where(opens, place, 0))
        rank[tied] = group + np.maximum.accumulate(np.where(new, place, 0)) - first
        same = ~new | ~append(new[1:], True)
        tied = tied[same & (left == 8)]
        at += 8
    return rank


class NameIndex:
    """Slots by (name, version): those given at construction, later rows losing to earlier ones.

    A hash table: the bucket comes of the key. Rows that find their bucket taken are kept aside.
    """

    def __init__(
        self, memory: Memory, slot: I4, key: U8, offset: I8, size: U4, version: U2
    ) -> None:
        self._slot, self._offset = slot, offset
        self._size, self._version = size, version
        self._mask = (1 << max(8, (8 * len(slot)).bit_length())) - 1
        bucket = self._buckets(key)
        rows = np.arange(len(slot), dtype=np.int32)
        self._head = np.full(self._mask + 1, -1, np.int32)
        self._head[bucket[::-1]] = rows[::-1]
        crowded = np.flatnonzero(self._head.take(bucket) != rows)
        order = np.argsort(bucket[crowded], kind="stable")
        self._crowded = crowded[order]
        self._crowded_bucket = bucket[self._crowded]
        self._view = memory.bytes.data

    def _buckets(self, key: U8) -> I8:
        return (key & np.uint64(self._mask)).view(np.int64)

    def lookup(self, names: Sequence[tuple[bytes, int]]) -> I4:
        """The slot of each (name, version), 0 where there is none; shape (len(names),), int32."""
        texts = [text for text, _ in names]
        sizes = np.array([*map(len, texts)], np.uint32)
        flat = np.frombuffer(b"".join([*texts, bytes(16)]), np.uint8)
        starts = np.cumsum(sizes, dtype=np.int64) - sizes
        versions = np.array([version for _, version in names], np.uint16)
        buckets = self._buckets(keys(Memory(flat, len(flat)), starts, sizes, versions))
        heads = self._head.take(buckets)
        columns = (self._offset, self._size, self._version, self._slot)
        there = zip(heads.tolist(), *(c.take(heads).tolist() for c in columns), strict=True)
        found = []
        for bucket, wanted, (row, offset, size, version, slot) in zip(
            buckets.tolist(), names, there, strict=True
        ):
            if row < 0:
                found.append(0)
            elif (bytes(self._view[offset : offset + size]), version) == wanted:
                found.append(slot)
            else:
                found.append(self._crowded_slot(bucket, *wanted))
        return np.array(found, np.int32)

    def find(self, name: bytes, version: int) -> int:
        """The slot of one (name, version), 0 if there is none."""
        bucket = key(name, version) & self._mask
        row = int(self._head[bucket])
        if row < 0:
            return 0
        if self._is(row, name, version):
            return int(self._slot[row])
        return self._crowded_slot(bucket, name, version)

    def _crowded_slot(self, bucket: int, name: bytes, version: int) -> int:
        at = int(np.searchsorted(self._crowded_bucket, bucket))
        while at < len(self._crowded) and self._crowded_bucket[at] == bucket:
            row, at = int(self._crowded[at]), at + 1
            if self._is(row, name, version):
                return int(self._slot[row])
        return 0

    def _is(self, row: int, name: bytes, version: int) -> bool:
        offset, size = int(self._offset[row]), int(self._size[row])
        text = self._view[offset : offset + size]
        return bytes(text) == name and int(self._version[row]) == version
