"""Array idioms against what Python's own containers say."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pielink.arrays import (
    among,
    append,
    changes,
    classes,
    differences,
    distinct,
    first_equal,
    isin,
    ranges,
    split,
    without,
)


@pytest.mark.parametrize("count", [0, 1, 2, 50, 3000])
def test_idioms_equal_their_plain_twins(count: int) -> None:
    rng = random.Random(count)
    values = [rng.randrange(count or 1) for _ in range(count)]
    array = np.array(values, np.int64)
    assert distinct(array).tolist() == sorted(set(values))
    for some in ([], sorted(rng.choices(range(-1, count + 9), k=7))):
        found = among(array, np.array(some, np.int64))
        assert found.tolist() == [value in some for value in values]
    first = {value: at for at, value in reversed(list(enumerate(values)))}
    assert first_equal(array.astype(np.uint64)).tolist() == [first[value] for value in values]
    sizes = [rng.randrange(4) for _ in values]
    elements, source = ranges(array, np.array(sizes, np.int64))
    wanted = [(v + i, s) for s, v in enumerate(values) for i in range(sizes[s])]
    assert list(zip(elements.tolist(), source.tolist(), strict=True)) == wanted


@pytest.mark.parametrize("count", [0, 1, 2, 50, 3000])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, [("a", "<u4"), ("b", "u1")]])
def test_idioms_equal_those_of_numpy(count: int, dtype: object) -> None:
    rng = np.random.default_rng(count)
    values = rng.integers(0, count // 2 + 1, count).astype(np.uint8).astype(dtype)
    index, inverse = np.unique(values, return_index=True, return_inverse=True)[1:]
    for mine, theirs in zip(classes(values), (values[index], index, inverse), strict=True):
        assert (mine == theirs).all()
    rows = rng.integers(0, count, count // 3)
    assert (without(values, rows) == np.delete(values, rows)).all()
    assert (append(values, values[:1]) == np.append(values, values[:1])).all()
    heads = np.unique(rows)
    for mine, theirs in zip(split(values, heads), np.split(values, heads), strict=True):
        assert (mine == theirs).all()
    plain = [True, *(values[i] != values[i - 1] for i in range(1, count))][:count]
    assert changes(values).tolist() == plain


@pytest.mark.parametrize("wanted", [[], [3], [5, 1, 5], list(range(40, 0, -2))])
def test_isin(wanted: list[int]) -> None:
    values = np.arange(50).reshape(10, 5) % 23
    assert (isin(values, wanted) == np.isin(values, wanted)).all()
    assert (isin(values, np.array(wanted, np.int64)) == np.isin(values, wanted)).all()


def test_differences() -> None:
    values = np.array([2, 7, 7, 1])
    assert differences(values).tolist() == [5, 0, -6]
    assert differences(values, before=-1, end=4).tolist() == [3, 5, 0, -6, 3]
    assert differences(values[:0], before=3, end=4).tolist() == [1]
    assert differences(values[:0]).tolist() == []
    assert append(True, np.array([False])).tolist() == [True, False]
