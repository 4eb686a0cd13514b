"""Damages of the rebase and bind streams, of chained fixups, and of the export trie."""

from __future__ import annotations

import struct

from chained_program import append, fixups, payload
from damages import Damage
from macho_edit import Edit
from macho_inputs import c_program

from pielink.formats import macho as m

# In every program here: segment 1 is __TEXT, 2 __DATA_CONST, 3 __DATA, 4 __LINKEDIT.
MUCH = b"\xff\xff\xff\xff\x7f"  # as ULEB128: 2^35 - 1


def rebase(raw: bytes) -> Damage.__class__:
    """An edit that puts `raw` in place of the rebase stream."""
    return lambda edit: edit.stream("rebase", raw)


def bind(raw: bytes, stream: str = "bind") -> Damage.__class__:
    """An edit that puts `raw` in place of a bind stream."""
    return lambda edit: edit.stream(stream, raw)


def point_rebase(edit: Edit, target: int) -> None:
    """Let the first rebased pointer of the file point to `target`."""
    edit.word(int(edit.file.rebases["address"][0]), target)


def bind_rebased(edit: Edit) -> None:
    """Bind, at start, a place that is rebased as well."""
    row = edit.file.rebase_rows[0]
    place = bytes([0x70 | int(row["segment"])]) + uleb(int(row["offset"]))
    edit.stream("bind", b"\x11\x40_open\0\x51" + place + b"\x90")


