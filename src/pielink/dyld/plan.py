"""Which opcodes cover a sequence of locations in the fewest bytes: one shortest path, exactly.

dyld holds an address and moves it on. Write each location as a *gap*: how many bytes lie between
the end of its pointer and the next location. An opcode then covers locations in one of two ways:

- single: one location, after which the address skips its gap;
- repeat: k locations, after each of which the address skips the same number of bytes, v. The
  first k - 1 gaps must be v; after the last one the address may fall short of the next location,
  and a *residual* move (or the next SET_SEGMENT) makes up for it.

Equal gaps in a row are a *run*. No opcode gains by starting inside a run, except that the repeat
of the run before may have swallowed a run's first location. So all that matters between two runs
is one bit, "is the next run's first location covered already?", and the best encoding is a
shortest path through pairs of nodes, with a 2 by 2 matrix of costs from pair to pair.

The forward pass needs but the difference of the two nodes' distances, a number from 0 to at most
the cost of a single: so all blocks of the sequence are walked at once from every difference that
they could start with (as in `stream`). The way back is a chain of maps of one bit, each constant,
identity or negation: a cumulative maximum finds the last constant, a cumulative xor the parity.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pielink.arrays import append
from pielink.arraytypes import I1, I8, Bool, NDArray
from pielink.dyld.ragged import ranges
from pielink.hints import Any
from pielink.record import Record

Ints = NDArray[np.signedinteger[Any]]
Costs = I1

NEVER = 60  # more than any way to cover a run; fits int8 when two are added
SHORT = 10  # so many singles never cost less than a repeat


class CostModel(Record):
    """What the forms of one opcode family cost, in bytes, vectorised over (n,) columns.

    single(gap): one location and a gap. repeat(count, gap): count >= 1 locations with this gap
    after each. residual(gap): to move on by gap bytes > 0.
    """

    single: Callable[[Ints], Costs]
    repeat: Callable[[Ints, Ints], Costs]
    residual: Callable[[Ints], Costs]


class Plan(Record):
    """The opcodes chosen, in order: (n,) columns.

    first: index of the first location covered; count: how many; gap: bytes skipped after each;
    residual: bytes to move on after the last, 0 in front of a SET_SEGMENT.
    """

    first: I8
    count: Ints
    gap: Ints
    residual: Ints


class _Runs(Record):
    first: I8
    length: Ints
    gap: Ints
    closed: Bool  # a repeat must not go on into the next run
    jump: Costs  # cost of the SET_SEGMENT that follows; 0 if none


def plan(gap: I8, closed: Bool, jump: Costs, model: CostModel) -> Plan:
    """Choose opcodes for n >= 1 locations.

    gap: (n,) bytes to the next location, >= 0, or -1 where the address is set anew. closed: (n,)
    bool, no opcode covers both this location and the next. jump: (n,) bytes that the opcode that
    sets the address costs. Where gap is -1, closed must be True.
    """
    runs = _runs(_narrow(gap), closed, jump)
    entry = _shortest_path(*_matrices(runs, model))
    return _opcodes(runs, entry, model)


def _narrow(gap: I8) -> Ints:
    """The same numbers in 32 bits if they fit: half the memory to go through."""
    return gap.astype(np.int32) if int(gap.max()) < 1 << 30 else gap


def _runs(gap: Ints, closed: Bool, jump: Costs) -> _Runs:
    new = np.ones(len(gap), np.bool_)
    np.not_equal(gap[1:], gap[:-1], out=new[1:])
    new[1:] |= closed[:-1]
    first = np.flatnonzero(new)
    length = np.empty(len(first), np.int32)
    np.subtract(first[1:], first[:-1], out=length[:-1], casting="unsafe")
    length[-1] = len(gap) - first[-1]
    last = first + (length - 1)
    return _Runs(first, length, gap[first], closed[last], jump[last])


def _matrices(runs: _Runs, model: CostModel) -> tuple[Costs, Costs, Costs, Costs]:
    """Cost of each run from entry state e to exit state x, as four int8 columns ex."""
    full, rest = runs.length, runs.length - 1
    ends = runs.gap < 0
    gap = np.maximum(runs.gap, 0)
    single = np.where(ends, 1 + runs.jump, model.single(gap))
    over_rest, over_full = model.repeat(full, gap), model.repeat(full + 1, gap)
    within_full = _cheaper(full, single, over_rest)
    np.copyto(within_full, single, where=ends)
    within_rest = _cheaper(rest, single, model.repeat(rest, gap))
    beyond = _residual_costs(runs, gap, model)
    over_full += beyond
    over_rest += beyond
    # A run of one location that was covered already costs nothing; its own jump was paid for
    # as the residual of the repeat that covered it.
    np.copyto(over_rest, NEVER, where=rest == 0)
    np.minimum(over_full, NEVER, out=over_full)
    np.minimum(over_rest, NEVER, out=over_rest)
    return within_full, over_full, within_rest, over_rest


def _cheaper(count: Ints, single: Costs, repeat: Costs) -> Costs:
    """The cost of count singles or of one repeat: int8, 0 for a count of 0."""
    few = np.minimum(count, SHORT).astype(np.int8)  # more singles always cost more
    cheaper: Costs = np.minimum(few * single, repeat)
    return cheaper


def _residual_costs(runs: _Runs, gap: Ints, model: CostModel) -> Costs:
    """What moving on costs after a repeat that swallowed the next run's first location."""
    cost = np.full(len(gap), NEVER, np.int8)
    open_end = ~runs.closed
    short = np.empty_like(gap)
    np.subtract(runs.gap[1:], gap[:-1], out=short[:-1])
    short[-1] = 0
    ahead = np.flatnonzero(open_end & (short > 0))
    cost[ahead] = model.residual(short[ahead])
    set_anew = np.flatnonzero(open_end[:-1] & (runs.gap[1:] < 0))
    cost[set_anew] = runs.jump[set_anew + 1]
    return cost


