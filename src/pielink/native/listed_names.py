"""The names in the lists of text stubs, found without an object for each of them.

A stub of libSystem lists ten thousand names, and a link asks for some dozens of them. Where each
name begins and ends is found for all lists at once, as columns, and an index finds names. That is
for lists as tapi writes them: names without commas and spaces, plain or in single quotes, between
commas and white space (formats/stub_text.py has the whole grammar).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import append
from pielink.arraytypes import I8, U1
from pielink.names import NameIndex, keys
from pielink.record import NamedTuple
from pielink.tables import Memory

_NEWLINE, _SPACE, _DOLLAR, _QUOTE, _COMMA = b"\n $',"
_PADDING = bytes(16)  # words are read beyond the last name


class Outline(NamedTuple):
    """Where names are in a text: (n,) columns. `unusual` are the lists that are not as above."""

    text: U1
    start: I8
    end: I8
    owner: I8  # number of the list
    unusual: tuple[int, ...]


class ListedNames:
    """Finds names in lists; of several that have a name, the first one counts.

    The lists are given by what is between their brackets. Those that are `unusual` are left out.
    """

    def __init__(self, lists: Sequence[bytes]) -> None:
        text, start, end, owner, self.unusual = outline(lists)
        size = (end - start).astype(np.uint32)
        version, row = np.zeros(len(start), np.uint16), np.arange(1, len(start) + 1, dtype=np.int32)
        memory = Memory(text, len(text))
        key = keys(memory, start, size, version)
        self._index = NameIndex(memory, row, key, start, size, version)
        self._owner = owner

    def find(self, name: bytes) -> int:
        """The number of the first list that has `name`; -1 if none has it."""
        row = self._index.find(name, 0)
        return int(self._owner[row - 1]) if row else -1


def outline(lists: Sequence[bytes]) -> Outline:
    """Where the names of these lists are; those of unusual lists are left out."""
    joined = b",".join([b"", *lists, b""])
    text = np.frombuffer(joined + _PADDING, np.uint8)
    first = np.cumsum([1, *(len(each) + 1 for each in lists)])  # of each list; behind the last
    within = text[: len(joined)]
    # In ASCII the letters, digits, and most marks that names have come behind the comma.
    in_name = (text > _COMMA) | (text == _DOLLAR)
    edges = np.flatnonzero(in_name[1:] != in_name[:-1]) + 1
    start, end = edges[0::2], edges[1::2]
    quoted, closed = text.take(start - 1) == _QUOTE, text.take(end) == _QUOTE
    wrong = quoted != closed
    wrong[_unseparated(joined, start, end + closed, text)] = True
    stray = ~(in_name[: len(joined)] | (within == _SPACE) | (within == _COMMA) | (within == _QUOTE))
    stray &= within != _NEWLINE
    places = np.concatenate([start.compress(wrong), np.flatnonzero(stray)])
    owner = np.searchsorted(first, start, "right") - 1
    quotes = np.searchsorted(first, np.flatnonzero(within == _QUOTE), "right") - 1
    pairs = np.bincount(owner.compress(quoted), minlength=len(lists))
    unusual = np.bincount(quotes, minlength=len(lists)) != 2 * pairs
    unusual[np.searchsorted(first, places, "right") - 1] = True
    usual = ~unusual.take(owner)
    columns = (start.compress(usual), end.compress(usual), owner.compress(usual))
    return Outline(text, *columns, tuple(np.flatnonzero(unusual).tolist()))


def _unseparated(joined: bytes, start: I8, after: I8, text: U1) -> list[int]:
    """The names that no comma follows; nearly always one follows at once."""
    doubtful = np.flatnonzero(text.take(after) != _COMMA)
    following = append(start, len(joined)).take(doubtful + 1)
    places = zip(doubtful.tolist(), after.take(doubtful).tolist(), following.tolist(), strict=True)
    return [row for row, at, stop in places if not joined[at:stop].lstrip().startswith(b",")]
