"""Damage Go archives at random, each family in its own way: for the fuzz test of the linker.

A family is a function that changes the members of an archive in place. What it does depends on
nothing but the random generator that it is given.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from goobj_edit import (
    BLOCKS,
    FIELDS,
    OBJECT_MAGIC,
    SYMBOL_BLOCKS,
    GoObject,
    Member,
    join,
    member,
)

Family = Callable[[list[Member], random.Random], None]

FIRST_DWARF_KIND = 12
INDEX_OF = {"reloc": "relocidx", "aux": "auxidx"}
TRIES = 10
HUGE = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFE, 0x7FFFFFFB, 0x10000, 0xFFFF)
HEADER_LINES = (
    b"main",
    b'build id "x"',
    b"go object darwin amd64 go1.27.3",
    b"$$",
    b"$$  // cgo\n[]\n$$",
    b'$$  // cgo\n[["cgo_import_dynamic","main.main","x","/usr/lib/libSystem.B.dylib"]]\n$$',
    b'$$  // cgo\n[["cgo_import_dynamic","_","_","nowhere.dylib"],["cgo_ldflag","-lx"]]\n$$',
    b'$$  // cgo\n[["cgo_export_dynamic","main.main","go_main"],["cgo_export_static","f"]]\n$$',
    b'$$  // cgo\n[["cgo_import_static","main.main"],["cgo_import_dynamic","\\ud800"]]\n$$',
    b"$$  // cgo\n" + b"[" * 5000 + b"\n$$",
    b"!",
    b"\xff\xfe",
)


def _objects(members: list[Member]) -> list[GoObject]:
    return [GoObject(m.body) for m in members if OBJECT_MAGIC in m.body and m.name != "__.PKGDEF"]


def _clip(value: int, form: str) -> int:
    """The value, cut to what the field can hold."""
    bits = 8 * struct.calcsize(form)
    value &= (1 << bits) - 1
    signed = form[-1].islower() and form != "B" and value >> (bits - 1)
    return value - (1 << bits) if signed else value


def _interesting(old: int, count: int, chance: random.Random) -> int:
    """A value that may be just right or just wrong for an index, a size or an offset."""
    near = (old + 1, old - 1, old ^ 1 << chance.randrange(16), -old, count, count - 1, count + 1)
    return chance.choice(
        (0, 1, 2, 4, 8, *near, *HUGE, chance.randrange(256), chance.getrandbits(32))
    )


def _piece(found: GoObject, index: str, chance: random.Random) -> tuple[int, int]:
    """The range that a symbol which is not debug information has in what `index` counts."""
    for _ in range(TRIES):
        row = chance.randrange(max(1, found.block(index)[1] - 1))
        if found.block(index)[1] > 1 and found.kind(row) < FIRST_DWARF_KIND:
            start, end = (found.get(index, row + i, "value") for i in range(2))
            if start < end:
                return start, end
    return 0, 0


def _pick(found: GoObject, block: str, chance: random.Random) -> int:
    """A record of a block, seldom one of debug information, which few passes look at."""
    if block in INDEX_OF:
        start, end = _piece(found, INDEX_OF[block], chance)
        if start < end:
            return chance.randrange(start, end)
    rows = [chance.randrange(found.block(block)[1]) for _ in range(TRIES)]
    if block in SYMBOL_BLOCKS:
        rows.sort(key=lambda row: found.get(block, row, "kind") >= FIRST_DWARF_KIND)
    return rows[0]


def _change_field(found: GoObject, block: str, chance: random.Random) -> None:
    count = found.block(block)[1]
    if not count:
        return
    row = _pick(found, block, chance)
    field = chance.choice(list(FIELDS[block]))
    if chance.random() < 0.3:
        value = found.get(block, chance.randrange(count), field)  # of another record
    else:
        value = _interesting(found.get(block, row, field), count, chance)
    found.put(block, row, field, _clip(value, FIELDS[block][field][1]))


def _fields_of(*blocks: str) -> Family:
    def change(members: list[Member], chance: random.Random) -> None:
        found = chance.choice(_objects(members))
        for _ in range(chance.choice((1, 1, 2, 5))):
            _change_field(found, chance.choice(blocks), chance)

    return change


def flip_bits(members: list[Member], chance: random.Random) -> None:
    """Flip some bits of an object, text header included."""
    body = chance.choice(_objects(members)).body
    for _ in range(chance.choice((1, 2, 4, 16, 64))):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)


def header(members: list[Member], chance: random.Random) -> None:
    """Change the flags, the fingerprint or a block's offset."""
    found = chance.choice(_objects(members))
    at = found.base + chance.choice((8, 12, 16, *(20 + 4 * i for i in range(19))))
    old = struct.unpack_from("<I", found.body, at)[0]
    value = old + chance.choice((-23, -21, -9, -8, -4, -1, 1, 4, 8, 9, 21, 23))
    if chance.random() < 0.5:
        value = _interesting(old, len(found.body), chance)
    struct.pack_into("<I", found.body, at, value & 0xFFFFFFFF)


