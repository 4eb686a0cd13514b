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

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from pielink.arrays import append, differences, isin, joined
from pielink.arraytypes import I8, NDArray
from pielink.errors import FormatError
from pielink.formats import loadcommands, macho
from pielink.formats.bounds import Bytes, Rows, as_bytes, check_range, records
from pielink.formats.loadcommands import LoadCommand, command, cpu_name, linkedit_rows, only
from pielink.hints import Any
from pielink.record import NamedTuple, Record

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
RELOCATION_SIZE = macho.RELOCATION_INFO.itemsize
ZEROFILL_TYPES = (macho.S_ZEROFILL, macho.S_GB_ZEROFILL, macho.S_THREAD_LOCAL_ZEROFILL)
MAX_ALIGNMENT = 15  # log2; 32 KiB is the largest that assemblers for Mach-O accept
MAX_SECTION_SIZE = 1 << 31  # more is out of reach of amd64's 32-bit displacements
MAX_ADDRESS = 1 << 40  # objects count from 0
MAX_FILE_SIZE = 1 << 32  # offsets in the format have 32 bits


class MachObject(Record):
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
    return read_all([(data, name)], cputype)[0]


def read_all(
    inputs: Iterable[tuple[Any, str]], cputype: int = macho.CPU_TYPE_X86_64
) -> list[MachObject]:
    """Read several object files, given as for `read`; their tables are checked in one go.

    Raises FormatError for one of those that are malformed.
    """
    parts = [_outline(as_bytes(data), name, cputype) for data, name in inputs]
    sections, first_section = _joined([part.sections for part in parts], macho.SECTION_64)
    _check_sections(parts, sections, _owners(first_section))
    symbols, first_symbol = _symbols(parts, sections, first_section)
    relocations, first_relocation = _relocations(parts, sections, first_section, first_symbol)
    tables = zip(
        _split(sections, first_section),
        _split(symbols, first_symbol),
        _split(relocations, first_relocation),
        strict=True,
    )
    return [
        MachObject(
            *(part.name, part.data, cputype, part.flags, *part.version),
            *(*rows, part.data_in_code, part.linker_options),
        )
        for part, rows in zip(parts, tables, strict=True)
    ]


class _Outline(NamedTuple):
    """The parts of one object; all lie inside of it, but what they say is not checked yet."""

    name: str
    data: Bytes
    flags: int
    version: tuple[int, int, int]
    sections: Rows  # SECTION_64
    symbols: Rows  # NLIST_64
    strings: Bytes
    strings_at: int  # byte offset in `data`
    data_in_code: Rows
    linker_options: tuple[tuple[bytes, ...], ...]


def _outline(data: Bytes, name: str, cputype: int) -> _Outline:
    if len(data) >= MAX_FILE_SIZE:
        raise FormatError("is larger than 4 GiB", name)
    header = loadcommands.read_header(data, name)
    _check_kind(header, cputype, name)
    commands = loadcommands.walk(data, header, name)
    return _Outline(
        *(name, data, int(header["flags"]), _read_version(data, commands, name)),
        _section_headers(data, commands, name),
        *_symbol_table(data, commands, name),
        _read_data_in_code(data, commands, name),
        _read_linker_options(data, commands, name),
    )


def _check_kind(header: Any, cputype: int, file: str) -> None:
    filetype, found = int(header["filetype"]), int(header["cputype"])
    if filetype != macho.MH_OBJECT:
        kind = loadcommands.FILETYPE_NAMES.get(filetype, f"of file type {filetype}")
        raise FormatError(f"is {kind}, not an object file", file)
    if found != cputype:
        raise FormatError(f"is compiled for {cpu_name(found)}, not {cpu_name(cputype)}", file)


def _section_headers(data: Bytes, commands: list[LoadCommand], file: str) -> Rows:
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
    return records(data, at.offset + start, count, macho.SECTION_64, "section headers", file)


def _symbol_table(data: Bytes, commands: list[LoadCommand], file: str) -> tuple[Rows, Bytes, int]:
    """Return the symbols as they are, the table of strings, and its offset."""
    at = only(commands, macho.LC_SYMTAB, "LC_SYMTAB", file)
    if at is None:
        return np.zeros(0, macho.NLIST_64), data[:0], 0
    table = command(data, at, macho.SYMTAB_COMMAND, "LC_SYMTAB", file)
    start, count = int(table["symoff"]), int(table["nsyms"])
    raw = records(data, start, count, macho.NLIST_64, "symbol table", file)
    strings, size = int(table["stroff"]), int(table["strsize"])
    check_range(data, strings, size, "string table", file)
    return raw, data[strings : strings + size], strings


