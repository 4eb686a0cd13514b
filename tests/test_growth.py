"""Columns that grow in place hold what copies would hold, and take nobody's room."""

from __future__ import annotations

import random

import numpy as np

from pielink.growth import grown


def test_columns_equal_plain_lists_however_they_grow() -> None:
    rng = random.Random(3)
    columns, plain = [np.arange(100, dtype=np.int32)], [list(range(100))]
    for number in range(300):
        at = rng.choice((rng.randrange(len(columns)), len(columns) - 1))
        head, wanted = columns[at], plain[at]
        if number % 7 == 0:
            head, wanted = head[::-1], wanted[::-1]
        elif number % 5 == 0:
            head, wanted = head[1:], wanted[1:]
        tails = [np.full(rng.randrange(4), number + i, np.int64) for i in range(rng.randrange(3))]
        columns.append(grown(head, tails))
        plain.append([*wanted, *(value for tail in tails for value in tail.tolist())])
        assert columns[-1].dtype == np.int32
    assert [column.tolist() for column in columns] == plain


def test_the_second_growth_copies_nothing() -> None:
    first = grown(np.zeros(1000, np.uint8), [np.ones(1, np.uint8)])
    second = grown(first, [np.ones(2, np.uint8)])
    assert np.shares_memory(first, second)
    assert not np.shares_memory(grown(first, [np.full(1, 7, np.uint8)]), second)
    assert second[-2:].tolist() == [1, 1]
