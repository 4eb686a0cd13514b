"""Split sections into atoms: the pieces that dead stripping, merging and layout work on.

Where a file says MH_SUBSECTIONS_VIA_SYMBOLS, each symbol begins an atom, except N_ALT_ENTRY ones
and assembler labels (L...). Sections of literals split by what they hold, whatever symbols they
have: strings at each NUL, numbers and pointers every so many bytes. `__compact_unwind` and
`__eh_frame` are tables of records in every file. Other files give one atom a section.

Sections that the link consumes (debug information, `__objc_imageinfo`, bitcode) give none; nor do
the unwind tables of files that stay whole.
Source: ld64's macho_relocatable_file.cpp, LLVM's lld/MachO/InputFiles.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pielink.arrays import append, distinct, isin
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.hints import Any
from pielink.native import gather
from pielink.native.tables import NONE, AtomFlag, Atoms, Host, Placement
from pielink.tables import I4, I8, U1, Bool

EH_FRAME = (b"__TEXT", b"__eh_frame")
COMPACT_UNWIND = (b"__LD", b"__compact_unwind")
IMAGE_INFO = b"__objc_imageinfo"
BITCODE_SEGMENT = b"__LLVM"
COMPACT_UNWIND_SIZE = 32
# Bytes of a record, by section type or by section name.
RECORD_SIZE_OF_TYPE = {
    macho.S_4BYTE_LITERALS: 4,
    macho.S_8BYTE_LITERALS: 8,
    macho.S_16BYTE_LITERALS: 16,
    macho.S_LITERAL_POINTERS: 8,
    macho.S_MOD_INIT_FUNC_POINTERS: 8,
    macho.S_MOD_TERM_FUNC_POINTERS: 8,
}
RECORD_SIZE_OF_NAME = {b"__cfstring": 32, b"__objc_classrefs": 8, b"__objc_superrefs": 8}
# Sections whose contents run by being there.
ROOT_TYPES = (
    macho.S_MOD_INIT_FUNC_POINTERS,
    macho.S_MOD_TERM_FUNC_POINTERS,
    macho.S_INIT_FUNC_OFFSETS,
)
OFFSET_BITS = 40  # a place as one sortable number: section << OFFSET_BITS | offset


def section_type(host: Host) -> Any:
    """Return the S_* type of each section."""
    return host.sections.flags & macho.SECTION_TYPE


def is_named(host: Host, title: tuple[bytes, bytes]) -> Any:
    """Return which sections have this (segment, section) name."""
    return (host.sections.segment == title[0]) & (host.sections.name == title[1])


def split(host: Host, whole: Bool | None = None) -> tuple[Atoms, Placement]:
    """Split all sections; `whole` (one row a file) asks for one atom a section nonetheless.

    Such files are for images without `__unwind_info`, as Go's linker makes them. Raises FormatError
    for a section of records or strings whose last one is cut off.
    """
    sections = host.sections
    divisible = np.array([f.flags & macho.MH_SUBSECTIONS_VIA_SYMBOLS for f in host.files], bool)
    unwound = is_named(host, EH_FRAME) | is_named(host, COMPACT_UNWIND)
    consumed = gather.is_debug(sections) | (sections.name == IMAGE_INFO)
    consumed |= sections.segment == BITCODE_SEGMENT
    if whole is not None:
        divisible &= ~whole
        consumed |= unwound & whole[sections.file]
    by_symbol = append(divisible, False)[sections.file]
    by_record, records = _record_cuts(host, (by_symbol | unwound) & ~consumed)
    starts = np.flatnonzero(~consumed & (sections.size > 0)) << OFFSET_BITS
    symbols = _symbol_cuts(host, by_symbol & ~by_record & ~consumed)
    keys = distinct(np.concatenate([starts, symbols, *records]).astype(np.int64))
    atoms = _atoms(host, keys)
    placement = _place_symbols(host, atoms, keys)
    return _with_symbols(host, atoms, placement), placement


def _symbol_cuts(host: Host, by_symbol: Bool) -> I8:
    symbols = host.symbols
    label = host.contents[symbols.name] == ord("L") if len(symbols.name) else symbols.type > 0
    begins = (symbols.section != NONE) & ((symbols.desc & macho.N_ALT_ENTRY) == 0) & ~label
    rows = np.flatnonzero(begins)
    rows = rows[by_symbol[symbols.section[rows]]]
    section = symbols.section[rows].astype(np.int64)
    return section << OFFSET_BITS | (symbols.value[rows] - host.sections.address[section])


def _record_cuts(host: Host, divisible: Bool) -> tuple[Bool, list[I8]]:
    """Return which of the `divisible` sections are tables of records or strings, and the places
    where those begin.

    The loop runs over sections, of which a file has at most 255.
    """
    kind = section_type(host)
    cuts: list[I8] = []
    found = np.zeros(len(kind), np.bool_)
    for section in np.flatnonzero(divisible & (host.sections.size > 0)).tolist():
        title = host.sections.segment[section], host.sections.name[section]
        size = RECORD_SIZE_OF_TYPE.get(int(kind[section])) or RECORD_SIZE_OF_NAME.get(title[1])
        if title == COMPACT_UNWIND:
            offsets = _fixed(host, section, COMPACT_UNWIND_SIZE)
        elif title == EH_FRAME:
            offsets = np.fromiter(cfi_records(host, section), np.int64)
        elif kind[section] == macho.S_CSTRING_LITERALS:
            offsets = _strings(host, section)
        elif size:
            offsets = _fixed(host, section, size)
        else:
            continue
        found[section] = True
        cuts.append(offsets | section << OFFSET_BITS)
    return found, cuts


def _fixed(host: Host, section: int, record: int) -> I8:
    size = int(host.sections.size[section])
    if size % record:
        why = f"section {host.title(section)} is not a whole number of {record}-byte records"
        raise FormatError(why, host.file_name(section))
    return np.arange(0, size, record, dtype=np.int64)


def section_bytes(host: Host, section: int) -> U1:
    """Return the contents of a section that is not zero fill, as a view."""
    start = int(host.sections.data[section])
    return host.contents[start : start + int(host.sections.size[section])]


def _strings(host: Host, section: int) -> I8:
    data = section_bytes(host, section)
    if data[-1]:
        why = f"the last string of section {host.title(section)} has no NUL"
        raise FormatError(why, host.file_name(section))
    return append(0, np.flatnonzero(data == 0)[:-1] + 1).astype(np.int64)


def cfi_records(host: Host, section: int) -> Iterator[int]:
    """Yield the offset of each CIE and FDE; each tells only where the next one begins.

    Raises FormatError when one reaches past the section. A length of 0 ends the table.
    """
    data = section_bytes(host, section)
    lengths = data[: len(data) // 4 * 4].tobytes()
    offset = 0
    while offset + 4 <= len(data):
        length = int.from_bytes(lengths[offset : offset + 4], "little")
        if length == 0 and offset:
            return
        if not 8 <= length <= len(data) - offset - 4:  # a 64-bit length (0xffffffff) is not used
            why = f"record at {offset:#x} of section {host.title(section)} has a wrong length"
            raise FormatError(why, host.file_name(section))
        yield offset
        offset += 4 + length


def _atoms(host: Host, keys: I8) -> Atoms:
    section = (keys >> OFFSET_BITS).astype(np.int32)
    offset = keys & ((1 << OFFSET_BITS) - 1)
    count = len(host.sections.file)
    first = np.searchsorted(section, np.arange(count + 1)).astype(np.int64)
    ends = host.sections.size[section]
    same = section[1:] == section[:-1]
    ends[:-1][same] = offset[1:][same]
    flags = host.sections.flags[section]
    keeps = ((flags & macho.S_ATTR_NO_DEAD_STRIP) != 0) | isin(
        flags & macho.SECTION_TYPE, ROOT_TYPES
    )
    support = (flags & macho.S_ATTR_LIVE_SUPPORT) != 0
    return Atoms(
        section=section,
        offset=offset,
        size=ends - offset,
        align=_alignment(offset, host.sections.align[section]),
        symbol=np.full(len(keys), NONE, np.int32),
        flags=(keeps * AtomFlag.NO_DEAD_STRIP + support * AtomFlag.LIVE_SUPPORT).astype(np.uint8),
        first=first,
    )


def _alignment(offset: I8, section_align: U1) -> U1:
    """Return the log2 alignment that a place has in a section: what may be relied on there."""
    lowest = offset & -offset
    zeros = np.frexp(lowest.astype(np.float64))[1] - 1
    return np.where(offset == 0, section_align, np.minimum(zeros, section_align)).astype(np.uint8)


def find(atoms: Atoms, section: I4, offset: I8) -> I4:
    """Return the atom that holds each place (section, offset), NONE where a section has no atoms.

    An offset before the first atom or at the end of the section belongs to the nearest one.
    """
    keys = atoms.section.astype(np.int64) << OFFSET_BITS | atoms.offset
    return _find(keys, atoms.first, section, offset)


def _find(keys: I8, first: I8, section: I4, offset: I8) -> I4:
    home = section.astype(np.int64)
    inside = np.minimum(np.maximum(offset, 0), (1 << OFFSET_BITS) - 1)
    row = np.searchsorted(keys, home << OFFSET_BITS | inside, "right") - 1
    row = np.maximum(np.minimum(row, first[home + 1] - 1), first[home])
    return np.where(first[home] == first[home + 1], NONE, row).astype(np.int32)


def _place_symbols(host: Host, atoms: Atoms, keys: I8) -> Placement:
    symbols = host.symbols
    atom = np.full(len(symbols.section), NONE, np.int32)
    offset = np.zeros(len(atom), np.int64)
    rows = np.flatnonzero(symbols.section != NONE)
    section = symbols.section[rows]
    place = symbols.value[rows] - host.sections.address[section]
    atom[rows] = found = _find(keys, atoms.first, section, place)
    offset[rows] = np.where(found == NONE, 0, place - atoms.offset[found] if len(keys) else 0)
    return Placement(atom, offset)


def _with_symbols(host: Host, atoms: Atoms, placement: Placement) -> Atoms:
    """Give each atom the symbol at its start, and keep those that a symbol says to keep."""
    symbols = host.symbols
    placed = np.flatnonzero(placement.atom != NONE)
    start = placed[placement.offset[placed] == 0]
    external = (symbols.type[start] & macho.N_EXT) != 0
    rank = external * 2 - ((symbols.type[start] & macho.N_PEXT) != 0).astype(np.int8)
    start = start[np.argsort(rank, kind="stable")]  # of several, the last one assigned stays
    symbol, flags = atoms.symbol.copy(), atoms.flags.copy()
    symbol[placement.atom[start]] = start
    kept = placed[(symbols.desc[placed] & macho.N_NO_DEAD_STRIP) != 0]
    flags[placement.atom[kept]] |= np.uint8(AtomFlag.NO_DEAD_STRIP)
    return Atoms(atoms.section, atoms.offset, atoms.size, atoms.align, symbol, flags, atoms.first)
