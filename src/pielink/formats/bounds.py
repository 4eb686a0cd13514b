"""Records out of bytes that nobody vouches for: every read checks its range first."""

from __future__ import annotations

import numpy as np

from pielink.arraytypes import NDArray
from pielink.errors import FormatError
from pielink.hints import Any

Bytes = NDArray[np.uint8]
Rows = NDArray[np.void]


def as_bytes(data: Any) -> Bytes:
    """Return any bytes-like object (also a mapped file) as a flat uint8 array, without a copy."""
    return np.frombuffer(data, dtype=np.uint8)


def check_range(data: Bytes, offset: int, size: int, what: str, file: str) -> None:
    """Raise FormatError unless the `size` bytes at `offset` lie inside `data`."""
    if offset < 0 or size < 0 or offset + size > len(data):
        raise FormatError(
            f"{what} ({size} bytes) reaches past the end of the file ({len(data)} bytes)",
            file,
            offset,
        )


def records(
    data: Bytes, offset: int, count: int, dtype: np.dtype[Any], what: str, file: str
) -> NDArray[Any]:
    """Return `count` rows of `dtype` at byte `offset` of `data`, as a view.

    Raises FormatError, naming `file` and `what`, when they do not fit.
    """
    check_range(data, offset, count * dtype.itemsize, what, file)
    if not count:
        return np.zeros(0, dtype)
    return np.frombuffer(data, dtype, count, offset)


def record(data: Bytes, offset: int, dtype: np.dtype[Any], what: str, file: str) -> Any:
    """Return the one `dtype` record at byte `offset` of `data`; raises FormatError like records."""
    return records(data, offset, 1, dtype, what, file)[0]


def c_strings(
    data: Bytes, starts: NDArray[Any], end: int, what: str, file: str
) -> NDArray[np.int64]:
    """Return the length of each NUL-terminated string that starts at `starts` (offsets in `data`).

    The terminator must come before `end`. Raises FormatError for a start outside or a string that
    does not end.
    """
    if not len(starts):
        return np.zeros(0, np.int64)
    low = int(starts.min())
    high = int(starts.max())
    if low < 0 or high >= end:
        raise FormatError(f"{what} starts outside the string table", file, max(high, 0))
    terminators = np.flatnonzero(data[low:end] == 0) + low
    following = np.searchsorted(terminators, starts)
    if len(terminators) == 0 or int(following.max()) == len(terminators):
        raise FormatError(f"{what} has no terminating NUL", file, high)
    lengths: NDArray[np.int64] = (terminators[following] - starts).astype(np.int64)
    return lengths


def c_string(data: Bytes, offset: int, end: int, what: str, file: str) -> bytes:
    """Return the NUL-terminated string at `offset`; it must end before `end`."""
    length = int(c_strings(data, np.array([offset]), end, what, file)[0])
    return data[offset : offset + length].tobytes()
