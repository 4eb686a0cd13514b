"""The weak-bind stream of LC_DYLD_INFO: pointers to symbols that are coalesced across images.

The opcodes are those of `bindings`, without library ordinals: dyld looks in all images that take
part. A SET_SYMBOL with the flag NON_WEAK_DEFINITION and no bind behind it says that this image
defines the symbol strongly and so overrides weak definitions elsewhere.

Symbols ascend by name, compared as bytes: dyld up to macOS 11 merges the streams of all images in
step (`ImageLoaderMachOCompressed::incrementCoalIterator`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import classes, distinct, isin
from pielink.arraytypes import I8, U4
from pielink.dyld import bind_writer, bindings
from pielink.dyld.columns import BIND, BIND_TYPES, LOCATION_MASK, Rows, location_keys
from pielink.dyld.stream import Opcode
from pielink.formats import macho

STRONG = macho.BIND_SYMBOL_FLAGS_NON_WEAK_DEFINITION
NO_TYPE = 0  # the type of a row that is a strong definition and no bind


def encode(rows: Rows, names: Sequence[bytes]) -> bytes:
    """Encode the rows.

    rows: (n,) BIND, in any order; a row given twice counts once; the column `ordinal` is not
    looked at. A row of type 0 with the flag NON_WEAK_DEFINITION is a strong definition: only its
    name and flags count. names: as in `bind.encode`. No rows give no bytes.
    Raises DyldInfoError for a row that no opcode can express, or if two different rows have one
    location.
    """
    if not len(rows):
        return b""
    rows = rows.copy()
    rows["ordinal"] = macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP
    bind_writer.check_rows(rows, names)
    strong = (rows["type"] == NO_TYPE) & (rows["flags"] & STRONG > 0)
    binds = rows[~strong]
    if len(binds):
        key = location_keys(binds, BIND_TYPES) & LOCATION_MASK
        binds = binds[bind_writer.unique_locations(binds, key)]
    key = distinct(rows["name"][strong].astype(np.uint64) << 8 | rows["flags"][strong])
    definitions = np.zeros(len(key), BIND)
    definitions["name"], definitions["flags"] = key >> 8, key & 0xFF
    ordered = np.concatenate([definitions, binds], dtype=BIND)
    keys = ("addend", "type", "flags")  # stable: locations stay ascending, definitions in front
    order = np.lexsort([*(ordered[key] for key in keys), _ranks(ordered["name"], names)])
    return bind_writer.emit(ordered[order], names, ordinals=False)


def _ranks(column: U4, names: Sequence[bytes]) -> I8:
    """The place of each row's name among all of the column's names in order of bytes: (n,)."""
    used, _, index = classes(column)
    by_name = sorted(range(len(used)), key=list(map(names.__getitem__, used.tolist())).__getitem__)
    rank = np.empty(len(used), np.int64)
    rank[by_name] = np.arange(len(used))
    return rank[index]


def decode(data: bytes, segment_sizes: Sequence[int] | None = None) -> tuple[Rows, list[bytes]]:
    """Decode a stream: ((n,) BIND in stream order, names).

    The ordinal of all rows is BIND_SPECIAL_DYLIB_WEAK_LOOKUP. A strong definition that no bind
    uses is a row of type 0 without location. names, segment_sizes and errors: as in `bind.decode`.
    """
    state = bindings.run(data)
    does = np.flatnonzero(state.count)
    binds, names, opcode = bindings.rows_of(state, does, segment_sizes)
    binds["ordinal"] = macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP
    stream = state.stream
    sets_symbol = stream.opcode == macho.BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM
    at = np.flatnonzero(sets_symbol & (stream.immediate & STRONG > 0))
    at = at[~isin(state.symbol[at], state.symbol[does])]
    definitions = np.zeros(len(at), BIND)
    definitions["flags"] = stream.immediate[at]
    definitions["ordinal"] = macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP
    definitions["name"] = bindings.distinct(state.names)[1][state.symbol[at]]
    rows = np.concatenate([definitions, binds])
    return rows[np.argsort(np.concatenate([at, opcode]), kind="stable")], names


def opcodes(data: bytes) -> list[Opcode]:
    """The opcodes one by one, DONE included, for people who debug an encoder.

    Raises DyldInfoError for a stream that is malformed as such.
    """
    return bindings.listing(data)
