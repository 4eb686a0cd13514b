"""Damages of the header, load commands, segments, sections, `__LINKEDIT` and symbols."""

from __future__ import annotations

from damages import Damage
from macho_edit import Edit, data_command, string_command

from pielink.formats import macho as m

PAGE = 0x1000


def cut(edit: Edit, size: int) -> None:
    del edit.data[size:]


def grow_command(edit: Edit, cmd: int, by: int) -> None:
    """Make the first command of this number larger by zeros."""
    raw = [c.data for c in edit.file.commands]
    at = [c.cmd for c in edit.file.commands].index(cmd)
    size = len(raw[at]) + by
    raw[at] = raw[at][:4] + size.to_bytes(4, "little") + raw[at][8:] + bytes(by)
    edit.commands(raw)


def shrink_command(edit: Edit, cmd: int, to: int) -> None:
    """Cut the first command of this number off after `to` bytes."""
    raw = [c.data for c in edit.file.commands]
    at = [c.cmd for c in edit.file.commands].index(cmd)
    raw[at] = raw[at][:4] + to.to_bytes(4, "little") + raw[at][8:to]
    edit.commands(raw)


def swap_segments(edit: Edit, first: str, second: str) -> None:
    """Exchange two segment commands."""
    raw = [c.data for c in edit.file.commands]
    order = [c.data[8:24].rstrip(b"\0") for c in edit.file.commands]
    a, b = order.index(first.encode()), order.index(second.encode())
    raw[a], raw[b] = raw[b], raw[a]
    edit.commands(raw)


HEADER = [
    Damage("header-magic", "go", lambda e: e.write(0, b"\xce")),
    Damage("header-magic", "go", lambda e: cut(e, 20)),
    Damage("header-magic", "go", lambda e: cut(e, 0)),
    Damage("header-cputype", "go", lambda e: e.header(cputype=7)),
    Damage("header-filetype", "go", lambda e: e.header(filetype=1)),
    Damage("header-filetype", "go", lambda e: e.header(filetype=99)),
    Damage("pie-required", "go-arm64", lambda e: e.header(flags=lambda old: old & ~m.MH_PIE)),
    Damage("commands-in-file", "go", lambda e: e.header(sizeofcmds=0x7FFFFFFF)),
    Damage("commands-in-file", "go", lambda e: cut(e, 0x100)),
    Damage("command-size", "go", lambda e: e.header(ncmds=lambda old: old + 1)),
    Damage("command-size", "go", lambda e: e.header(sizeofcmds=lambda old: old - 8)),
    Damage("command-size", "go", lambda e: e.command(m.LC_UUID, cmdsize=4)),
    Damage("command-size", "go", lambda e: e.command(m.LC_UUID, cmdsize=0xFFFFFFF8)),
    Damage("command-alignment", "go", lambda e: grow_command(e, m.LC_LOAD_DYLIB, 4)),
    Damage("command-known", "go", lambda e: e.insert(data_command(m.LC_REQ_DYLD | 0x77, 0, 0))),
    Damage("command-fixed-size", "go", lambda e: grow_command(e, m.LC_UUID, 8)),
    Damage("command-fixed-size", "go", lambda e: shrink_command(e, m.LC_SYMTAB, 16)),
    Damage("command-fixed-size", "go", lambda e: shrink_command(e, m.LC_DYLD_INFO_ONLY, 40)),
    Damage("command-fixed-size", "go", lambda e: shrink_command(e, m.LC_LOAD_DYLIB, 16)),
    Damage("command-fixed-size", "go", lambda e: e.segment("__TEXT", nsects=5)),
    Damage("command-fixed-size", "c", lambda e: e.command(m.LC_BUILD_VERSION, ntools=7)),
    Damage("command-string", "go", lambda e: e.command(m.LC_LOAD_DYLIB, name=0x1000)),
    Damage("command-string", "go", lambda e: e.command(m.LC_LOAD_DYLIB, name=4)),
    Damage(
        "command-string",
        "go",
        lambda e: e.write(e.command_at(m.LC_LOAD_DYLINKER) + 12, b"/" * 20),
    ),
    Damage("build-version", "go", lambda e: e.remove(m.LC_BUILD_VERSION)),
    Damage("build-version", "go", lambda e: e.command(m.LC_BUILD_VERSION, platform=2)),
    Damage("build-version-once", "go", lambda e: e.repeat(m.LC_BUILD_VERSION)),
    Damage("uuid-present", "go", lambda e: e.remove(m.LC_UUID)),
    Damage("uuid-once", "go", lambda e: e.repeat(m.LC_UUID)),
    Damage("dylib-needed", "go", lambda e: e.remove(m.LC_LOAD_DYLIB)),
    Damage("dylib-duplicate", "go", lambda e: e.repeat(m.LC_LOAD_DYLIB)),
    Damage(
        "rpath-duplicate",
        "go",
        lambda e: [e.insert(string_command(m.LC_RPATH, b"@loader_path")) for _ in range(2)],
    ),
    Damage("install-name", "c", lambda e: e.header(filetype=m.MH_DYLIB)),
    Damage("install-name", "go", lambda e: e.command(m.LC_LOAD_DYLIB, cmd=m.LC_ID_DYLIB)),
    Damage("dylinker", "go", lambda e: e.remove(m.LC_LOAD_DYLINKER)),
    Damage("dylinker", "go", lambda e: e.repeat(m.LC_LOAD_DYLINKER)),
    Damage("dylinker", "go", lambda e: e.write(e.command_at(m.LC_LOAD_DYLINKER) + 13, b"x")),
]