def text_header(members: list[Member], chance: random.Random) -> None:
    """Add, drop or replace a line in front of an object."""
    body = chance.choice(_objects(members)).body
    end = body.index(OBJECT_MAGIC)
    lines = bytes(body[:end]).split(b"\n")
    at = chance.randrange(len(lines))
    lines[at : at + chance.randrange(2)] = [chance.choice(HEADER_LINES)] * chance.randrange(3)
    body[:end] = b"\n".join(lines)


def contents(members: list[Member], chance: random.Random) -> None:
    """Change what symbols hold: code, types, function tables."""
    found = chance.choice(_objects(members))
    data = found.block("data")[0]
    for _ in range(chance.choice((1, 4, 32))):
        start, end = _piece(found, "dataidx", chance)
        if start < end:
            at = data + chance.randrange(start, end)
            found.body[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def one_symbol(members: list[Member], chance: random.Random) -> None:
    """Overwrite the contents of one symbol with noise."""
    found = chance.choice(_objects(members))
    start, end = _piece(found, "dataidx", chance)
    at = found.block("data")[0]
    noise = chance.randbytes(end - start) if chance.random() < 0.5 else b"\xff" * (end - start)
    found.body[at + start : at + end] = noise


def names(members: list[Member], chance: random.Random) -> None:
    """Give a symbol another's name, or bytes that are no text."""
    found = chance.choice(_objects(members))
    symbols = list(found.symbols())
    if not symbols:
        return
    block, row, _ = chance.choice(symbols)
    donor, other, _ = chance.choice(symbols)
    for field in ("name_offset", "name_size", "abi")[: chance.choice((2, 3))]:
        found.put(block, row, field, found.get(donor, other, field))
    if chance.random() < 0.3:
        at = found.base + found.get(block, row, "name_offset")
        size = min(found.get(block, row, "name_size"), 4)
        found.body[at : at + size] = chance.randbytes(size)


def splice(members: list[Member], chance: random.Random) -> None:
    """Copy, delete or insert a piece of an object."""
    body = chance.choice(_objects(members)).body
    size = min(chance.choice((1, 4, 21, 23, 100, 1000)), len(body))
    start, to = chance.randrange(len(body)), chance.randrange(len(body))
    piece = bytes(body[start : start + size])
    overwrite = chance.choice((0, len(piece), len(piece)))
    body[to : to + overwrite] = b"" if chance.random() < 0.2 else piece


def swap_records(members: list[Member], chance: random.Random) -> None:
    """Exchange two records of one block."""
    found = chance.choice(_objects(members))
    block = chance.choice(list(BLOCKS))
    count = found.block(block)[1]
    if count < 2:
        return
    size = BLOCKS[block][1]
    one, two = (found.record(block, chance.randrange(count)) for _ in range(2))
    body = found.body
    body[one : one + size], body[two : two + size] = body[two : two + size], body[one : one + size]


def cut(members: list[Member], chance: random.Random) -> None:
    """Cut an object short."""
    body = chance.choice(members).body
    del body[chance.randrange(len(body)) :]


def rearrange(members: list[Member], chance: random.Random) -> None:
    """Drop, repeat, rename or exchange members."""
    each = chance.choice(members)
    way = chance.randrange(5)
    if way == 0:
        members.remove(each)
    elif way == 1:
        members.append(Member(each.header, bytearray(each.body)))
    elif way == 2:
        each.header = chance.randbytes(16) + each.header[16:]
    elif way == 3:
        chance.shuffle(members)
    else:
        members.append(member(chance.choice(("x.o", "x.syso", "_go_.o")), chance.randbytes(200)))


FAMILIES: dict[str, Family] = {
    "bits": flip_bits,
    "header": header,
    "text header": text_header,
    "symbols": _fields_of(*SYMBOL_BLOCKS),
    "relocations": _fields_of("reloc"),
    "aux": _fields_of("aux"),
    "indices": _fields_of("relocidx", "auxidx", "dataidx"),
    "strings": _fields_of("autolib", "pkgidx", "file"),
    "reference flags": _fields_of("refflags"),
    "contents": contents,
    "one symbol": one_symbol,
    "names": names,
    "splices": splice,
    "swaps": swap_records,
    "cuts": cut,
    "members": rearrange,
}


def archive_bytes(data: bytes, chance: random.Random) -> bytes:
    """Damage an archive without knowing what it is: flips, cuts, headers of members."""
    body = bytearray(data)
    for _ in range(chance.choice((1, 3))):
        at = chance.choice((chance.randrange(68), chance.randrange(len(body))))
        body[at] = chance.choice((0, 0x20, 0x39, 0x60, chance.randrange(256)))
    return bytes(body[: chance.choice((len(body), len(body), chance.randrange(len(body))))])


def mutated(members: list[Member], family: str, chance: random.Random) -> bytes:
    """The archive of these members (which change) after damage of one family."""
    if family == "archive":
        return archive_bytes(join(members), chance)
    FAMILIES[family](members, chance)
    return join(members)
