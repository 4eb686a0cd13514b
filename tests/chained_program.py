"""Rewrites a program with opcode fixups into one with chained fixups, with no codec of pielink.

The rebases and binds come from LIEF; their words in the segments are replaced by chains, and the
payload goes to the end of `__LINKEDIT` (so the file must not be signed).
"""

from __future__ import annotations

import struct
from pathlib import Path

import lief
from macho_edit import Edit, data_command

from pielink.formats import macho

PAGE = 0x1000
SPECIAL = {0: 0, -1: 0xFF, -2: 0xFE, -3: 0xFD}


def fixups(path: Path) -> tuple[dict[int, int], dict[int, tuple[int, str, bool, int]]]:
    """(address -> rebase target, address -> (ordinal, symbol, weak import, addend))."""
    image = lief.MachO.parse(str(path)).at(0)
    edit = Edit(path.read_bytes())
    rebases, binds = {}, {}
    for row in image.relocations:
        if row.origin == lief.MachO.Relocation.ORIGIN.DYLDINFO:
            at = edit.file_offset(row.address)
            rebases[row.address] = int.from_bytes(edit.data[at : at + 8], "little")
    for row in image.dyld_info.bindings:
        weak = row.binding_class == lief.MachO.DyldBindingInfo.CLASS.WEAK
        ordinal = -3 if weak else row.library_ordinal
        binds[row.address] = (ordinal, row.symbol.name, row.weak_import and not weak, row.addend)
    return {a: t for a, t in rebases.items() if a not in binds}, binds


def write_chains(
    edit: Edit, rebases: dict[int, int], binds: dict[int, tuple[int, str, bool, int]]
) -> tuple[dict[int, list[int]], list[tuple[int, str, bool]]]:
    """Put the chain words into the segments; (segment -> page starts, imports)."""
    base, imports, pages = edit.file.base, [], {}
    places = sorted([*rebases, *binds])
    for index, segment in enumerate(edit.file.segments):
        start, size = int(segment["vmaddr"]), int(segment["filesize"])
        mine = [a for a in places if start <= a < start + size]
        if not mine:
            continue
        starts = [0xFFFF] * (-(-size // PAGE))
        for at, following in zip(mine, [*mine[1:], 0], strict=True):
            page = (at - start) // PAGE
            if starts[page] == 0xFFFF:
                starts[page] = (at - start) % PAGE
            same_page = following and (following - start) // PAGE == page
            step = (following - at) // 4 if same_page else 0
            if at in rebases:
                word = rebases[at] - base | step << 51
            else:
                ordinal, name, weak, addend = binds[at]
                if (ordinal, name, weak) not in imports:
                    imports.append((ordinal, name, weak))
                word = imports.index((ordinal, name, weak)) | addend << 24 | step << 51 | 1 << 63
            edit.word(at, word)
        pages[index] = starts
    return pages, imports


def payload(
    edit: Edit,
    pages: dict[int, list[int]],
    imports: list[tuple[int, str, bool]],
    pointer_format: int = 6,
) -> bytes:
    """dyld_chained_fixups_header and what it points to."""
    segments = edit.file.segments
    head = struct.calcsize("<7I") + 4
    table = struct.pack("<I", len(segments))
    each, offsets = b"", []
    for index, row in enumerate(segments):
        offsets.append(4 + 4 * len(segments) + len(each) if index in pages else 0)
        if index in pages:
            starts = pages[index]
            size = 22 + 2 * len(starts)
            distance = int(row["vmaddr"]) - edit.file.base
            each += struct.pack("<IHHQIH", size, PAGE, pointer_format, distance, 0, len(starts))
            each += struct.pack(f"<{len(starts)}H", *starts)
            each += bytes(-len(each) % 4)
    table += struct.pack(f"<{len(offsets)}I", *offsets) + each
    names, rows = b"\0", b""
    for ordinal, name, weak in imports:
        rows += struct.pack("<I", SPECIAL.get(ordinal, ordinal) | weak << 8 | len(names) << 9)
        names += name.encode() + b"\0"
    imports_at = head + len(table)
    header = (0, head, imports_at, imports_at + len(rows), len(imports), 1, 0)
    raw = struct.pack("<7I", *header) + bytes(4) + table + rows + names
    return raw + bytes(-len(raw) % 8)


def append(edit: Edit, raw: bytes) -> int:
    """Add `raw` to the end of `__LINKEDIT`; returns its file offset."""
    edit.data += bytes(-len(edit.data) % 8)
    at = len(edit.data)
    edit.data += raw
    size = len(edit.data) - int(edit.file.segments["fileoff"][-1])
    edit.segment("__LINKEDIT", filesize=size, vmsize=-(-size // PAGE) * PAGE)
    return at


def chained(path: Path) -> bytes:
    """The file with chained fixups in place of LC_DYLD_INFO_ONLY, everything else as it was."""
    edit = Edit(path.read_bytes())
    pages, imports = write_chains(edit, *fixups(path))
    raw, info = payload(edit, pages, imports), edit.file.dyld_info
    at = append(edit, raw)
    trie = data_command(macho.LC_DYLD_EXPORTS_TRIE, info["export_off"], info["export_size"])
    edit.insert(trie, macho.LC_DYLD_INFO_ONLY)
    chains = data_command(macho.LC_DYLD_CHAINED_FIXUPS, at, len(raw))
    edit.insert(chains, macho.LC_DYLD_INFO_ONLY)
    edit.remove(macho.LC_DYLD_INFO_ONLY)
    return bytes(edit.data)
