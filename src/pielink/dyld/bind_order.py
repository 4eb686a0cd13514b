"""In which order to bind: the binds of one symbol together, the symbols so that little changes.

From one symbol to the next the stream may have to set the library, the addend, the type and the
address. Which order of symbols needs the fewest bytes is a travelling-salesman problem. A few
orders are close to the best in practice: along the addresses, by library, by addend, and their
combinations. They are costed and the cheapest is taken. With few symbols there is time for more:
moving stretches of the order elsewhere while that saves bytes, and for very few a search through
the sets of symbols that are done.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pielink.arrays import append, changes, classes, differences
from pielink.arraytypes import I8
from pielink.dyld import leb128
from pielink.dyld.bind_writer import MAX_IMMEDIATE, single_cost
from pielink.dyld.columns import POINTER_SIZE, Rows
from pielink.dyld.plan import Costs
from pielink.dyld.ragged import ranges
from pielink.record import NamedTuple, Record

SHORTEST_UP_TO = 20  # groups of rows: chains are built from all ends at once
WIDTH = 3000  # chains kept while building
SEARCH_UP_TO = 128  # groups of rows
LONGEST_MOVE = 8  # groups
NEAREST_STARTS = 8
IMPROVED_STARTS = 4
_NUMBERS = ("offset", "ordinal", "addend")
KEEP_SYMBOL = 1 << 20  # a distance that no search accepts where it can be avoided


def good_orders(rows: Rows) -> list[I8]:
    """Permutations (n,) of the rows (n >= 1, BIND in ascending order of location), to choose from.

    The first ones keep the rows of a group in ascending order, so that repeats can cover them; for
    few rows there are also some that move single rows.
    """
    order, symbol, starts = _by_group(rows)
    groups = _groups(rows, order, symbol, starts)
    symbols = rows[groups.symbol]
    chains = [_sorted(symbols, keys) for keys in _candidates(symbols)]
    if len(starts) > SEARCH_UP_TO:
        return [_take(order, starts, min(chains, key=groups.cost))]
    chains.sort(key=groups.cost)
    orders = [_take(order, starts, chain) for chain in _search(groups.distances(), chains)]
    if len(starts) < len(rows) <= SEARCH_UP_TO:
        each = np.arange(len(rows))
        orders += _search(_groups(rows, each, symbol, each).distances(), orders)
    return orders


class _Groups(Record):
    """Groups of rows that agree in all but location. Columns (n,), int64 but for the costs, int8.

    symbol: the row that holds the symbol's first location, so the same for all of a symbol.
    segment, begin, end: where the first row is, and where the address is behind the last one, as
    an offset in the segment `last_segment`. The costs: bytes to set each column of the group.
    """

    symbol: I8
    segment: I8
    begin: I8
    last_segment: I8
    end: I8
    ordinal: I8
    addend: I8
    type: I8
    ordinal_cost: Costs
    addend_cost: Costs
    address_cost: Costs

    def cost(self, chain: I8) -> int:
        """Bytes to go along the chain, a permutation of the groups that keeps symbols together."""
        return int(self._steps(chain[:-1], chain[1:]).sum()) + int(self._opening(chain[:1]).sum())

    def distances(self) -> I8:
        """Bytes from group to group: (n + 1, n + 1); the last row is the start, its column the end.

        A change of symbol costs more than anything it could save.
        """
        n = len(self.symbol)
        each = np.arange(n)
        matrix = np.zeros((n + 1, n + 1), np.int64)
        matrix[:n, :n] = self._steps(each[:, None], each[None, :])
        matrix[:n, :n] += KEEP_SYMBOL * (self.symbol[:, None] != self.symbol[None, :])
        matrix[n, :n] = self._opening(each)
        return matrix

    def _opening(self, group: I8) -> Costs:
        """Bytes to set library, addend and address for a first group."""
        addend = (self.addend[group] != 0) * self.addend_cost[group]
        total: Costs = self.ordinal_cost[group] + addend + self.address_cost[group]
        return total

    def _steps(self, tail: I8, head: I8) -> Costs:
        """Bytes to go from group to group (indices, broadcast), the symbol's name left out."""
        gap = self.begin[head] - self.end[tail]
        ahead = (self.last_segment[tail] == self.segment[head]) & (gap >= 0)
        onward = single_cost(np.maximum(gap, 0)) - np.int8(1)
        cost: Costs = np.where(ahead, onward, self.address_cost[head])
        cost += (self.ordinal[tail] != self.ordinal[head]) * self.ordinal_cost[head]
        cost += (self.addend[tail] != self.addend[head]) * self.addend_cost[head]
        cost += self.type[tail] != self.type[head]
        return cost