SEGMENTS = [
    Damage("segment-in-file", "go", lambda e: cut(e, len(e.data) - 1)),
    Damage("segment-in-file", "go", lambda e: e.segment("__DATA", fileoff=1 << 40)),
    Damage("segment-file-size", "go", lambda e: e.segment("__TEXT", vmsize=PAGE)),
    Damage("segment-protection-bits", "go", lambda e: e.segment("__DATA", initprot=0x13)),
    Damage("segment-max-protection", "go", lambda e: e.segment("__DATA", maxprot=1)),
    Damage("text-protection", "go", lambda e: e.segment("__TEXT", initprot=7)),
    Damage("linkedit-protection", "go", lambda e: e.segment("__LINKEDIT", initprot=3, maxprot=3)),
    Damage("data-protection", "go", lambda e: e.segment("__DATA", initprot=7, maxprot=7)),
    Damage("data-protection", "go", lambda e: e.segment("__DATA_CONST", initprot=1)),
    Damage("data-const-read-only", "go", lambda e: e.segment("__DATA_CONST", flags=0)),
    Damage("read-only-once", "go", lambda e: e.segment("__DATA", flags=m.SG_READ_ONLY)),
    Damage("segment-wraps", "go", lambda e: e.segment("__LINKEDIT", vmaddr=(1 << 64) - PAGE)),
    Damage("segment-page-aligned", "go", lambda e: e.segment("__DATA", fileoff=lambda o: o + 8)),
    Damage("segment-page-aligned", "go", lambda e: e.segment("__DATA", vmaddr=lambda o: o + 8)),
    Damage(
        "segment-page-aligned", "c-arm64", lambda e: e.segment("__DATA", vmaddr=lambda o: o + PAGE)
    ),
    Damage("page-zero", "go", lambda e: e.segment("__PAGEZERO", vmsize=0)),
    Damage("page-zero", "go-arm64", lambda e: e.segment("__PAGEZERO", vmsize=1 << 24)),
    Damage("header-mapped", "go", lambda e: e.segment("__DATA", fileoff=0)),
    Damage("header-mapped", "go", lambda e: e.segment("__TEXT", initprot=1)),
    Damage("text-present", "go", lambda e: e.segment("__TEXT", segname=b"__TXET")),
    Damage("text-at-start", "go", lambda e: e.segment("__TEXT", fileoff=PAGE)),
    Damage("commands-in-text", "go", lambda e: e.segment("__TEXT", filesize=0x100)),
    Damage("segment-vm-overlap", "go", lambda e: e.segment("__TEXT", vmsize=lambda o: o + PAGE)),
    Damage("segment-vm-overlap", "go", lambda e: e.segment("__PAGEZERO", vmsize=1 << 40)),
    Damage(
        "segment-file-overlap", "go", lambda e: e.segment("__TEXT", filesize=lambda o: o + PAGE)
    ),
    Damage("segment-name-duplicate", "go", lambda e: e.segment("__DATA_CONST", segname=b"__DATA")),
    Damage("segment-file-order", "go", lambda e: swap_segments(e, "__DATA", "__DATA_CONST")),
    Damage("segment-vm-order", "go", lambda e: swap_segments(e, "__TEXT", "__PAGEZERO")),
    Damage("linkedit-last", "go", lambda e: e.segment("__LINKEDIT", fileoff=0, vmaddr=1 << 40)),
    Damage("linkedit-last", "go", lambda e: e.segment("__LINKEDIT", vmaddr=0x800000)),
    Damage("section-size", "go", lambda e: e.section("__DATA,__bss", size=1 << 63)),
    Damage("section-before-segment", "go", lambda e: e.section("__DATA,__data", addr=PAGE)),
    Damage("section-in-segment", "go", lambda e: e.section("__DATA,__noptrbss", size=1 << 30)),
    Damage("section-segment-name", "go", lambda e: e.section("__DATA,__data", segname=b"__TEXT")),
    Damage("section-file-offset", "go", lambda e: e.section("__DATA,__data", offset=0x2000)),
    Damage(
        "section-file-offset", "go", lambda e: e.section("__DATA,__bss", flags=0, offset=0x2000)
    ),
    Damage("section-alignment", "go", lambda e: e.section("__TEXT,__gopclntab", align=14)),
    Damage("section-alignment", "go", lambda e: e.section("__TEXT,__text", align=200)),
    Damage("section-overlap", "go", lambda e: e.section("__TEXT,__text", size=lambda o: o + PAGE)),
]

