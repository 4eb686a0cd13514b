"""Array forms of "walk the functions, note what is new": numbering by first appearance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arraytypes import NDArray
from pielink.hints import Any
from pielink.tables import I8


def interleave(count: int, parts: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> I8:
    """Merge lists per owner: for each owner 0 .. count - 1, its values of each part in turn.

    A part is (owner, value), with ascending owners. The result has the values alone, int64.
    """
    counts = [np.bincount(owner, minlength=count) for owner, _ in parts]
    total = np.sum(counts, axis=0)
    start = np.cumsum(total) - total
    merged = np.empty(int(total.sum()), np.int64)
    for (owner, value), many in zip(parts, counts, strict=True):
        place = (start - (np.cumsum(many) - many)).take(owner)
        place += np.arange(len(owner))
        merged[place] = value
        start = start + many
    return merged


def first_seen(ids: NDArray[np.integer], limit: int) -> I8:
    """The different values of `ids`, all in 0 .. limit - 1, in order of first appearance."""
    first = np.empty(limit, np.int32)
    order = np.arange(len(ids), dtype=np.int32)
    first[ids[::-1]] = order[::-1]
    new: I8 = ids.compress(first.take(ids) == order).astype(np.int64)
    return new


def starts(sizes: NDArray[np.integer]) -> I8:
    """Where each piece begins if pieces of these sizes follow one another."""
    ends = np.cumsum(sizes, dtype=np.int64)
    result: I8 = ends - sizes
    return result


def round_up(value: Any, multiple: Any) -> Any:
    """The least multiple of `multiple` that is at least `value`; numbers or arrays."""
    return -(-value // multiple) * multiple


MAX_DATA_ALIGN = 32  # amd64 and arm64: no symbol is aligned further by its size alone
_BY_SIZE = np.array([1, *(1 << n.bit_length() - 1 for n in range(1, MAX_DATA_ALIGN + 1))])


def alignment(size: I8, align: NDArray[np.integer]) -> I8:
    """The alignment of data symbols in bytes: what the object says, or else what the size asks.

    The latter is the largest power of two that is at most `size`, and at most MAX_DATA_ALIGN.
    """
    result: I8 = np.where(align == 0, _BY_SIZE.take(np.minimum(size, MAX_DATA_ALIGN)), align)
    return result