def _groups(rows: Rows, order: I8, symbol: I8, starts: I8) -> _Groups:
    first = order[starts]
    heads, tails = rows[first], rows[order[append(starts[1:], len(order)) - 1]]
    begin, ordinal, addend = (heads[name].astype(np.int64) for name in _NUMBERS)
    return _Groups(
        symbol=symbol[first],
        segment=heads["segment"].astype(np.int64),
        begin=begin,
        last_segment=tails["segment"].astype(np.int64),
        end=tails["offset"].astype(np.int64) + POINTER_SIZE,
        ordinal=ordinal,
        addend=addend,
        type=heads["type"].astype(np.int64),
        ordinal_cost=1 + leb128.uleb_sizes(abs(ordinal)) * (ordinal > MAX_IMMEDIATE),
        addend_cost=1 + leb128.sleb_sizes(addend),
        address_cost=1 + leb128.uleb_sizes(begin),
    )


def _by_group(rows: Rows) -> tuple[I8, I8, I8]:
    """An order of the rows with groups together, symbols by first location.

    Also each row's symbol, and where in the order the groups start.
    """
    _, _, flags = classes(rows["flags"])
    symbol = rows["name"].astype(np.int64) * (int(flags.max()) + 1) + flags
    where = np.arange(len(rows))
    first = np.zeros(int(symbol.max()) + 1, np.int64)
    first[symbol[::-1]] = where[::-1]
    first = first[symbol]
    columns = [rows[name] for name in ("addend", "type", "ordinal")]
    keys = [column for column in columns if (column != column[first]).any()]
    order = np.lexsort((*keys, first)) if keys else _stable_order(first)
    starts = changes(first[order])
    for key in keys:
        starts |= changes(key[order])
    return order, first, np.flatnonzero(starts)


def _stable_order(key: I8) -> I8:
    """np.argsort(key, kind="stable") for keys that are indices: n sorted numbers are soon had."""
    order: I8 = np.sort(key * len(key) + np.arange(len(key))) % len(key)
    return order


def _candidates(symbols: Rows) -> list[tuple[str, ...]]:
    """Which columns to sort the groups by, the most important first."""
    varies = [name for name in ("ordinal", "addend") if (symbols[name] != symbols[name][0]).any()]
    if len(varies) == 2:
        return [(), ("ordinal",), ("addend",), ("ordinal", "addend"), ("addend", "ordinal")]
    return [(), *((name,) for name in varies)]


def _sorted(symbols: Rows, keys: tuple[str, ...]) -> I8:
    if not keys:
        return np.arange(len(symbols))
    return np.lexsort([symbols[name] for name in reversed(keys)])


def _search(distance: I8, chains: list[I8]) -> list[I8]:
    """Better chains, found from the given ones and from some that always go to the nearest group.

    distance: as `_Groups.distances` gives it. A chain that cannot be shorter is returned alone.
    """
    n = len(distance) - 1
    # Every group is reached once, all but one of them from another group.
    reached = _between(distance).min(axis=0)
    least = int(reached.sum() + (distance[n, :n] - reached).min())
    for best in chains:
        if _length(distance, best) <= least:
            return [best]
    starts = [*chains, *_nearest(distance)]
    if n <= SHORTEST_UP_TO:
        starts.append(_shortest(distance))
    starts.sort(key=lambda chain: _length(distance, chain))
    return [_improved(start, distance) for start in starts[:IMPROVED_STARTS]]


