"""Copying many byte ranges at once, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pielink.blocks import LARGE, copy_ranges

SIZES = st.one_of(
    st.integers(0, 70), st.sampled_from([LARGE - 1, LARGE, LARGE + 1, 2 * LARGE - 1, 3 * LARGE])
)


@given(st.lists(st.tuples(SIZES, st.integers(0, 5)), max_size=12), st.randoms())
def test_equals_a_loop(ranges: list[tuple[int, int]], rng: object) -> None:
    source = np.random.default_rng(len(ranges)).integers(0, 256, 4 * LARGE, dtype=np.uint8)
    size = np.array([n for n, _ in ranges], np.int64)
    gap = np.array([g for _, g in ranges], np.int64)
    target_offset = np.cumsum(size + gap) - size
    source_offset = np.array([(len(source) - n) * (g + 1) // 7 for n, g in ranges], np.int64)
    order = list(range(len(ranges)))
    rng.shuffle(order)  # type: ignore[attr-defined]
    expected = np.zeros(int((size + gap).sum()), np.uint8)
    for to, start, count in zip(target_offset, source_offset, size, strict=True):
        expected[to : to + count] = source[start : start + count]
    made = np.zeros_like(expected)
    copy_ranges(made, target_offset[order], source, source_offset[order], size[order])
    assert np.array_equal(made, expected)


@pytest.mark.parametrize(("to", "start"), [(-1, 0), (0, -1), (8, 0), (0, 8)])
def test_a_range_outside_is_an_error(to: int, start: int) -> None:
    data = np.zeros(10, np.uint8)
    with pytest.raises(IndexError, match="leaves its array"):
        copy_ranges(data, np.array([to]), data.copy(), np.array([start]), np.array([3]))
