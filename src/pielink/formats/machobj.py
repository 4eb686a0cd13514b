"""Mach-O object files (MH_OBJECT): what C, C++, Objective-C and assembly compile to, as columns.

An object has one unnamed segment that holds all sections. Sections carry addresses of the
object's own little address space, starting at 0; symbols and inline addends count in it. Each
section points at its contents (none for zero fill) and at its relocations, 8 bytes each, whose
`r_info` packs symbolnum:24, pcrel:1, length:2, extern:1, type:4. The symbol table is `nlist_64`
records beside a table of NUL-terminated strings.

The reader checks every offset, count, ordinal and string once, so that later passes index
without asking. Source: <mach-o/loader.h>, <mach-o/nlist.h>, <mach-o/reloc.h>.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import isin
from pielink.errors import FormatError
from pielink.formats import loadcommands, macho
from pielink.formats.bounds import Bytes, Rows, as_bytes, c_strings, check_range, records
from pielink.formats.loadcommands import LoadCommand, command, cpu_name, linkedit_rows, only
from pielink.hints import Any
from pielink.record import record

SYMBOL = np.dtype(
    [
        ("name", "<u4"),  # byte offset in the object
        ("length", "<u4"),  # bytes
        ("alias", "<u4"),  # N_INDR: byte offset of the name this one stands for, else 0
        ("alias_length", "<u4"),
        ("type", "u1"),  # N_EXT, N_PEXT, N_TYPE, N_STAB bits
        ("section", "u1"),  # 1-based; 0 = none
        ("desc", "<u2"),
        ("value", "<u8"),  # address in the object; size of a common symbol
    ]
)
RELOCATION = np.dtype(
    [
        ("section", "u1"),  # 0-based row of the section that is patched
        ("type", "u1"),  # X86_64_RELOC_*
        ("length", "u1"),  # log2 of the field's size in bytes
        ("pcrel", "?"),
        ("extern", "?"),  # symbol is a symbol row, else a 1-based section
        ("symbol", "<u4"),
        ("address", "<u4"),  # byte offset in the section
    ]
)
ZEROFILL_TYPES = (macho.S_ZEROFILL, macho.S_GB_ZEROFILL, macho.S_THREAD_LOCAL_ZEROFILL)
MAX_ALIGNMENT = 15  # log2; 32 KiB is the largest that assemblers for Mach-O accept
MAX_SECTION_SIZE = 1 << 31  # more is out of reach of amd64's 32-bit displacements
MAX_ADDRESS = 1 << 40  # objects count from 0
MAX_FILE_SIZE = 1 << 32  # offsets in the format have 32 bits


@record
class MachObject:
    """One object file.

    `data` is the whole file (uint8); `sections` SECTION_64 rows; `symbols` SYMBOL rows in file
    order; `relocations` RELOCATION rows, section after section, in file order within each (pairs
    of SUBTRACTOR and UNSIGNED stay neighbours); `data_in_code` DATA_IN_CODE_ENTRY rows, whose
    offsets count in the object's address space. `minos` and `sdk` are xxxx.yy.zz in nibbles and
    0 with `platform` 0 where the object does not say. `linker_options` holds the arguments of
    each LC_LINKER_OPTION (auto-linking), to be read like a command line.
    """

    name: str
    data: Bytes
    cputype: int
    flags: int
    platform: int
    minos: int
    sdk: int
    sections: Rows
    symbols: Rows
    relocations: Rows
    data_in_code: Rows
    linker_options: tuple[tuple[bytes, ...], ...]

    def symbol_name(self, row: int) -> bytes:
        """Return the name of one symbol, for messages and lookups of single names."""
        symbol = self.symbols[row]
        start = int(symbol["name"])
        return self.data[start : start + int(symbol["length"])].tobytes()


def read(data: Any, name: str, cputype: int = macho.CPU_TYPE_X86_64) -> MachObject:
    """Read the object file in `data` (any bytes-like); `name` is how messages call it.

    Raises FormatError when it is no object file for `cputype` or is malformed.
    """
    contents = as_bytes(data)
    if len(contents) >= MAX_FILE_SIZE:
        raise FormatError("is larger than 4 GiB", name)
    header = loadcommands.read_header(contents, name)
    _check_kind(header, cputype, name)
    commands = loadcommands.walk(contents, header, name)
    sections = _read_sections(contents, commands, name)
    symbols = _read_symbols(contents, commands, sections, name)
    return MachObject(
        name,
        contents,
        cputype,
        int(header["flags"]),
        *_read_version(contents, commands, name),
        sections,
        symbols,
        _read_relocations(contents, sections, len(symbols), name),
        _read_data_in_code(contents, commands, name),
        _read_linker_options(contents, commands, name),
    )


def _check_kind(header: Any, cputype: int, file: str) -> None:
    filetype, found = int(header["filetype"]), int(header["cputype"])
    if filetype != macho.MH_OBJECT:
        kind = loadcommands.FILETYPE_NAMES.get(filetype, f"of file type {filetype}")
        raise FormatError(f"is {kind}, not an object file", file)
    if found != cputype:
        raise FormatError(f"is compiled for {cpu_name(found)}, not {cpu_name(cputype)}", file)


def _read_sections(data: Bytes, commands: list[LoadCommand], file: str) -> Rows:
    at = only(commands, macho.LC_SEGMENT_64, "LC_SEGMENT_64", file)
    if at is None:
        return np.zeros(0, macho.SECTION_64)
    segment = command(data, at, macho.SEGMENT_COMMAND_64, "LC_SEGMENT_64", file)
    count = int(segment["nsects"])
    start = macho.SEGMENT_COMMAND_64.itemsize
    if start + count * macho.SECTION_64.itemsize > at.size:
        raise FormatError(f"{count} sections do not fit into LC_SEGMENT_64", file, at.offset)
    if count > macho.MAX_SECT:
        raise FormatError(f"has {count} sections; at most 255 can be numbered", file, at.offset)
    sections = records(data, at.offset + start, count, macho.SECTION_64, "section headers", file)
    _check_sections(data, sections, file)
    return sections


def has_contents(sections: Rows) -> Any:
    """Return which sections have bytes in the file (all but zero fill), as a boolean column."""
    return ~isin(sections["flags"] & macho.SECTION_TYPE, ZEROFILL_TYPES)


def _check_sections(data: Bytes, sections: Rows, file: str) -> None:
    def refuse(bad: Any, why: str) -> None:
        if bad.any():
            section = sections[int(np.argmax(bad))]
            title = (
                f"{section['segname'].decode('latin-1')},{section['sectname'].decode('latin-1')}"
            )
            raise FormatError(f"section {title} {why}", file)

    for field in ("segname", "sectname"):
        names = np.ascontiguousarray(sections[field])
        octets = names.view(np.uint8).reshape(-1, names.dtype.itemsize)
        refuse((octets > 0x7F).any(axis=1), "has a name that is not ASCII")
    size = sections["size"]
    refuse(size > MAX_SECTION_SIZE, "is larger than 2 GiB")
    refuse(sections["addr"] > MAX_ADDRESS, "has an address outside any object")
    refuse(sections["align"] > MAX_ALIGNMENT, "has an alignment above 32 KiB")
    filled = has_contents(sections)
    ends = sections["offset"].astype(np.int64) + size.astype(np.int64)
    refuse(filled & (ends > len(data)), "reaches past the end of the file")
    refuse(~filled & (sections["nreloc"] > 0), "is zero fill and cannot have relocations")
    ends = sections["reloff"].astype(np.int64) + 8 * sections["nreloc"].astype(np.int64)
    refuse(
        (sections["nreloc"] > 0) & (ends > len(data)), "has relocations past the end of the file"
    )
    # Tables that share bytes would make a small file stand for a huge one.
    if int(size[filled].sum()) > len(data) or 8 * int(sections["nreloc"].sum()) > len(data):
        raise FormatError("section contents or relocations overlap", file)


def _read_symbols(data: Bytes, commands: list[LoadCommand], sections: Rows, file: str) -> Rows:
    at = only(commands, macho.LC_SYMTAB, "LC_SYMTAB", file)
    if at is None:
        return np.zeros(0, SYMBOL)
    table = command(data, at, macho.SYMTAB_COMMAND, "LC_SYMTAB", file)
    raw = records(
        data, int(table["symoff"]), int(table["nsyms"]), macho.NLIST_64, "symbol table", file
    )
    strings, size = int(table["stroff"]), int(table["strsize"])
    check_range(data, strings, size, "string table", file)
    symbols = np.zeros(len(raw), SYMBOL)
    symbols["name"] = starts = strings + raw["n_strx"].astype(np.int64)
    symbols["length"] = c_strings(data, starts, strings + size, "symbol name", file)
    symbols["type"], symbols["section"] = raw["n_type"], raw["n_sect"]
    symbols["desc"], symbols["value"] = raw["n_desc"], raw["n_value"]
    _read_aliases(data, symbols, strings, strings + size, file)
    _check_symbols(symbols, sections, data, file)
    return symbols


def _read_aliases(data: Bytes, symbols: Rows, strings: int, end: int, file: str) -> None:
    """Fill in the names that N_INDR symbols stand for; n_value is an offset into the strings."""
    stabs = (symbols["type"] & macho.N_STAB) != 0
    alias = ~stabs & ((symbols["type"] & macho.N_TYPE) == macho.N_INDR)
    if alias.any():
        starts = strings + np.minimum(symbols["value"][alias], np.uint64(end)).astype(np.int64)
        symbols["alias_length"][alias] = c_strings(data, starts, end, "name of an alias", file)
        symbols["alias"][alias] = starts


def _check_symbols(symbols: Rows, sections: Rows, data: Bytes, file: str) -> None:
    real = (symbols["type"] & macho.N_STAB) == 0
    kind = symbols["type"] & macho.N_TYPE

    def refuse(bad: Any, why: str) -> None:
        if bad.any():
            row = symbols[int(np.argmax(bad))]
            name = (
                data[int(row["name"]) :][: int(row["length"])].tobytes().decode("utf-8", "replace")
            )
            raise FormatError(f"symbol {name} {why}", file)

    known = isin(kind, (macho.N_UNDF, macho.N_ABS, macho.N_INDR, macho.N_SECT))
    refuse(real & ~known, "has an unknown type")
    placed = real & (kind == macho.N_SECT)
    ordinal = symbols["section"].astype(np.int64)
    refuse(
        placed & ((ordinal < 1) | (ordinal > len(sections))), "is in a section that is not there"
    )
    refuse(real & ~placed & (kind == macho.N_UNDF) & (ordinal != 0), "is undefined in a section")
    if placed.any():
        home = sections[np.where(placed, ordinal - 1, 0)]
        inside = (symbols["value"] >= home["addr"]) & (
            symbols["value"] - home["addr"] <= home["size"]
        )
        refuse(placed & ~inside, "lies outside its section")
    common = real & (kind == macho.N_UNDF) & (symbols["value"] > MAX_SECTION_SIZE)
    refuse(common, "is a common symbol larger than 2 GiB")


def _read_relocations(data: Bytes, sections: Rows, symbol_count: int, file: str) -> Rows:
    counts = sections["nreloc"].astype(np.int64)
    raw = np.concatenate(
        [np.zeros(0, macho.RELOCATION_INFO)]
        + [
            records(data, int(s["reloff"]), int(s["nreloc"]), macho.RELOCATION_INFO, "", file)
            for s in sections[counts > 0]
        ]
    )
    info = raw["r_info"]
    rows = np.zeros(len(raw), RELOCATION)
    rows["section"] = np.repeat(np.arange(len(sections)), counts)
    rows["symbol"] = info & 0xFFFFFF
    rows["pcrel"] = (info >> 24) & 1
    rows["length"] = (info >> 25) & 3
    rows["extern"] = (info >> 27) & 1
    rows["type"] = info >> 28
    rows["address"] = raw["r_address"].view(np.uint32) if len(raw) else 0
    _check_relocations(rows, sections, symbol_count, file)
    return rows


def _check_relocations(rows: Rows, sections: Rows, symbol_count: int, file: str) -> None:
    def refuse(bad: Any, why: str) -> None:
        if bad.any():
            row = rows[int(np.argmax(bad))]
            section = sections[int(row["section"])]
            title = (
                f"{section['segname'].decode('latin-1')},{section['sectname'].decode('latin-1')}"
            )
            at = int(row["address"])
            raise FormatError(f"relocation at {title}+{at:#x} {why}", file)

    if not len(rows):
        return
    address = rows["address"].astype(np.int64)
    refuse(address >= 1 << 31, "is scattered, which 64-bit objects cannot be")
    end = address + (1 << rows["length"].astype(np.int64))
    refuse(end > sections["size"].astype(np.int64)[rows["section"]], "lies outside its section")
    refuse(rows["extern"] & (rows["symbol"] >= symbol_count), "names a symbol that is not there")
    ordinal = rows["symbol"].astype(np.int64)
    absent = (ordinal < 1) | (ordinal > len(sections))
    refuse(~rows["extern"] & absent, "names a section that is not there")


def _read_version(data: Bytes, commands: list[LoadCommand], file: str) -> tuple[int, int, int]:
    for at in commands:
        if at.cmd == macho.LC_BUILD_VERSION:
            build = command(data, at, macho.BUILD_VERSION_COMMAND, "LC_BUILD_VERSION", file)
            return int(build["platform"]), int(build["minos"]), int(build["sdk"])
        if at.cmd == macho.LC_VERSION_MIN_MACOSX:
            least = command(data, at, macho.VERSION_MIN_COMMAND, "LC_VERSION_MIN_MACOSX", file)
            return macho.PLATFORM_MACOS, int(least["version"]), int(least["sdk"])
    return 0, 0, 0


def _read_data_in_code(data: Bytes, commands: list[LoadCommand], file: str) -> Rows:
    at = only(commands, macho.LC_DATA_IN_CODE, "LC_DATA_IN_CODE", file)
    rows: Rows = linkedit_rows(data, at, macho.DATA_IN_CODE_ENTRY, "data in code", file)
    return rows


def _read_linker_options(
    data: Bytes, commands: list[LoadCommand], file: str
) -> tuple[tuple[bytes, ...], ...]:
    options = []
    for at in commands:
        if at.cmd != macho.LC_LINKER_OPTION:
            continue
        head = macho.LINKER_OPTION_COMMAND
        count = int(command(data, at, head, "LC_LINKER_OPTION", file)["count"])
        text = data[at.offset + head.itemsize : at.offset + at.size].tobytes()
        words = text.split(b"\0")[:-1]  # what follows the last NUL is padding
        if count > len(words):
            raise FormatError("LC_LINKER_OPTION lacks some of its strings", file, at.offset)
        options.append(tuple(words[:count]))
    return tuple(options)
