"""Object files that are wrong in one way each, and the message that each must give."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from reference.native_machobj import load_commands

from pielink.errors import FormatError

LC_SEGMENT_64, LC_SYMTAB, LC_BUILD_VERSION = 0x19, 0x2, 0x32


class Case(NamedTuple):
    """What is damaged, how, and a pattern of the message."""

    title: str
    damage: Callable[[bytearray], bytes | bytearray]
    message: str


def _poke(data: bytearray, offset: int, form: str, *values: int) -> bytearray:
    struct.pack_into(form, data, offset, *values)
    return data


def _command(data: bytearray, cmd: int) -> int:
    return next(at for found, at in load_commands(bytes(data)) if found == cmd)


def _section(data: bytearray, index: int, field: int, form: str, value: int) -> bytearray:
    return _poke(data, _command(data, LC_SEGMENT_64) + 72 + 80 * index + field, form, value)


def _symtab(data: bytearray, field: int, value: int) -> bytearray:
    return _poke(data, _command(data, LC_SYMTAB) + field, "<I", value)


def _symbol(data: bytearray, index: int, field: int, form: str, value: int) -> bytearray:
    symoff = struct.unpack_from("<I", data, _command(data, LC_SYMTAB) + 8)[0]
    return _poke(data, symoff + 16 * index + field, form, value)


def _relocation(data: bytearray, field: int, form: str, value: int) -> bytearray:
    reloff = struct.unpack_from("<I", data, _command(data, LC_SEGMENT_64) + 72 + 56)[0]
    return _poke(data, reloff + field, form, value)


def _repeat_command(data: bytearray, cmd: int) -> bytearray:
    """Turn the build version into a second command of another kind."""
    return _poke(data, _command(data, LC_BUILD_VERSION), "<I", cmd)


def with_alias(name: bytes, target: bytes) -> bytes:
    """Return an object whose only symbol `name` is an alias (N_INDR) of `target`."""
    strings = b"\0" + name + b"\0" + target + b"\0"
    header = struct.pack("<8I", 0xFEEDFACF, 0x01000007, 3, 1, 1, 24, 0, 0)
    symtab = struct.pack("<6I", LC_SYMTAB, 24, 56, 1, 72, len(strings))
    symbol = struct.pack("<IBBHQ", 1, 0x0B, 0, 0, 2 + len(name))
    return header + symtab + symbol + strings


def refusal(read: Callable[..., Any], *arguments: Any) -> str:
    """Return the message of the FormatError that `read` raises, or "" when it accepts."""
    try:
        read(*arguments)
    except FormatError as error:
        return str(error)
    return ""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a few bytes, mostly in the load commands and tables, or cut the file short."""
    damaged = bytearray(data)
    if rng.random() < 0.15:
        return bytes(damaged[: rng.randrange(len(damaged))])
    for _ in range(rng.randrange(1, 4)):
        span = len(damaged) if rng.random() < 0.3 else min(len(damaged), 2400)
        at = rng.randrange(span)
        size = rng.choice((1, 1, 2, 4, 8))
        value = rng.choice((0, 0xFF, rng.randrange(256), 0x7F, 0x80))
        damaged[at : at + size] = bytes([value]) * len(damaged[at : at + size])
    return bytes(damaged)


