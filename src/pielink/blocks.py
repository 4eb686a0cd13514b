"""Copy many byte ranges at once: the array kernel under image contents and string tables.

A range of n bytes, 2**k <= n < 2**(k+1), is two blocks of 2**k bytes that overlap: one at its
start, one that ends where it ends. So all ranges of one k are two gathers and two scatters of
fixed-size elements, and every byte read or written belongs to the range. Ranges of at least
LARGE bytes are few (at most one for each LARGE bytes of the result) and are copied one by one.
"""

from __future__ import annotations

import numpy as np

from pielink.arraytypes import DTypeLike, NDArray
from pielink.hints import Any
from pielink.tables import I8, U1

LARGE = 1 << 12


def windows(data: U1, dtype: DTypeLike) -> NDArray[Any]:
    """A view of `data` with one element of `dtype` at every byte offset where it fits."""
    kind = np.dtype(dtype)
    count = max(0, len(data) - kind.itemsize + 1)
    return np.ndarray((count,), kind, data, strides=(1,))


def copy_ranges(target: U1, target_offset: I8, source: U1, source_offset: I8, size: I8) -> None:
    """target[target_offset[i]:][:size[i]] = source[source_offset[i]:][:size[i]] for every i.

    Offsets and sizes are bytes, one row for each range. The target ranges must not overlap.
    IndexError if a range leaves its array.
    """
    for place, limit in ((target_offset, len(target)), (source_offset, len(source))):
        if len(size) and (int(place.min()) < 0 or int((place + size).max()) > limit):
            raise IndexError("a range to copy leaves its array")
    exponent = np.frexp(size.astype(np.float64))[1].astype(np.int8) - 1  # -1: an empty range
    order = np.argsort(exponent, kind="stable")
    last = LARGE.bit_length() - 1
    bounds = np.searchsorted(exponent[order], np.arange(last + 1))
    for k in range(last):
        rows = order[bounds[k] : bounds[k + 1]]
        if len(rows):
            to, start, rest = target_offset[rows], source_offset[rows], size[rows] - (1 << k)
            block = f"V{1 << k}"
            into, out_of = windows(target, block), windows(source, block)
            into[to] = out_of[start]
            into[to + rest] = out_of[start + rest]
    rows = order[bounds[last] :]
    columns = (target_offset[rows], source_offset[rows], size[rows])
    for to_, start_, count in zip(*(c.tolist() for c in columns), strict=True):
        target[to_ : to_ + count] = source[start_ : start_ + count]
