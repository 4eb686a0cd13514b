"""Addresses: of sections, of segments, of every symbol in the image.

The data segment is laid out first (`lay_out_data`), because the pointer maps of its variables,
which are read-only data, follow from it; then everything else (`lay_out`). Segments start at
multiples of the rounding; in the file they follow each other likewise. Source: address and layout
in cmd/link/internal/ld/data.go, asmbMacho in ld/macho.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arch import amd64
from pielink.errors import LinkError, Problem
from pielink.formats import macho
from pielink.golang.sections import DATA, DATA_CONST, TEXT, SectionPlan
from pielink.golang.sequence import round_up
from pielink.passes.arrange import Arrangement
from pielink.passes.text import place
from pielink.record import Mutable, Record
from pielink.tables import I4, I8, U1, Kind, Layout, Sections, Segments, Symbols

_READ, _WRITE, _EXECUTE = macho.VM_PROT_READ, macho.VM_PROT_WRITE, macho.VM_PROT_EXECUTE
_CODE = macho.S_ATTR_PURE_INSTRUCTIONS | macho.S_ATTR_SOME_INSTRUCTIONS
_FLAGS: dict[int, int] = {  # section flags by the first kind of symbol in it; others have none
    Kind.STUBS: _CODE | macho.S_SYMBOL_STUBS,
    Kind.STUB_HELPER: _CODE,
    Kind.GOT: macho.S_NON_LAZY_SYMBOL_POINTERS,
    Kind.GOT_RELRO: macho.S_NON_LAZY_SYMBOL_POINTERS,
    Kind.LAZY_POINTERS: macho.S_LAZY_SYMBOL_POINTERS,
    **dict.fromkeys((Kind.BSS, Kind.NOPTR_BSS, Kind.FUZZ_COUNTER), macho.S_ZEROFILL),
}
_INDIRECT = {  # section types with an entry in the indirect symbol table for so many bytes
    macho.S_SYMBOL_STUBS: amd64.STUB_SIZE,
    macho.S_NON_LAZY_SYMBOL_POINTERS: amd64.POINTER_SIZE,
    macho.S_LAZY_SYMBOL_POINTERS: amd64.POINTER_SIZE,
}
_ZERO_FILL = (macho.S_ZEROFILL, macho.S_THREAD_LOCAL_ZEROFILL)
_LIMIT = 2_000_000_000  # bytes of a section: 32-bit offsets must reach everything


class Placed(Mutable):
    """One section with its symbols, relative to the start of its segment's data."""

    name: str
    flags: int
    align: int
    start: int  # offset in the segment
    size: int
    rows: I4
    offset: I8  # of each of the rows, from `start`
    ends: dict[int, int]  # offset from `start` where the symbols of a kind end
    zero_fill: bool = False
    reserved1: int = 0
    reserved2: int = 0


def lay_out_segment(
    symbols: Symbols, arrangement: Arrangement, plans: list[SectionPlan]
) -> list[Placed]:
    """Place the symbols of a segment's sections one after the other, from offset 0 on.

    Raises LinkError if a section is larger than offsets can express.
    """
    placed: list[Placed] = []
    at = 0
    for plan in plans:
        rows = [arrangement.rows.get(kind, np.zeros(0, np.int32)) for kind in plan.kinds]
        if plan.each:
            for row in np.concatenate(rows).tolist():
                one = np.array([row], np.int32)
                placed.append(_section(symbols, arrangement, plan, [one], at))
                at = placed[-1].start + placed[-1].size
        elif not plan.optional or any(map(len, rows)):
            placed.append(_section(symbols, arrangement, plan, rows, at))
            at = placed[-1].start + placed[-1].size
    return placed