CASES = (
    Case("empty", lambda d: b"", "too few for a Mach-O header"),
    Case("text", lambda d: b"int main(void) { return 0; }\n" * 4, "not a Mach-O file"),
    Case("elf", lambda d: b"\x7fELF" + d[4:], "ELF file; compile for macOS"),
    Case("bitcode", lambda d: b"BC\xc0\xde" + d[4:], "bitcode; compile without -flto"),
    Case("32-bit", lambda d: b"\xce\xfa\xed\xfe" + d[4:], "32-bit"),
    Case("big-endian", lambda d: b"\xfe\xed\xfa\xcf" + d[4:], "big-endian"),
    Case("coff", lambda d: b"MZ" + d[2:], "Windows file"),
    Case("archive", lambda d: b"!<arch>\n" + d[8:], "is an archive"),
    Case("arm64", lambda d: _poke(d, 4, "<I", 0x0100000C), "compiled for arm64, not x86_64"),
    Case("power", lambda d: _poke(d, 4, "<I", 18), "compiled for cputype 0x12"),
    Case("executable", lambda d: _poke(d, 12, "<I", 2), "is an executable, not an object file"),
    Case("dylib", lambda d: _poke(d, 12, "<I", 6), "is a dynamic library, not an object file"),
    Case("file type", lambda d: _poke(d, 12, "<I", 77), "is of file type 77"),
    Case("sizeofcmds", lambda d: _poke(d, 20, "<I", 1 << 30), "reach past the end of the file"),
    Case("ncmds", lambda d: _poke(d, 16, "<I", 1 << 31), "lies outside sizeofcmds"),
    Case("cmdsize 0", lambda d: _poke(d, 36, "<I", 0), "wrong cmdsize 0"),
    Case("cmdsize odd", lambda d: _poke(d, 36, "<I", 75), "wrong cmdsize 75"),
    Case("cmdsize large", lambda d: _poke(d, 36, "<I", 1 << 30), "wrong cmdsize"),
    Case("truncated", lambda d: d[:3000], "past the end of the file"),
    Case("two segments", lambda d: _repeat_command(d, LC_SEGMENT_64), "2 LC_SEGMENT_64"),
    Case("two symtabs", lambda d: _repeat_command(d, LC_SYMTAB), "2 LC_SYMTAB"),
    Case("nsects", lambda d: _poke(d, 32 + 64, "<I", 200), "200 sections do not fit"),
    Case("offset", lambda d: _section(d, 0, 48, "<I", 1 << 31), "section __TEXT,__text reaches"),
    Case("size", lambda d: _section(d, 0, 40, "<Q", 1 << 40), "larger than 2 GiB"),
    Case("sectname", lambda d: _section(d, 0, 0, "B", 0xFF), "has a name that is not ASCII"),
    Case("segname", lambda d: _section(d, 0, 16, "B", 0xFF), "has a name that is not ASCII"),
    Case("addr", lambda d: _section(d, 0, 32, "<Q", 1 << 63), "address outside any object"),
    Case("align", lambda d: _section(d, 0, 52, "<I", 40), "alignment above 32 KiB"),
    Case("reloff", lambda d: _section(d, 0, 56, "<I", 1 << 31), "relocations past the end"),
    Case("nreloc", lambda d: _section(d, 0, 60, "<I", 1 << 28), "relocations past the end"),
    Case("zero fill", lambda d: _section(d, 0, 64, "<I", 1), "zero fill and cannot have reloc"),
    Case("symoff", lambda d: _symtab(d, 8, 1 << 31), "symbol table .* past the end"),
    Case("nsyms", lambda d: _symtab(d, 12, 1 << 28), "symbol table .* past the end"),
    Case("stroff", lambda d: _symtab(d, 16, 1 << 31), "string table .* past the end"),
    Case("strsize", lambda d: _symtab(d, 20, 1 << 31), "string table .* past the end"),
    Case("n_strx", lambda d: _symbol(d, 0, 0, "<I", 1 << 30), "starts outside the string table"),
    Case("unterminated", lambda d: _symtab(d, 20, 6), "symbol name"),
    Case("n_sect", lambda d: _symbol(d, 0, 5, "B", 200), "in a section that is not there"),
    Case("n_type", lambda d: _symbol(d, 0, 4, "B", 0x04), "has an unknown type"),
    Case("n_value", lambda d: _symbol(d, 0, 8, "<Q", 1 << 50), "lies outside its section"),
    Case("alias", lambda d: _symbol(d, 0, 4, "B", 0x0A), "name of an alias|lies outside"),
    Case("r_address", lambda d: _relocation(d, 0, "<I", 1 << 30), "lies outside its section"),
    Case("scattered", lambda d: _relocation(d, 0, "<I", 0x80000000), "is scattered"),
    Case("r_symbolnum", lambda d: _relocation(d, 4, "<I", 0x0DFFFFFF), "symbol that is not there"),
    Case("r_section", lambda d: _relocation(d, 4, "<I", 0x050000F0), "section that is not there"),
)
