"""Rules of the symbol table and the indirect symbol table."""

from __future__ import annotations

import numpy as np

from pielink.check.rule import Image, Rule
from pielink.formats import macho
from pielink.inspect.macho import text

NLIST = "xnu EXTERNAL_HEADERS/mach-o/nlist.h struct nlist_64"
LOADER_H = "xnu EXTERNAL_HEADERS/mach-o/loader.h"

RULES = (
    Rule(
        "symbol-name",
        "a symbol's name starts and ends inside the string table",
        "correct n_strx, or end the string table with a zero byte",
        "dyld common/MachOLoaded.cpp forEachGlobalSymbol (maxStringOffset)",
    ),
    Rule(
        "symbol-section",
        "a symbol defined in a section names one that exists; any other symbol names none",
        "correct n_sect",
        NLIST,
    ),
    Rule(
        "symbol-type",
        "a symbol is undefined, absolute, in a section, or an alias",
        "correct n_type",
        NLIST,
    ),
    Rule(
        "symbol-address",
        "a symbol's address lies in the segment of its section (its end included)",
        "correct n_value or n_sect",
        NLIST,
    ),
    Rule(
        "symbol-partition",
        "local, external and undefined symbols are in the part of LC_DYSYMTAB that is for them",
        "sort the symbol table: locals, external definitions, undefined",
        f"{LOADER_H} struct dysymtab_command",
    ),
    Rule(
        "symbol-library",
        "with MH_TWOLEVEL, an undefined symbol names a linked library by its ordinal",
        "write the library's ordinal into the high byte of n_desc",
        "dyld mach_o/NListSymbolTable.cpp libOrdinalFromDesc",
    ),
    Rule(
        "indirect-symbol",
        "an indirect symbol is an index into the symbol table, or local or absolute",
        "correct the entry of the indirect symbol table",
        f"{LOADER_H} INDIRECT_SYMBOL_LOCAL",
    ),
    Rule(
        "indirect-range",
        "the indirect symbols of a section of stubs or pointers are inside the table",
        "correct reserved1 (and the stub size in reserved2) of the section",
        f"{LOADER_H} struct section_64, S_SYMBOL_STUBS",
    ),
)


def check(image: Image) -> None:
    """Every rule of this file."""
    file, place = image.file, "symbol table"
    if image.readable(lambda: file.symbols, place) is None:
        return
    if image.readable(lambda: file.strings, "string table") is None:
        return
    if _check_names(image) and len(file.symbols):
        _check_rows(image)
        _check_partition(image)
        _check_libraries(image)
    if image.readable(lambda: file.indirect_symbols, "indirect symbol table") is not None:
        _check_indirect(image)


def _tell(image: Image, index: int) -> tuple[str, str]:
    row = image.file.symbols[index]
    name = text(image.file.symbol_names[index])
    value, kind, section = (int(row[n]) for n in ("n_value", "n_type", "n_sect"))
    return f"symbol {index} ({name})", f"{value:#x}, type {kind:#04x}, section {section}"


def _check_names(image: Image) -> bool:
    file, start = image.file, image.file.symbols["n_strx"]
    last = file.strings.rfind(b"\0")
    bad = np.flatnonzero(start > last)

    def tell(index: int) -> tuple[str, str]:
        end = f"the last zero byte of the string table is at {last:#x}"
        return f"symbol {index}", f"n_strx is {int(start[index]):#x}, {end}"

    image.report.each("symbol-name", bad.tolist(), tell)
    if len(bad):
        return False
    return image.readable(lambda: file.symbol_names, "symbol names") is not None


