"""The symbols that the linker makes for a Go program, in the order in which Go's linker makes them.

The order matters: where layout has nothing else to go by, it goes by the numbers of symbols.
"""

from __future__ import annotations

from pielink.builder import SymbolBuilder
from pielink.golang import fips, markers, moduledata, strdata
from pielink.golang.buildinfo import define_build_id, define_build_info
from pielink.golang.inittasks import InitTasks, list_symbols
from pielink.golang.pclntab import PclnTables
from pielink.golang.prefix import path_to_prefix
from pielink.golang.release import Release
from pielink.golang.typelinks import define_type_links
from pielink.options import Definition, LinkOptions
from pielink.passes.read import Inputs
from pielink.record import Record
from pielink.rows import NewSymbol
from pielink.tables import ABI_INTERNAL, Kind

# Symbols that objects may declare and that the linker completes: live in every program.
COMPLETED = [
    fips.INFO,
    "runtime.tlsg",
    moduledata.NAME,
    moduledata.LAST_NAME,
    *(m.name for m in markers.TEXT_MARKERS),
]


class Early(Record):
    """Rows of what was made before the text is laid out."""

    fips: fips.FipsRows
    build_id: int  # 0: there is none
    module_data: int


def make_early_symbols(
    builder: SymbolBuilder, inputs: Inputs, options: LinkOptions, tasks: InitTasks
) -> Early:
    """Make what does not depend on the layout of the text."""
    fips_rows = fips.define_fips(builder)
    _init_tasks(builder, tasks)
    builder.define("runtime.tlsg", Kind.TLS_BSS, size=8)
    module = builder.row(moduledata.NAME)
    _memory_profiling(builder)
    values = _definitions(inputs, options)
    strdata.define_strings(builder, values)
    build_id = define_build_id(builder, options.build_id) if options.build_id else 0
    for marker in markers.TEXT_MARKERS:
        builder.define(marker.name, marker.kind, local=True, special=True)
    version, modinfo = values[strdata.BUILD_VERSION], values.get(strdata.MODINFO, "")
    define_build_info(builder, version, modinfo)
    return Early(fips_rows, build_id, module)


def _init_tasks(builder: SymbolBuilder, tasks: InitTasks) -> None:
    lists, header = list_symbols(tasks, builder.row_of_slot, builder.next_row)
    builder.append(lists)
    if header is not None:
        builder.put(int(builder.row_of_slot[tasks.runtime_slice]), header)


def _memory_profiling(builder: SymbolBuilder) -> None:
    """Tell the runtime if nothing in the program reads memory profiles."""
    name = "runtime.disableMemoryProfiling"
    slot = builder.program.find(b"runtime.memProfileInternal", ABI_INTERNAL)
    if slot and not builder.row_of_slot[slot] and builder.find(name):
        builder.define(name, Kind.NOPTR_DATA, b"\1")


def _definitions(inputs: Inputs, options: LinkOptions) -> dict[str, str]:
    words = inputs.header.split(" ")
    given = [Definition(_escaped(d.symbol), d.value) for d in options.definitions]
    version = strdata.build_version(words[4], options.config.goexperiment)
    return strdata.definitions(version, options.config.goroot, inputs.modinfo, given)


def _escaped(symbol: str) -> str:
    path, _, name = symbol.rpartition(".")
    return f"{path_to_prefix(path)}.{name}"


def make_late_symbols(
    builder: SymbolBuilder, tables: PclnTables, text_size: int, pie: bool
) -> None:
    """Make what follows the function tables; the module data is not filled in as yet.

    `text_size` is the size of __text in bytes.
    """
    release = builder.program.release
    if release.type_links:
        define_type_links(builder)
    for marker in markers.data_markers(release, pie):
        builder.define(marker.name, marker.kind, local=True, special=True)
    for name in ("gcdata", "gcbss"):
        builder.define(f"runtime.{name}", Kind.RODATA, local=True)
        builder.define(f"runtime.e{name}", Kind.RODATA, local=True, special=True)
    for name, kind in group_symbols(release, pie):
        builder.define(name, kind, align=8, local=not name.startswith("type"))
    text_map = moduledata.text_section_map(builder.row("runtime.text"), text_size)
    builder.put(builder.row(moduledata.TEXT_MAP_NAME), text_map)
    row = builder.row(moduledata.NAME)
    builder.put(row, module_data(builder, tables, {}))
    builder.put(builder.row(moduledata.LAST_NAME), moduledata.last_module_data(row))


def module_data(builder: SymbolBuilder, tables: PclnTables, numbers: dict[str, int]) -> NewSymbol:
    """The module data; its size and relocations do not depend on `numbers`."""
    return moduledata.module_data(builder.program, builder.find, builder.size, tables, numbers)


def group_symbols(release: Release, pie: bool) -> list[tuple[str, Kind]]:
    """Symbols of size 0 at the start of each group of symbols that the symbol table leaves out."""
    strings, bits = ("go:string.*", Kind.GO_STRING), ("runtime.gcbits.*", Kind.GC_BITS)
    if not (release.type_links and pie):
        return [("type:*", Kind.TYPE), strings, ("go:funcdesc", Kind.GO_FUNC), bits]
    return [
        ("type:*", Kind.TYPE),
        ("typerel.*", Kind.TYPE),
        strings,
        ("go:funcdesc", Kind.FUNC_START),
        bits,
        ("go:funcdescrel", Kind.GO_FUNC),
    ]
