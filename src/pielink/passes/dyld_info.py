"""What dyld is told: fixups, as opcode streams or as chains, and the trie of exported symbols.

Segments are numbered as their load commands are, `__PAGEZERO` included; offsets are from the
start of the segment. Exported addresses count from the mach header, which `__TEXT` starts with.
The streams themselves are the business of `pielink.dyld`. Two things are written into the image
here, since they are only known with the streams: the words of chains, and the operands of the
stub helper.
"""

from __future__ import annotations

import numpy as np

from pielink import dyld
from pielink.arch import amd64
from pielink.arrays import append, isin
from pielink.arraytypes import NDArray
from pielink.dyld import BIND, REBASE, DyldInfoError
from pielink.errors import LinkError, Problem
from pielink.formats import macho
from pielink.hints import Any
from pielink.passes.layout import header_address
from pielink.passes.stubs import Stubs
from pielink.passes.symtab import Exports
from pielink.record import Record
from pielink.tables import I4, I8, U1, U4, U8, Fixups, Imports, Layout, Segments

OPCODE_STREAMS = ("rebase", "bind", "weak_bind", "lazy_bind", "export")


class DyldInfo(Record):
    """The streams of LC_DYLD_INFO_ONLY, or chained fixups; an empty one is absent."""

    rebase: bytes = b""
    bind: bytes = b""
    weak_bind: bytes = b""
    lazy_bind: bytes = b""
    export: bytes = b""
    chained: bytes = b""  # of LC_DYLD_CHAINED_FIXUPS; then only `export` is there besides


def opcode_info(
    fixups: Fixups, layout: Layout, imports: Imports, stubs: Stubs, exports: Exports
) -> tuple[DyldInfo, U4]:
    """Encode the fixups of a position-independent executable as opcodes, and its exports.

    The second result is where in the lazy bind stream each stub's opcodes begin.
    """
    lazy, offsets = b"", np.zeros(0, np.uint32)
    if stubs.lazy:
        lazy, offsets = dyld.lazy_bind.encode(lazy_rows(stubs, layout, imports), imports.name)
    weak = weak_rows(fixups, layout.segments, imports, exports)
    info = DyldInfo(
        rebase=dyld.rebase.encode(rebase_rows(fixups, layout.segments)),
        bind=dyld.bind.encode(bind_rows(fixups, layout.segments, imports), imports.name),
        weak_bind=dyld.weak_bind.encode(*weak) if len(weak[0]) else b"",
        lazy_bind=lazy,
        export=_trie(exports, layout),
    )
    return info, offsets


def chained_info(
    image: U1, fixups: Fixups, layout: Layout, imports: Imports, exports: Exports
) -> DyldInfo:
    """Turn the pointers in `image` into chains; encode where they start, and the exports.

    `image` is the file's bytes, changed in place. LinkError if a pointer lies where no chain can
    reach it.
    """
    weak, names = weak_rows(fixups, layout.segments, imports, exports)
    made = _chain(image, fixups, layout, imports, weak, names)
    return DyldInfo(export=_trie(exports, layout), chained=made)


def _trie(exports: Exports, layout: Layout) -> bytes:
    if not exports.dynamic.any():
        return b""
    return dyld.exports.encode(export_rows(exports, layout), exports.name)


def _chain(
    image: U1,
    fixups: Fixups,
    layout: Layout,
    imports: Imports,
    weak: NDArray[Any],
    names: list[bytes],
) -> bytes:
    """Make the chains; return the payload that says where they start.

    A word is in one chain only: one that is bound weakly is nothing but that.
    """
    segments = layout.segments
    fixed, bound = (
        np.flatnonzero(~isin(address, fixups.weak_address))
        for address in (fixups.rebase_address, fixups.bind_address)
    )
    rebased = fixups.rebase_address[fixed]
    binds = bind_rows(fixups, segments, imports)[bound]
    weak = weak[weak["type"] > 0]
    # Chains count all segments; that of __LINKEDIT, which comes last, holds none.
    table = np.zeros(len(segments.name) + 1, dyld.chained.SEGMENT)
    table["address"][:-1], table["size"][:-1] = segments.vmaddr, segments.vmsize
    table["address"][-1] = (segments.vmaddr + segments.vmsize).max()
    try:
        made = dyld.chained.encode(
            rebase_rows(fixups, segments)[fixed],
            words(image, file_positions(segments, rebased)),
            np.concatenate([binds, weak]),
            names,
            table,
            header_address(segments),
            page_size=amd64.PAGE_SIZE,
        )
    except DyldInfoError as error:
        message = f"-dyldinfo=chained: {error}: use -dyldinfo=opcodes"
        raise LinkError([Problem(message)]) from error
    place = segments.fileoff[made.segment] + made.offset.astype(np.int64)
    image[place[:, None] + np.arange(8)] = made.word.view(np.uint8).reshape(-1, 8)
    return made.payload


