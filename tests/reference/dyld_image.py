"""The least Mach-O file that carries dyld info: for readers that take only files."""

from __future__ import annotations

import struct
from collections.abc import Sequence

BASE = 0x100000000
PAGE = 0x1000
STREAMS = ("rebase", "bind", "weak_bind", "lazy_bind", "export")


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _segment(name: str, offset: int, size: int, filesize: int, writable: bool) -> bytes:
    """A segment that is as far from the start in memory as in the file, with one section."""
    protection = 3 if writable else 1
    section = name.lower().ljust(16, "\0").encode() + name.ljust(16, "\0").encode()
    section += struct.pack("<QQ8I", BASE + offset, filesize, offset, *[0] * 7)
    return (
        struct.pack(
            "<II16s4Q4I",
            *(0x19, 72 + (80 if writable else 0), name.encode()),
            *(BASE + offset, size, offset, filesize, protection, protection, int(writable), 0),
        )
        + section * writable
    )


def with_dyld_info(
    streams: dict[str, bytes], segment_sizes: Sequence[int] = (PAGE, PAGE), dylibs: int = 40
) -> bytes:
    """A dylib with __TEXT, then __DATA0, __DATA1 ... of these sizes, all zero, and the streams."""
    commands, at = [_segment("__TEXT", 0, PAGE, PAGE, False)], PAGE
    for number, size in enumerate(segment_sizes):
        commands.append(_segment(f"__DATA{number}", at, _pages(size), _pages(size), True))
        at += _pages(size)
    linkedit, body, places = at, b"", []
    for name in STREAMS:
        stream = streams.get(name, b"")
        places += [linkedit + len(body) if stream else 0, len(stream)]
        body += stream + bytes(-len(stream) % 8)
    commands.append(_segment("__LINKEDIT", linkedit, _pages(len(body)), len(body), False))
    commands.append(struct.pack("<12I", 0x80000022, 48, *places))
    for number in range(dylibs):
        name = b"/usr/lib/lib%d.dylib\0" % number
        size = 24 + len(name) + (-len(name) % 8)
        commands.append(struct.pack("<6I", 0xC, size, 24, 0, 0, 0) + name.ljust(size - 24, b"\0"))
    table = b"".join(commands)
    header = struct.pack("<8I", 0xFEEDFACF, 0x01000007, 3, 6, len(commands), len(table), 0x85, 0)
    return (header + table).ljust(linkedit, b"\0") + body