def _shortest_path(c00: Costs, c01: Costs, c10: Costs, c11: Costs) -> Bool:
    """Entry state of each run, and the exit state of the last (False): (runs + 1,) bool."""
    difference = _differences(c00, c01, c10, c11)
    # Where to come from if the exit state is 0, and if it is 1. Ties go to fewer opcodes.
    to_no = c10 + difference <= c00
    to_yes = c11 + difference <= c01
    return _chain_back(to_no, to_yes)


def _differences(c00: Costs, c01: Costs, c10: Costs, c11: Costs) -> Costs:
    """Distance of node 1 minus that of node 0 in front of each run: (runs,) int8."""
    top = min(int(c00.max()), NEVER) + 1  # from there on node 0 is better whatever follows
    runs = len(c00)
    length = max(1, int(runs**0.5) // 4)
    blocks = -(-runs // length)

    def columns(cost: Costs) -> Costs:
        padded = np.zeros(length * blocks, np.int8)
        padded[:runs] = cost
        return np.ascontiguousarray(padded.reshape(blocks, length).T)

    costs = list(zip(*map(columns, (c00, c01, c10, c11)), strict=True))
    walk = np.repeat(np.arange(top + 1, dtype=np.int8)[:, None], blocks, axis=1)
    for step in costs:
        walk = _advance(walk, step, top)
    ends, start = walk.T.tolist(), [top]
    for end in ends:
        start.append(end[start[-1]])
    difference = np.empty((length, blocks), np.int8)
    current: Costs = np.array(start[:blocks], np.int8)
    for row, step in zip(difference, costs, strict=True):
        row[:] = current
        current = _advance(current, step, top)
    return difference.T.reshape(-1)[:runs]


def _advance(difference: Costs, step: tuple[Costs, ...], top: int) -> Costs:
    """Differences behind a run of each block from those in front: (blocks,) or (k, blocks)."""
    c00, c01, c10, c11 = step
    after: Costs = np.minimum(c01, c11 + difference) - np.minimum(c00, c10 + difference)
    return np.minimum(after, np.int8(top), out=after)


def _chain_back(to_no: Bool, to_yes: Bool) -> Bool:
    """Follow one-bit maps from the last run to the first, starting at False.

    to_no, to_yes: (n,) the bit in front of a run if the one behind it is False, True.
    """
    n = len(to_no)
    no, yes = to_no[::-1], to_yes[::-1]
    constant = append(True, no == yes)  # the start is a constant map to False
    value = append(False, no)
    flips = append(False, no & ~yes).astype(np.uint8)
    parity = np.bitwise_xor.accumulate(flips)
    last = np.maximum.accumulate(np.where(constant, np.arange(n + 1), 0))
    return (value[last] ^ (parity ^ parity[last]).astype(np.bool_))[::-1]


def _opcodes(runs: _Runs, entry: Bool, model: CostModel) -> Plan:
    """Turn the path into opcodes: each run gives several singles or one repeat."""
    count = runs.length - entry[:-1]
    some = np.flatnonzero(count > 0)
    first, count = runs.first[some] + entry[some], count[some]
    over, gap = entry[some + 1], runs.gap[some]
    residual = np.zeros(len(some), gap.dtype)
    onward = np.flatnonzero(over)
    residual[onward] = np.maximum(runs.gap[some[onward] + 1] - gap[onward], 0)  # 0: a jump
    np.maximum(gap, 0, out=gap)
    single = ~over & ((count == 1) | (count * model.single(gap) <= model.repeat(count, gap)))
    times = np.where(single, count, 1)
    count = np.where(single, 1, count + over)
    if int(times.max()) > 1:
        first = ranges(first, times)
        count, gap, residual = (np.repeat(c, times) for c in (count, gap, residual))
    return Plan(first, count, gap, residual)
