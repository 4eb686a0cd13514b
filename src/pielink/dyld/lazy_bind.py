"""The lazy-bind stream of LC_DYLD_INFO: pointers of stubs, bound when their function is called.

Each row has opcodes of its own, complete in themselves and ended by DONE. The stub helper pushes
the offset of a row's opcodes in this stream and calls dyld_stub_binder, which runs them up to
DO_BIND, always from a fresh machine: so rows share nothing, and the type is a pointer without
being set. The opcodes are those of `bindings`.

Source: ld64's LazyBindingInfoAtom; dyld's mach_o/BindOpcodes.cpp, `hasDoneBetweenBinds`, and
ImageLoaderMachO's `getLazyBindingInfo`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arraytypes import U4
from pielink.dyld import bind_writer, bindings
from pielink.dyld.columns import BIND_TYPES, LOCATION_MASK, Rows, location_keys
from pielink.dyld.errors import DyldInfoError
from pielink.dyld.stream import Opcode, last_true, refuse
from pielink.dyld.writer import assemble, plain
from pielink.formats import macho


def encode(rows: Rows, names: Sequence[bytes]) -> tuple[bytes, U4]:
    """Encode the rows: (stream, offset in bytes of each row's own opcodes, (n,) uint32).

    rows: (n,) BIND of type pointer without addend, in any order; a row given twice is written
    once. Locations ascend in the stream. names: as in `bind.encode`. No rows give no bytes.
    Raises DyldInfoError for a row that cannot be bound lazily, or if two different rows have one
    location.
    """
    if not len(rows):
        return b"", np.zeros(0, np.uint32)
    bind_writer.check_rows(rows, names)
    bad = np.flatnonzero((rows["type"] != macho.BIND_TYPE_POINTER) | (rows["addend"] != 0))
    if len(bad):
        raise DyldInfoError(f"row {bad[0]} cannot be bound lazily: it needs an addend or a type")
    key = location_keys(rows, BIND_TYPES) & LOCATION_MASK
    order = bind_writer.unique_locations(rows, key)
    written = rows[order]
    every = np.arange(len(written))
    byte = np.zeros(len(written), np.uint8)
    pieces = [
        (every, bind_writer.segment_opcodes(written)),
        (every, bind_writer.ordinal_opcodes(written["ordinal"].astype(np.int64))),
        (every, bind_writer.symbol_opcodes(written, names)),
        (every, plain(byte | np.uint8(macho.BIND_OPCODE_DO_BIND))),
        (every, plain(byte | np.uint8(macho.BIND_OPCODE_DONE))),
    ]
    out, starts = assemble(pieces, len(written))
    place = np.searchsorted(key[order], key)
    return out[:-1].tobytes(), starts[place].astype(np.uint32)


def decode(data: bytes, segment_sizes: Sequence[int] | None = None) -> tuple[Rows, list[bytes], U4]:
    """Decode a stream: ((n,) BIND in stream order, names, offset of each row's opcodes).

    names, segment_sizes and errors: as in `bind.decode`. Zeros at the end are padding.
    """
    state = bindings.run(data, lazy=True)
    does = np.flatnonzero(state.count)
    at = state.stream.offset[does]
    refuse(at, ~state.has_ordinal[does], "a bind comes before any SET_DYLIB_ORDINAL")
    rows, names, opcode = bindings.rows_of(state, does, segment_sizes)
    done = last_true(state.stream.opcode == macho.BIND_OPCODE_DONE)
    starts = np.where(done < 0, 0, state.stream.offset[done] + 1)[opcode]
    return rows, names, starts.astype(np.uint32)


def opcodes(data: bytes) -> list[Opcode]:
    """The opcodes one by one, every DONE included, for people who debug an encoder.

    Raises DyldInfoError for a stream that is malformed as such.
    """
    return bindings.listing(data, lazy=True)
