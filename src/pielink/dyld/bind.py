"""The bind stream of LC_DYLD_INFO: which pointers dyld fills with symbols of which libraries.

`bindings` explains the opcodes. The order of the binds is free, and decides the size: a symbol's
name is written once if its binds are together; beyond that the encoder weighs switches of library
and addend against moves of the address, for several orders, and takes the best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.dyld import bind_writer
from pielink.dyld.bind_order import good_orders
from pielink.dyld.columns import ALIGNED_BIND, BIND_TYPES, LOCATION_MASK, Rows, location_keys
from pielink.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from pielink.dyld.stream import Opcode


def encode(rows: Rows, names: Sequence[bytes]) -> bytes:
    """Encode the rows.

    rows: (n,) BIND, in any order; a row given twice counts once. names: what the column `name`
    indexes; a name must not hold a NUL and should be listed once. The stream ends with DONE and is
    not padded; no rows give no bytes.
    Raises DyldInfoError for a row that no opcode can express, or if two different rows have one
    location.
    """
    if not len(rows):
        return b""
    rows = rows.astype(ALIGNED_BIND)
    bind_writer.check_rows(rows, names)
    key = location_keys(rows, BIND_TYPES) & LOCATION_MASK
    rows = rows[bind_writer.unique_locations(rows, key)]
    streams = [bind_writer.emit(rows[order], names, ordinals=True) for order in good_orders(rows)]
    return min(streams, key=len)


def decode(data: bytes, segment_sizes: Sequence[int] | None = None) -> tuple[Rows, list[bytes]]:
    """Decode a stream: ((n,) BIND in stream order, names).

    names holds every symbol that the stream sets, each once. segment_sizes: bytes in memory of
    each segment; a location must then lie inside its segment. Without them any offset below 2**58
    is let through. At most 2**24 locations are.
    Raises DyldInfoError with the offset in the stream of the opcode at fault.
    """
    from pielink.dyld import bindings, stream  # what writes streams starts sooner without them

    state = bindings.run(data)
    does = np.flatnonzero(state.count)
    at = state.stream.offset[does]
    stream.refuse(at, ~state.has_ordinal[does], "a bind comes before any SET_DYLIB_ORDINAL")
    rows, names, _ = bindings.rows_of(state, does, segment_sizes)
    return rows, names


def opcodes(data: bytes) -> list[Opcode]:
    """The opcodes one by one, DONE included, for people who debug an encoder.

    Raises DyldInfoError for a stream that is malformed as such.
    """
    from pielink.dyld import bindings

    return bindings.listing(data)
