"""Array idioms that several passes share.

Some are NumPy's own by another way: those of numpy.lib take arguments of every kind, and their
modules are not imported in a process that only links (see lean_numpy).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from pielink.arraytypes import I4, I8, U8, ArrayLike, Bool, DTypeLike, NDArray
from pielink.hints import Any, TypeVar

S = TypeVar("S", bound=np.generic)

_FEW = 8  # values to look for one by one
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_SHIFTS = (37, 19, 29)  # of the hashes of `first_equal`


def ranges(start: NDArray[Any], count: NDArray[Any], step: int = 1) -> tuple[I8, I4]:
    """Concatenate ranges: count[i] elements from start[i] on, `step` apart.

    Returns the elements (int64) and, for each, the i that it came from (int32).
    """
    source = np.repeat(np.arange(len(count), dtype=np.int32), count)
    ends = np.cumsum(count, dtype=np.int64)
    elements = (start.astype(np.int64) - step * (ends - count)).take(source)
    elements += np.arange(0, step * len(source), step)
    return elements, source


def first_equal(values: U8) -> I4:
    """For each element the index of the first element with the same value; shape as given, int32.

    A hash table of one scatter and one gather finds most. What collides is looked up in a table of
    its own, by other bits; what collides again and again is sorted.
    """
    return _first_equal(values, _SHIFTS)


def _first_equal(values: U8, shifts: Sequence[int]) -> I4:
    if not shifts or len(values) < _FEW:
        _, index, inverse = classes(values)
        return index[inverse].astype(np.int32)
    count = len(values)
    mask = np.uint64((1 << max(8, count.bit_length() + 1)) - 1)
    bucket = ((values ^ (values >> np.uint64(shifts[0]))) & mask).view(np.int64)
    head = np.empty(int(mask) + 1, np.int32)  # read only where it is written
    head[bucket[::-1]] = np.arange(count - 1, -1, -1, dtype=np.int32)
    first = head.take(bucket)
    losers = np.flatnonzero(values.take(first) != values)
    if len(losers):
        first[losers] = losers.take(_first_equal(values.take(losers), shifts[1:]))
    return first


def distinct(values: NDArray[S]) -> NDArray[S]:
    """The different values, ascending, as np.unique gives them."""
    ordered = np.sort(values)
    return ordered[changes(ordered)]


def changes(values: NDArray[Any]) -> Bool:
    """Where a value differs from the one before it; True for the first. Shape as `values`."""
    result = np.ones(values.shape, np.bool_)
    result[1:] = values[1:] != values[:-1]  # of records, too, which np.not_equal cannot compare
    return result


def classes(values: NDArray[S]) -> tuple[NDArray[S], I8, I8]:
    """(distinct values, ascending; where each occurs first; of each element the row in those).

    What np.unique gives with return_index and return_inverse; `values` has one dimension.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return _classes(ordered, order, changes(ordered))


def row_classes(values: NDArray[S]) -> tuple[NDArray[S], I8, I8]:
    """`classes` of the rows of a table of two dimensions, ordered by their columns."""
    order = np.lexsort(values.T[::-1])
    ordered = values[order]
    new: Bool = np.logical_or.reduce(changes(ordered), axis=1)
    return _classes(ordered, order, new)


def _classes(ordered: NDArray[S], order: I8, new: Bool) -> tuple[NDArray[S], I8, I8]:
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.cumsum(new) - 1
    return ordered[new], order[new], inverse


def address_of(values: NDArray[Any]) -> int:
    """Return where the array's first element is in this process's memory."""
    return int(values.__array_interface__["data"][0])  # values.ctypes imports a lot


def paired(low: NDArray[Any], high: NDArray[Any]) -> U8:
    """Words of two numbers below 2**32, so that one look-up gets both; see `halves`."""
    word = high.astype(np.uint64)
    word <<= _HALF
    word |= low.astype(np.uint64)
    return word


def halves(words: U8) -> tuple[I8, I8]:
    """The lower and the upper halves of words."""
    return (words & _LOW).view(np.int64), (words >> _HALF).view(np.int64)


def joined(parts: Iterable[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    """The parts, which have this dtype, one behind the other; there may be none."""
    # Without a dtype NumPy works out one common to all records, field by field, in Python.
    return np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype)


def append(values: ArrayLike, more: ArrayLike) -> NDArray[Any]:
    """`values`, then `more`, each an array of one dimension or one element."""
    return np.concatenate([np.atleast_1d(values), np.atleast_1d(more)])


def differences(values: NDArray[S], *, before: int | None = None, end: int | None = None) -> Any:
    """values[i + 1] - values[i]; `before` and `end` are put in front and behind, if given."""
    if before is not None:
        values = np.concatenate([np.array([before], values.dtype), values])
    if end is not None:
        values = np.concatenate([values, np.array([end], values.dtype)])
    return np.subtract(values[1:], values[:-1])


def isin(values: NDArray[Any], wanted: Sequence[Any] | NDArray[Any]) -> Bool:
    """Which values occur in `wanted`, in any order; shape as `values`."""
    if len(wanted) > _FEW:
        return among(values, np.sort(np.asarray(wanted)))
    found = np.zeros(values.shape, np.bool_)
    for one in wanted:
        found |= values == one
    return found


def without(values: NDArray[S], rows: NDArray[Any]) -> NDArray[S]:
    """`values` less the elements at `rows`."""
    kept = np.ones(len(values), np.bool_)
    kept[rows] = False
    return values[kept]


def split(values: NDArray[S], heads: NDArray[Any]) -> list[NDArray[S]]:
    """The parts of `values` that start at 0 and at each of `heads`, which ascend."""
    bounds = [0, *heads.tolist(), len(values)]
    return [values[a:b] for a, b in itertools.pairwise(bounds)]


def among(values: NDArray[Any], ascending: NDArray[Any]) -> Bool:
    """Which values occur in a sorted array; shape as `values`."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: Bool = ascending.take(at) == values
    return found
