"""The columns that the opcode codecs take and give, and what both encoders do with locations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arraytypes import I8, U1, U8, NDArray
from pielink.dyld.errors import DyldInfoError
from pielink.formats import macho
from pielink.hints import Any

# One pointer (8 bytes) to slide. segment: index of the LC_SEGMENT_64, 0..15; type: REBASE_TYPE_*;
# offset: bytes from the start of the segment.
REBASE = np.dtype([("segment", "u1"), ("type", "u1"), ("offset", "<u8")])

# One pointer (8 bytes) to fill with a symbol's address plus the addend. segment and offset as in
# REBASE; type: BIND_TYPE_*; flags: BIND_SYMBOL_FLAGS_*; ordinal: of the library in the order of
# the load commands from 1, or BIND_SPECIAL_DYLIB_* (0, -1..-3); name: index into a list of names.
BIND = np.dtype(
    [
        ("segment", "u1"),
        ("type", "u1"),
        ("flags", "u1"),
        ("ordinal", "<i4"),
        ("name", "<u4"),
        ("addend", "<i8"),
        ("offset", "<u8"),
    ]
)

# BIND for arithmetic: columns at multiples of their size are several times as fast to go through.
ALIGNED_BIND = np.dtype([(name, BIND[name]) for name in BIND.names or ()], align=True)

REBASE_TYPES = range(macho.REBASE_TYPE_POINTER, macho.REBASE_TYPE_TEXT_PCREL32 + 1)
BIND_TYPES = range(macho.BIND_TYPE_POINTER, macho.BIND_TYPE_TEXT_PCREL32 + 1)
POINTER_SIZE = 8
MAX_SEGMENT = 15  # an immediate
MAX_OFFSET_BITS = 58  # leaves room for segment and type in one sort key; VM addresses have 47
MAX_OFFSET = (1 << MAX_OFFSET_BITS) - 1
MAX_ROWS = 1 << 24  # pointers that a stream may name: 128 MiB of them
LOCATION_MASK = np.uint64((1 << MAX_OFFSET_BITS + 4) - 1)  # a location key without the type

Rows = NDArray[Any]


def location_keys(rows: Rows, types: range) -> U8:
    """(type, segment, offset) of each row as one integer that sorts like the triple: (n,) uint64.

    Raises DyldInfoError naming the first row that no opcode can express.
    """
    if not len(rows):
        return np.zeros(0, np.uint64)
    segment, kind, offset = rows["segment"], rows["type"], rows["offset"].astype(np.uint64)
    for column, least, most, what in (
        (segment, 0, MAX_SEGMENT, f"the segment index is above {MAX_SEGMENT}"),
        (kind, types.start, types.stop - 1, "the type is unknown"),
        (offset, 0, MAX_OFFSET, f"the offset needs over {MAX_OFFSET_BITS} bits"),
    ):
        if int(column.min()) < least or int(column.max()) > most:
            row = int(np.flatnonzero((column < least) | (column > most))[0])
            raise DyldInfoError(f"row {row} cannot be encoded: {what}")
    place: U8 = (kind << 4 | segment).astype(np.uint64)
    place <<= np.uint64(MAX_OFFSET_BITS)
    return np.bitwise_or(place, offset, out=place)


def check_limits(
    opcode_at: I8,
    segment: U1,
    repeats: tuple[U8, U8, U8],
    segment_sizes: Sequence[int] | None,
) -> None:
    """Check that repeats of locations lie inside their segments, before they are expanded.

    opcode_at: (n,) stream offsets to blame; repeats: the offset of the first location, how many
    locations, bytes from one to the next modulo 2**64, (n,) each. segment_sizes: bytes of each
    segment, or None to allow any offset below 2**58. There may be MAX_ROWS locations at most.
    Raises DyldInfoError for the first opcode that leaves its segment or names too many locations.
    """
    start, count, stride = repeats
    sizes, limit = _limits(segment_sizes)
    room = sizes[segment] - POINTER_SIZE
    steps = np.minimum(count, np.uint64(limit + 1)).astype(np.int64) - 1
    distance = stride.view(np.int64)
    # The product is looked at as a float first: in 64 bits it wraps if it is far outside.
    wide = np.abs(distance.astype(np.float64)) * steps > float(1 << 59)
    begin = start.view(np.int64)
    last = begin + np.where(wide, 0, distance) * steps
    outside = wide | (begin < 0) | (begin > room) | (last < 0) | (last > room)
    total = np.cumsum(np.minimum(count, np.uint64(limit + 1)).astype(np.float64))
    problems = np.flatnonzero((outside & (count > 0)) | (total > limit))
    if len(problems):
        at = problems[0]
        what = f"a fixup lies outside segment {segment[at]}"
        if not outside[at]:
            what = f"the stream names more than {limit} locations"
        raise DyldInfoError(what, offset=int(opcode_at[at]))


def _limits(segment_sizes: Sequence[int] | None) -> tuple[I8, int]:
    """Bytes of each of 256 segments, and how many locations there may be in all."""
    if segment_sizes is None:
        return np.full(256, 1 << MAX_OFFSET_BITS, np.int64), MAX_ROWS
    known = [min(size, 1 << MAX_OFFSET_BITS) for size in segment_sizes[:256]]
    sizes = np.zeros(256, np.int64)
    sizes[: len(known)] = known
    return sizes, min(sum(known) // POINTER_SIZE, MAX_ROWS)


def expand(start: U8, count: U8, stride: U8) -> U8:
    """The offsets of each repeat's locations, one repeat behind the other: (sum of count,).

    count: all above 0.
    """
    times = count.astype(np.int64)
    if not len(times) or int(times.max()) == 1:
        return start
    # Each location's distance from the one before it, summed up.
    steps = np.repeat(stride, times)
    ends = np.cumsum(times)
    steps[0] = start[0]
    steps[ends[:-1]] = start[1:] - (start[:-1] + stride[:-1] * (count[:-1] - np.uint64(1)))
    return np.cumsum(steps)
