"""Array idioms that several passes share."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pielink.tables import I4, I8, Bool

S = TypeVar("S", bound=np.generic)


def ranges(start: npt.NDArray[Any], count: npt.NDArray[Any]) -> tuple[I8, I4]:
    """Concatenate the ranges start[i] .. start[i] + count[i] - 1.

    Returns the elements (int64) and, for each, the i that it came from (int32).
    """
    total = int(count.sum())
    source = np.repeat(np.arange(len(count), dtype=np.int32), count)
    ends = np.cumsum(count, dtype=np.int64)
    elements = np.arange(total, dtype=np.int64)
    elements += np.repeat(start.astype(np.int64) - (ends - count), count)
    return elements, source


def first_equal(values: npt.NDArray[np.uint64]) -> I4:
    """For each element the index of the first element with the same value; shape as given, int32.

    A hash table of one scatter and one gather finds most; only what collides is sorted.
    """
    count = len(values)
    bits = max(8, count.bit_length() + 1)
    bucket = (values ^ (values >> np.uint64(37))).astype(np.uint32) & np.uint32((1 << bits) - 1)
    head = np.zeros(1 << bits, np.int32)
    head[bucket[::-1]] = np.arange(count - 1, -1, -1, dtype=np.int32)
    first = head.take(bucket)
    losers = np.flatnonzero(values.take(first) != values)
    if len(losers):
        _, index, inverse = np.unique(values[losers], return_index=True, return_inverse=True)
        first[losers] = losers[index[inverse]]
    return first


def distinct(values: npt.NDArray[S]) -> npt.NDArray[S]:
    """The different values, ascending: np.unique, which would import numpy.ma, without that."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    result: npt.NDArray[S] = ordered[first]
    return result


def among(values: npt.NDArray[Any], ascending: npt.NDArray[Any]) -> Bool:
    """Which values occur in a sorted array; shape as `values`."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: Bool = ascending.take(at) == values
    return found
