"""The header, the load commands, and `__LINKEDIT`, which they describe.

A Mach-O file starts with a `mach_header_64` and the load commands, in the room that the layout
left before the first section. `__LINKEDIT` follows the last other segment; in it lie, each at a
multiple of 8 bytes, the dyld info streams, then the symbol table, the indirect symbol table and the
strings. It ends at a multiple of 16, where codesign puts a signature: the kernel runs amd64
programs without one, and none is made here.

The order of the load commands is that of cmd/link/internal/ld/macho.go (machowrite, asmbMacho).
"""

from __future__ import annotations

import numpy as np

from pielink.arch import amd64
from pielink.arraytypes import DTypeLike, NDArray
from pielink.digest import sha256
from pielink.errors import LinkError, Problem
from pielink.formats import macho
from pielink.golang.sequence import round_up
from pielink.hints import Any
from pielink.options import Version
from pielink.passes.dyld_info import OPCODE_STREAMS, DyldInfo
from pielink.passes.symtab import SymbolTable
from pielink.record import NamedTuple, Record, fields
from pielink.tables import Layout

DYLD_PATH = "/usr/lib/dyld"
DYLIB_BUDGET = 2048  # bytes of HEADER_ROOM for LC_LOAD_DYLIB commands
STREAM_ALIGN, END_ALIGN = 8, 16

# The load commands of a Go program besides those of dylibs, and how many sections it has.
GO_SECTIONS = 15
GO_COMMANDS = (
    *[macho.SEGMENT_COMMAND_64] * 5,
    macho.BUILD_VERSION_COMMAND,
    macho.UNIXTHREAD_COMMAND_X86_64,
    macho.DYLD_INFO_COMMAND,
    macho.SYMTAB_COMMAND,
    macho.DYSYMTAB_COMMAND,
    macho.DYLINKER_COMMAND,
    macho.UUID_COMMAND,
)

# Tables about the code of host objects, which Go's linker does not make: name -> load command.
CODE_TABLES = {
    "function_starts": macho.LC_FUNCTION_STARTS,
    "data_in_code": macho.LC_DATA_IN_CODE,
}


class Part(NamedTuple):
    """A range of `__LINKEDIT`: position in the file and size, both in bytes."""

    offset: int = 0
    size: int = 0


class Linkedit(Record):
    """The `__LINKEDIT` segment."""

    address: int
    offset: int  # in the file
    content: bytes  # a multiple of END_ALIGN bytes
    parts: dict[
        str, Part
    ]  # fields of DyldInfo, code tables, then "symbols", "indirect" and "strings"


class Description(Record):
    """What the load commands say besides where things are."""

    entry: int  # unslid address of the first instruction
    pie: bool
    dylibs: list[str]  # install names, in the order of their ordinals
    minos: Version
    sdk: Version
    uuid: bytes | None  # 16 bytes; None leaves LC_UUID out
    weak_defines: bool = False  # the image has weak definitions, or overrides some
    binds_to_weak: bool = False  # pointers of the image are bound weakly


def header_room(dylibs: list[str], sections: int = GO_SECTIONS) -> int:
    """Bytes to keep before the first section, a multiple of 4096.

    Go's linker reckons with DYLIB_BUDGET for dylibs and keeps a page more for each time that this
    is used up. That falls short of some dozens of dylibs; then here is room for all commands of a
    program with so many `sections`.
    """
    room, budget = amd64.HEADER_ROOM, DYLIB_BUDGET
    for name in dylibs:
        budget -= round_up(len(name.encode()), 8) + macho.DYLIB_COMMAND.itemsize
        if budget < 0:
            room, budget = room + 4096, budget + 4096
    needed = macho.MACH_HEADER_64.itemsize + sections * macho.SECTION_64.itemsize
    needed += sum(dtype.itemsize for dtype in GO_COMMANDS) + round_up(len(DYLD_PATH) + 1, 8)
    needed += sum(len(_load_dylib(name)) for name in dylibs)
    return max(room, int(round_up(needed, 4096)))


def linkedit(
    layout: Layout,
    info: DyldInfo,
    table: SymbolTable,
    page_size: int,
    code_tables: dict[str, bytes] | None = None,
) -> Linkedit:
    """Lay `__LINKEDIT` out behind the other segments, at multiples of `page_size`.

    `code_tables` are those of CODE_TABLES that the program has.
    """
    segments = layout.segments
    offset = round_up(int((segments.fileoff + segments.filesize).max()), page_size)
    address = round_up(int((segments.vmaddr + segments.vmsize).max()), page_size)
    streams = {name: getattr(info, name) for name in fields(DyldInfo)} | (code_tables or {})
    tables = {
        "symbols": table.entries.tobytes(),
        "indirect": table.indirect.astype("<u4").tobytes(),
        "strings": table.strings,
    }
    content = bytearray()
    parts = {}
    for name, data in (streams | tables).items():
        content += bytes(-len(content) % (4 if name == "strings" else STREAM_ALIGN))
        size = round_up(len(data), STREAM_ALIGN) if name in streams else len(data)
        parts[name] = Part(offset + len(content), size) if data else Part()
        content += data.ljust(size, b"\0")
    padding = -len(content) % END_ALIGN
    parts["strings"] = Part(parts["strings"].offset, parts["strings"].size + padding)
    return Linkedit(address, offset, bytes(content) + bytes(padding), parts)


