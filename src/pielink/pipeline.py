"""THE PIPELINE: one link, pass by pass. Each pass takes earlier tables and returns new ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np

from pielink.arch import amd64
from pielink.builder import SymbolBuilder
from pielink.errors import LinkError, Problem, Problems
from pielink.formats import macho
from pielink.golang import fips
from pielink.golang.callgraph import size_lines
from pielink.golang.cgo import Cgo, Export, read_directives
from pielink.golang.gcprog import gc_program
from pielink.golang.markers import TEXT_MARKERS, data_markers
from pielink.golang.pclntab import pclntab
from pielink.golang.sections import DATA, section_plans
from pielink.options import BindTime, BuildMode, DyldInfoFormat, LinkOptions, Version
from pielink.passes import fixups as dynamic_pass
from pielink.passes import headers as headers_pass
from pielink.passes import layout as layout_pass
from pielink.passes import relocate as relocate_pass
from pielink.passes import symbols as symbols_pass
from pielink.passes import symtab as symtab_pass
from pielink.passes import text as text_pass
from pielink.passes.arrange import arrange
from pielink.passes.classify import classify
from pielink.passes.codecheck import check_code, print_dependencies
from pielink.passes.dyld_info import DyldInfo, dyld_info
from pielink.passes.exports import exports, named_slots
from pielink.passes.host import host_name, link_host
from pielink.passes.hostrows import HostRows, add_host_rows
from pielink.passes.hostsections import add_plans
from pielink.passes.hostunwind import add_unwind_info, fill_unwind_info
from pielink.passes.libraries import find_libraries
from pielink.passes.live import live
from pielink.passes.mark import place_interior, place_markers
from pielink.passes.reach import Reach, reach
from pielink.passes.read import read
from pielink.passes.resolve import resolve
from pielink.passes.stubs import with_binder
from pielink.passes.verify import verify
from pielink.passes.write import write
from pielink.program import Program
from pielink.tables import (
    ABI0,
    I4,
    Bool,
    Fixups,
    Imports,
    Kind,
    Layout,
    Memory,
    NewSymbol,
    Relocs,
    Symbols,
    concatenate,
    with_columns,
)

FLAT_LOOKUP = macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP

# getrusage counts kibibytes, but bytes on macOS.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(slots=True)
class LinkResult:
    """What a link did: the output, the final tables, and how long each pass took."""

    output: Path
    symbols: Symbols
    relocs: Relocs
    layout: Layout
    fixups: Fixups
    imports: Imports
    info: DyldInfo
    timings: dict[str, float] = field(default_factory=dict)  # pass -> seconds
    peak_memory: dict[str, int] = field(default_factory=dict)  # pass -> the process's, in bytes


class _Clock:
    """Times the passes and notes the process's peak resident size after each."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self.peak_memory: dict[str, int] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start
        self.peak_memory[name] = getrusage(RUSAGE_SELF).ru_maxrss * RSS_UNIT


