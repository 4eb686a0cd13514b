"""Rows of tables: chosen, joined, changed, and those of symbols that the linker makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import differences
from pielink.arraytypes import I4, U1
from pielink.growth import grown
from pielink.hints import Any, TypeVar
from pielink.record import NamedTuple, fields, replace
from pielink.tables import ABI0, Memory, Reloc, Relocs, Symbols


class NewReloc(NamedTuple):
    """One relocation of a symbol that the linker makes; see Relocs for the fields."""

    offset: int
    target: int
    type: Reloc = Reloc.ADDR
    size: int = 8
    addend: int = 0


class NewSymbol(NamedTuple):
    """A symbol that the linker makes, to be appended to Symbols by `extend`."""

    name: str
    kind: int  # of Kind
    content: bytes | U1 = b""
    size: int = -1  # -1: the size of the content
    align: int = 0
    local: bool = False
    version: int = ABI0
    relocs: Sequence[NewReloc] | Relocs = ()  # owners do not matter


T = TypeVar("T")


def take(table: T, rows: Any) -> T:
    """The table with these rows only (an index array, a mask or a slice)."""
    columns = (getattr(table, name) for name in fields(table))
    if isinstance(rows, np.ndarray) and rows.dtype != np.bool_:
        return type(table)(*(column.take(rows, axis=0) for column in columns))
    return type(table)(*(column[rows] for column in columns))


def concatenate(first: T, *others: T) -> T:
    """The rows of all tables; dtypes are those of the first, which may share its rows (`grown`)."""
    columns = []
    for name in fields(first):
        tails = [np.asarray(getattr(other, name)) for other in others]
        columns.append(grown(getattr(first, name), tails))
    return type(first)(*columns)


_SYMBOL_DTYPES = (  # of the columns of Symbols, in order
    *(np.int32, np.int32, np.int64, np.uint32, np.uint16),
    *(np.uint8, np.uint8, np.uint8, np.bool_, np.int64, np.uint32),
    *[np.int64] * 6,
)


def symbol_rows(count: int, **columns: Any) -> Symbols:
    """`count` rows of Symbols with these columns (anything array-like); the others are zeros."""
    blank = Symbols(*(np.zeros(count, dtype) for dtype in _SYMBOL_DTYPES))
    typed = {n: np.asarray(column, getattr(blank, n).dtype) for n, column in columns.items()}
    return with_columns(blank, **typed)


def extend(
    symbols: Symbols, relocs: Relocs, memory: Memory, new: list[NewSymbol]
) -> tuple[Symbols, Relocs]:
    """Append symbols made by the linker; their rows start at len(symbols), in list order."""
    rows = range(len(symbols), len(symbols) + len(new))
    added, added_relocs = made_rows(memory, new, rows, len(relocs))
    return concatenate(symbols, added), concatenate(relocs, *added_relocs)


def made_rows(
    memory: Memory, new: Sequence[NewSymbol], rows: Sequence[int], first_reloc: int
) -> tuple[Symbols, list[Relocs]]:
    """Symbols made by the linker as rows of tables; their names and contents go into the memory.

    `rows` are those of Symbols that they will have, `first_reloc` that of Relocs from which on the
    second result, a table for each symbol with relocations, will follow.
    """
    count = len(new)
    names = [s.name.encode("utf-8", "surrogateescape") for s in new]
    start = np.cumsum([0, *(len(s.relocs) for s in new)]) + first_reloc
    added = symbol_rows(
        count,
        name_offset=memory.add_names(names),
        name_size=[len(n) for n in names],
        version=[s.version for s in new],
        kind=[s.kind for s in new],
        local=[s.local for s in new],
        size=[s.size if s.size >= 0 else len(s.content) for s in new],
        align=[s.align for s in new],
        data_offset=[memory.add(s.content) if len(s.content) else 0 for s in new],
        data_size=[len(s.content) for s in new],
        reloc_start=start[:-1],
        reloc_count=differences(start),
    )
    owned = [(row, s.relocs) for row, s in zip(rows, new, strict=True) if len(s.relocs)]
    return added, [_owned_by(*own) for own in owned]


def _owned_by(row: int, relocs: Sequence[NewReloc] | Relocs) -> Relocs:
    if isinstance(relocs, Relocs):
        return with_columns(relocs, owner=np.full(len(relocs), row, np.int32))
    columns = zip(*relocs, strict=True)
    dtypes = (np.int32, np.int32, np.uint16, np.uint8, np.int64)
    offset, target, kind, size, addend = map(np.array, columns, dtypes)
    weak = np.zeros(len(relocs), np.bool_)
    owner = np.full(len(relocs), row, np.int32)
    return Relocs(owner, offset, size, kind, weak, addend, target)


def pointer_table(targets: I4, size: int = 8, kind: Reloc = Reloc.ADDR) -> Relocs:
    """Relocations of a table whose entries of `size` bytes refer to one row of Symbols each."""
    count = len(targets)
    return Relocs(
        owner=np.zeros(count, np.int32),
        offset=np.arange(count, dtype=np.int32) * size,
        size=np.full(count, size, np.uint8),
        type=np.full(count, kind, np.uint16),
        weak=np.zeros(count, np.bool_),
        addend=np.zeros(count, np.int64),
        target=targets.astype(np.int32),
    )


def with_columns(table: T, **columns: Any) -> T:
    """A copy of a table with some columns replaced."""
    return replace(table, **columns)
