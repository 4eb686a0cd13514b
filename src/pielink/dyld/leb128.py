"""LEB128: integers as little-endian groups of 7 bits, the high bit of a byte set if more follow.

ULEB is unsigned. SLEB is two's complement: bit 6 of the last byte is the sign. Nothing here loops
over values; the loops run over the at most ten bytes of one value.

Source: DWARF 5, section 7.6; dyld's read_uleb128 and read_sleb128 (mach_o/Misc.cpp).
"""

from __future__ import annotations

import numpy as np

from pielink.arraytypes import I1, I8, U1, U8, Bool, NDArray
from pielink.hints import Any

MAX_SIZE = 10  # bytes that 64 bits need


def uleb_sizes(values: NDArray[Any]) -> I1:
    """Bytes that each value (unsigned or not negative) takes as a ULEB, 1..10: same shape."""
    sizes = np.ones(values.shape, np.int8)
    top = int(values.max()) if values.size else 0
    for shift in range(7, 64, 7):
        if top >> shift == 0:
            break
        sizes += values >= values.dtype.type(1 << shift)
    return sizes


def sleb_sizes(values: I8) -> I1:
    """Bytes that each value (int64) takes as an SLEB, 1..10: same shape."""
    magnitude = (values ^ (values >> np.int64(63))).view(np.uint64)
    return uleb_sizes(magnitude << np.uint64(1))  # one more bit: the sign


def put(out: U1, positions: I8, values: NDArray[Any], sizes: NDArray[Any]) -> None:
    """Write values (n, 64-bit; signed ones as SLEB) at byte positions of out, each in its size."""
    for group in range(int(sizes.max()) if len(sizes) else 0):
        if group:
            longer = np.flatnonzero(sizes > group)
            positions, values, sizes = positions[longer], values[longer], sizes[longer]
        bits = (values >> values.dtype.type(7 * group)).astype(np.uint8)
        more = (sizes > group + 1).astype(np.uint8) << np.uint8(7)
        out[positions + group] = (bits & np.uint8(0x7F)) | more


def get(data: U1, starts: I8, sizes: I8) -> U8:
    """Read ULEBs that start at byte positions of data and have the sizes (n, 1..10): (n,) uint64.

    Bits above 63 are dropped; `overflows` finds them.
    """
    values = np.zeros(len(starts), np.uint64)
    for group in range(int(sizes.max()) if len(sizes) else 0):
        rows = np.flatnonzero(sizes > group) if group else slice(None)
        bits = data[starts[rows] + group].astype(np.uint64) & np.uint64(0x7F)
        values[rows] |= bits << np.uint64(7 * group)
    return values


def overflows(data: U1, starts: I8, sizes: I8, signed: Bool) -> Bool:
    """Which numbers do not fit into 64 bits: (n,) bool. signed: (n,), which are SLEBs."""
    bad: Bool = sizes > MAX_SIZE
    full = np.flatnonzero(sizes == MAX_SIZE)
    last = data[starts[full] + MAX_SIZE - 1]
    bad[full] = np.where(signed[full], (last != 0) & (last != 0x7F), last > 1)
    return bad


def sign_extend(values: U8, sizes: I8) -> I8:
    """Turn values that `get` read from SLEBs of these sizes into signed ones: (n,) int64."""
    spare = np.maximum(64 - 7 * sizes, 0).astype(np.int64)
    return (values.view(np.int64) << spare) >> spare