def _check_rows(image: Image) -> None:
    file, rows = image.file, image.file.symbols
    real = rows["n_type"] & macho.N_STAB == 0
    kind = rows["n_type"] & macho.N_TYPE
    in_section = real & (kind == macho.N_SECT)
    number = rows["n_sect"].astype(np.int64)
    exists = (number >= 1) & (number <= len(file.sections))
    wrong = (in_section & ~exists) | (real & ~in_section & (number != macho.NO_SECT))
    image.report.each("symbol-section", np.flatnonzero(wrong).tolist(), lambda i: _tell(image, i))
    known = np.isin(kind, (macho.N_UNDF, macho.N_ABS, macho.N_INDR, macho.N_SECT))
    unknown = np.flatnonzero(real & ~known).tolist()
    image.report.each("symbol-type", unknown, lambda i: _tell(image, i))
    check_address = np.flatnonzero(in_section & exists)
    segment = file.segments[file.section_segment[number[check_address] - 1]]
    value = rows["n_value"][check_address]
    outside = (value < segment["vmaddr"]) | (value - segment["vmaddr"] > segment["vmsize"])
    image.report.each("symbol-address", check_address[outside].tolist(), lambda i: _tell(image, i))


def _check_partition(image: Image) -> None:
    dynamic = image.file.first(macho.DYSYMTAB_COMMAND, macho.LC_DYSYMTAB)
    if dynamic is None:
        return
    rows = image.file.symbols
    stab = rows["n_type"] & macho.N_STAB != 0
    external = (rows["n_type"] & macho.N_EXT != 0) & ~stab
    undefined = external & (rows["n_type"] & macho.N_TYPE == macho.N_UNDF)
    index = np.arange(len(rows))
    parts = (
        ("ilocalsym", "nlocalsym", ~external | stab),
        ("iextdefsym", "nextdefsym", external & ~undefined),
        ("iundefsym", "nundefsym", undefined),
    )
    wrong = np.zeros(len(rows), bool)
    for start, count, belongs in parts:
        inside = (index >= dynamic[start]) & (index < dynamic[start] + dynamic[count])
        wrong |= inside & ~belongs
    image.report.each("symbol-partition", np.flatnonzero(wrong).tolist(), lambda i: _tell(image, i))


def _check_libraries(image: Image) -> None:
    if not int(image.file.header["flags"]) & macho.MH_TWOLEVEL:
        return
    rows = image.file.symbols
    undefined = (rows["n_type"] & macho.N_STAB == 0) & (
        rows["n_type"] & macho.N_TYPE == macho.N_UNDF
    )
    ordinal = rows["n_desc"] >> 8
    special = (macho.SELF_LIBRARY_ORDINAL, macho.EXECUTABLE_ORDINAL, macho.DYNAMIC_LOOKUP_ORDINAL)
    count = len(image.file.libraries)
    wrong = np.flatnonzero(undefined & (ordinal > count) & ~np.isin(ordinal, special))

    def tell(index: int) -> tuple[str, str]:
        place, _ = _tell(image, index)
        return place, f"library ordinal {int(ordinal[index])}, {count} libraries are linked"

    image.report.each("symbol-library", wrong.tolist(), tell)


def _check_indirect(image: Image) -> None:
    file = image.file
    entries, count = file.indirect_symbols, len(file.symbols)
    marks = macho.INDIRECT_SYMBOL_LOCAL | macho.INDIRECT_SYMBOL_ABS
    wrong = np.flatnonzero((entries & np.uint32(marks) == 0) & (entries >= count)).tolist()
    image.report.each(
        "indirect-symbol",
        wrong,
        lambda i: (f"indirect symbol {i}", f"is {int(entries[i])} of {count} symbols"),
    )
    pointers = (
        macho.S_NON_LAZY_SYMBOL_POINTERS,
        macho.S_LAZY_SYMBOL_POINTERS,
        macho.S_THREAD_LOCAL_VARIABLE_POINTERS,
    )
    for index, row in enumerate(file.sections):
        kind, size, first = (
            int(row["flags"]) & macho.SECTION_TYPE,
            int(row["size"]),
            int(row["reserved1"]),
        )
        if kind not in (*pointers, macho.S_SYMBOL_STUBS):
            continue
        unit = int(row["reserved2"]) if kind == macho.S_SYMBOL_STUBS else 8
        whole = unit > 0 and size % unit == 0
        fits = whole and first + size // unit <= len(entries)
        message = f"{size} bytes of {unit} from entry {first} on, of {len(entries)}"
        image.report.require(fits, "indirect-range", file.section_names[index], message)
