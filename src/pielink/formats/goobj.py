"""The Go object file: structures and checked reading, no linker logic.

An object is a text header, then the object proper. The text header starts with the line
"go object GOOS GOARCH VERSION [GOAMD64=...] X:EXPERIMENTS"; other lines follow ("build id ...",
"main" for package main), then sections between lines that start with "$$" (one of them,
"$$  // cgo", holds JSON), and the header ends with a line "!" outside of such sections.

The object proper starts with the magic, an 8-byte fingerprint, flags, and the offsets of 19
blocks. All offsets count from the magic. The blocks lie one after the other:

    Autolib   imported packages: string, fingerprint      Hash64    u8 per Hashed64def
    PkgIdx    referenced packages: string                 Hash      16 bytes per Hasheddef
    File      source files: string                        RelocIdx  u4 per defined symbol, + 1
    Symdef    symbols of this package                     AuxIdx    likewise
    Hashed64def  content-addressable, 8 bytes or less     DataIdx   likewise
    Hasheddef    content-addressable                      Reloc     relocations
    Nonpkgdef    named symbols                            Aux       auxiliary references
    Nonpkgref    references by name                       Data      contents
    RefFlags  flags of referenced symbols                 RefName   for tools only

A string is (size u4, offset u4). A symbol reference is (package u4, symbol u4), where the
package is an index into PkgIdx or one of the PKG_* values.

Source: cmd/internal/goobj/objfile.go of Go 1.26 and 1.27 (the format is the same).
"""

from __future__ import annotations

import numpy as np

from pielink.arraytypes import U4
from pielink.errors import FormatError
from pielink.record import NamedTuple

MAGIC = b"\0go120ld"
OBJ_SHARED, OBJ_FROM_ASSEMBLY, OBJ_UNLINKABLE, OBJ_STD = 1, 4, 8, 16

PKG_NONE, PKG_HASHED64, PKG_HASHED = 0x7FFFFFFF, 0x7FFFFFFE, 0x7FFFFFFD
PKG_BUILTIN, PKG_SELF, PKG_INVALID = 0x7FFFFFFC, 0x7FFFFFFB, 0

