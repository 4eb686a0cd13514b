"""Many ranges of rows at once: the step from a row to the rows that it owns in another table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pielink.tables import I4, I8


def spans(start: npt.NDArray[np.integer], count: npt.NDArray[np.integer]) -> tuple[I8, I4]:
    """Join the ranges start[i] : start[i] + count[i]; also say which i each element came from.

    Returns (index, owner), both of length count.sum(): spans([7, 3], [2, 1]) is
    ([7, 8, 3], [0, 0, 1]).
    """
    ends = np.cumsum(count, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    owner = np.repeat(np.arange(len(count), dtype=np.int32), count)
    index = np.repeat(start - (ends - count), count)
    index += np.arange(total)
    return index, owner