def headers(layout: Layout, data: Linkedit, table: SymbolTable, about: Description) -> bytes:
    """The header and all load commands.

    LinkError if they do not fit before the first section.
    """
    commands = [
        *segment_commands(layout),
        _linkedit_segment(data),
        _build_version(about),
        _entry_point(about),
        *_linkedit_commands(data, table, about.pie),
        path_command(macho.DYLINKER_COMMAND, macho.LC_LOAD_DYLINKER, DYLD_PATH),
        *map(_load_dylib, about.dylibs),
    ]
    if about.uuid is not None:
        commands.append(command(macho.UUID_COMMAND, macho.LC_UUID, uuid=np.void(about.uuid)))
    result = _mach_header(commands, _flags(layout, table, about)) + b"".join(commands)
    _check_room(layout, len(result))
    return result


def _build_version(about: Description) -> bytes:
    return command(
        macho.BUILD_VERSION_COMMAND,
        macho.LC_BUILD_VERSION,
        platform=macho.PLATFORM_MACOS,
        minos=about.minos.encoded(),
        sdk=about.sdk.encoded(),
    )


def _entry_point(about: Description) -> bytes:
    """The registers of the first thread: all zero but the program counter."""
    return command(
        macho.UNIXTHREAD_COMMAND_X86_64,
        macho.LC_UNIXTHREAD,
        flavor=macho.X86_THREAD_STATE64,
        count=2 * len(macho.X86_THREAD_STATE64_REGISTERS),
        rip=about.entry,
    )


def command(dtype: DTypeLike, number: int, tail: bytes = b"", /, **values: Any) -> bytes:
    """One load command: the structure, then `tail`."""
    record = np.zeros((), dtype)
    for name, value in {"cmd": number, "cmdsize": record.nbytes + len(tail), **values}.items():
        record[name] = value
    return record.tobytes() + tail


def path_command(dtype: DTypeLike, number: int, path: str) -> bytes:
    """A load command whose field `name` is the offset of the C string behind the structure."""
    start = np.dtype(dtype).itemsize
    name = path.encode() + b"\0"
    return command(
        dtype, number, name.ljust(round_up(start + len(name), 8) - start, b"\0"), name=start
    )


def _load_dylib(name: str) -> bytes:
    return path_command(macho.DYLIB_COMMAND, macho.LC_LOAD_DYLIB, name)


def segment_commands(layout: Layout) -> list[bytes]:
    """LC_SEGMENT_64 of each segment, with its sections."""
    segments = layout.segments
    records = _section_records(layout)
    columns = ("vmaddr", "vmsize", "fileoff", "filesize", "maxprot", "initprot", "flags")
    result = []
    for row, name in enumerate(segments.name):
        own = records[layout.sections.segment == row]
        values = {column: getattr(segments, column)[row] for column in columns}
        values |= {"segname": name.encode(), "nsects": len(own)}
        result.append(
            command(macho.SEGMENT_COMMAND_64, macho.LC_SEGMENT_64, own.tobytes(), **values)
        )
    return result


def _section_records(layout: Layout) -> NDArray[Any]:
    sections = layout.sections
    records = np.zeros(len(sections.name), macho.SECTION_64)
    records["sectname"] = [n.encode() for n in sections.name]
    records["segname"] = [layout.segments.name[i].encode() for i in sections.segment.tolist()]
    records["addr"], records["size"] = sections.address, sections.size
    records["offset"], records["flags"] = sections.offset, sections.flags
    records["align"] = np.log2(sections.align).astype(np.uint32)
    records["reserved1"], records["reserved2"] = sections.reserved1, sections.reserved2
    return records


def _linkedit_segment(data: Linkedit) -> bytes:
    size = len(data.content)
    return command(
        macho.SEGMENT_COMMAND_64,
        macho.LC_SEGMENT_64,
        segname=b"__LINKEDIT",
        vmaddr=data.address,
        vmsize=size,
        fileoff=data.offset,
        filesize=size,
        maxprot=macho.VM_PROT_READ,
        initprot=macho.VM_PROT_READ,
    )


