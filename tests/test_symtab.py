"""The symbol table: names, groups and order, against a plain twin."""

from __future__ import annotations

import random

import numpy as np
from link_tables import imports, lay_out, memory, objects, tables
from reference import symtab as plain

from pielink.formats import macho
from pielink.formats.goobj import OBJ_FROM_ASSEMBLY
from pielink.passes.symtab import Exports, SymbolTable, import_name, symtab
from pielink.rows import NewSymbol, with_columns
from pielink.tables import (
    ABI0,
    ABI_INTERNAL,
    STATIC,
    Bool,
    Imports,
    Kind,
    Layout,
    Memory,
    Objects,
    Symbols,
)

BOTH_ABIS = frozenset((b"runtime.both", "runtime\u00b7dot".encode()))


def is_function(names: list[tuple[bytes, int]]) -> Bool:
    """Which names have a Go function as well."""
    return np.array([name in BOTH_ABIS and abi == ABI_INTERNAL for name, abi in names], np.bool_)


def entries(table: SymbolTable) -> list[plain.Entry]:
    """The table as (name, type, section, value)."""
    names = [table.strings[x : table.strings.index(b"\0", x)] for x in table.entries["n_strx"]]
    columns = (table.entries[f].tolist() for f in ("n_type", "n_sect", "n_value"))
    return list(zip(names, *columns, strict=True))


def make(
    new: list[NewSymbol], exports: dict[int, tuple[bytes, bool]] | None = None, strip: bool = False
) -> tuple[SymbolTable, Memory, Symbols, Layout]:
    """The symbol table of `new`, in rows 1 and up; exports: row -> name, whether dyld finds it."""
    store = memory()
    symbols, _ = tables(store, new)
    layout = lay_out(symbols)
    rows = [row for row in range(1, len(symbols)) if symbols.kind[row] == Kind.DYNIMPORT]
    export = exports or {}
    table = symtab(
        store,
        objects(),
        symbols,
        layout,
        imports(symbols),
        Exports(
            np.array(list(export), np.int32),
            [name for name, _ in export.values()],
            np.array([seen for _, seen in export.values()], np.bool_),
            weak=np.zeros(len(export), np.bool_),
            overriding=np.zeros(len(export), np.bool_),
        ),
        np.array([*rows[1:], *rows], np.int32),
        is_function,
        strip,
    )
    return table, store, symbols, layout


def random_tables(rng: random.Random) -> tuple[Memory, Objects, Symbols, Layout]:
    """Symbols of many kinds; object 1 is compiled Go, object 2 assembly."""
    store = memory()
    kinds = (Kind.TEXT, Kind.RODATA, Kind.PCLNTAB, Kind.TYPE, Kind.DATA, Kind.BSS)
    names = ["", ".dot", "a.b", "main.\u00b7x", "\u00b7", "runtime.both", "runtime\u00b7dot"]
    names += ["runtime.pcheader", "x" * 300, "go:string.*", "f\u00b7g\u00b7h\u00b7"]
    count = rng.choice((1, 30, 300))
    new = [
        NewSymbol(rng.choice(names), rng.choice(kinds), b"x" * rng.randrange(9))
        for _ in range(count)
    ]
    symbols, _ = tables(store, new)
    rand = np.random.default_rng(count)
    symbols = with_columns(
        symbols,
        slot=rand.integers(0, 3, len(symbols)).astype(np.int32),
        object=rand.integers(1, 3, len(symbols)).astype(np.int32),
        version=rand.choice([ABI0, ABI_INTERNAL, STATIC], len(symbols)).astype(np.uint16),
    )
    layout = lay_out(symbols, align=1)
    objs = objects(["go", "asm"])
    return (
        store,
        with_columns(objs, flags=np.array([0, 0, OBJ_FROM_ASSEMBLY], np.uint32)),
        symbols,
        layout,
    )


def test_local_symbols_equal_the_plain_twin() -> None:
    for seed in range(15):
        store, objs, symbols, layout = random_tables(random.Random(seed))
        none = Imports(np.zeros(0, np.int32), [], np.zeros(0, np.int32), np.zeros(0, np.bool_), [])
        table = symtab(
            store,
            objs,
            symbols,
            layout,
            none,
            Exports.none(),
            none.symbol,
            is_function,
        )
        expected = plain.local_entries(
            store,
            symbols,
            layout,
            lambda row, o=symbols.object: o[row] == 2,
            lambda name: name in BOTH_ABIS,
        )
        assert sorted(entries(table)) == sorted(expected)
        assert [e[3] for e in entries(table)] == [e[3] for e in expected]


PROGRAM = [
    NewSymbol("main.main", Kind.TEXT, b"\xc3" * 9, version=ABI_INTERNAL),
    NewSymbol("zlib", Kind.DYNIMPORT),
    NewSymbol("crosscall", Kind.TEXT, b"\xc3"),
    NewSymbol("abort", Kind.DYNIMPORT),
    NewSymbol("main.x", Kind.DATA, b"x"),
    NewSymbol("inside", Kind.TEXT, b"\xc3"),
]


def test_groups_are_local_exported_undefined_and_the_latter_sorted() -> None:
    exported = {3: (b"_crosscall2", True), 1: (b"_Main", True), 6: (b"_hidden", False)}
    table, _, _, layout = make(PROGRAM, exported)
    assert (table.local_count, table.external_count, table.undefined_count) == (1, 3, 2)
    assert entries(table) == [
        (b"_main.x", macho.N_SECT, 6, layout.address[5]),
        (b"_Main", macho.N_SECT | macho.N_EXT, 1, layout.address[1]),
        (b"_crosscall2", macho.N_SECT | macho.N_EXT, 1, layout.address[3]),
        (b"_hidden", macho.N_SECT | macho.N_EXT | macho.N_PEXT, 1, layout.address[6]),
        (b"_import2", macho.N_EXT, 0, 0),
        (b"_import4", macho.N_EXT, 0, 0),
    ]


def test_indirect_table_has_the_stubs_then_the_got() -> None:
    table, *_ = make(PROGRAM)
    names = [entries(table)[i][0] for i in table.indirect.tolist()]
    assert names == [b"_import4", b"_import2", b"_import4"]


def test_strip_leaves_what_others_refer_to() -> None:
    table, *_ = make(PROGRAM, {1: (b"_Main", True)}, strip=True)
    assert [e[0] for e in entries(table)] == [b"_Main", b"_import2", b"_import4"]
    assert table.local_count == 0


def test_string_table_starts_as_tools_expect() -> None:
    table, *_ = make(PROGRAM)
    assert table.strings.startswith(b" \0_")


def test_functions_with_two_forms_in_libsystem_bind_to_that_with_64_bit_inodes() -> None:
    system = "/usr/lib/libSystem.B.dylib"
    assert import_name(b"_readdir_r", system) == b"_readdir_r$INODE64"
    assert import_name(b"_read", system) == b"_read"
    assert import_name(b"_readdir_r", "/usr/lib/libother.dylib") == b"_readdir_r"
