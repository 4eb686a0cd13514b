"""Plain-Python twin of formats.machobj: one symbol and one relocation at a time, by struct."""

from __future__ import annotations

import struct


def load_commands(data: bytes) -> list[tuple[int, int]]:
    """Return (cmd, offset) of each load command."""
    count = struct.unpack_from("<I", data, 16)[0]
    found, offset = [], 32
    for _ in range(count):
        cmd, size = struct.unpack_from("<II", data, offset)
        found.append((cmd, offset))
        offset += size
    return found


def _string(data: bytes, offset: int) -> bytes:
    return data[offset : data.index(b"\0", offset)]


def symbols(data: bytes) -> list[tuple[bytes, int, int, int, int]]:
    """Return (name, n_type, n_sect, n_desc, n_value) of each symbol."""
    rows = []
    for cmd, at in load_commands(data):
        if cmd != 0x2:
            continue
        symoff, nsyms, stroff, _ = struct.unpack_from("<4I", data, at + 8)
        for i in range(nsyms):
            strx, kind, sect, desc, value = struct.unpack_from("<IBBHQ", data, symoff + 16 * i)
            rows.append((_string(data, stroff + strx), kind, sect, desc, value))
    return rows


def sections(data: bytes) -> list[dict[str, int | bytes]]:
    """Return the fields of each section header."""
    keys = ("sectname", "segname", "addr", "size", "offset", "align", "reloff", "nreloc", "flags")
    rows: list[dict[str, int | bytes]] = []
    for cmd, at in load_commands(data):
        if cmd != 0x19:
            continue
        for i in range(struct.unpack_from("<I", data, at + 64)[0]):
            fields = struct.unpack_from("<16s16sQQ5I", data, at + 72 + 80 * i)
            row = dict(zip(keys, fields, strict=True))
            row["sectname"] = fields[0].rstrip(b"\0")
            row["segname"] = fields[1].rstrip(b"\0")
            rows.append(row)
    return rows


def relocations(data: bytes) -> list[tuple[int, int, int, bool, bool, int, int]]:
    """Return (section row, type, length, pcrel, extern, symbol, address) of each relocation."""
    rows = []
    for index, section in enumerate(sections(data)):
        for i in range(int(section["nreloc"])):
            address, info = struct.unpack_from("<iI", data, int(section["reloff"]) + 8 * i)
            symbol, bits = info & 0xFFFFFF, info >> 24
            pcrel, length, extern, kind = bits & 1, bits >> 1 & 3, bits >> 3 & 1, bits >> 4
            rows.append((index, kind, length, bool(pcrel), bool(extern), symbol, address))
    return rows
