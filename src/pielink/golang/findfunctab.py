"""runtime.findfunctab: from a program counter to the number of its function, in two steps.

Text is cut into buckets of 4096 bytes, each of 16 parts. A bucket has 20 bytes: the number (u4)
of the function at its start, then for each part a byte to add to it, which gives the function at
the start of that part. The runtime walks on from there. The last bucket has bytes only for parts
that exist.

Source: findfunctab in cmd/link/internal/ld/pcln.go, findfunc in runtime/symtab.go.
"""

from __future__ import annotations

import numpy as np

from pielink.errors import LinkError, Problem
from pielink.tables import I8, U1

PART, PARTS = 256, 16  # bytes of code; parts of a bucket


def findfunctab(entry: I8, end: int) -> U1:
    """The table for functions that begin at `entry` (ascending) and fill all up to `end`.

    Addresses in bytes. Raises LinkError if a bucket has more than 256 functions.
    """
    span = end - int(entry[0])
    parts = -(-span // PART)
    position = int(entry[0]) + PART * np.arange(parts)
    number = np.searchsorted(entry, position, side="right") - 1
    number[:1] = 0  # also when the first functions are empty
    bucket = np.arange(parts) // PARTS
    first = number[::PARTS]
    step = number - first[bucket]
    if (step > 0xFF).any():
        worst = int(np.argmax(step > 0xFF))
        raise LinkError(
            [Problem(f"too many functions in a findfunc bucket: {step[worst]} at most 255 fit")]
        )
    table = np.zeros(4 * len(first) + parts, np.uint8)
    whole = 4 + PARTS
    for i in range(4):
        table[i::whole] = first >> 8 * i & 0xFF
    table[np.arange(parts) + 4 * (bucket + 1)] = step
    return table