def file_positions(segments: Segments, address: I8) -> I8:
    """Where in the file the bytes at these addresses are."""
    segment, offset = locate(segments, address)
    return segments.fileoff[segment] + offset


def words(image: U1, position: I8) -> U8:
    """The 8-byte words at file positions, aligned or not."""
    result: U8 = image[position[:, None] + np.arange(8)].view("<u8").ravel()
    return result


def rebase_rows(fixups: Fixups, segments: Segments) -> NDArray[Any]:
    """The rebases as `pielink.dyld.REBASE` rows."""
    rows = np.zeros(len(fixups.rebase_address), REBASE)
    rows["segment"], rows["offset"] = locate(segments, fixups.rebase_address)
    rows["type"] = macho.REBASE_TYPE_POINTER
    return rows


def bind_rows(fixups: Fixups, segments: Segments, imports: Imports) -> NDArray[Any]:
    """The binds as `pielink.dyld.BIND` rows; names are indices into `imports.name`."""
    rows = _bind_rows(fixups.bind_address, fixups.bind_symbol, segments, imports)
    rows["addend"] = fixups.bind_addend
    return rows


def weak_rows(
    fixups: Fixups, segments: Segments, imports: Imports, exports: Exports
) -> tuple[NDArray[Any], list[bytes]]:
    """What dyld coalesces, as `pielink.dyld.BIND` rows, and the names that they index.

    Those are the names of `imports`, then of `exports`. Rows without a type, at the end, are strong
    definitions that override a dylib's weak ones.
    """
    weak, strong = np.flatnonzero(exports.weak), np.flatnonzero(exports.overriding)
    rows = np.zeros(len(fixups.weak_address) + len(strong), BIND)
    binds = rows[: len(fixups.weak_address)]
    binds["segment"], binds["offset"] = locate(segments, fixups.weak_address)
    symbol = append(imports.symbol, exports.symbol[weak])
    name = append(np.arange(len(imports.symbol)), len(imports.symbol) + weak)
    order = np.argsort(symbol, kind="stable")
    if len(binds):
        binds["name"] = name[order[np.searchsorted(symbol[order], fixups.weak_symbol)]]
    binds["addend"], binds["type"] = fixups.weak_addend, macho.BIND_TYPE_POINTER
    rows["ordinal"] = macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP
    rows["name"][len(binds) :] = len(imports.symbol) + strong
    rows["flags"][len(binds) :] = macho.BIND_SYMBOL_FLAGS_NON_WEAK_DEFINITION
    return rows, [*imports.name, *exports.name]


def lazy_rows(stubs: Stubs, layout: Layout, imports: Imports) -> NDArray[Any]:
    """The binds of lazy stubs, one row for each in order, as `pielink.dyld.BIND` rows."""
    start = layout.address[stubs.pointer_symbol]
    address = start + np.arange(len(stubs.late)) * amd64.POINTER_SIZE
    return _bind_rows(address, stubs.late, layout.segments, imports)


def _bind_rows(address: I8, symbol: I4, segments: Segments, imports: Imports) -> NDArray[Any]:
    rows = np.zeros(len(address), BIND)
    rows["segment"], rows["offset"] = locate(segments, address)
    entry = np.searchsorted(imports.symbol, symbol)
    rows["name"], rows["ordinal"] = entry, imports.ordinal[entry]
    rows["flags"] = np.where(imports.weak[entry], macho.BIND_SYMBOL_FLAGS_WEAK_IMPORT, 0)
    rows["type"] = macho.BIND_TYPE_POINTER
    return rows


def export_rows(exports: Exports, layout: Layout) -> NDArray[Any]:
    """What dyld may find, as `pielink.dyld.EXPORT` rows; names are indices into `exports.name`."""
    name = np.flatnonzero(exports.dynamic)
    rows = np.zeros(len(name), dyld.EXPORT)
    rows["name"], rows["import_name"] = name, dyld.exports.NO_NAME
    rows["address"] = layout.address[exports.symbol[name]] - header_address(layout.segments)
    weak = np.where(exports.weak[name], macho.EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION, 0)
    rows["flags"] = macho.EXPORT_SYMBOL_FLAGS_KIND_REGULAR | weak
    return rows


def locate(segments: Segments, address: I8) -> tuple[U1, I8]:
    """The number of the segment that holds each address, and the offset in it."""
    order = np.argsort(segments.vmaddr, kind="stable")
    place = np.searchsorted(segments.vmaddr[order], address, side="right") - 1
    segment: I4 = order[place].astype(np.int32)
    return segment.astype(np.uint8), address - segments.vmaddr[segment]