def _linkedit_commands(data: Linkedit, table: SymbolTable, pie: bool) -> list[bytes]:
    """The commands that say where things are in `__LINKEDIT`."""
    parts, first_external = data.parts, table.local_count
    result = _dyld_commands(parts) if pie else []
    for name, number in CODE_TABLES.items():
        if part := parts.get(name):
            place = {"dataoff": part.offset, "datasize": part.size}
            result.append(command(macho.LINKEDIT_DATA_COMMAND, number, **place))
    result.append(
        command(
            macho.SYMTAB_COMMAND,
            macho.LC_SYMTAB,
            symoff=parts["symbols"].offset,
            nsyms=len(table.entries),
            stroff=parts["strings"].offset,
            strsize=parts["strings"].size,
        )
    )
    result.append(
        command(
            macho.DYSYMTAB_COMMAND,
            macho.LC_DYSYMTAB,
            nlocalsym=table.local_count,
            iextdefsym=first_external,
            nextdefsym=table.external_count,
            iundefsym=first_external + table.external_count,
            nundefsym=table.undefined_count,
            indirectsymoff=parts["indirect"].offset,
            nindirectsyms=len(table.indirect),
        )
    )
    return result


def _dyld_commands(parts: dict[str, Part]) -> list[bytes]:
    """LC_DYLD_INFO_ONLY, or the commands of chained fixups; never both."""
    if not parts["chained"].size:
        places = {}
        for name in OPCODE_STREAMS:
            places[f"{name}_off"], places[f"{name}_size"] = parts[name].offset, parts[name].size
        return [command(macho.DYLD_INFO_COMMAND, macho.LC_DYLD_INFO_ONLY, **places)]
    return [
        command(macho.LINKEDIT_DATA_COMMAND, number, dataoff=part.offset, datasize=part.size)
        for number, part in (
            (macho.LC_DYLD_CHAINED_FIXUPS, parts["chained"]),
            (macho.LC_DYLD_EXPORTS_TRIE, parts["export"]),
        )
        if part.size
    ]


def _flags(layout: Layout, table: SymbolTable, about: Description) -> int:
    """Flags of the header, as Go's linker sets them: no MH_TWOLEVEL.

    dyld looks for thread-local variables, and for symbols to keep once for all images, only if the
    header says that there are some.
    """
    flags = 0 if table.undefined_count else macho.MH_NOUNDEFS
    flags |= macho.MH_WEAK_DEFINES if about.weak_defines else 0
    flags |= macho.MH_BINDS_TO_WEAK if about.binds_to_weak else 0
    if about.pie:
        flags |= macho.MH_PIE | macho.MH_DYLDLINK
    kinds = layout.sections.flags & macho.SECTION_TYPE
    if (kinds == macho.S_THREAD_LOCAL_VARIABLES).any():
        flags |= macho.MH_HAS_TLV_DESCRIPTORS
    return flags


def _mach_header(commands: list[bytes], flags: int) -> bytes:
    record = np.zeros((), macho.MACH_HEADER_64)
    record["magic"], record["filetype"] = macho.MH_MAGIC_64, macho.MH_EXECUTE
    record["cputype"], record["cpusubtype"] = amd64.CPU_TYPE, amd64.CPU_SUBTYPE
    record["ncmds"], record["sizeofcmds"] = len(commands), sum(map(len, commands))
    record["flags"] = flags
    return record.tobytes()


def _check_room(layout: Layout, size: int) -> None:
    """LinkError if a header of `size` bytes would reach into the first section."""
    room = int(layout.sections.offset[layout.sections.offset > 0].min())
    if size > room:
        message = f"the load commands take {size} bytes, but the first section starts at {room}"
        raise LinkError([Problem(f"{message}: link fewer dylibs")])


def uuid_of(kind: str, build_id: str, parts: list[bytes | memoryview]) -> bytes | None:
    """The UUID that -B asks for, or None.

    `kind` is LinkOptions.uuid: "none", "gobuildid" (a hash of `build_id`), 16 bytes as "0x…", or
    anything else for a hash of the file, whose bytes so far are `parts`. Never random: the same
    inputs give the same file.
    """
    if kind == "none":
        return None
    if kind == "gobuildid":
        parts = [build_id.encode("utf-8", "surrogateescape")]
    elif kind.startswith("0x") and len(kind) >= 2 + 2 * 16:
        return bytes.fromhex(kind[2:])
    value = bytearray(sha256(parts)[:16])
    value[0] ^= 0xFF  # as Go's tool chain does, so that its hashes are not mistaken for SHA-256
    value[6] = value[6] & 0x0F | 0x30  # version 3, a hash of a name
    value[8] = value[8] & 0x3F | 0x80  # variant 1
    return bytes(value)
