"""The symbol pointers of images that have neither opcodes nor chained fixups.

Before LC_DYLD_INFO, dyld found what to bind in the sections of symbol pointers themselves: pointer
i of such a section belongs to row `reserved1` + i of the indirect symbol table, which holds the
symbol's row in the symbol table. Executables that Go's internal linker makes with -buildmode=exe
are still bound in this way.

Source: <mach-o/loader.h>; forEachIndirectPointer in dyld's mach_o/Image.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pielink.emulator.fixups import Bind, check_writable
from pielink.emulator.machofile import Image, Section
from pielink.formats import macho

_POINTER = 8
_NLIST = struct.Struct("<IBBHQ")


def symbol_pointers(image: Image) -> Iterator[Bind]:
    """The binds of all sections of symbol pointers; FormatError if one names no symbol."""
    if image.has_dyld_info or image.chained.size:
        return
    for kind in (macho.S_NON_LAZY_SYMBOL_POINTERS, macho.S_LAZY_SYMBOL_POINTERS):
        for section in image.sections_of(kind):
            yield from _binds(image, section)


def _binds(image: Image, section: Section) -> Iterator[Bind]:
    table = image.bytes_of(image.indirect_symbols)
    first, count = section.reserved1, section.size // _POINTER
    if 4 * (first + count) > len(table):
        raise image.error(f"{section.name}: its rows lie outside the indirect symbol table")
    for segment in image.segments:
        if segment.address <= section.address < segment.address + segment.size:
            check_writable(image, segment, segment.offset)
    rows = struct.unpack_from(f"<{count}I", table, 4 * first)
    for number, row in enumerate(rows):
        if not row & (macho.INDIRECT_SYMBOL_LOCAL | macho.INDIRECT_SYMBOL_ABS):
            yield _bind(image, section.address + _POINTER * number, row)


def _bind(image: Image, address: int, row: int) -> Bind:
    symbols, strings = image.symbols, image.strings
    if (row + 1) * _NLIST.size > symbols.size:
        raise image.error(f"indirect symbol {row} lies outside the symbol table")
    strx, _, _, desc, _ = _NLIST.unpack_from(image.data, symbols.offset + row * _NLIST.size)
    end = strings.offset + strings.size
    name = image.string_at(strings.offset + strx, end, "the name of an indirect symbol")
    return Bind(address, _ordinal(image, desc), name, 0, bool(desc & macho.N_WEAK_REF))


def _ordinal(image: Image, desc: int) -> int:
    """The library ordinal in n_desc; images without two-level namespace look everywhere."""
    if not image.flags & macho.MH_TWOLEVEL:
        return macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP
    special = {
        macho.EXECUTABLE_ORDINAL: macho.BIND_SPECIAL_DYLIB_MAIN_EXECUTABLE,
        macho.DYNAMIC_LOOKUP_ORDINAL: macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP,
    }
    return special.get(desc >> 8, desc >> 8)
