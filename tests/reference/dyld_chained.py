"""Plain-Python twin of the chained fixups reader: one page, one link, one field at a time."""

from __future__ import annotations

import struct
from collections.abc import Sequence

ARM64E = {
    1: (8, 16, True),
    7: (4, 16, False),
    9: (8, 16, False),
    10: (4, 16, True),
    12: (8, 24, False),
}

# (segment, offset, "rebase", target, auth) or
# (segment, offset, "bind", (ordinal, weak, name), addend, auth); auth: None or (key, address, div)
Fixup = tuple[object, ...]


def field(word: int, first: int, count: int) -> int:
    return word >> first & ((1 << count) - 1)


def string(data: bytes, at: int) -> bytes:
    return data[at : data.index(b"\0", at)]


def read_imports(payload: bytes) -> list[tuple[int, bool, bytes, int]]:
    """(ordinal, weak, name, addend) of each row of the table."""
    _, _, at, symbols, count, kind, _ = struct.unpack_from("<7I", payload)
    rows = []
    for _ in range(count):
        if kind == 3:
            bits, addend = struct.unpack_from("<Qq", payload, at)
            ordinal, weak, name = field(bits, 0, 16), field(bits, 16, 1), field(bits, 32, 32)
            ordinal -= 0x10000 if ordinal > 0xFFF0 else 0
            at += 16
        else:
            (bits,) = struct.unpack_from("<I", payload, at)
            addend = struct.unpack_from("<i", payload, at + 4)[0] if kind == 2 else 0
            ordinal, weak, name = field(bits, 0, 8), field(bits, 8, 1), field(bits, 9, 23)
            ordinal -= 0x100 if ordinal > 0xF0 else 0
            at += 8 if kind == 2 else 4
        rows.append((ordinal, bool(weak), string(payload, symbols + name), addend))
    return rows


def decode(
    payload: bytes, segments: Sequence[tuple[int, int]], contents: Sequence[bytes], base: int
) -> list[Fixup]:
    """All fixups by location."""
    imports = read_imports(payload)
    image = struct.unpack_from("<I", payload, 4)[0]
    count = struct.unpack_from("<I", payload, image)[0]
    found: list[Fixup] = []
    for index in range(count):
        at = struct.unpack_from("<I", payload, image + 4 + 4 * index)[0]
        if not at:
            continue
        at += image
        _, page_size, kind, _, _, pages = struct.unpack_from("<IHHQIH", payload, at)
        for page in range(pages):
            start = struct.unpack_from("<H", payload, at + 22 + 2 * page)[0]
            if start == 0xFFFF:
                continue
            offset = page * page_size + start
            while True:
                word = struct.unpack_from("<Q", contents[index], offset)[0]
                found.append((index, offset, *one(word, kind, imports, base)))
                if kind in ARM64E:
                    step = field(word, 51, 11) * ARM64E[kind][0]
                else:
                    step = field(word, 51, 12) * 4
                if not step:
                    break
                offset += step
    return found


def one(
    word: int, kind: int, imports: list[tuple[int, bool, bytes, int]], base: int
) -> tuple[object, ...]:
    if kind not in ARM64E:
        if field(word, 63, 1):
            *symbol, addend = imports[field(word, 0, 24)]
            return "bind", tuple(symbol), addend + field(word, 24, 8), None
        target = field(word, 0, 36) + (base if kind == 6 else 0)
        return "rebase", target | field(word, 36, 8) << 56, None
    _, bits, is_address = ARM64E[kind]
    auth = (field(word, 49, 2), bool(field(word, 48, 1)), field(word, 32, 16))
    signed, bind = field(word, 63, 1), field(word, 62, 1)
    if bind:
        *symbol, addend = imports[field(word, 0, bits)]
        if signed:
            return "bind", tuple(symbol), addend, auth
        embedded = field(word, 32, 19)
        embedded -= 1 << 19 if embedded >> 18 else 0
        return "bind", tuple(symbol), addend + embedded, None
    if signed:
        return "rebase", field(word, 0, 32) + base, auth
    target = field(word, 0, 43) + (0 if is_address else base)
    return "rebase", target | field(word, 43, 8) << 56, None
