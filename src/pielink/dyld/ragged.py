"""Arrays of ranges of different lengths, written out flat."""

from __future__ import annotations

import numpy as np

from pielink.arraytypes import I8


def ranges(starts: I8, counts: I8) -> I8:
    """starts[i], starts[i] + 1, ... (counts[i] of them, may be 0) for each i in a row."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    flat: I8 = np.arange(total) + np.repeat(starts - (ends - counts), counts)
    return flat
