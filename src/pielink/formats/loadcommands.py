"""The header and the load commands that begin every 64-bit little-endian Mach-O file.

The walk checks what every reader needs: the magic, that commands are whole, aligned to 8 bytes,
and that the `ncmds` of them lie inside `sizeofcmds`. Source: <mach-o/loader.h>.
"""

from __future__ import annotations

import numpy as np

from pielink.errors import FormatError
from pielink.formats import macho
from pielink.formats.bounds import Bytes, c_string, record, records
from pielink.hints import Any
from pielink.record import NamedTuple

# What else people hand to a linker by mistake: leading bytes, what that is, and what to do.
FOREIGN_MAGIC = (
    (b"\x7fELF", "an ELF file; compile for macOS (for example -target x86_64-macos)"),
    (b"BC\xc0\xde", "LLVM bitcode; compile without -flto"),
    (b"\xde\xc0\x17\x0b", "LLVM bitcode; compile without -flto"),
    (b"\xce\xfa\xed\xfe", "a 32-bit Mach-O file; only 64-bit ones can be linked"),
    (b"\xfe\xed\xfa", "a big-endian Mach-O file; only little-endian ones can be linked"),
    (b"\xca\xfe\xba\xbe", "a fat file inside another file; extract one slice with lipo -thin"),
    (b"!<thin>\n", "a thin archive; make a regular one (ar without the T modifier)"),
    (b"!<arch>\n", "an archive; it has to be given as an input of its own"),
    (b"MZ", "a Windows file; compile for macOS (for example -target x86_64-macos)"),
)
CPU_NAMES = {macho.CPU_TYPE_X86_64: "x86_64", macho.CPU_TYPE_ARM64: "arm64"}
FILETYPE_NAMES = {
    macho.MH_OBJECT: "an object file",
    macho.MH_EXECUTE: "an executable",
    macho.MH_DYLIB: "a dynamic library",
    macho.MH_DYLIB_STUB: "a dynamic library stub",
    macho.MH_DYLINKER: "a dynamic linker",
    macho.MH_BUNDLE: "a bundle",
}


class LoadCommand(NamedTuple):
    """One load command: its number, where it starts in the file, and its size in bytes."""

    cmd: int
    offset: int
    size: int


def cpu_name(cputype: int) -> str:
    """Return the name that -arch gives a cputype, or its number."""
    return CPU_NAMES.get(cputype, f"cputype {cputype:#x}")


def read_header(data: Bytes, file: str) -> Any:
    """Return the mach_header_64; raises FormatError that says what the file is instead."""
    start = data[:16].tobytes()
    for magic, what in FOREIGN_MAGIC:
        if start.startswith(magic):
            raise FormatError(f"is {what}", file)
    if len(data) < macho.MACH_HEADER_64.itemsize:
        raise FormatError(f"has {len(data)} bytes, too few for a Mach-O header", file)
    header = record(data, 0, macho.MACH_HEADER_64, "Mach-O header", file)
    if int(header["magic"]) != macho.MH_MAGIC_64:
        raise FormatError(f"is not a Mach-O file (magic {int(header['magic']):#010x})", file)
    return header


def walk(data: Bytes, header: Any, file: str) -> list[LoadCommand]:
    """Return the load commands in file order; raises FormatError where one is not whole."""
    offset = macho.MACH_HEADER_64.itemsize
    end = offset + int(header["sizeofcmds"])
    if end > len(data):
        raise FormatError("load commands reach past the end of the file", file, offset)
    commands = []
    for index in range(int(header["ncmds"])):
        if offset + macho.LOAD_COMMAND.itemsize > end:
            raise FormatError(f"load command {index} lies outside sizeofcmds", file, offset)
        cmd, size = map(int, data[offset : offset + 8].view("<u4"))
        if size < 8 or size % 8 or offset + size > end:
            raise FormatError(f"load command {index} has a wrong cmdsize {size}", file, offset)
        commands.append(LoadCommand(cmd, offset, size))
        offset += size
    return commands


def command(data: Bytes, at: LoadCommand, dtype: np.dtype[Any], what: str, file: str) -> Any:
    """Return the fixed part of one load command; raises FormatError when cmdsize is too small."""
    if at.size < dtype.itemsize:
        raise FormatError(f"{what} has a cmdsize of only {at.size}", file, at.offset)
    return record(data, at.offset, dtype, what, file)


def command_string(data: Bytes, at: LoadCommand, field: int, what: str, file: str) -> bytes:
    """Return an `lc_str`: the NUL-terminated text `field` bytes into the command."""
    if not 8 <= field < at.size:
        raise FormatError(f"{what} lies outside its load command", file, at.offset)
    return c_string(data, at.offset + field, at.offset + at.size, what, file)


def only(commands: list[LoadCommand], cmd: int, what: str, file: str) -> LoadCommand | None:
    """Return the load command `cmd`, or None; raises FormatError when there are several."""
    found = [each for each in commands if each.cmd == cmd]
    if len(found) > 1:
        raise FormatError(f"has {len(found)} {what} load commands", file, found[1].offset)
    return found[0] if found else None


def linkedit_rows(
    data: Bytes, at: LoadCommand | None, dtype: np.dtype[Any], what: str, file: str
) -> Any:
    """Return the rows that a linkedit_data_command points at; none where it is absent."""
    if at is None:
        return np.zeros(0, dtype)
    place = command(data, at, macho.LINKEDIT_DATA_COMMAND, what, file)
    count, rest = divmod(int(place["datasize"]), dtype.itemsize)
    if rest:
        raise FormatError(f"{what} is not a whole number of entries", file, at.offset)
    return records(data, int(place["dataoff"]), count, dtype, what, file)