def link(options: LinkOptions) -> LinkResult:
    """Link Go archives into a macOS executable for amd64.

    Raises LinkError with the problems of the first pass that has any, FormatError for a malformed
    input; then no output is written.
    """
    timed = _Clock()
    pie = options.build_mode is BuildMode.PIE
    lazy = pie and options.bind is BindTime.LAZY

    # Map the archives and find the objects in them.
    with timed("read"):
        inputs = read(options)
    # One definition per symbol. From here on every reference leads to a slot.
    with timed("resolve"):
        program = resolve(inputs, options)
        problems = Problems()
        cgo = read_directives(program, inputs.directives, problems)
        problems.raise_if_any()
    # What the entry point leads to, by Go's rules.
    with timed("reach"):
        entry = _entry(program, options)
        roots = _extra_roots(program, cgo, options)

        def find_live(more: I4) -> Reach:
            slots = np.concatenate([roots, more])
            return reach(program, [entry], slots, prune_weak_map=options.prune_weak_map)

        minos = options.macos or Version(*program.release.macos)
        libraries = find_libraries(
            cgo,
            minos.encoded(),
            options.extldflags,
            options.compiler if inputs.host_objects else (),
        )
        code, reached = link_host(inputs, program, cgo, libraries, find_live, problems)
        if options.dump_dependencies:
            print_dependencies(program, [entry], _exported(program, cgo, options))
    # From here on symbols are rows of the table of live ones.
    with timed("live"):
        symbols, relocs, auxes, row_of_slot = live(program, reached)
        host = HostRows.none()
        if code is not None:
            symbols, relocs, host = add_host_rows(program, symbols, relocs, row_of_slot, code)
    # Symbols that the linker makes, as far as they do not depend on the text.
    with timed("symbols"):
        builder = SymbolBuilder(program, symbols, relocs, row_of_slot)
        early = symbols_pass.make_early_symbols(builder, inputs, options, reached.tasks)
        symbols, relocs, _ = builder.finish()
        imports = _imports(cgo, row_of_slot, host)
    # The functions: their order and addresses are final from here on.
    with timed("text"):
        sections = headers_pass.GO_SECTIONS + len(host.sections)
        room = headers_pass.header_room(imports.dylibs, sections)
        base = amd64.BASE_ADDRESS + room if options.text_address is None else options.text_address
        text_rows = text_pass.text_order(
            program, inputs.libraries, row_of_slot, reached.pruned_callers
        )
        check_code(program, options, symbols, relocs, auxes, row_of_slot, text_rows)
        if options.random_layout:
            text_rows = text_pass.shuffled(text_rows, options.random_layout)
        build_id = [early.build_id] if early.build_id else []
        made = np.concatenate([build_id, host.text, early.fips.text])
        text_rows = text_pass.by_kind(symbols, np.concatenate([made, text_rows]).astype(np.int32))
        align = options.function_align or amd64.FUNCTION_ALIGN
        offset, size, text_align = text_pass.text_offsets(symbols, text_rows, align)
        base = -(-base // align) * align
        text = layout_pass.TextPlace(text_rows, offset, size, text_align)
        address = np.zeros(len(symbols), np.int64)
        address[text_rows] = base + offset
        functions = host.functions(text_rows, address)
    # The runtime's function tables.
    with timed("pclntab"):
        tables = pclntab(
            program, symbols, auxes, relocs, functions, address, base, options.config.goroot
        )
    # The rest of the symbols that the linker makes; all rows but GOT and stubs exist from here on.
    with timed("symbols"):
        builder.append(tables.symbols)
        unwind = None
        if code is not None:
            unwind = add_unwind_info(builder, code, host, address, base - room)
        symbols_pass.make_late_symbols(builder, tables, text.size + 1, pie)
        symbols, relocs, special = builder.finish()
        special[tables.funcdata] = True
        special[host.interior.row] = True
        special[host.header] = True
        symbols = with_columns(
            symbols, kind=classify(program.memory, symbols, special, program.release, pie)
        )
    # References to dylibs: GOT, stubs, and the words that dyld must change.
    with timed("fixups"):
        dynamic = dynamic_pass.fixups(
            program.memory, program.objects, symbols, relocs, text_rows, pie, lazy
        )
        imports = with_binder(imports, dynamic.stubs)
        special = np.append(special, np.zeros(len(dynamic.symbols) - len(symbols), np.bool_))
        symbols, relocs = dynamic.symbols, dynamic.relocs
    # Order of the data, and the sections; every address is final from here on.
    with timed("layout"):
        plans = add_plans(section_plans(program.release, pie), host.sections)
        arrangement = arrange(program, symbols, special, builder.find("runtime.zerobase"))
        data = layout_pass.lay_out_segment(symbols, arrangement, plans[DATA])
        symbols = _pointer_maps(program, symbols, builder, data)
        module = symbols_pass.module_data(builder, tables, arrangement.types)
        symbols = _with_content(program.memory, symbols, early.module_data, module)
        segments = {
            name: layout_pass.lay_out_segment(symbols, arrangement, sections)
            for name, sections in plans.items()
            if name != DATA
        } | {DATA: data}
        rounding = options.round or amd64.PAGE_SIZE
        layout = layout_pass.lay_out(
            symbols,
            text,
            base,
            room,
            segments,
            rounding,
            options.data_address,
        )
        markers = [*TEXT_MARKERS, *data_markers(program.release, pie)]
        layout = place_interior(layout, host.interior, host.header)
        layout = place_markers(layout, symbols, builder.find, markers, data)
        if code is not None and unwind is not None:
            fill_unwind_info(program.memory, symbols, relocs, layout, unwind, code, host)
    # The bytes of the image.
    with timed("relocate"):
        to_relocate = relocate_pass.Inputs(
            program.memory,
            program.objects,
            symbols,
            relocs,
            concatenate(dynamic.patches, host.patches),
            layout,
            int(builder.find("runtime.unreachableMethod", 1)),
            program.lookup,
        )
        image = relocate_pass.relocate(to_relocate)
        fixups = dynamic_pass.place(program.memory, symbols, dynamic.pointers, layout)
        if options.verify:
            verify(to_relocate, image, fixups)
        fips.put_sum(image, layout, early.fips, options.fips_output)
    # What dyld is told, the symbol table, and the load commands that describe all that.
    with timed("linkedit"):
        exported = exports(
            program, symbols, layout, row_of_slot, _cgo_exports(cgo, row_of_slot, host), options
        )
        info = DyldInfo()
        if pie:
            chained = options.dyld_info is DyldInfoFormat.CHAINED
            info = dyld_info(image, fixups, layout, imports, dynamic.stubs, exported, chained)
        table = symtab_pass.symtab(
            program.memory,
            program.objects,
            symbols,
            layout,
            imports,
            exported,
            dynamic.stubs.indirect,
            lambda keys: _are_text(program, keys),
            options.strip_symbols,
        )
        linkedit = headers_pass.linkedit(layout, info, table, rounding)
        uuid = headers_pass.uuid_of(
            options.uuid or ("gobuildid" if options.build_id else ""),
            options.build_id,
            [image.data, linkedit.content],
        )
        header = headers_pass.headers(
            layout,
            linkedit,
            table,
            headers_pass.Description(
                entry=int(layout.address[builder.find(entry.decode("utf-8", "surrogateescape"))]),
                pie=pie,
                dylibs=imports.dylibs,
                minos=options.macos or Version(*program.release.macos),
                sdk=options.macsdk or Version(*program.release.sdk),
                uuid=uuid,
            ),
        )
        image[: len(header)] = np.frombuffer(header, np.uint8)
    # The file, whole or not at all.
    with timed("write"):
        gap = bytes(linkedit.offset - len(image))
        write(options.output, [image.data, gap, linkedit.content])
    if options.dump_call_graph:
        print("\n".join(size_lines(layout)))
    if not options.strip_dwarf:
        print("pielink: debug info (DWARF) is left out; -w says so too", file=sys.stderr)
    return LinkResult(
        *(Path(options.output), symbols, relocs, layout, fixups, imports, info),
        timings=timed.timings,
        peak_memory=timed.peak_memory,
    )


def _entry(program: Program, options: LinkOptions) -> bytes:
    """The name of the entry symbol; LinkError unless it is a function that C could call (ABI0)."""
    name = (options.entry or amd64.ENTRY_SYMBOL).encode("utf-8", "surrogateescape")
    slot = int(program.lookup([(name, ABI0)])[0])
    shown = name.decode("utf-8", "backslashreplace")
    if program.slots.kind[slot] == Kind.UNDEFINED:
        advice = "-E takes the name of an assembly function, such as _rt0_amd64_darwin"
        raise LinkError([Problem(f'missing entry symbol "{shown}": {advice}')])
    if not Kind.TEXT <= program.slots.kind[slot] <= Kind.TEXT_END:
        raise LinkError([Problem("entry not text: -E takes the name of a function", "", shown)])
    return name


def _extra_roots(program: Program, cgo: Cgo, options: LinkOptions) -> I4:
    """What is live besides the entry: exports, and symbols that the linker completes."""
    completed = program.lookup([(name.encode(), ABI0) for name in symbols_pass.COMPLETED])
    roots: I4 = np.concatenate([completed[completed > 0], _exported(program, cgo, options)])
    return roots


def _exported(program: Program, cgo: Cgo, options: LinkOptions) -> I4:
    """The symbols that others than the program may ask for."""
    exported = [slot for slot, export in cgo.exports.items() if export.dynamic]
    named = named_slots(program, options.exported_symbols)
    slots = np.concatenate([named, np.array(exported, np.int32)])
    return slots[slots > 0].astype(np.int32)


def _imports(cgo: Cgo, row_of_slot: I4, host: HostRows) -> Imports:
    """The live symbols that dylibs define, in row order."""
    number = {library: i + 1 for i, library in enumerate(cgo.dylibs)}
    found = {
        int(row_of_slot[slot]): (entry.name, number.get(entry.library, FLAT_LOOKUP), False)
        for slot, entry in cgo.imports.items()
        if row_of_slot[slot]
    } | host.imports
    rows = sorted(found)
    library = {i + 1: name for i, name in enumerate(cgo.dylibs)}
    names = [
        symtab_pass.import_name(
            b"_" + found[row][0].encode("utf-8", "surrogateescape"), library.get(found[row][1], "")
        )
        for row in rows
    ]
    return Imports(
        symbol=np.array(rows, np.int32),
        name=names,
        ordinal=np.array([found[row][1] for row in rows], np.int32),
        weak=np.array([found[row][2] for row in rows], np.bool_),
        dylibs=cgo.dylibs,
    )


def _cgo_exports(cgo: Cgo, row_of_slot: I4, host: HostRows) -> dict[int, Export]:
    """What the directives export, by row."""
    found = {int(row_of_slot[slot]): e for slot, e in cgo.exports.items() if row_of_slot[slot]}
    for name, export in cgo.host_exports.items():
        name_row = host.names.get(host_name(name.encode()))
        if name_row is not None and host.row_of_name[name_row] > 0:
            found[int(host.row_of_name[name_row])] = export
    return found


def _are_text(program: Program, keys: Sequence[tuple[bytes, int]]) -> Bool:
    kinds = program.slots.kind[program.lookup(keys)]
    found: Bool = (kinds == Kind.TEXT) | (kinds == Kind.TEXT_FIPS)
    return found


def _pointer_maps(
    program: Program, symbols: Symbols, builder: SymbolBuilder, data: list[layout_pass.Placed]
) -> Symbols:
    """Fill runtime.gcdata and runtime.gcbss: which words of the data hold pointers."""
    for name, section, kind in (
        ("runtime.gcdata", "__data", Kind.DATA),
        ("runtime.gcbss", "__bss", Kind.BSS),
    ):
        placed = next(p for p in data if p.name == section)
        own = symbols.kind[placed.rows] == kind
        program_bytes = gc_program(
            program, symbols, placed.rows[own], placed.offset[own], placed.size
        )
        new = NewSymbol(name, Kind.RODATA, program_bytes)
        symbols = _with_content(program.memory, symbols, builder.find(name), new)
    return symbols


def _with_content(memory: Memory, symbols: Symbols, row: int, new: NewSymbol) -> Symbols:
    """Other contents, and their size, for one row."""
    columns = {name: getattr(symbols, name).copy() for name in ("size", "data_offset", "data_size")}
    columns["size"][row] = new.size if new.size >= 0 else len(new.content)
    columns["data_offset"][row] = memory.add(new.content)
    columns["data_size"][row] = len(new.content)
    return with_columns(symbols, **columns)
