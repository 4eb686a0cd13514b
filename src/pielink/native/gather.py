"""Join the object files of a link into one set of tables with global rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import append, joined
from pielink.formats import macho, machobj
from pielink.formats.machobj import MachObject
from pielink.hints import Any
from pielink.native.tables import NONE, Host, HostRelocs, HostSections, HostSymbols
from pielink.tables import I8, U1

COMMON_SEGMENT, COMMON_SECTION = b"__DATA", b"__common"
DEBUG_SEGMENT, UNWIND_SEGMENT = b"__DWARF", b"__LD"


def gather(files: Sequence[MachObject], contents: U1 | None = None, base: I8 | None = None) -> Host:
    """Join `files`, in load order.

    `contents` and `base` tell where the bytes of each file already are; without them the files
    are copied one behind the other.
    """
    if contents is None or base is None:
        sizes = [len(file.data) for file in files]
        base = np.cumsum([0, *sizes], dtype=np.int64)[:-1]
        contents = np.concatenate([np.zeros(0, np.uint8), *(file.data for file in files)])
    sections = _sections(files, base)
    counts = [len(file.sections) for file in files]
    first_section = np.cumsum([0, *counts], dtype=np.int64)
    first_symbol = np.cumsum([0, *(len(file.symbols) for file in files)], dtype=np.int64)
    symbols = _symbols(files, base, first_section)
    relocs = _relocs(files, first_section, first_symbol, sections)
    return Host(tuple(files), contents, base, sections, symbols, relocs)


def _owner(files: Sequence[MachObject], table: str) -> Any:
    """Return the file of each row of `table` (sections, symbols or relocations)."""
    counts = [len(getattr(file, table)) for file in files]
    return np.repeat(np.arange(len(files), dtype=np.int32), counts)


def _sections(files: Sequence[MachObject], base: I8) -> HostSections:
    common = np.zeros(1, macho.SECTION_64)
    common["segname"], common["sectname"] = COMMON_SEGMENT, COMMON_SECTION
    common["flags"] = macho.S_ZEROFILL
    rows = joined([*(file.sections for file in files), common], macho.SECTION_64)
    owner = append(_owner(files, "sections"), np.int32(NONE))
    start = append(base, 0)[owner] + rows["offset"].astype(np.int64)
    return HostSections(
        file=owner,
        segment=rows["segname"],
        name=rows["sectname"],
        address=rows["addr"].astype(np.int64),
        size=rows["size"].astype(np.int64),
        data=np.where(machobj.has_contents(rows), start, NONE),
        align=rows["align"].astype(np.uint8),
        flags=rows["flags"].astype(np.uint32),
    )


def _symbols(files: Sequence[MachObject], base: I8, first_section: I8) -> HostSymbols:
    rows = joined([file.symbols for file in files], machobj.SYMBOL)
    owner = _owner(files, "symbols")
    placed = (rows["type"] & (macho.N_STAB | macho.N_TYPE)) == macho.N_SECT
    section = np.where(placed, first_section[owner] + rows["section"] - 1, NONE)
    return HostSymbols(
        file=owner,
        name=base[owner] + rows["name"],
        name_size=rows["length"].astype(np.uint32),
        type=rows["type"].copy(),
        desc=rows["desc"].astype(np.uint16),
        section=section.astype(np.int32),
        value=rows["value"].view(np.int64).copy() if len(rows) else np.zeros(0, np.int64),
        alias=base[owner] + rows["alias"],
        alias_size=rows["alias_length"].astype(np.uint32),
    )


def _relocs(
    files: Sequence[MachObject], first_section: I8, first_symbol: I8, sections: HostSections
) -> HostRelocs:
    rows = joined([file.relocations for file in files], machobj.RELOCATION)
    owner = _owner(files, "relocations")
    section = (first_section[owner] + rows["section"]).astype(np.int32)
    kept = ~is_debug(sections)[section]
    rows, owner, section = rows[kept], owner[kept], section[kept]
    number = rows["symbol"].astype(np.int64)
    symbol = np.where(rows["extern"], first_symbol[owner] + number, NONE)
    target = np.where(rows["extern"], NONE, first_section[owner] + number - 1)
    return HostRelocs(
        section=section,
        offset=rows["address"].astype(np.int64),
        type=rows["type"].copy(),
        length=rows["length"].copy(),
        pcrel=rows["pcrel"].copy(),
        symbol=symbol.astype(np.int32),
        target_section=target.astype(np.int32),
    )


def is_debug(sections: HostSections) -> Any:
    """Return which sections hold debug information (kept out of the image), as booleans.

    `__LD,__compact_unwind` is marked as such too, but the link reads it.
    """
    marked = ((sections.flags & macho.S_ATTR_DEBUG) != 0) | (sections.segment == DEBUG_SEGMENT)
    return marked & (sections.segment != UNWIND_SEGMENT)
