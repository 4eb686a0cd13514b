"""Small tables of the linker made by hand, for tests of single passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.formats import macho
from pielink.rows import NewSymbol, extend
from pielink.tables import (
    U1,
    Imports,
    Kind,
    Layout,
    Memory,
    Objects,
    Relocs,
    Sections,
    Segments,
    Symbols,
)

TEXT_ADDRESS = 0x1001000
CODE = macho.S_ATTR_PURE_INSTRUCTIONS | macho.S_ATTR_SOME_INSTRUCTIONS


def memory(size: int = 1 << 20) -> Memory:
    """An empty memory."""
    return Memory(np.zeros(size, np.uint8), 0)


def objects(files: Sequence[str] = ()) -> Objects:
    """Row 0 and one object for each file."""
    count = 1 + len(files)
    return Objects(
        base=np.zeros(count, np.int64),
        flags=np.zeros(count, np.uint32),
        blocks=np.zeros((count, 19), np.int64),
        package=[""] * count,
        file=["", *files],
        library=np.zeros(count, np.int32),
        first=np.zeros(count, np.int32),
    )


def nothing() -> tuple[Symbols, Relocs]:
    """The tables with row 0 of Symbols alone."""
    symbols = Symbols(
        *(np.zeros(1, np.int32) for _ in range(2)),
        np.zeros(1, np.int64),
        np.zeros(1, np.uint32),
        np.zeros(1, np.uint16),
        *(np.zeros(1, np.uint8) for _ in range(3)),
        np.zeros(1, np.bool_),
        np.zeros(1, np.int64),
        np.zeros(1, np.uint32),
        *(np.zeros(1, np.int64) for _ in range(6)),
    )
    relocs = Relocs(
        *(np.zeros(0, d) for d in (np.int32, np.int32, np.uint8, np.uint16, np.bool_)),
        np.zeros(0, np.int64),
        np.zeros(0, np.int32),
    )
    return symbols, relocs


def tables(store: Memory, new: list[NewSymbol]) -> tuple[Symbols, Relocs]:
    """Row i + 1 of the tables is new[i]."""
    symbols, relocs = nothing()
    return extend(symbols, relocs, store, new)


# Section of each kind: name, segment, flags. The order is that of addresses.
PLACES = {
    "__text": ((Kind.TEXT, Kind.TEXT_END), 1, CODE),
    "__symbol_stub1": ((Kind.STUBS,), 1, CODE | macho.S_SYMBOL_STUBS),
    "__rodata": ((Kind.RODATA, Kind.PCLNTAB), 1, 0),
    "__relro": ((Kind.RODATA_RELRO, Kind.TYPE), 2, 0),
    "__got": ((Kind.GOT_RELRO,), 2, macho.S_NON_LAZY_SYMBOL_POINTERS),
    "__data": ((Kind.DATA, Kind.NOPTR_DATA, Kind.GOT), 3, 0),
    "__bss": ((Kind.BSS,), 3, macho.S_ZEROFILL),
}
SEGMENTS = ["__PAGEZERO", "__TEXT", "__DATA_CONST", "__DATA"]
PAGE = 4096


def lay_out(symbols: Symbols, align: int = 8) -> Layout:
    """Place all symbols in row order, each at a multiple of `align`, gaps included."""
    address, section = np.zeros(len(symbols), np.int64), np.zeros(len(symbols), np.uint8)
    rows: list[tuple[int, int, int, int, int]] = []
    limits = {1: [TEXT_ADDRESS - PAGE, TEXT_ADDRESS, 0]}
    at, current = TEXT_ADDRESS, 1
    for ordinal, (kinds, segment, flags) in enumerate(PLACES.values(), 1):
        if segment != current:
            at, current = -(-at // PAGE) * PAGE, segment
            offset = limits[segment - 1][2] + limits[segment - 1][1] - limits[segment - 1][0]
            limits[segment] = [at, at, -(-offset // PAGE) * PAGE]
        at = -(-at // align) * align
        start = at
        for row in np.flatnonzero(np.isin(symbols.kind, kinds)).tolist():
            at = -(-at // align) * align
            address[row], section[row] = at, ordinal
            at += int(symbols.size[row])
        in_file = flags != macho.S_ZEROFILL
        place = start - limits[segment][0] + limits[segment][2] if in_file else 0
        rows.append((segment, start, at - start, place, flags))
        if in_file:
            limits[segment][1] = at
    table = np.array(rows, np.int64)
    size = [limits[s][1] - limits[s][0] for s in (1, 2, 3)]
    segments = Segments(
        name=SEGMENTS,
        vmaddr=np.array([0, *(limits[s][0] for s in (1, 2, 3))], np.int64),
        vmsize=np.array([TEXT_ADDRESS - PAGE, *size[:2], at - limits[3][0]], np.int64),
        fileoff=np.array([0, *(limits[s][2] for s in (1, 2, 3))], np.int64),
        filesize=np.array([0, *size], np.int64),
        maxprot=np.array([0, 7, 3, 3], np.uint8),
        initprot=np.array([0, 5, 3, 3], np.uint8),
        flags=np.array([0, 0, macho.SG_READ_ONLY, 0], np.uint32),
    )
    sections = Sections(
        segment=table[:, 0].astype(np.int32),
        name=list(PLACES),
        address=table[:, 1],
        size=table[:, 2],
        offset=table[:, 3],
        align=np.full(len(rows), align, np.int64),
        flags=table[:, 4].astype(np.uint32),
        reserved1=np.zeros(len(rows), np.uint32),
        reserved2=np.zeros(len(rows), np.uint32),
    )
    return Layout(segments, sections, address, section)


def imports(symbols: Symbols, ordinal: int = 1, weak: bool = False) -> Imports:
    """All dylib symbols from one dylib, named after their rows."""
    rows = np.flatnonzero(symbols.kind == Kind.DYNIMPORT).astype(np.int32)
    return Imports(
        symbol=rows,
        name=[b"_import%d" % row for row in rows.tolist()],
        ordinal=np.full(len(rows), ordinal, np.int32),
        weak=np.full(len(rows), weak, np.bool_),
        dylibs=["/usr/lib/libSystem.B.dylib"],
    )


def content(store: Memory, symbols: Symbols, row: int) -> U1:
    """The bytes of a symbol."""
    start = int(symbols.data_offset[row])
    return store.bytes[start : start + int(symbols.data_size[row])]