def _section(
    symbols: Symbols, arrangement: Arrangement, plan: SectionPlan, parts: list[I4], at: int
) -> Placed:
    deciding = np.concatenate(parts[: plan.aligned_by or len(parts)])
    align = int(arrangement.align[deciding].max(initial=1))
    start = -(-at // align) * align
    ends, offsets = {}, [np.zeros(0, np.int64)]
    end = start + plan.lead
    for kind, rows in zip(plan.kinds, parts, strict=False):
        if len(rows):
            offset, end = place(symbols.size[rows], arrangement.align[rows], end)
            offsets.append(offset - start)
        ends[kind] = end - start
    if end - start > _LIMIT:
        raise LinkError([Problem(f"too much data in section {plan.name} ({end - start} bytes)")])
    flags = plan.flags or _FLAGS.get(plan.kinds[0], 0)
    return Placed(
        plan.name,
        flags,
        align,
        start,
        end - start,
        np.concatenate(parts),
        np.concatenate(offsets),
        ends,
        zero_fill=flags & macho.SECTION_TYPE in _ZERO_FILL,
    )


class TextPlace(Record):
    """The functions: rows in order, their offsets from the start, and the size of all."""

    rows: I4
    offset: I8
    size: int
    align: int


def lay_out(
    symbols: Symbols,
    text: TextPlace,
    text_address: int,
    header_room: int,
    segments: dict[str, list[Placed]],
    rounding: int,
    data_address: int | None = None,
) -> Layout:
    """Give every section and symbol its address and place in the file.

    `text_address` is where the first function goes, `header_room` bytes after the start of
    __TEXT. `rounding` is the alignment of segments in memory and in the file. The indirect symbol
    table has an entry for each stub and each pointer to a symbol, in the order of the sections.
    """
    entries = 0
    for one in (p for placed in segments.values() for p in placed):
        if unit := _INDIRECT.get(one.flags & macho.SECTION_TYPE):
            one.reserved1, entries = entries, entries + one.size // unit
            one.reserved2 = unit if one.flags & macho.S_ATTR_PURE_INSTRUCTIONS else 0
    code = Placed("__text", _CODE, text.align, 0, text.size + 1, text.rows, text.offset, {})
    base = text_address - header_room
    if base < amd64.PAGE_SIZE or base % amd64.PAGE_SIZE:
        message = (
            f"-T: __TEXT would begin at {base:#x}, which is no multiple of a page above page 0"
        )
        raise LinkError([Problem(f"{message}; try -T={amd64.BASE_ADDRESS + header_room:#x}")])
    address = np.zeros(len(symbols), np.int64)
    section = np.zeros(len(symbols), np.uint8)
    table = _Table(address, section, rounding)
    table.segment("__PAGEZERO", 0, 0, 0, base)
    table.segment(TEXT, base, _READ | _EXECUTE, 0)
    table.sections(header_room, [code, *segments[TEXT]], packed=False)
    table.close(whole=True)
    if segments[DATA_CONST]:
        table.segment(DATA_CONST, None, _READ | _WRITE, macho.SG_READ_ONLY)
        table.sections(0, segments[DATA_CONST], packed=False)
        table.close()
    table.segment(DATA, data_address, _READ | _WRITE, 0)
    table.sections(0, segments[DATA], packed=True)
    table.close()
    return table.finish()


class _Table:
    """Collects segments and sections in order."""

    def __init__(self, address: I8, section: U1, rounding: int) -> None:
        self.address, self.section, self.rounding = address, section, rounding
        self.segment_rows: list[tuple[str, int, int, int, int, int, int, int]] = []
        self.section_rows: list[tuple[int, str, int, int, int, int, int, int, int]] = []
        self.next_address = self.next_offset = 0

    def segment(
        self, name: str, address: int | None, protection: int, flags: int, size: int | None = None
    ) -> None:
        """Begin a segment; one with a size is finished at once and has nothing in the file."""
        self.name, self.protection, self.flags = name, protection, flags
        self.start = self.next_address if address is None else address
        if self.start < self.next_address:
            message = f"-D: {name} would begin at {self.start:#x}, but what is before it ends at"
            raise LinkError([Problem(f"{message} {self.next_address:#x}; choose a higher address")])
        self.offset, self.end, self.file_end = self.next_offset, self.start, self.start
        if size is not None:
            self.segment_rows.append((name, self.start, size, 0, 0, 0, 0, flags))
            self.next_address = self.start + size

    def sections(self, skip: int, placed: list[Placed], packed: bool) -> None:
        """Add sections, the first one `skip` bytes after the start of the segment.

        `packed` ones keep their distances; others follow each other at their alignments.
        """
        self.end = self.file_end = self.start + skip
        in_file = True  # until the first zero-fill section: nothing after it is in the file
        for one in placed:
            at = -(-self.end // one.align) * one.align
            if packed:
                at = self.start + skip + one.start
            offset = 0 if one.zero_fill else self.offset + at - self.start
            self.section_rows.append(
                (
                    *(len(self.segment_rows), one.name, at, one.size, offset),
                    *(one.align, one.flags, one.reserved1, one.reserved2),
                )
            )
            self.address[one.rows] = at + one.offset
            self.section[one.rows] = len(self.section_rows)
            self.end = at + one.size
            if in_file:
                in_file = not one.zero_fill
                self.file_end = self.end if in_file else at

    def close(self, whole: bool = False) -> None:
        """End the segment; a `whole` one reaches to the next multiple of the rounding."""
        size, in_file = self.end - self.start, self.file_end - self.start
        if whole:
            size = in_file = round_up(size, self.rounding)
        highest = _READ | _WRITE | _EXECUTE if self.name == TEXT else self.protection
        self.segment_rows.append(
            (
                self.name,
                self.start,
                size,
                self.offset,
                in_file,
                highest,
                self.protection,
                self.flags,
            )
        )
        self.next_address = round_up(self.end, self.rounding)
        self.next_offset = round_up(self.offset + in_file, self.rounding)

    def finish(self) -> Layout:
        """The tables of all that was added."""
        rows = list(zip(*self.segment_rows, strict=True))
        vmaddr, vmsize, fileoff, filesize = (np.array(c, np.int64) for c in rows[1:5])
        segments = Segments(
            name=list(rows[0]),
            vmaddr=vmaddr,
            vmsize=vmsize,
            fileoff=fileoff,
            filesize=filesize,
            maxprot=np.array(rows[5], np.uint8),
            initprot=np.array(rows[6], np.uint8),
            flags=np.array(rows[7], np.uint32),
        )
        columns = list(zip(*self.section_rows, strict=True))
        address, size, offset, align = (np.array(c, np.int64) for c in columns[2:6])
        flags, reserved1, reserved2 = (np.array(c, np.uint32) for c in columns[6:9])
        sections = Sections(
            segment=np.array(columns[0], np.int32),
            name=list(columns[1]),
            address=address,
            size=size,
            offset=offset,
            align=align,
            flags=flags,
            reserved1=reserved1,
            reserved2=reserved2,
        )
        return Layout(segments, sections, self.address, self.section)


def header_address(segments: Segments) -> int:
    """The unslid address of the mach header: that of the segment at the start of the file."""
    first = (segments.fileoff == 0) & (segments.filesize > 0)
    return int(segments.vmaddr[first][0])
