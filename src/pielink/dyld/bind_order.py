"""In which order to bind: the binds of one symbol together, the symbols so that little changes.

From one symbol to the next the stream may have to set the library, the addend, the type and the
address. Which order of symbols needs the fewest bytes is a travelling-salesman problem. A few
orders are close to the best in practice: along the addresses, by library, by addend, and their
combinations. They are costed and the cheapest is taken. With few symbols there is time for more:
moving stretches of the order elsewhere while that saves bytes, and for very few a search that
looks at all orders.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pielink.arrays import append, changes, classes, differences
from pielink.arraytypes import I4, I8, Bool
from pielink.dyld import leb128
from pielink.dyld.bind_writer import MAX_IMMEDIATE, single_cost
from pielink.dyld.columns import POINTER_SIZE, Rows
from pielink.dyld.ragged import ranges
from pielink.record import record

EXACT_UP_TO = 10  # groups of rows: all orders are looked at
SEARCH_UP_TO = 128  # groups of rows
LONGEST_MOVE = 8  # groups
NEAREST_STARTS = 8
IMPROVED_STARTS = 4
KEEP_SYMBOL = 1 << 20  # a distance that no search accepts where it can be avoided


def good_orders(rows: Rows) -> list[I8]:
    """Permutations (n,) of the rows (n >= 1, BIND in ascending order of location), to choose from.

    The first ones keep the rows of a group in ascending order, so that repeats can cover them; for
    few rows there are also some that move single rows.
    """
    order, symbol = _by_group(rows)
    starts = np.flatnonzero(_group_starts(rows[order], symbol[order]))
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


@record
class _Groups:
    """Groups of rows that agree in all but location; their first rows, last rows, and symbols.

    symbol: (n,) the row that holds the symbol's first location, so the same for all of a symbol.
    """

    heads: Rows
    tails: Rows
    symbol: I8

    def cost(self, chain: I8) -> int:
        """Bytes to go along the chain, a permutation of the groups that keeps symbols together."""
        return int(_steps(self.tails[chain[:-1]], self.heads[chain[1:]]).sum()) + int(
            _opening(self.heads[chain[:1]]).sum()
        )

    def distances(self) -> I8:
        """Bytes from group to group: (n + 1, n + 1); the last row is the start, its column the end.

        A change of symbol costs more than anything it could save.
        """
        n = len(self.heads)
        matrix = np.zeros((n + 1, n + 1), np.int64)
        matrix[:n, :n] = _steps(self.tails[:, None], self.heads[None, :])
        matrix[:n, :n] += KEEP_SYMBOL * (self.symbol[:, None] != self.symbol[None, :])
        matrix[n, :n] = _opening(self.heads)
        return matrix


def _groups(rows: Rows, order: I8, symbol: I8, starts: I8) -> _Groups:
    heads, tails = order[starts], order[append(starts[1:], len(order)) - 1]
    return _Groups(rows[heads], rows[tails], symbol[heads])


def _by_group(rows: Rows) -> tuple[I8, I8]:
    """An order of the rows with groups together, symbols by first location; each row's symbol."""
    _, _, flags = classes(rows["flags"])
    symbol = rows["name"].astype(np.int64) * (int(flags.max()) + 1) + flags
    where = np.arange(len(rows))
    first = np.zeros(int(symbol.max()) + 1, np.int64)
    first[symbol[::-1]] = where[::-1]
    first = first[symbol]
    if (first == where).all():
        return where, first
    columns = [rows[name] for name in ("addend", "type", "ordinal")]
    keys = [column for column in columns if (column != column[first]).any()]
    order = np.lexsort((*keys, first))
    return order, first


def _group_starts(ordered: Rows, symbol: I8) -> Bool:
    starts = changes(symbol)
    for name in ("ordinal", "type", "addend"):
        starts |= changes(ordered[name])
    return starts


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


def _libraries(ordinal: I4) -> I8:
    wide = ordinal.astype(np.int64)
    return np.where(wide > MAX_IMMEDIATE, 1 + leb128.uleb_sizes(abs(wide)), 1)


def _opening(heads: Rows) -> I8:
    """Bytes to set library, addend and address for a first group: (n,)."""
    addend = 1 + leb128.sleb_sizes(heads["addend"].astype(np.int64))
    where = 1 + leb128.uleb_sizes(heads["offset"].astype(np.int64))
    total: I8 = _libraries(heads["ordinal"]) + (heads["addend"] != 0) * addend + where
    return total


def _steps(tails: Rows, heads: Rows) -> I8:
    """Bytes to go from tails to heads (broadcast), the symbol's name left out: int64."""
    begin = heads["offset"].astype(np.int64)
    gap = begin - tails["offset"].astype(np.int64) - POINTER_SIZE
    ahead = (tails["segment"] == heads["segment"]) & (gap >= 0)
    onward = single_cost(np.maximum(gap, 0)) - 1
    cost: I8 = np.where(ahead, onward, 1 + leb128.uleb_sizes(begin))
    cost += (tails["ordinal"] != heads["ordinal"]) * _libraries(heads["ordinal"])
    addend = 1 + leb128.sleb_sizes(heads["addend"].astype(np.int64))
    cost += (tails["addend"] != heads["addend"]) * addend
    cost += tails["type"] != heads["type"]
    return cost


def _search(distance: I8, chains: list[I8]) -> list[I8]:
    """Better chains, found from the given ones and from some that always go to the nearest group.

    distance: as `_Groups.distances` gives it. A chain that cannot be shorter is returned alone.
    """
    n = len(distance) - 1
    if n <= EXACT_UP_TO:
        return [min(*chains, _shortest(distance), key=lambda chain: _length(distance, chain))]
    # Every group is reached once, all but one of them from another group.
    itself = np.arange(n)[:, None] == np.arange(n)
    reached = (distance[:n, :n] + itself * KEEP_SYMBOL).min(axis=0)
    least = int(reached.sum() + (distance[n, :n] - reached).min())
    for best in chains:
        if _length(distance, best) <= least:
            return [best]
    starts = sorted((*chains, *_nearest(distance)), key=lambda chain: _length(distance, chain))
    return [_improved(start, distance) for start in starts[:IMPROVED_STARTS]]


def _shortest(distance: I8) -> I8:
    """The shortest chain: over sets of groups, the shortest way through a set to each of it."""
    n = len(distance) - 1
    places, sets = np.arange(n), np.arange(1 << n)
    size = np.bitwise_count(sets)
    length = np.full((1 << n, n), n * KEEP_SYMBOL * 2)
    length[1 << places, places] = distance[n, :n]
    for done in range(1, n):
        here = sets[size == done]
        onward = (length[here][:, :, None] + distance[:n, :n]).min(axis=1)
        which, to = np.nonzero(here[:, None] >> places & 1 == 0)
        length[here[which] | 1 << to, to] = onward[which, to]
    left, back = (1 << n) - 1, [int(length[-1].argmin())]
    while len(back) < n:
        left &= ~(1 << back[-1])
        back.append(int((length[left] + distance[:n, back[-1]]).argmin()))
    return np.array(back[::-1])


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