def uleb(value: int) -> bytes:
    """ULEB128."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


REBASES = [
    Damage("rebase-opcode", "go", rebase(b"\x11\x22\x00\x91")),
    Damage("rebase-opcode", "c", rebase(b"\xff")),
    Damage("rebase-uleb", "go", rebase(b"\x11\x22" + b"\x80" * 6)),
    Damage("rebase-uleb", "go", rebase(b"\x11\x22" + b"\xff" * 11 + b"\x01\x51")),
    Damage("rebase-uleb", "go", rebase(b"\x11\x22\x00\x81\x81\x81\x81\xff")),
    Damage("rebase-count", "go", rebase(b"\x11\x22\x00\x60" + MUCH)),
    Damage("rebase-count", "go", rebase(b"\x11\x22\x00\x80" + MUCH + b"\x08")),
    Damage("rebase-segment", "go", rebase(b"\x11\x51")),
    Damage("rebase-segment", "go", rebase(b"\x11\x2f\x00\x51")),
    Damage("rebase-offset", "go", rebase(b"\x11\x22" + uleb(145344 - 4) + b"\x51")),
    Damage("rebase-offset", "go", rebase(b"\x11\x22" + MUCH + b"\x51")),
    Damage("rebase-offset", "go", rebase(b"\x11\x20\x00\x30" + uleb((1 << 64) - 8) + b"\x51")),
    Damage("rebase-type", "go", rebase(b"\x22\x00\x51")),
    Damage("rebase-type", "go", rebase(b"\x13\x22\x00\x51")),
    Damage("rebase-writable", "go", rebase(b"\x11\x24\x00\x51")),
    Damage("rebase-writable", "go", rebase(b"\x11\x21\x80\x20\x51")),
    Damage("rebase-executable", "go", rebase(b"\x11\x21\x80\x20\x51")),
    Damage("rebase-end", "go", rebase(b"\x11\x22\x00\x51\x00" + b"\x51" * 16)),
    Damage("rebase-duplicate", "go", rebase(b"\x11\x22\xc0\x25\x51\x22\xc0\x25\x51")),
    Damage("rebase-duplicate", "go", rebase(b"\x11\x22\xc0\x25\x51\x22\xc4\x25\x51")),
    Damage("rebase-target", "go", lambda e: point_rebase(e, 16)),
    Damage("rebase-target", "c", lambda e: point_rebase(e, 1 << 52)),
]

OPEN = b"\x11\x40_open\0\x51"
GOT = b"\x72\x88\xec\x08"

BINDS = [
    Damage("bind-opcode", "go", bind(OPEN + GOT + b"\xe0")),
    Damage("bind-opcode", "go", bind(b"\xd0\x01")),
    Damage("bind-opcode", "c", bind(b"\xf0", "weak_bind")),
    Damage("bind-uleb", "go", bind(OPEN + b"\x72" + b"\x80" * 6)),
    Damage("bind-uleb", "go", bind(OPEN + b"\x60" + b"\xff" * 15)),
    Damage("bind-uleb", "c", bind(b"\x73" + b"\x80" * 7, "lazy_bind")),
    Damage("bind-name", "go", bind(b"\x11\x40" + b"_open" * 6)),
    Damage("bind-name", "go", bind(b"\x11\x51" + GOT + b"\x90")),
    Damage("bind-name", "go", bind(b"\x11\x40\0\x51" + GOT + b"\x90")),
    Damage("bind-count", "go", bind(OPEN + GOT + b"\xc0" + MUCH + b"\x00")),
    Damage("bind-segment", "go", bind(OPEN + b"\x90")),
    Damage("bind-segment", "go", bind(OPEN + b"\x7e\x00\x90")),
    Damage("bind-segment", "c", bind(b"\x7d\x00\x40_f\0\x11\x90", "lazy_bind")),
    Damage("bind-offset", "go", bind(OPEN + b"\x72" + uleb(145344 - 7) + b"\x90")),
    Damage("bind-offset", "c", bind(b"\x73" + MUCH + b"\x40_f\0\x11\x90", "lazy_bind")),
    Damage("bind-type", "go", bind(b"\x11\x40_open\0" + GOT + b"\x90")),
    Damage("bind-type", "go", bind(b"\x11\x40_open\0\x52" + GOT + b"\x90")),
    Damage("bind-writable", "go", bind(OPEN + b"\x74\x00\x90")),
    Damage("bind-executable", "go", bind(OPEN + b"\x71\x80\x20\x90")),
    Damage("bind-ordinal", "go", bind(b"\x40_open\0\x51" + GOT + b"\x90")),
    Damage("bind-ordinal", "go", bind(b"\x13\x40_open\0\x51" + GOT + b"\x90")),
    Damage("bind-ordinal", "go", bind(b"\x20\x12\x40_open\0\x51" + GOT + b"\x90")),
    Damage("bind-ordinal", "go", bind(b"\x3c\x40_open\0\x51" + GOT + b"\x90")),
    Damage("bind-ordinal", "c", bind(b"\x73\x08\x40_f\0\x12\x90", "lazy_bind")),
    Damage("bind-conflict", "go", bind_rebased),
    Damage(
        "weak-bind-flag",
        "c",
        lambda e: e.header(flags=lambda old: old & ~(m.MH_WEAK_DEFINES | m.MH_BINDS_TO_WEAK)),
    ),
    Damage("weak-bind-flag", "go", lambda e: e.stream("bind", b"\x48_strong\0")),
]


def chain_field(edit: Edit, at: int, value: int, form: str = "<I") -> None:
    """Write a field at offset `at` of the chained fixups payload."""
    start, _ = edit.linkedit(m.LC_DYLD_CHAINED_FIXUPS)
    edit.write(start + at, struct.pack(form, value))


def chain_value(edit: Edit, at: int) -> int:
    """The 32-bit field at offset `at` of the payload."""
    start, _ = edit.linkedit(m.LC_DYLD_CHAINED_FIXUPS)
    return struct.unpack_from("<I", edit.data, start + at)[0]


def starts_field(edit: Edit, segment: int, at: int, value: int, form: str) -> None:
    """Write a field at offset `at` of dyld_chained_starts_in_segment."""
    starts = chain_value(edit, 4)
    offset = chain_value(edit, starts + 4 + 4 * segment)
    chain_field(edit, starts + offset + at, value, form)


def change_word(edit: Edit, address: int, clear: int, set_: int) -> None:
    """Clear and set bits of the word at an address."""
    at = edit.file_offset(address)
    old = int.from_bytes(edit.data[at : at + 8], "little")
    edit.write(at, (old & ~clear | set_).to_bytes(8, "little"))


def first_rebase(edit: Edit) -> int:
    """The address of a chained rebase that another low one follows 8 bytes behind."""
    rows = edit.file.rebases
    targets = rows["target"] - edit.file.base
    near = (rows["address"][1:] - rows["address"][:-1] == 8) & (targets[1:] < 1 << 19)
    same_page = rows["address"][1:] // 4096 == rows["address"][:-1] // 4096
    return int(rows["address"][:-1][near & same_page][0])


def first_bind(edit: Edit) -> int:
    """The address of a chained bind."""
    return int(edit.file.binds.rows["address"][0])


def many_imports(edit: Edit) -> None:
    """More imports than an arm64e pointer can number, in a payload at the end of the file."""
    imports = [(1, "_a", False)] * 0xFFFF
    raw = payload(edit, {2: [0xFFFF]}, imports, pointer_format=9)
    at = append(edit, raw)
    edit.command(m.LC_DYLD_CHAINED_FIXUPS, dataoff=at, datasize=len(raw))


def dense_chains(edit: Edit) -> None:
    """Two segments that share contents in which a fixup starts every four bytes."""
    pages, at = 1024, -(-len(edit.data) // 4096) * 4096
    edit.data = edit.data.ljust(at, b"\0")
    edit.data += ((1 << 19).to_bytes(4, "little") * 1023 + bytes(4)) * pages
    for name in ("__DATA_CONST", "__DATA"):
        edit.segment(name, fileoff=at, filesize=4096 * pages, vmsize=4096 * pages)
    raw = payload(edit, {2: [0] * pages, 3: [0] * pages}, [])
    start = append(edit, raw)
    edit.command(m.LC_DYLD_CHAINED_FIXUPS, dataoff=start, datasize=len(raw))


NEXT = 0xFFF << 51
IMPORTS_OFFSET, SYMBOLS_OFFSET, IMPORTS_COUNT, IMPORTS_FORMAT, SYMBOLS_FORMAT = 8, 12, 16, 20, 24

CHAINED = [
    Damage("chained-header", "chained", lambda e: chain_field(e, 0, 1)),
    Damage("chained-header", "chained", lambda e: chain_field(e, 4, 1 << 30)),
    Damage("chained-header", "chained", lambda e: chain_field(e, IMPORTS_OFFSET, 1 << 30)),
    Damage("chained-header", "chained", lambda e: e.command(m.LC_DYLD_CHAINED_FIXUPS, datasize=16)),
    Damage("chained-imports", "chained", lambda e: chain_field(e, IMPORTS_FORMAT, 9)),
    Damage("chained-imports", "chained", lambda e: chain_field(e, SYMBOLS_FORMAT, 1)),
    Damage("chained-imports", "chained", lambda e: chain_field(e, IMPORTS_COUNT, 1 << 20)),
    Damage(
        "chained-imports",
        "chained",
        lambda e: chain_field(e, chain_value(e, IMPORTS_OFFSET), 0xFFFFFE01),
    ),
    Damage(
        "chained-import-name",
        "chained",
        lambda e: chain_field(e, chain_value(e, IMPORTS_OFFSET), 0x1),
    ),
    Damage("chained-import-count", "chained", many_imports),
    Damage(
        "chained-ordinal",
        "chained",
        lambda e: chain_field(e, chain_value(e, IMPORTS_OFFSET), 77, "<B"),
    ),
    Damage(
        "chained-ordinal",
        "chained",
        lambda e: chain_field(e, chain_value(e, IMPORTS_OFFSET), 0xF9, "<B"),
    ),
    Damage("chained-starts", "chained", lambda e: chain_field(e, 32, 4)),
    Damage("chained-starts", "chained", lambda e: chain_field(e, 32, 6)),
    Damage("chained-starts", "chained", lambda e: chain_field(e, 36 + 4 * 2, 1 << 28)),
    Damage("chained-starts", "chained", lambda e: starts_field(e, 3, 0, 8, "<I")),
    Damage("chained-starts", "chained", lambda e: starts_field(e, 3, 20, 0xFFF, "<H")),
    Damage("chained-starts", "chained", lambda e: starts_field(e, 3, 0, 999, "<I")),
    Damage("chained-format", "chained", lambda e: starts_field(e, 2, 6, 99, "<H")),
    Damage("chained-format", "chained", lambda e: starts_field(e, 2, 6, 2, "<H")),
    Damage("chained-segment-offset", "chained", lambda e: starts_field(e, 3, 8, 0x5000, "<Q")),
    Damage("chained-max-pointer", "chained", lambda e: starts_field(e, 3, 16, 1, "<I")),
    Damage("chained-page", "chained", lambda e: starts_field(e, 3, 4, 0x2000, "<H")),
    Damage("chained-page", "chained", lambda e: starts_field(e, 3, 22, 0x8001, "<H")),
    Damage("chained-page", "chained", lambda e: starts_field(e, 3, 22, 0x1000, "<H")),
    Damage("chained-chain", "chained", lambda e: change_word(e, first_rebase(e), 0, NEXT)),
    Damage("chained-chain", "chained", lambda e: starts_field(e, 2, 22, 0xFF0, "<H")),
    Damage("chained-count", "chained", dense_chains),
    Damage("chained-import-index", "chained", lambda e: change_word(e, first_bind(e), 0, 0xFFFFFF)),
    Damage("chained-target", "chained", lambda e: change_word(e, first_rebase(e), 0, 0xF << 32)),
    Damage("chained-overlap", "chained", lambda e: change_word(e, first_rebase(e), NEXT, 1 << 51)),
    Damage("chained-writable", "chained", lambda e: e.segment("__DATA", initprot=1)),
    Damage("chained-writable", "chained", lambda e: e.segment("__DATA", initprot=7, maxprot=7)),
    Damage("chained-minimum-os", "chained", lambda e: e.command(m.LC_BUILD_VERSION, minos=0xB0000)),
    Damage(
        "chained-offset-format", "chained", lambda e: e.command(m.LC_BUILD_VERSION, minos=0xB0000)
    ),
]


def trie(raw: bytes) -> Damage.__class__:
    """An edit that puts `raw` in place of the export trie."""
    return lambda edit: edit.stream("export", raw)


def leaf(info: bytes) -> Damage.__class__:
    """The same, with one symbol `_a` that has this terminal information."""
    return trie(b"\0\x01_a\0\x06" + bytes([len(info)]) + info + b"\0")


EXPORTS = [
    Damage("export-uleb", "c", trie(b"\x80" * 8)),
    Damage("export-uleb", "c", trie(b"\0\x01_a\0\x80\x80\x80")),
    Damage("export-name", "c", trie(b"\0\x01" + b"_a" * 7)),
    Damage("export-name", "c", trie(b"\x02\0\x10\0")),
    Damage("export-node", "c", trie(b"\0\x01_a\0\x7f")),
    Damage("export-node", "c", trie(b"\x7f")),
    Damage("export-cycle", "c", trie(b"\0\x01_a\0\0")),
    Damage("export-cycle", "c", trie(b"\0\x01_a\0\x06\0\x01b\0\x06")),
    Damage("export-cycle", "c", trie(b"\0\x02a\0\x08b\0\x08\x02\0\x10\0")),
    Damage("export-terminal", "c", leaf(b"\0")),
    Damage("export-terminal", "c", leaf(b"\x08\x01_b")),
    Damage("export-terminal", "c", leaf(b"\x10\x10")),
    Damage("export-terminal", "c", leaf(b"\0\x10\x10\x10")),
    Damage("export-flags", "c", leaf(b"\x40\x10")),
    Damage("export-flags", "c", leaf(b"\x03\x10")),
    Damage("export-address", "c", leaf(b"\0" + MUCH)),
    Damage("export-ordinal", "c", leaf(b"\x08\x09\0")),
    Damage("export-ordinal", "c", leaf(b"\x08\x00\0")),
    Damage(
        "export-node",
        "chained",
        lambda e: e.write(e.linkedit(m.LC_DYLD_EXPORTS_TRIE)[0], b"\xff\x7f"),
    ),
]

DAMAGES = REBASES + BINDS + CHAINED + EXPORTS

# Read here as well, so that a change of the program is noticed: it must have both kinds of fixups.
assert all(fixups(c_program("x86_64")))