def _shortest(distance: I8) -> I8:
    """The shortest chain, or one close to it: the best WIDTH ways to each number of groups.

    A way is the set of its groups and the last of them; of two that agree in both, the shorter one
    stays. Up to 9 groups no way is lost, so the chain is the shortest there is.
    """
    n = len(distance) - 1
    step = _between(distance)
    # What a group costs at the least is paid in advance, so that ways through dear groups compare.
    least = step.min(axis=0)
    last = np.arange(n)
    done, cost = 1 << last, distance[n, :n] - least
    steps = []
    for _ in range(n - 1):
        way, to = (done[:, None] >> np.arange(n) & 1 == 0).nonzero()
        cost = cost[way] + (step - least)[last[way], to]
        done = done[way] | 1 << to
        kept = _distinct_ways(done * n + to, cost)
        steps.append((way[kept], last))
        done, last, cost = done[kept], to[kept], cost[kept]
    at = int(cost.argmin())
    chain = [int(last[at])]
    for way, before in reversed(steps):
        at = int(way[at])
        chain.append(int(before[at]))
    return np.array(chain[::-1])


def _between(distance: I8) -> I8:
    """Bytes from each group to each other: (n, n); none is to be reached from itself."""
    n = len(distance) - 1
    between: I8 = distance[:n, :n].copy()
    between[np.arange(n), np.arange(n)] += KEEP_SYMBOL
    return between


def _distinct_ways(way: I8, cost: I8) -> I8:
    """The cheapest row of each way, and of those the WIDTH cheapest."""
    order = np.lexsort((cost, way))
    kept = order[changes(way[order])]
    return kept[np.argsort(cost[kept], kind="stable")[:WIDTH]]


def _length(distance: I8, chain: I8) -> int:
    path = append(len(chain), chain)
    return int(distance[path[:-1], path[1:]].sum())


def _nearest(distance: I8) -> Iterator[I8]:
    """Chains that go to the nearest group each time, from the groups that cost least to open."""
    n = len(distance) - 1
    for first in np.argsort(distance[n, :n], kind="stable")[:NEAREST_STARTS].tolist():
        left = np.zeros(n, np.int64)
        chain = [first]
        while len(chain) < n:
            left[chain[-1]] = n * KEEP_SYMBOL
            chain.append(int((distance[chain[-1], :n] + left).argmin()))
        yield np.array(chain)


def _improved(chain: I8, distance: I8) -> I8:
    """Move stretches of the chain elsewhere, as they are or turned round, while that saves bytes.

    Ends when no move of up to LONGEST_MOVE groups helps.
    """
    n = len(chain)
    path = append(n, chain)  # a cycle through the start
    while True:
        step = distance[path[:, None], append(path[1:], n)]  # [i, j]: i leads to j + 1
        best = max(_best_move(step, length) for length in range(1, min(n, LONGEST_MOVE + 1)))
        if best.saved <= 0:
            return path[1:]
        stop = best.start + best.length
        moved = path[best.start : stop][:: -1 if best.turned else 1]
        rest = np.concatenate([path[: best.start], path[stop:]])
        behind = best.target - (best.length if best.target >= stop else 0)
        path = np.concatenate([rest[: behind + 1], moved, rest[behind + 1 :]])


class _Move(NamedTuple):
    """Take `length` groups from place `start` of the path, put them behind place `target`."""

    saved: int
    start: int
    length: int
    target: int
    turned: bool


def _best_move(step: I8, length: int) -> _Move:
    """The move of `length` groups that saves the most bytes. step: as in `_improved`."""
    n = len(step)
    start = np.arange(1, n - length + 1)
    last = start + length - 1
    freed = step[start - 1, start - 1] + step[last, last] - step[start - 1, last]
    target = np.arange(n)
    gap = step[target, target]  # a place leads to the next one
    straight = step[target[:, None], start - 1].T + step[last[:, None], target] - gap
    around = step[target[:, None], last - 1].T + step[start[:, None], target] - gap
    onward = append(0, np.cumsum(gap))
    backward = append([0, 0], np.cumsum(step[target[2:], target[:-2]]))
    # Turned round, the steps inside the stretch lead the other way.
    around += (backward[last] - backward[start] - onward[last] + onward[start])[:, None]
    inside = (target >= start[:, None] - 1) & (target <= last[:, None])
    saved = np.where(inside, -1, freed[:, None] - np.minimum(straight, around))
    row, column = divmod(int(saved.argmax()), n)
    turned = bool(around[row, column] < straight[row, column])
    return _Move(int(saved[row, column]), int(start[row]), length, column, turned)


def _take(order: I8, starts: I8, chain: I8) -> I8:
    """The rows of the groups in the order of the chain."""
    length = differences(starts, end=len(order))[chain]
    taken: I8 = order[ranges(starts[chain], length)]
    return taken
