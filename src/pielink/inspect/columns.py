"""The columns that the readers of fixup streams fill, and the error they raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pielink.arraytypes import NDArray
from pielink.errors import FormatError

Columns: TypeAlias = NDArray[Any]  # a structured array

NO_SEGMENT = 255  # no SET_SEGMENT opcode came before
NO_ORDINAL = -1000  # no SET_DYLIB_ORDINAL opcode came before
NO_NAME = 0xFFFFFFFF  # no SET_SYMBOL opcode came before
BIND, WEAK_BIND, LAZY_BIND = 0, 1, 2  # BINDS.kind
WEAK_IMPORT = 1  # BINDS.flags: BIND_SYMBOL_FLAGS_WEAK_IMPORT
NON_WEAK_DEFINITION = 8  # BINDS.flags: BIND_SYMBOL_FLAGS_NON_WEAK_DEFINITION

# As the stream says it. `offset` is in bytes inside the segment; `at` is the offset in the stream
# (or, for chains, the page) of what made the row.
REBASE = np.dtype([("segment", "u1"), ("type", "u1"), ("offset", "<u8"), ("at", "<u4")])
BIND_ROW = np.dtype(
    [
        *(("segment", "u1"), ("type", "u1"), ("flags", "u1"), ("ordinal", "<i4")),
        *(("name", "<u4"), ("addend", "<i8"), ("offset", "<u8"), ("at", "<u4")),
    ]
)
# As the image means it. Addresses are unslid; `name` indexes the list that comes with the rows.
REBASES = np.dtype([("address", "<u8"), ("type", "u1"), ("target", "<u8")])
BINDS = np.dtype(
    [
        *(("address", "<u8"), ("kind", "u1"), ("type", "u1"), ("flags", "u1")),
        *(("ordinal", "<i4"), ("name", "<u4"), ("addend", "<i8")),
    ]
)


@dataclass(frozen=True, slots=True)
class BindRows:
    """BIND_ROW or BINDS rows, and the names that their `name` column indexes.

    `strong` lists the names that a weak bind stream declares as strong definitions.
    """

    rows: Columns
    names: list[bytes]
    strong: tuple[bytes, ...] = ()


class StreamError(FormatError):
    """A fixup stream or trie is malformed. `stream` names it, `kind` the rule that it breaks."""

    def __init__(self, stream: str, kind: str, message: str, offset: int) -> None:
        self.stream, self.kind = stream, kind
        super().__init__(f"{stream} stream: {message}", offset=offset)
