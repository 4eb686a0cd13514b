"""Change Go archives and objects, byte for byte: for tests of inputs that are wrong.

An archive is `!<arch>\\n` and members, each a 60-byte header and contents at even offsets. A Go
object is a text header, then a magic, a fingerprint, flags and the offsets of 19 blocks of records;
cmd/internal/goobj/objfile.go describes it. Nothing here shares code with the linker.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ARCHIVE_MAGIC = b"!<arch>\n"
OBJECT_MAGIC = b"\0go120ld"

# Blocks by their index in the header, and the bytes of one record.
BLOCKS = {
    "autolib": (0, 16),
    "pkgidx": (1, 8),
    "file": (2, 8),
    "symdef": (3, 21),
    "hashed64def": (4, 21),
    "hasheddef": (5, 21),
    "nonpkgdef": (6, 21),
    "nonpkgref": (7, 21),
    "refflags": (8, 10),
    "hash64": (9, 8),
    "hash": (10, 16),
    "relocidx": (11, 4),
    "auxidx": (12, 4),
    "dataidx": (13, 4),
    "reloc": (14, 23),
    "aux": (15, 9),
    "data": (16, 1),
    "refname": (17, 16),
}
SYMBOL_BLOCKS = ("symdef", "hashed64def", "hasheddef", "nonpkgdef", "nonpkgref")
# Fields of the records: name -> (offset, struct format).
SYMBOL_FIELDS = {
    "name_size": (0, "<I"),
    "name_offset": (4, "<I"),
    "abi": (8, "<H"),
    "kind": (10, "B"),
    "flags": (11, "B"),
    "flags2": (12, "B"),
    "size": (13, "<I"),
    "align": (17, "<I"),
}
RELOC_FIELDS = {
    "offset": (0, "<i"),
    "size": (4, "B"),
    "type": (5, "<H"),
    "addend": (7, "<q"),
    "package": (15, "<I"),
    "symbol": (19, "<I"),
}
AUX_FIELDS = {"type": (0, "B"), "package": (1, "<I"), "symbol": (5, "<I")}
STRING_FIELDS = {"size": (0, "<I"), "offset": (4, "<I")}
INDEX_FIELDS = {"value": (0, "<I")}
FIELDS = {
    **dict.fromkeys(SYMBOL_BLOCKS, SYMBOL_FIELDS),
    **dict.fromkeys(("autolib", "pkgidx", "file"), STRING_FIELDS),
    **dict.fromkeys(("relocidx", "auxidx", "dataidx"), INDEX_FIELDS),
    "reloc": RELOC_FIELDS,
    "aux": AUX_FIELDS,
    "refflags": {"package": (0, "<I"), "symbol": (4, "<I"), "flags": (8, "B"), "flags2": (9, "B")},
}


@dataclass
class Member:
    """One file of an archive; `header` is its 60 bytes, whose size field is made anew."""

    header: bytes
    body: bytearray

    @property
    def name(self) -> str:
        """The name in the header."""
        return self.header[:16].rstrip().decode()


def split(archive: bytes) -> list[Member]:
    """The members of an archive."""
    assert archive.startswith(ARCHIVE_MAGIC)
    members, at = [], len(ARCHIVE_MAGIC)
    while at < len(archive):
        header = archive[at : at + 60]
        size = int(header[48:58])
        members.append(Member(header, bytearray(archive[at + 60 : at + 60 + size])))
        at += 60 + size + (size & 1)
    return members


def join(members: list[Member]) -> bytes:
    """An archive of these members."""
    parts = [ARCHIVE_MAGIC]
    for member in members:
        size = b"%-10d" % len(member.body)
        parts += [member.header[:48], size, member.header[58:], bytes(member.body)]
        parts += [b"\0"] * (len(member.body) & 1)
    return b"".join(parts)


def member(name: str, body: bytes) -> Member:
    """A new member."""
    return Member(f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{0:<10}`\n".encode(), bytearray(body))


class GoObject:
    """The Go object in a member's body, for reading and changing in place."""

    def __init__(self, body: bytearray) -> None:
        self.body = body
        self.base = body.index(OBJECT_MAGIC)

    @property
    def offsets_at(self) -> int:
        """Where the 19 block offsets are in the body."""
        return self.base + 20

    def block(self, name: str) -> tuple[int, int]:
        """Where a block begins in the body, and how many records it has."""
        index, size = BLOCKS[name]
        start, end = struct.unpack_from("<2I", self.body, self.offsets_at + 4 * index)
        return self.base + start, (end - start) // size

    def record(self, block: str, row: int) -> int:
        """Where a record is in the body."""
        start, count = self.block(block)
        assert 0 <= row < count
        return start + row * BLOCKS[block][1]

    def get(self, block: str, row: int, field: str) -> int:
        """A field of a record."""
        at, form = FIELDS[block][field]
        return int(struct.unpack_from(form, self.body, self.record(block, row) + at)[0])

    def put(self, block: str, row: int, field: str, value: int) -> None:
        """Set a field of a record."""
        at, form = FIELDS[block][field]
        struct.pack_into(form, self.body, self.record(block, row) + at, value)

    def kind(self, number: int) -> int:
        """The kind of a symbol, counted over all blocks."""
        return self.body[self.block("symdef")[0] + number * BLOCKS["symdef"][1] + 10]

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint of the package's export data."""
        return bytes(self.body[self.base + 8 : self.base + 16])

    def set_flag(self, flag: int) -> None:
        """Set a flag of the object."""
        flags = struct.unpack_from("<I", self.body, self.base + 16)[0]
        struct.pack_into("<I", self.body, self.base + 16, flags | flag)

    def expect(self, package: bytes, fingerprint: bytes) -> None:
        """Import a package with another fingerprint."""
        for row in range(self.block("autolib")[1]):
            size, offset = (self.get("autolib", row, field) for field in ("size", "offset"))
            if self.body[self.base + offset : self.base + offset + size] == package:
                at = self.record("autolib", row) + 8
                self.body[at : at + 8] = fingerprint

    def symbols(self) -> Iterator[tuple[str, int, bytes]]:
        """(block, row, name) of all symbol records."""
        for block in SYMBOL_BLOCKS:
            for row in range(self.block(block)[1]):
                size, offset = (self.get(block, row, f"name_{part}") for part in ("size", "offset"))
                at = self.base + offset
                yield block, row, bytes(self.body[at : at + size])

    def find(self, name: bytes) -> tuple[str, int]:
        """(block, row) of the first symbol of that name."""
        return next((block, row) for block, row, found in self.symbols() if found == name)

    def rename(self, old: bytes, new: bytes) -> None:
        """Write another name of the same length over every symbol's name that is `old`."""
        assert len(old) == len(new)
        for block, row, name in list(self.symbols()):
            if name == old:
                at = self.base + self.get(block, row, "name_offset")
                self.body[at : at + len(new)] = new


def object_of(members: list[Member], name: str = "_go_.o") -> GoObject:
    """The Go object in the member of that name."""
    return GoObject(next(m.body for m in members if m.name == name))


def edit_text_header(members: list[Member], old: bytes, new: bytes) -> None:
    """Replace text in the header of every Go object (its size may change)."""
    for each in members:
        if each.name != "__.PKGDEF" and OBJECT_MAGIC in each.body:
            end = each.body.index(OBJECT_MAGIC)
            assert old in each.body[:end]
            each.body[:end] = each.body[:end].replace(old, new)


def edited(path: Path) -> list[Member]:
    """The members of the archive at `path`."""
    return split(path.read_bytes())
