"""Writes small Mach-O objects for tests, field by field, and random ones from a seed."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

REGULAR, ZEROFILL, CSTRING, LITERAL4, LITERAL8 = 0, 1, 2, 3, 4
CODE = 0x80000400
NO_DEAD_STRIP = 0x10000000
LIVE_SUPPORT = 0x08000000
N_EXT, N_PEXT, N_ABS, N_SECT, N_INDR = 1, 0x10, 2, 0xE, 0xA
DESC_NO_DEAD_STRIP, DESC_WEAK_REF, DESC_WEAK_DEF, DESC_ALT_ENTRY = 0x20, 0x40, 0x80, 0x200
(UNSIGNED, SIGNED, BRANCH, GOT_LOAD, GOT, SUBTRACTOR, SIGNED_1, SIGNED_2, SIGNED_4, TLV) = range(10)


@dataclass
class Section:
    """A section and its relocations: (offset, type, log2 size, pcrel, extern, symbol number)."""

    segment: str
    name: str
    content: bytes = b""
    flags: int = REGULAR
    align: int = 0
    size: int = 0  # of zero fill
    relocs: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    address: int = 0


@dataclass
class Symbol:
    """A symbol; `value` of a defined one is an offset in its section (1-based), or an address."""

    name: str
    type: int = N_EXT
    section: int = 0
    desc: int = 0
    value: int = 0


def address_sections(sections: list[Section]) -> None:
    """Give the sections ascending, aligned addresses."""
    at = 0
    for section in sections:
        at = -(-at // (1 << section.align)) * (1 << section.align)
        section.address = at
        at += section.size or len(section.content)


def write(sections: list[Section], symbols: list[Symbol], flags: int = 0x2000) -> bytes:
    """Return the object file; sections that have no address yet must have been addressed."""
    head = 32 + 72 + 80 * len(sections) + 24
    body, headers, relocs = b"", b"", b""
    place = head + sum(len(s.content) for s in sections)
    for section in sections:
        offset = head + len(body) if section.content else 0
        body += section.content
        rows = section.relocs
        names = section.name.encode().ljust(16, b"\0") + section.segment.encode().ljust(16, b"\0")
        size = section.size or len(section.content)
        fields = (section.address, size, offset, section.align, place + len(relocs), len(rows))
        headers += names + struct.pack("<QQ8I", *fields, section.flags, 0, 0, 0)
        for at, kind, length, pcrel, extern, number in rows:
            info = number | pcrel << 24 | length << 25 | extern << 27 | kind << 28
            relocs += struct.pack("<iI", at, info)
    table, strings = b"", b"\0"
    for symbol in symbols:
        value = symbol.value
        if symbol.type & 0xE == N_SECT and not symbol.type & 0xE0:
            value += sections[symbol.section - 1].address
        row = (len(strings), symbol.type, symbol.section, symbol.desc, value)
        table += struct.pack("<IBBHQ", *row)
        strings += symbol.name.encode() + b"\0"
    symoff = place + len(relocs)
    size = sum(s.size or len(s.content) for s in sections)
    header = struct.pack("<8I", 0xFEEDFACF, 0x01000007, 3, 1, 2, head - 32, flags, 0)
    segment = struct.pack("<II16s4QIIII", 0x19, 72 + 80 * len(sections), b"", 0, size, head,
                          len(body), 7, 7, len(sections), 0)  # fmt: skip
    stroff = symoff + len(table)
    symtab = struct.pack("<6I", 0x2, 24, symoff, len(symbols), stroff, len(strings))
    return header + segment + headers + symtab + body + relocs + table + strings


def random_object(rng: random.Random, number: int = 0, names: int = 12) -> bytes:
    """Return a valid object with a bit of everything; external names come from a small pool."""
    sections = _random_sections(rng)
    address_sections(sections)
    symbols = _random_symbols(rng, sections, number, names)
    for index, section in enumerate(sections):
        if section.flags & 0xFF in (REGULAR,) and section.segment != "__DWARF":
            _random_relocs(rng, sections, index, symbols)
    return write(sections, symbols, flags=0x2000 if rng.random() < 0.85 else 0)


def _random_sections(rng: random.Random) -> list[Section]:
    strings = rng.choices(("", "a", "hello", "world", "hello world", "x" * 40), k=rng.randrange(8))
    text = b"".join(s.encode() + b"\0" for s in strings)
    numbers = rng.choices((b"ABCDEFGH", b"\0" * 8, b"12345678"), k=rng.randrange(5))

    def data(limit: int) -> bytes:
        return rng.randbytes(8 * rng.randrange(limit))

    found = [
        Section("__TEXT", "__text", data(30), CODE, 4),
        Section("__TEXT", "__cstring", text, CSTRING),
        Section("__TEXT", "__literal8", b"".join(numbers), LITERAL8, 3),
        Section("__TEXT", "__literal4", b"".join(numbers)[:8], LITERAL4, 2),
        Section("__DATA", "__data", data(20), REGULAR, 3),
        Section("__DATA", "__keep", data(3), REGULAR | NO_DEAD_STRIP, 3),
        Section("__DATA", "__support", data(3), REGULAR | LIVE_SUPPORT, 3),
        Section("__DATA", "__bss", b"", ZEROFILL, 4, size=8 * rng.randrange(1, 9)),
        Section("__DWARF", "__debug_info", data(4), 0x02000000),
    ]
    return [s for s in found if s.content or s.size]


def _random_symbols(
    rng: random.Random, sections: list[Section], number: int, names: int
) -> list[Symbol]:
    symbols = []
    for index, section in enumerate(sections, 1):
        size = section.size or len(section.content)
        for each in range(rng.randrange(6) if section.segment != "__DWARF" else 0):
            value = 8 * rng.randrange(size // 8 + 1)
            desc = rng.choice((0, 0, 0, DESC_ALT_ENTRY, DESC_NO_DEAD_STRIP))
            if rng.random() < 0.5:
                local = rng.choice((f"l{number}_{index}_{each}", f"Ltmp{each}"))
                symbols.append(Symbol(local, N_SECT, index, desc, value))
            else:
                may_hide = DESC_WEAK_REF if rng.random() < 0.2 else 0
                weak = DESC_WEAK_DEF | may_hide if rng.random() < 0.6 else 0
                private = N_PEXT if rng.random() < 0.3 else 0
                name = f"_n{rng.randrange(names)}" if weak else f"_s{number}_{index}_{each}"
                kind = N_SECT | N_EXT | private
                symbols.append(Symbol(name, kind, index, desc | weak, value))
    for each in range(rng.randrange(5)):
        weak = rng.choice((0, DESC_WEAK_REF))
        symbols.append(Symbol(f"_n{rng.randrange(names)}", N_EXT, 0, weak))
        common = Symbol(f"_n{rng.randrange(names)}", N_EXT, 0, rng.randrange(5) << 8, 4 << each)
        symbols.append(common)
    symbols.append(Symbol(f"_a{number}", N_EXT | N_ABS, 0, 0, rng.randrange(1 << 20)))
    symbols.append(Symbol("absolute", N_ABS, 0, 0, rng.randrange(1 << 20)))
    unique = {s.name: s for s in symbols if s.type & N_EXT}
    kept = [s for s in symbols if not s.type & N_EXT or unique[s.name] is s]
    rng.shuffle(kept)
    return kept


def _random_relocs(
    rng: random.Random, sections: list[Section], index: int, symbols: list[Symbol]
) -> None:
    """Patch some 8-byte units of a section, whose atoms all begin at multiples of 8."""
    section = sections[index]
    content = bytearray(section.content)
    real = [n for n, s in enumerate(symbols) if s.type & 0xE != N_ABS]
    for at in range(0, len(content), 8):
        if rng.random() < 0.4:
            continue
        kind = rng.choice((*range(10), UNSIGNED, SIGNED, BRANCH, SUBTRACTOR))
        homes = [n for n, s in enumerate(sections, 1) if s.segment != "__DWARF"]
        extern = kind in (GOT_LOAD, GOT, TLV) or rng.random() < 0.6
        symbol = rng.randrange(len(symbols)) if extern else rng.choice(homes)
        after = {SIGNED_1: 1, SIGNED_2: 2, SIGNED_4: 4}.get(kind, 0)
        wide = kind in (UNSIGNED, SUBTRACTOR) and rng.random() < 0.6
        pcrel = kind not in (UNSIGNED, SUBTRACTOR)
        value = rng.randrange(-64, 64)
        if not extern:
            home = sections[symbol - 1]
            size = home.size or len(home.content)
            value = home.address + rng.randrange(max(size, 1))
            value -= section.address + at + 4 + after if pcrel else 0
        if kind == SUBTRACTOR:
            minus = rng.choice(real)
            section.relocs.append((at, SUBTRACTOR, 2 + wide, 0, 1, minus))
            kind = UNSIGNED
        section.relocs.append((at, kind, 2 + wide, pcrel, extern, symbol))
        content[at : at + (8 if wide else 4)] = struct.pack("<q" if wide else "<i", value)
    section.content = bytes(content)
