"""Array idioms against what Python's own containers say."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pielink.arrays import among, distinct, first_equal, ranges


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