_NO_FIXUPS = (m.LC_DYLD_INFO_ONLY, m.LC_DYSYMTAB)


def unsorted_symbols(edit: Edit) -> None:
    """Exchange the first and the last symbol."""
    symbols = edit.file.symbols
    last, fields = len(symbols) - 1, symbols.dtype.names
    first = {name: symbols[name][0] for name in fields}
    edit.symbol(0, **{name: symbols[name][last] for name in fields})
    edit.symbol(last, **first)


def function_starts(edit: Edit, raw: bytes) -> None:
    """Put a table of function starts over the end of the string table."""
    fields = edit.file.first(m.SYMTAB_COMMAND, m.LC_SYMTAB)
    size = -(-len(raw) // 8) * 8
    at = (fields["stroff"] + fields["strsize"] - size) // 8 * 8
    edit.command(m.LC_SYMTAB, strsize=at - fields["stroff"])
    edit.write(at, raw.ljust(size, b"\0"))
    edit.insert(data_command(m.LC_FUNCTION_STARTS, at, size))


def data_in_code(edit: Edit, raw: bytes, size: int | None = None) -> None:
    """The same for a table of data in code."""
    function_starts(edit, raw)
    at = edit.linkedit(m.LC_FUNCTION_STARTS)[0]
    edit.remove(m.LC_FUNCTION_STARTS)
    edit.insert(data_command(m.LC_DATA_IN_CODE, at, size or len(raw)))


LINKEDIT = [
    Damage("range-in-file", "go", lambda e: e.command(m.LC_SYMTAB, symoff=0x7FFFFFFF)),
    Damage("range-in-file", "go", lambda e: e.command(m.LC_SYMTAB, stroff=0x7FFFFFFF)),
    Damage("range-in-file", "go", lambda e: e.command(m.LC_DYSYMTAB, indirectsymoff=0x7FFFFFFF)),
    Damage("range-in-file", "go", lambda e: e.command(m.LC_DYLD_INFO_ONLY, rebase_size=0xFFFFFFF)),
    Damage("range-in-file", "go", lambda e: e.command(m.LC_DYLD_INFO_ONLY, bind_off=0xFFFFFFF0)),
    Damage("range-in-file", "c", lambda e: e.command(m.LC_DYLD_INFO_ONLY, export_off=0xFFFFFF0)),
    Damage("range-in-file", "c", lambda e: e.command(m.LC_FUNCTION_STARTS, datasize=1 << 31)),
    Damage("range-in-file", "c", lambda e: e.section("__DATA_CONST,__mod_init_func", size=1 << 40)),
    Damage("range-in-file", "c", lambda e: e.section("__DATA,__thread_vars", size=24 << 36)),
    Damage(
        "range-in-file", "chained", lambda e: e.command(m.LC_DYLD_CHAINED_FIXUPS, dataoff=0xFFFFFF0)
    ),
    Damage(
        "range-in-file", "go-arm64", lambda e: e.command(m.LC_CODE_SIGNATURE, datasize=0xFFFFFFF)
    ),
    Damage("linkedit-present", "go", lambda e: e.segment("__LINKEDIT", segname=b"__LINK")),
    Damage("linkedit-ends-file", "go", lambda e: e.data.extend(b"appended")),
    Damage("linkedit-content", "go", lambda e: e.remove(*_NO_FIXUPS, m.LC_SYMTAB)),
    Damage("linkedit-inside", "go", lambda e: e.segment("__LINKEDIT", filesize=PAGE)),
    Damage("linkedit-inside", "go", lambda e: e.command(m.LC_SYMTAB, symoff=PAGE)),
    Damage("linkedit-inside", "go", lambda e: e.command(m.LC_SYMTAB, strsize=lambda o: o + 8)),
    Damage("linkedit-overlap", "go", lambda e: e.command(m.LC_SYMTAB, nsyms=lambda o: o + 99)),
    Damage(
        "linkedit-overlap", "go", lambda e: e.command(m.LC_DYLD_INFO_ONLY, bind_off=lambda o: o - 8)
    ),
    Damage("linkedit-alignment", "go", lambda e: e.command(m.LC_SYMTAB, symoff=lambda o: o + 4)),
    Damage(
        "linkedit-alignment",
        "go",
        lambda e: e.command(m.LC_DYLD_INFO_ONLY, bind_off=lambda o: o + 1),
    ),
    Damage(
        "linkedit-alignment",
        "go",
        lambda e: e.command(m.LC_DYSYMTAB, indirectsymoff=lambda o: o + 2),
    ),
    Damage(
        "signature-alignment",
        "go-arm64",
        lambda e: e.command(m.LC_CODE_SIGNATURE, dataoff=lambda o: o + 4),
    ),
    Damage("symbol-table-size", "go", lambda e: e.command(m.LC_SYMTAB, nsyms=0x10000001)),
    Damage("symbol-table-size", "go", lambda e: e.command(m.LC_DYSYMTAB, nindirectsyms=0x10000001)),
    Damage("dysymtab-order", "go", lambda e: e.command(m.LC_DYSYMTAB, ilocalsym=1)),
    Damage("dysymtab-order", "go", lambda e: e.command(m.LC_DYSYMTAB, iundefsym=0)),
    Damage("dysymtab-count", "go", lambda e: e.command(m.LC_DYSYMTAB, nundefsym=lambda o: o - 1)),
    Damage(
        "fixups-one-form",
        "go",
        lambda e: e.insert(data_command(m.LC_DYLD_CHAINED_FIXUPS, len(e.data) - 64, 64)),
    ),
    Damage("no-relocations", "go", lambda e: e.command(m.LC_DYSYMTAB, nlocrel=1, locreloff=0x2000)),
    Damage("no-relocations", "chained", lambda e: e.command(m.LC_DYSYMTAB, nextrel=1)),
    Damage("dyld-info-present", "go", lambda e: e.remove(*_NO_FIXUPS)),
    Damage("function-starts", "go", lambda e: function_starts(e, b"\x80" * 8)),
    Damage("function-starts", "go", lambda e: function_starts(e, b"\x01" * 8)),
    Damage("function-starts", "go", lambda e: function_starts(e, b"\x10\x00\x01")),
    Damage("function-starts", "go", lambda e: function_starts(e, b"\xff\xff\xff\x7f")),
    Damage("data-in-code", "go", lambda e: data_in_code(e, b"\0\x10\0\0\x04\0\x09\0")),
    Damage("data-in-code", "go", lambda e: data_in_code(e, b"\0\0\0\x10\x04\0\x01\0")),
    Damage("data-in-code", "go", lambda e: data_in_code(e, b"\0\x10\0\0\x04\0\x01\0", 5)),
]

SYMBOLS = [
    Damage("symbol-name", "go", lambda e: e.symbol(3, n_strx=0x7FFFFFFF)),
    Damage("symbol-name", "go", lambda e: e.write(len(e.data) - 9, b"x" * 9)),
    Damage("symbol-section", "go", lambda e: e.symbol(e.symbol_index(m.N_SECT), n_sect=200)),
    Damage("symbol-section", "go", lambda e: e.symbol(e.symbol_index(m.N_SECT), n_sect=0)),
    Damage("symbol-section", "go", lambda e: e.symbol(e.symbol_index(m.N_UNDF), n_sect=1)),
    Damage("symbol-type", "go", lambda e: e.symbol(e.symbol_index(m.N_SECT), n_type=0x04)),
    Damage("symbol-address", "go", lambda e: e.symbol(e.symbol_index(m.N_SECT), n_value=16)),
    Damage("symbol-address", "go", lambda e: e.symbol(e.symbol_index(m.N_SECT), n_value=1 << 60)),
    Damage("symbol-partition", "go", unsorted_symbols),
    Damage(
        "symbol-partition", "go", lambda e: e.symbol(e.symbol_index(m.N_SECT), n_type=m.N_SECT | 1)
    ),
    Damage("symbol-library", "c", lambda e: e.symbol(e.symbol_index(m.N_UNDF), n_desc=7 << 8)),
    Damage(
        "indirect-symbol",
        "go",
        lambda e: e.write(
            e.file.first(m.DYSYMTAB_COMMAND, m.LC_DYSYMTAB)["indirectsymoff"], b"\xff\xff\xff\x0f"
        ),
    ),
    Damage("indirect-range", "go", lambda e: e.section("__DATA_CONST,__got", reserved1=9999)),
    Damage("indirect-range", "go", lambda e: e.section("__TEXT,__symbol_stub1", reserved2=0)),
    Damage("indirect-range", "go", lambda e: e.command(m.LC_DYSYMTAB, nindirectsyms=3)),
]

DAMAGES = HEADER + SEGMENTS + LINKEDIT + SYMBOLS