SYMBOL = np.dtype(
    [
        ("name_size", "<u4"),
        ("name_offset", "<u4"),
        ("abi", "<u2"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("flags2", "u1"),
        ("size", "<u4"),
        ("align", "<u4"),
    ]
)
RELOC = np.dtype(
    [
        ("offset", "<i4"),
        ("size", "u1"),
        ("type", "<u2"),
        ("addend", "<i8"),
        ("package", "<u4"),
        ("symbol", "<u4"),
    ]
)
AUX = np.dtype([("type", "u1"), ("package", "<u4"), ("symbol", "<u4")])
REF_FLAGS = np.dtype([("package", "<u4"), ("symbol", "<u4"), ("flags", "u1"), ("flags2", "u1")])
STRING = np.dtype([("size", "<u4"), ("offset", "<u4")])

AUTOLIB_BLOCK, PKGIDX, FILE, SYMDEF, HASHED64DEF, HASHEDDEF, NONPKGDEF, NONPKGREF = range(8)
REFFLAGS, HASH64, HASH, RELOCIDX, AUXIDX, DATAIDX, RELOC_BLOCK, AUX_BLOCK = range(8, 16)
DATA, REFNAME, END = range(16, 19)
INDEXED = {RELOCIDX: RELOC_BLOCK, AUXIDX: AUX_BLOCK, DATAIDX: DATA}  # what indexes what
# Bytes per entry of each block, END excluded.
ENTRY_SIZE = (16, 8, 8, 21, 21, 21, 21, 21, 10, 8, 16, 4, 4, 4, 23, 9, 1, 16)
SHARING = 4  # compilers store each string once; a name may serve for two ABIs
_HEADER_SIZE = 8 + 8 + 4 + 4 * 19

# What else files begin with -> what to do about it.
_STRANGERS = {
    b"\x7fELF": "it is an ELF object; compile it for macOS (clang -target x86_64-apple-macos)",
    b"BC\xc0\xde": "it is LLVM bitcode; compile it to machine code (no -flto, no -emit-llvm)",
    b"\0asm": "it is WebAssembly; compile it for macOS",
    b"!<thin>\n": "it is a thin archive, which holds no objects; make a regular one (ar without T)",
    b"package ": "it is Go source text; compile it first (go build does)",
}


class TextHeader(NamedTuple):
    """The text in front of an object."""

    line: str  # "go object darwin amd64 go1.27.3 ...", without the newline
    is_main: bool  # package main
    cgo: list[list[str]]  # cgo directives, each a list of words
    end: int  # offset of the object proper


class GoObject(NamedTuple):
    """One object proper, its outline checked: every block lies inside the file."""

    name: str  # "archive(member)"
    base: int  # offset of the magic in the flat memory
    flags: int  # OBJ_*
    fingerprint: bytes  # 8 bytes; zeros in objects of the assembler
    blocks: list[int]  # offsets in the flat memory of the 19 blocks
    counts: list[int]  # entries per block, END excluded


def read_text_header(view: memoryview, start: int, end: int, name: str) -> TextHeader:
    """Read the text header of the object at `start`, which ends before `end`.

    Raises FormatError if it does not begin with "go object " or has no end.
    """
    if bytes(view[start : min(end, start + 10)]) != b"go object ":
        raise FormatError(f"not an object file: {_likeness(view, start, end)}", name)
    size = 4096
    while True:
        text = bytes(view[start : min(end, start + size)])
        if (stop := _end_of_header(text)) >= 0:
            break
        if start + size >= end:
            raise FormatError("truncated object file: its header has no end; compile it anew", name)
        size *= 8
    header = text[:stop]
    line, _, rest = header.partition(b"\n")
    preamble = rest.split(b"\n\n", 1)[0].split(b"\n")
    return TextHeader(
        line.decode("utf-8", "replace"), b"main" in preamble, _cgo(header, name), start + stop + 2
    )


def _likeness(view: memoryview, start: int, end: int) -> str:
    """What the bytes that should be an object look like, and what to do about it."""
    head = bytes(view[start : min(end, start + 40)])
    if not head:
        return "it is empty; compile the package anew"
    for magic, advice in _STRANGERS.items():
        if head.startswith(magic):
            return advice
    return f"it begins with {head!r}; give what go build compiles (an archive of Go objects)"


def _end_of_header(text: bytes) -> int:
    """Offset of the "!" line that closes the header, or -1 if the text does not reach that far."""
    at, dollars, counted = -1, 0, 0
    while (at := text.find(b"\n!\n", at + 1)) >= 0:
        dollars += text.count(b"\n$$", counted, at + 1)
        counted = at
        if dollars % 2 == 0:
            return at + 1
    return -1


def _cgo(header: bytes, name: str) -> list[list[str]]:
    found = header.find(b"\n$$  // cgo")
    if found < 0:
        return []
    start = header.find(b"\n", found + 1)
    stop = header.find(b"\n$$", start) if start >= 0 else -1
    text = header[start : stop if stop >= 0 else len(header)]
    if (plain := _plain_lists(text)) is not None:
        return plain
    import json

    try:
        directives = json.loads(text)
    except (ValueError, RecursionError) as error:  # the latter: lists in lists in lists …
        raise FormatError(f"failed decoding cgo directives: {error}", name) from None
    if not isinstance(directives, list) or not all(map(_are_words, directives)):
        raise FormatError("failed decoding cgo directives: they are not lists of words", name)
    return directives


def _plain_lists(text: bytes) -> list[list[str]] | None:
    """What JSON text of this form stands for: [["word",...],...]; None if it has another form.

    That is how compilers write it, unless a word holds characters that are to be escaped.
    """
    line = text.strip(b"\n")
    if not (line.startswith(b"[[") and line.endswith(b"]]") and line.isascii()) or b"\\" in line:
        return None
    rows = line[2:-2].decode().split("],[")
    if not all(len(row) > 1 and row[0] == row[-1] == '"' for row in rows):
        return None
    lists = [row[1:-1].split('","') for row in rows]
    words = "".join(map("".join, lists))
    return lists if words.isprintable() and '"' not in words else None


def _are_words(values: object) -> bool:
    """Whether this is a list of some texts; halves of surrogate pairs, which JSON has, are none."""
    if not isinstance(values, list) or not values:
        return False
    try:
        "".join(values).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return True


def read_object(view: memoryview, base: int, end: int, name: str) -> GoObject:
    """Check the outline of the object proper at view[base:end] and return where its blocks are.

    Raises FormatError for a wrong magic, blocks out of order or bounds, and blocks that are too
    short for what they belong to. The records in the blocks are not looked at.
    """
    if end - base < _HEADER_SIZE:
        raise FormatError("truncated object file: its header is cut off; compile it anew", name)
    if (magic := bytes(view[base : base + 8])) != MAGIC:
        raise FormatError(
            f"wrong magic {magic!r}, not {MAGIC!r}: damaged, or of another Go release; "
            "compile it anew",
            name,
        )
    # Behind the magic: a fingerprint of 8 bytes, flags, offsets of the blocks.
    fingerprint = bytes(view[base + 8 : base + 16])
    flags, *offsets = _words(view, base + 16, 20).tolist()
    if offsets[0] < _HEADER_SIZE or offsets[END] > end - base or offsets != sorted(offsets):
        raise malformed("a block lies outside of the file", name)
    sizes = list(map(int.__sub__, offsets[1:], offsets))
    if any(map(int.__mod__, sizes, ENTRY_SIZE)):
        raise malformed("a block's size is no multiple of its entries", name)
    counts = list(map(int.__floordiv__, sizes, ENTRY_SIZE))
    if min(counts[index] for index in INDEXED) <= sum(counts[SYMDEF : NONPKGDEF + 1]):
        raise malformed("an index block is too short", name)
    if counts[HASH64] < counts[HASHED64DEF] or counts[HASH] < counts[HASHEDDEF]:
        raise malformed("content hashes are missing", name)
    return GoObject(name, base, flags, fingerprint, list(map(base.__add__, offsets)), counts)


def malformed(what: str, name: str) -> FormatError:
    """The error for an object whose records contradict each other."""
    return FormatError(f"malformed object: {what}; compile the package anew", name)


def check_sharing(total: int, found: GoObject) -> None:
    """Strings that share their bytes would make a small file stand for a huge one.

    `total` is the size of all strings of one kind. Raises FormatError if it is too large.
    """
    if total > SHARING * (found.blocks[END] - found.base):
        raise malformed("its strings are larger than the file", found.name)


def autolib(found: GoObject, view: memoryview) -> list[tuple[str, bytes]]:
    """(import path, fingerprint) of the packages that the object imports, in order.

    Raises FormatError if a path is out of bounds.
    """
    words = _words(view, found.blocks[AUTOLIB_BLOCK], 4 * found.counts[AUTOLIB_BLOCK])
    values, content = words.tolist(), words.tobytes()
    sizes, offsets = values[0::4], values[1::4]
    check_sharing(sum(sizes), found)
    return [
        (_string(found, view, size, offset).decode("utf-8", "replace"), content[at + 8 : at + 16])
        for size, offset, at in zip(sizes, offsets, range(0, len(content), 16), strict=True)
    ]


def _words(view: memoryview, offset: int, count: int) -> U4:
    return np.frombuffer(view, "<u4", count, offset)


def _string(found: GoObject, view: memoryview, size: int, offset: int) -> bytes:
    start = found.base + offset
    if start + size > found.blocks[END]:
        raise malformed("a string lies outside of the file", found.name)
    return bytes(view[start : start + size])
