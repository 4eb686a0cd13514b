"""The order in which Go's sort.Slice and slices.SortFunc leave elements that compare equal.

Both are a pattern-defeating quicksort, which is not stable: where equal elements end up depends
on every swap. Go's linker sorts types by their strings, and different types can have one string,
so the image can only be the same if the order is. Ranges without equal elements need no
imitation, as they have just one order; what is left are few ranges. Partitions are done as array
operations: a Hoare partition swaps the k-th misplaced element from the left with the k-th from
the right, as long as they have not crossed.

Source: sort/zsortfunc.go and slices/zsortanyfunc.go of Go 1.26 and 1.27, which do the same; the
algorithm is Orson Peters', arXiv:2106.05123.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import classes
from pielink.tables import I4, I8

INSERTION_LIMIT = 12  # up to here ranges are sorted by insertion
NINTHER_LIMIT = 50  # from here on the pivot is a median of medians, and shifting may pay
MOST_SHIFTS = 5
WORD = (1 << 64) - 1


def go_sort(keys: I8) -> I4:
    """The permutation that Go's sort would apply to elements with these keys (ascending)."""
    sorter = _Sorter(keys)
    sorter.sort(0, len(keys), len(keys).bit_length())
    return sorter.item


class _Sorter:
    """Keys and the elements they belong to, sorted in place."""

    def __init__(self, keys: I8) -> None:
        self.key = keys.copy()
        self.item = np.arange(len(keys), dtype=np.int32)
        inverse = classes(keys)[2]
        self.tied = (np.bincount(inverse) > 1)[inverse]  # by element, not by position

    def swap(self, i: int, j: int) -> None:
        """Exchange two positions."""
        for column in (self.key, self.item):
            column[i], column[j] = column[j], column[i]

    def sort(self, a: int, b: int, limit: int) -> None:
        """Sort positions a .. b - 1; `limit` more bad pivots are put up with."""
        balanced = partitioned = True
        while b - a > INSERTION_LIMIT and limit:
            if not self.tied[self.item[a:b]].any():
                self.arrange(a, b, np.argsort(self.key[a:b]))
                return
            if not balanced:
                self.break_patterns(a, b)
                limit -= 1
            pivot, swaps, most = self.choose_pivot(a, b)
            ascending = swaps == 0
            if swaps == most:
                self.arrange(a, b, np.arange(b - a)[::-1])
                pivot, ascending = b - 1 - (pivot - a), True
            if balanced and partitioned and ascending and self.nearly_sorted(a, b):
                return
            if a > 0 and self.key[a - 1] >= self.key[pivot]:
                a = self.partition(a, b, pivot, equal=True)[0] + 1
                continue
            middle, partitioned = self.partition(a, b, pivot, equal=False)
            left, right = middle - a, b - middle
            balanced = min(left, right) >= (b - a) // 8
            if left < right:
                self.sort(a, middle, limit)
                a = middle + 1
            else:
                self.sort(middle + 1, b, limit)
                b = middle
        if b - a > INSERTION_LIMIT:
            self.heap_sort(a, b)
        else:  # insertion is stable
            self.arrange(a, b, np.argsort(self.key[a:b], kind="stable"))

    def arrange(self, a: int, b: int, order: I8) -> None:
        """Put the elements of a range into another order."""
        for column in (self.key, self.item):
            column[a:b] = column[a:b][order]

    def partition(self, a: int, b: int, pivot: int, *, equal: bool) -> tuple[int, bool]:
        """Move what is below the pivot (with `equal`: not above it) before all else.

        Returns the pivot's new position (with `equal` the last one of those moved), and whether
        everything was in place.
        """
        self.swap(a, pivot)
        low = self.key[a + 1 : b] <= self.key[a] if equal else self.key[a + 1 : b] < self.key[a]
        from_left, from_right = np.flatnonzero(~low), np.flatnonzero(low)[::-1]
        count = min(len(from_left), len(from_right))
        crossed = np.flatnonzero(from_left[:count] > from_right[:count])
        count = int(crossed[0]) if len(crossed) else count
        left, right = from_left[:count] + a + 1, from_right[:count] + a + 1
        for column in (self.key, self.item):
            column[left], column[right] = column[right], column[left]
        middle = a + len(from_right)
        if not equal:
            self.swap(middle, a)
        return middle, count == 0

    def choose_pivot(self, a: int, b: int) -> tuple[int, int, int]:
        """A pivot, the exchanges it took to find it, and how many there are at most."""
        quarter = (b - a) // 4
        picks, swaps = [a + quarter * n for n in (1, 2, 3)], 0
        if b - a >= NINTHER_LIMIT:
            for n, pick in enumerate(picks):
                picks[n], more = self.median(pick - 1, pick, pick + 1)
                swaps += more
        pivot, more = self.median(*picks)
        return pivot, swaps + more, 12

    def median(self, *places: int) -> tuple[int, int]:
        """The position of the median of three, and the exchanges it took."""
        order, swaps = list(places), 0
        for first in (0, 1, 0):
            x, y = order[first : first + 2]
            if self.key[y] < self.key[x]:
                order[first : first + 2] = y, x
                swaps += 1
        return order[1], swaps

    def nearly_sorted(self, a: int, b: int) -> bool:
        """Try to finish with a few shifts; whether that worked."""
        at = a + 1
        for _ in range(MOST_SHIFTS):
            falls = np.flatnonzero(self.key[at:b] < self.key[at - 1 : b - 1])
            if not len(falls):
                return True
            at += int(falls[0])
            if b - a < NINTHER_LIMIT:
                return False
            self.swap(at, at - 1)
            if at - a >= 2:
                self.shift(range(at - 1, 0, -1))
            if b - at >= 2:
                self.shift(range(at + 1, b))
        return False

    def shift(self, places: range) -> None:
        """Exchange neighbours, place after place, as long as they are out of order."""
        for place in places:
            if self.key[place] >= self.key[place - 1]:
                break
            self.swap(place, place - 1)

    def break_patterns(self, a: int, b: int) -> None:
        """Scatter three elements of the middle, by xorshift with the length as the seed."""
        length = b - a
        state, mask = length, (1 << length.bit_length()) - 1
        middle = a + length // 4 * 2
        for place in range(middle - 1, middle + 2):
            state ^= state << 13 & WORD
            state ^= state >> 7
            state ^= state << 17 & WORD
            other = state & mask
            self.swap(place, a + (other - length if other >= length else other))

    def heap_sort(self, a: int, b: int) -> None:
        """The way out when too many pivots were bad."""
        for root in range((b - a - 1) // 2, -1, -1):
            self.sift_down(root, b - a, a)
        for end in range(b - a - 1, -1, -1):
            self.swap(a, a + end)
            self.sift_down(0, end, a)

    def sift_down(self, root: int, end: int, first: int) -> None:
        """Restore the heap below `root`."""
        while (child := 2 * root + 1) < end:
            if child + 1 < end and self.key[first + child] < self.key[first + child + 1]:
                child += 1
            if self.key[first + root] >= self.key[first + child]:
                return
            self.swap(first + root, first + child)
            root = child
