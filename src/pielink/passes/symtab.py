"""The symbol table: nlist_64 entries, their names, and the indirect symbol table.

LC_DYSYMTAB wants three groups in this order: local symbols, symbols that others may bind to, and
undefined ones. The latter two are sorted by name, as dyld's binary search needs; locals are in
the order of their addresses, and need no order.

A name gets a leading underscore, as C names have on macOS, and "·" becomes ".", which DTrace can
handle. A function in assembly (ABI0) whose name also belongs to a Go function gets ".abi0".

Left out are symbols that only exist to be merged (strings, types, GC masks, func values), for
which one symbol stands that covers them all; variables local to a file of Go code; and most
function tables. Source: cmd/link/internal/ld/macho.go and symtab.go of Go 1.26 and 1.27.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pielink.arch import amd64
from pielink.arrays import isin
from pielink.arraytypes import NDArray
from pielink.blocks import copy_ranges
from pielink.formats import macho
from pielink.formats.goobj import OBJ_FROM_ASSEMBLY
from pielink.hints import Any
from pielink.passes.fixups import is_text
from pielink.record import Record
from pielink.tables import (
    ABI0,
    ABI_INTERNAL,
    I4,
    I8,
    STATIC,
    U1,
    U4,
    Bool,
    Imports,
    Kind,
    Layout,
    Memory,
    Objects,
    Symbols,
)

# Symbols of these kinds that come from objects are covered by one symbol of the linker.
MERGED_KINDS = (
    Kind.GO_STRING,
    Kind.GC_BITS,
    Kind.TYPE,
    Kind.GO_FUNC,
    Kind.GC_MASK,
    Kind.COVERAGE_COUNTER,
    Kind.TLS_BSS,
)
# Function tables that nobody but the linker knows by name.
HIDDEN_NAMES = frozenset(
    (
        b"runtime.pcheader",
        b"runtime.funcnametab",
        b"runtime.cutab",
        b"runtime.filetab",
        b"runtime.pctab",
        b"runtime.functab",
    )
)
STRING_TABLE_START = b" \0"  # an n_strx of 0 or 1 means "no name" to some tools


TextLookup = Callable[[Sequence[tuple[bytes, int]]], Bool]  # (name, version) -> is a function


class Exports(Record):
    """Symbols of the image that others may look up, one row each."""

    symbol: I4  # row in Symbols
    name: list[bytes]  # as C code on macOS knows it, with the leading underscore
    dynamic: Bool  # dyld may find it; False: only static linkers (private extern)
    weak: Bool  # another image's definition may take its place
    overriding: Bool  # it takes the place of a dylib's weak definition

    @classmethod
    def none(cls) -> Exports:
        """No exports at all."""
        no = np.zeros(0, np.bool_)
        return cls(np.zeros(0, np.int32), [], no, no, no)

    def only_dynamic(self) -> Exports:
        """Those that dyld may find."""
        rows = np.flatnonzero(self.dynamic)
        names = [self.name[row] for row in rows.tolist()]
        flags = (column[rows] for column in (self.dynamic, self.weak, self.overriding))
        return Exports(self.symbol[rows], names, *flags)


class SymbolTable(Record):
    """What LC_SYMTAB and LC_DYSYMTAB describe."""

    entries: NDArray[Any]  # macho.NLIST_64
    strings: bytes
    indirect: U4  # index in `entries` of the symbol of each stub and each symbol pointer
    local_count: int
    external_count: int
    undefined_count: int


def import_name(name: bytes, dylib: str) -> bytes:
    """The name that a dylib gives to what a program calls `name` (with the underscore)."""
    two_forms = dylib == amd64.LIBSYSTEM and name in amd64.INODE64_NAMES
    return name + b"$INODE64" if two_forms else name


def symtab(
    memory: Memory,
    objects: Objects,
    symbols: Symbols,
    layout: Layout,
    imports: Imports,
    exports: Exports,
    indirect: I4,
    is_function: TextLookup,
    strip: bool = False,
) -> SymbolTable:
    """The symbol table of the image; with `strip` (-s) only what dyld uses.

    `indirect` holds the row of the dylib symbol behind each stub and each symbol pointer.
    """
    local = visible(memory, objects, symbols, layout)
    local[exports.symbol] = False
    rows = np.flatnonzero(local & (not strip)).astype(np.int32)
    rows = rows.take(np.argsort(layout.address.take(rows), kind="stable"))
    strings, offset = _local_strings(memory, symbols, rows, is_function)
    locals_ = _defined(layout, rows, offset, macho.N_SECT)
    kept = exports.only_dynamic() if strip else exports
    exported, weak, tail = _exported(layout, kept, len(strings))
    strings += tail
    undefined, symbol, tail = _undefined(imports, len(strings))
    index = np.full(len(symbols), macho.INDIRECT_SYMBOL_LOCAL, np.uint32)
    index[symbol] = np.arange(len(symbol)) + len(locals_) + len(exported)
    index[weak] = np.flatnonzero(exported["n_desc"] & macho.N_WEAK_DEF) + len(locals_)
    return SymbolTable(
        entries=np.concatenate([locals_, exported, undefined], dtype=macho.NLIST_64),
        strings=strings + tail,
        indirect=index[indirect],
        local_count=len(locals_),
        external_count=len(exported),
        undefined_count=len(undefined),
    )


def _exported(layout: Layout, exports: Exports, start: int) -> tuple[NDArray[Any], I4, bytes]:
    """The entries of exported symbols, and their names, which begin at `start` of the strings.

    Also the rows in Symbols of those that are weak definitions, in the order of the entries.
    """
    by_name = sorted(range(len(exports.name)), key=exports.name.__getitem__)
    strings, offset = _join([exports.name[i] for i in by_name], start)
    kind = np.where(exports.dynamic, 0, macho.N_PEXT) | macho.N_SECT | macho.N_EXT
    symbol, weak = exports.symbol[by_name], exports.weak[by_name]
    entries = _defined(layout, symbol, offset, kind[by_name])
    entries["n_desc"] = np.where(weak, macho.N_WEAK_DEF, 0)
    return entries, symbol[weak], strings


def _undefined(imports: Imports, start: int) -> tuple[NDArray[Any], I4, bytes]:
    """The entries of dylib symbols, the row in Symbols of each, and their names."""
    by_name = sorted(range(len(imports.name)), key=imports.name.__getitem__)
    strings, offset = _join([imports.name[i] for i in by_name], start)
    entries = np.zeros(len(by_name), macho.NLIST_64)
    entries["n_strx"], entries["n_type"] = offset, macho.N_UNDF | macho.N_EXT
    entries["n_desc"] = np.where(imports.weak[by_name], macho.N_WEAK_REF, 0)
    return entries, imports.symbol[by_name], strings


def visible(memory: Memory, objects: Objects, symbols: Symbols, layout: Layout) -> Bool:
    """Which symbols of the image belong into its symbol table."""
    made = symbols.slot == 0
    merged = isin(symbols.kind, MERGED_KINDS) & ~made
    assembly = (objects.flags & OBJ_FROM_ASSEMBLY != 0).take(symbols.object)
    file_local = (symbols.version == STATIC) & ~assembly & ~made
    first = memory.bytes.take(symbols.name_offset)
    nameless = (symbols.name_size == 0) | (first == ord("."))
    shown = is_text(symbols.kind) | ~(merged | file_local | nameless)
    shown &= (layout.section > 0) & (symbols.name_size > 0)
    for row in np.flatnonzero(made & shown & (symbols.kind == Kind.PCLNTAB)).tolist():
        name = memory.get(int(symbols.name_offset[row]), int(symbols.name_size[row]))
        shown[row] = name not in HIDDEN_NAMES
    result: Bool = shown
    return result


def _defined(layout: Layout, rows: I4, offset: I8, kind: int | I8) -> NDArray[Any]:
    """Entries of symbols that are in the image."""
    entries = np.zeros(len(rows), macho.NLIST_64)
    entries["n_strx"] = offset
    entries["n_type"] = kind
    entries["n_sect"] = layout.section.take(rows)
    entries["n_value"] = layout.address.take(rows)
    return entries


def _local_strings(
    memory: Memory, symbols: Symbols, rows: I4, is_function: TextLookup
) -> tuple[bytes, I8]:
    """The string table so far, and the offset of each local symbol's name in it."""
    functions = rows.compress(is_text(symbols.kind.take(rows)))
    assembly = functions.compress(symbols.version.take(functions) == ABI0)
    keys = [
        (memory.get(offset, size), ABI_INTERNAL)
        for offset, size in zip(
            symbols.name_offset[assembly].tolist(),
            symbols.name_size[assembly].tolist(),
            strict=True,
        )
    ]
    marked = np.zeros(len(symbols), np.bool_)
    marked[assembly] = is_function(keys)

    name_size = symbols.name_size.take(rows).astype(np.int64)
    suffix, is_marked = b".abi0", marked.take(rows)
    size = 1 + name_size + len(suffix) * is_marked + 1
    offset = np.cumsum(size) - size + len(STRING_TABLE_START)
    table = np.zeros(int(size.sum()) + len(STRING_TABLE_START), np.uint8)
    table[: len(STRING_TABLE_START)] = np.frombuffer(STRING_TABLE_START, np.uint8)
    table[offset] = ord("_")
    copy_ranges(table, offset + 1, memory.bytes, symbols.name_offset.take(rows), name_size)
    after = (offset + 1 + name_size).compress(is_marked)
    table[after[:, None] + np.arange(len(suffix))] = np.frombuffer(suffix, np.uint8)
    return _without_middle_dots(table, offset)


def _without_middle_dots(table: U1, offset: I8) -> tuple[bytes, I8]:
    """Turn each "·" (two bytes of UTF-8) into "." and move the offsets along."""
    first, second = "·".encode()
    dots = np.flatnonzero((table[:-1] == first) & (table[1:] == second))
    table[dots] = ord(".")
    kept = np.ones(len(table), np.bool_)
    kept[dots + 1] = False
    return table[kept].tobytes(), offset - np.searchsorted(dots, offset)


def _join(names: list[bytes], start: int) -> tuple[bytes, I8]:
    """The names as C strings back to back, and the offset of each if they start at `start`."""
    ends = np.cumsum([start, *(len(n) + 1 for n in names)])
    return b"".join(n + b"\0" for n in names), ends[:-1]