def _joined(tables: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> tuple[NDArray[Any], I8]:
    """Return the rows of all files, and the first of each file, (files + 1,)."""
    first = np.zeros(len(tables) + 1, np.int64)
    np.cumsum([len(each) for each in tables], out=first[1:])
    return joined(tables, dtype), first


def _split(rows: Rows, first: I8) -> list[Rows]:
    """Return the rows of each file."""
    return [rows[start:end] for start, end in itertools.pairwise(first.tolist())]


def _owners(first: I8) -> I8:
    """Return the file of each row, given the first row of each file."""
    return np.repeat(np.arange(len(first) - 1), differences(first))


def has_contents(sections: Rows) -> Any:
    """Return which sections have bytes in the file (all but zero fill), as a boolean column."""
    return ~isin(sections["flags"] & macho.SECTION_TYPE, ZEROFILL_TYPES)


def _title(section: Any) -> str:
    return f"{section['segname'].decode('latin-1')},{section['sectname'].decode('latin-1')}"


def _check_sections(parts: Sequence[_Outline], sections: Rows, owner: I8) -> None:
    def refuse(bad: Any, why: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            raise FormatError(f"section {_title(sections[row])} {why}", parts[owner[row]].name)

    for field in ("segname", "sectname"):
        names = np.ascontiguousarray(sections[field])
        octets = names.view(np.uint8).reshape(-1, names.dtype.itemsize)
        refuse((octets > 0x7F).any(axis=1), "has a name that is not ASCII")
    file_size = np.array([len(part.data) for part in parts], np.int64)
    size, count = sections["size"].astype(np.int64), sections["nreloc"].astype(np.int64)
    refuse(sections["size"] > MAX_SECTION_SIZE, "is larger than 2 GiB")
    refuse(sections["addr"] > MAX_ADDRESS, "has an address outside any object")
    refuse(sections["align"] > MAX_ALIGNMENT, "has an alignment above 32 KiB")
    filled = has_contents(sections)
    outside = sections["offset"] + size > file_size[owner]
    refuse(filled & outside, "reaches past the end of the file")
    refuse(~filled & (count > 0), "is zero fill and cannot have relocations")
    outside = sections["reloff"] + RELOCATION_SIZE * count > file_size[owner]
    refuse((count > 0) & outside, "has relocations past the end of the file")
    # Tables that share bytes would make a small file stand for a huge one.
    for sizes in (size * filled, RELOCATION_SIZE * count):
        crowded = np.bincount(owner, sizes, len(parts)) > file_size
        if crowded.any():
            file = parts[int(np.argmax(crowded))].name
            raise FormatError("section contents or relocations overlap", file)


class _Strings:
    """The string tables of all files."""

    def __init__(self, parts: Sequence[_Outline]) -> None:
        self.parts = parts
        content, self.first = _joined([part.strings for part in parts], np.dtype(np.uint8))
        self.ends = np.flatnonzero(content == 0)

    def lengths(self, owner: I8, offset: I8, what: str) -> I8:
        """Return the length of each string at `offset` of its file's table."""

        def refuse(bad: Any, why: str) -> None:
            if bad.any():
                row = int(np.argmax(bad))
                raise FormatError(f"{what} {why}", self.parts[owner[row]].name, int(offset[row]))

        end = self.first[owner + 1]
        start = self.first[owner] + offset
        refuse(start >= end, "starts outside the string table")
        stop = append(self.ends, self.first[-1])[np.searchsorted(self.ends, start)]
        refuse(stop >= end, "has no terminating NUL")
        length: I8 = stop - start
        return length


def _symbols(parts: Sequence[_Outline], sections: Rows, first_section: I8) -> tuple[Rows, I8]:
    """Return the checked SYMBOL rows of all files, and the first of each file."""
    raw, first = _joined([part.symbols for part in parts], macho.NLIST_64)
    owner, strings = _owners(first), _Strings(parts)
    start = np.array([part.strings_at for part in parts], np.int64)[owner]
    offset = raw["n_strx"].astype(np.int64)
    symbols = np.zeros(len(raw), SYMBOL)
    symbols["length"] = strings.lengths(owner, offset, "symbol name")
    symbols["name"] = start + offset
    symbols["type"], symbols["section"] = raw["n_type"], raw["n_sect"]
    symbols["desc"], symbols["value"] = raw["n_desc"], raw["n_value"]
    alias = (symbols["type"] & (macho.N_STAB | macho.N_TYPE)) == macho.N_INDR
    if alias.any():  # n_value is an offset into the strings
        offset = np.minimum(symbols["value"][alias], np.uint64(MAX_FILE_SIZE)).astype(np.int64)
        symbols["alias_length"][alias] = strings.lengths(owner[alias], offset, "name of an alias")
        symbols["alias"][alias] = start[alias] + offset
    _check_symbols(parts, symbols, owner, sections, first_section)
    return symbols, first


def _check_symbols(
    parts: Sequence[_Outline], symbols: Rows, owner: I8, sections: Rows, first_section: I8
) -> None:
    def refuse(bad: Any, why: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            part, (start, size) = parts[owner[row]], symbols[["name", "length"]][row].tolist()
            name = part.data[start : start + size].tobytes().decode("utf-8", "replace")
            raise FormatError(f"symbol {name} {why}", part.name)

    real = (symbols["type"] & macho.N_STAB) == 0
    kind, ordinal = symbols["type"] & macho.N_TYPE, symbols["section"].astype(np.int64)
    known = isin(kind, (macho.N_UNDF, macho.N_ABS, macho.N_INDR, macho.N_SECT))
    refuse(real & ~known, "has an unknown type")
    placed = real & (kind == macho.N_SECT)
    absent = (ordinal < 1) | (ordinal > differences(first_section)[owner])
    refuse(placed & absent, "is in a section that is not there")
    undefined = real & (kind == macho.N_UNDF)
    refuse(undefined & (ordinal != 0), "is undefined in a section")
    rows = np.flatnonzero(placed)
    home = first_section[owner[rows]] + ordinal[rows] - 1
    value, address = symbols["value"][rows], sections["addr"][home]
    outside = np.zeros(len(symbols), np.bool_)
    outside[rows] = (value < address) | (value - address > sections["size"][home])
    refuse(outside, "lies outside its section")
    common = undefined & (symbols["value"] > MAX_SECTION_SIZE)
    refuse(common, "is a common symbol larger than 2 GiB")


def _relocations(
    parts: Sequence[_Outline], sections: Rows, first_section: I8, first_symbol: I8
) -> tuple[Rows, I8]:
    """Return the checked RELOCATION rows of all files, and the first of each file."""
    count = sections["nreloc"].astype(np.int64)
    home = np.flatnonzero(count)
    owner = _owners(first_section)
    runs = zip(
        owner[home].tolist(), sections["reloff"][home].tolist(), count[home].tolist(), strict=True
    )
    dtype = macho.RELOCATION_INFO
    raw, _ = _joined(
        [records(parts[file].data, at, n, dtype, "", parts[file].name) for file, at, n in runs],
        dtype,
    )
    info, section = raw["r_info"], np.repeat(np.arange(len(sections)), count)
    rows = np.zeros(len(raw), RELOCATION)
    rows["section"] = section - first_section[owner[section]]
    rows["symbol"] = info & 0xFFFFFF
    rows["pcrel"] = (info >> 24) & 1
    rows["length"] = (info >> 25) & 3
    rows["extern"] = (info >> 27) & 1
    rows["type"] = info >> 28
    rows["address"] = raw["r_address"].astype(np.uint32)
    _check_relocations(parts, rows, section, sections, owner, first_section, first_symbol)
    return rows, append(0, np.cumsum(count))[first_section]


def _check_relocations(
    parts: Sequence[_Outline],
    rows: Rows,
    section: I8,
    sections: Rows,
    owner: I8,
    first_section: I8,
    first_symbol: I8,
) -> None:
    def refuse(bad: Any, why: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            place = f"{_title(sections[section[row]])}+{int(rows['address'][row]):#x}"
            raise FormatError(f"relocation at {place} {why}", parts[owner[section[row]]].name)

    file = owner[section]
    address, number = rows["address"].astype(np.int64), rows["symbol"].astype(np.int64)
    refuse(address >= 1 << 31, "is scattered, which 64-bit objects cannot be")
    end = address + (1 << rows["length"].astype(np.int64))
    refuse(end > sections["size"].astype(np.int64)[section], "lies outside its section")
    named = rows["extern"]
    refuse(named & (number >= differences(first_symbol)[file]), "names a symbol that is not there")
    absent = (number < 1) | (number > differences(first_section)[file])
    refuse(~named & absent, "names a section that is not there")


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
