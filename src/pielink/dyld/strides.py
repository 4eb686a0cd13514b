"""An order of locations that takes fewer opcodes than ascending offsets: periods taken apart.

An array of structures has pointers at the same places of each element, so the gaps between
locations repeat with some period p. In ascending order every element costs opcodes anew. Taken
apart into p passes, each with one pointer of every element, a pass is a single
DO_REBASE_ULEB_TIMES_SKIPPING_ULEB plus the opcode that takes the address back to the next pass,
however many elements there are. dyld asks for no order among rebases.

Periods are looked for from the shortest to the longest, by comparing the gaps with themselves
shifted; a stretch is taken apart if that saves bytes by an estimate of what ascending order costs.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import append
from pielink.arraytypes import I1, I8, U2, Bool
from pielink.dyld import leb128
from pielink.dyld.columns import POINTER_SIZE
from pielink.dyld.ragged import ranges
from pielink.record import Record

LONGEST_PERIOD = 16
MARGIN = 2  # bytes that a stretch must save by the estimate
_UNIQUE = 0xFF00  # from here on: tokens that equal none within LONGEST_PERIOD
_MODULUS = 251
_LEAST_PASS, _LEAST_BACK = 3, 2  # bytes of a pass, and to take the address back to the next one


class _Stretches(Record):
    """(n,) columns. first: index of the first location; count: of locations."""

    first: I8
    count: I8
    period: int


def passes(offset: I8, gap: I8) -> I8 | None:
    """A permutation (n,) of the locations that takes periods apart, None if there are none.

    offset: (n,) ascending within a segment; gap: (n,) bytes between a location's pointer and the
    next location, negative where the two have nothing to do with one another.
    """
    tokens = _tokens(gap)
    cost = append(0, np.cumsum(_ascending_costs(gap), dtype=np.int64))
    found = []
    for period in range(2, min(LONGEST_PERIOD, len(gap) // 3) + 1):
        stretches = _profitable(_stretches(tokens, period), offset, cost)
        if len(stretches.first):
            found.append(stretches)
            # The gaps inside, behind, and in front: that location is not to be taken twice.
            dead = np.maximum(ranges(stretches.first - 1, stretches.count + 1), 0)
            tokens[dead] = _unique(dead)
    if not found:
        return None
    order = np.arange(len(offset))
    for stretches in found:
        count, period = stretches.count, stretches.period
        where = ranges(stretches.first, count)
        start = np.repeat(stretches.first, count)
        rounds, rest = np.repeat(count // period, count), np.repeat(count % period, count)
        nth = where - start
        # Rotated so that the last pass ends at the last location, with what follows just ahead.
        phase = (nth + (period - rest)) % period
        longer = np.maximum(phase - (period - rest), 0)  # earlier passes that have one more
        order[start + phase * rounds + longer + nth // period] = where
    return order


def _unique(index: I8) -> U2:
    return (_UNIQUE + index % _MODULUS).astype(np.uint16)


def _tokens(gap: I8) -> U2:
    """The gaps as small numbers, equal where gaps are: (n,). Odd and huge ones equal none."""
    size = gap.view(np.uint64)  # a negative gap is a huge one
    odd = np.flatnonzero((size & (POINTER_SIZE - 1) != 0) | (size >= POINTER_SIZE * _UNIQUE))
    tokens = (size >> 3).astype(np.uint16)
    tokens[odd] = _unique(odd)
    return tokens


def _ascending_costs(gap: I8) -> I1:
    """About what each gap costs in bytes if locations ascend: (n,), never too much on the whole.

    A gap needs an opcode and its number, or an add behind the pointers that precede it; the
    second of equal gaps makes a repeat of them; the third and later cost nothing.
    """
    moves = gap > 0
    cost = moves * np.int8(2)
    cost += gap >= 128
    same = append(False, gap[1:] == gap[:-1]) & moves
    cost[same] = 0
    second = same & ~append(False, same[:-1])
    cost[second] = 1
    # A gap behind equal ones that are smaller can be a residual move of their repeat.
    after = append(False, same[:-1]) & ~same & (gap > append(0, gap[:-1]))
    cost[after] -= 1
    return cost


def _stretches(tokens: U2, period: int) -> _Stretches:
    """The longest stretches of this period, two rounds at least; neighbours may overlap."""
    equal = np.zeros(len(tokens) - period + 2, np.bool_)
    np.equal(tokens[:-period], tokens[period:], out=equal[1:-1])
    edges = np.flatnonzero(equal[1:] != equal[:-1])
    first, stop = edges[::2], edges[1::2]
    long = np.flatnonzero(stop - first >= period)
    first = first.take(long)
    return _Stretches(first, stop.take(long) + (period + 1) - first, period)


def _profitable(stretches: _Stretches, offset: I8, cost: I8) -> _Stretches:
    """The stretches that save bytes, each without what the one before it takes."""
    some = _saving(stretches, offset, cost)
    stop = some.first + some.count
    first = some.first.copy()
    np.maximum(first[1:], stop[:-1] + 1, out=first[1:])
    if (first == some.first).all():
        return some
    rest = _Stretches(first, stop - first, some.period)
    return _saving(_only(rest, rest.count >= 2 * rest.period), offset, cost)


def _saving(stretches: _Stretches, offset: I8, cost: I8) -> _Stretches:
    """The stretches that save bytes; most cost too little in ascending order to look further."""
    first, period = stretches.first, stretches.period
    ascending = cost.take(first + stretches.count - 1) - cost.take(first)
    some = _only(stretches, ascending >= MARGIN + period * _LEAST_PASS + (period - 1) * _LEAST_BACK)
    if not len(some.first):
        return some
    return _only(some, _saved(some, offset, cost) >= MARGIN)


def _only(stretches: _Stretches, which: Bool) -> _Stretches:
    rows = np.flatnonzero(which)
    return _Stretches(stretches.first.take(rows), stretches.count.take(rows), stretches.period)


def _saved(stretches: _Stretches, offset: I8, cost: I8) -> I8:
    """Bytes that taking each stretch apart saves, estimated: (n,).

    cost: (n + 1,) what the locations in front of each take in ascending order.
    """
    first, period = stretches.first, stretches.period
    last = first + stretches.count - 1
    stride = offset[first + period] - offset[first]
    one = 1 + leb128.uleb_sizes(stretches.count // period + 1) + leb128.uleb_sizes(stride)
    back = 1 + leb128.uleb_sizes(offset[last])
    saved: I8 = cost[last] - cost[first] - period * one - (period - 1) * back
    return saved
