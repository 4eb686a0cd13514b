"""Columns that grow: appending to a long column a few times without copying it each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arraytypes import NDArray
from pielink.hints import Any

_SHARE = 16  # of the rows that a column has, so many are made room for


class _Room(np.ndarray[Any, Any]):
    """The memory of a column, longer than the column. used: rows that some column has taken."""

    used: int


def grown(head: NDArray[Any], tails: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The column `head` with the rows of the tails behind it, of the dtype of `head`.

    A column that grew already has room behind it. It grows on in place if no other column has taken
    that room; both then share the rows of `head`.
    """
    end = len(head)
    stop = end + sum(map(len, tails))
    whole = head.base  # a plain view of a _Room, if `head` grew already
    room = None if whole is None else whole.base
    if (
        whole is None
        or not isinstance(room, _Room)
        or room.used != end
        or stop > len(room)
        or head.strides != room.strides
    ):
        room = _Room((stop + end // _SHARE, *head.shape[1:]), head.dtype)
        whole = room.view(np.ndarray)
        whole[:end] = head
    for tail in tails:
        whole[end : end + len(tail)] = tail
        end += len(tail)
    room.used = stop
    column: NDArray[Any] = whole[:stop]
    return column
