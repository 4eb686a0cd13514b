"""Compressed DWARF sections of Mach-O files, as Go's linker writes them.

A section `__zdebug_NAME` holds `ZLIB`, the plain size as 8 big-endian bytes, and a zlib stream;
`__debug_NAME` is the same section uncompressed. Source: Go's debug/macho, File.DWARF.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import zip_longest

from pielink.errors import FormatError

CHUNK = 1 << 20
MAX_SIZE = 1 << 32  # a section that claims to inflate to more is malformed


def is_compressed(name: str) -> bool:
    """Does `__SEG,__sect` name a compressed DWARF section?"""
    return name.startswith("__DWARF,__zdebug_")


def plain_name(name: str) -> str:
    """The name without the mark of compression."""
    return name.replace("__DWARF,__zdebug_", "__DWARF,__debug_", 1)


def inflate(raw: bytes, name: str, file: str) -> Iterator[bytes]:
    """The plain contents in pieces of CHUNK bytes (the last may be shorter).

    Raises FormatError if the section is not what its name says.
    """
    if not is_compressed(name):
        yield from (raw[at : at + CHUNK] for at in range(0, len(raw), CHUNK))
        return
    size = int.from_bytes(raw[4:12], "big")
    if raw[:4] != b"ZLIB" or len(raw) < 12 or size > MAX_SIZE:
        raise FormatError(f"{name} has no valid header of a compressed section", file)
    engine, pending, done = zlib.decompressobj(), raw[12:], 0
    try:
        while done < size:
            piece = engine.decompress(pending, min(CHUNK, size - done))
            while len(piece) < min(CHUNK, size - done) and engine.unconsumed_tail:
                piece += engine.decompress(
                    engine.unconsumed_tail, min(CHUNK, size - done) - len(piece)
                )
            pending = engine.unconsumed_tail
            done += len(piece)
            if not piece:
                break
            yield piece
        if done != size or engine.decompress(pending, 1):
            raise FormatError(f"{name} does not inflate to the {size} bytes it announces", file)
    except zlib.error as error:
        raise FormatError(f"{name} does not inflate: {error}", file) from error


def chunks(left: Iterator[bytes], right: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Both contents side by side, in pieces of equal size as long as both last."""
    return zip_longest(left, right, fillvalue=b"")
