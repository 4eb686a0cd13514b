"""THE PIPELINE: one link, pass by pass. Each pass takes earlier tables and returns new ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from pielink.arch import amd64
from pielink.arrays import append
from pielink.builder import SymbolBuilder
from pielink.errors import Problems
from pielink.golang import fips
from pielink.golang.cgo import read_directives
from pielink.golang.linkname import check_linknames
from pielink.golang.markers import TEXT_MARKERS, data_markers
from pielink.golang.pclntab import pclntab
from pielink.golang.sections import DATA, DATA_CONST, TEXT, section_plans
from pielink.hints import TYPE_CHECKING
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
from pielink.passes.contents import fill_pointer_maps, with_contents
from pielink.passes.dyld_info import DyldInfo, chained_info, opcode_info
from pielink.passes.exports import exports
from pielink.passes.hosttables import HostRows
from pielink.passes.imports import cgo_exports, dylib_imports
from pielink.passes.live import live
from pielink.passes.mark import place_interior, place_markers
from pielink.passes.reach import Reaching
from pielink.passes.read import read
from pielink.passes.resolve import resolve
from pielink.passes.roots import entry_symbol, exported, extra_roots
from pielink.passes.stubs import set_lazy_offsets, with_binder
from pielink.passes.write import write
from pielink.record import Record, fresh
from pielink.rows import concatenate, with_columns
from pielink.tables import I4, Bool, Fixups, Imports, Kind, Layout, Relocs, Symbols
from pielink.together import together

if TYPE_CHECKING:
    from pathlib import Path

LARGE = 200_000  # relocations of a program whose passes are worth a second thread
# getrusage counts kibibytes, but bytes on macOS.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class LinkResult(Record):
    """What a link did: the output, the final tables, and how long each pass took."""

    output_path: str
    symbols: Symbols
    relocs: Relocs
    layout: Layout
    fixups: Fixups
    imports: Imports
    info: DyldInfo
    timings: dict[str, float] = fresh(factory=dict)  # pass -> seconds
    # Pass -> the process's, in bytes; only if LinkOptions.benchmark is "mem".
    peak_memory: dict[str, int] = fresh(factory=dict)

    @property
    def output(self) -> Path:
        """Where the executable is."""
        from pathlib import Path

        return Path(self.output_path)


class _Clock:
    """Times the passes and notes, if wanted, the process's peak resident size after each."""

    def __init__(self, memory: bool) -> None:
        self.timings: dict[str, float] = {}
        self.peak_memory: dict[str, int] = {}
        self._memory = memory

    def run(self, name: str, step: Callable[[], None]) -> None:
        """Do a step of this pass."""
        start = time.perf_counter()
        step()
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start
        if self._memory:
            self.peak_memory[name] = _peak_memory()


def _peak_memory() -> int:
    from resource import RUSAGE_SELF, getrusage  # most links do not ask

    return getrusage(RUSAGE_SELF).ru_maxrss * RSS_UNIT


def link(options: LinkOptions) -> LinkResult:
    """Link Go archives into a macOS executable for amd64.

    Raises LinkError with the problems of the first pass that has any, FormatError for a malformed
    input; then no output is written.
    """
    timed, work = _Clock(options.benchmark == "mem"), _Link(options)
    for name, step in (
        ("read", work.read),
        ("resolve", work.resolve),
        ("reach", work.reach),
        ("live", work.live),
        ("symbols", work.make_early_symbols),
        ("text", work.lay_out_text),
        ("pclntab", work.make_function_tables),
        ("symbols", work.make_late_symbols),
        ("fixups", work.refer_to_dylibs),
        ("layout", work.lay_out),
        ("relocate", work.relocate),
        ("linkedit", work.describe),
        ("write", work.write),
    ):
        timed.run(name, step)
    if not options.strip_dwarf:
        print("pielink: debug info (DWARF) is left out; -w says so too", file=sys.stderr)
    return LinkResult(
        *(options.output, work.symbols, work.relocs, work.layout, work.fixups),
        *(work.imports, work.info),
        timings=timed.timings,
        peak_memory=timed.peak_memory,
    )


class _Link:
    """One link: its steps, in order, and the tables as they are by now."""

    def __init__(self, options: LinkOptions) -> None:
        self.options = options
        self.pie = options.build_mode is BuildMode.PIE
        self.chained = self.pie and options.dyld_info is DyldInfoFormat.CHAINED
        self.lazy = self.pie and options.bind is BindTime.LAZY
        self.info = DyldInfo()
        self.rounding = options.round or amd64.PAGE_SIZE

    def read(self) -> None:
        """Map the archives and find the objects in them."""
        self.inputs = read(self.options)

    def resolve(self) -> None:
        """One definition per symbol: from here on every reference leads to a slot."""
        self.program = resolve(self.inputs, self.options)
        problems = Problems()
        self.cgo = read_directives(self.program, self.inputs.directives, problems)
        problems.raise_if_any()
        release = self.program.release
        self.minos = self.options.macos or Version(*release.macos)
        self.sdk = self.options.macsdk or Version(*release.sdk)

    def reach(self) -> None:
        """What the entry point leads to, and whether the references by linkname are allowed."""
        if self.options.check_linkname:
            problems = Problems()
            check_linknames(self.program, problems)
            problems.raise_if_any()
        self.entry = entry_symbol(self.program, self.options)
        weak = self.options.prune_weak_map
        reaching = Reaching(self.program, [self.entry], prune_weak_map=weak)
        reaching.grow(extra_roots(self.program, self.cgo, self.options))
        self.code = None
        if self.inputs.host_objects or self.options.extldflags:
            # Most programs have no C code and need none of these modules.
            from pielink.passes.host import link_host

            self.code = link_host(
                self.inputs, self.program, self.cgo, self.options, self.minos, reaching
            )
        self.reached = reaching.finish()
        if self.options.dump_dependencies:
            named = exported(self.program, self.cgo, self.options)
            print_dependencies(self.program, [self.entry], named)

    def live(self) -> None:
        """From here on symbols are rows of the table of live ones."""
        tables = live(self.program, self.reached)
        self.symbols, self.relocs, self.auxes, self.row_of_slot = tables
        self.host = HostRows.none()
        if self.code is not None:
            from pielink.passes.hostrows import add_host_rows

            self.symbols, self.relocs, self.host = add_host_rows(
                self.program, self.symbols, self.relocs, self.row_of_slot, self.code
            )

    def make_early_symbols(self) -> None:
        """Symbols that the linker makes, as far as they do not depend on the text."""
        self.builder = SymbolBuilder(self.program, self.symbols, self.relocs, self.row_of_slot)
        self.early = symbols_pass.make_early_symbols(
            self.builder, self.inputs, self.options, self.reached.tasks
        )
        self.symbols, self.relocs, _ = self.builder.finish()
        self.imports = dylib_imports(self.cgo, self.row_of_slot, self.host)

    def lay_out_text(self) -> None:
        """The functions: their order and addresses are final from here on."""
        options, base = self.options, self.options.text_address
        sections = headers_pass.GO_SECTIONS + len(self.host.sections)
        self.room = headers_pass.header_room(self.imports.dylibs, sections)
        align = options.function_align or amd64.FUNCTION_ALIGN
        base = amd64.BASE_ADDRESS + self.room if base is None else base
        self.base = -(-base // align) * align
        rows = self._text_order()
        offset, size, text_align = text_pass.text_offsets(self.symbols, rows, align)
        self.text = layout_pass.TextPlace(rows, offset, size, text_align)
        self.address = np.zeros(len(self.symbols), np.int64)
        self.address[rows] = self.base + offset
        self.functions = self.host.functions(rows, self.address)

    def _text_order(self) -> I4:
        symbols, early = self.symbols, self.early
        rows = text_pass.text_order(
            self.program, self.inputs.libraries, self.row_of_slot, self.reached.pruned_callers
        )
        self.go_text = rows
        if self.options.random_layout:
            rows = text_pass.shuffled(rows, self.options.random_layout)
        build_id = [early.build_id] if early.build_id else []
        made = [build_id, self.host.text, early.fips.text]
        return text_pass.by_kind(symbols, np.concatenate([*made, rows]).astype(np.int32))

    def make_function_tables(self) -> None:
        """The runtime's function tables; and whether the code keeps the rules of Go's stacks."""
        _, self.tables = together(
            lambda: check_code(
                *(self.program, self.options, self.symbols, self.relocs, self.auxes),
                *(self.row_of_slot, self.go_text),
            ),
            lambda: pclntab(
                *(self.program, self.symbols, self.auxes, self.relocs, self.functions),
                *(self.address, self.base, self.options.config.goroot),
            ),
            threads=self._is_large(),
        )

    def _is_large(self) -> bool:
        return len(self.relocs) >= LARGE

    def make_late_symbols(self) -> None:
        """The rest of the symbols; all rows but GOT and stubs exist from here on."""
        builder, host = self.builder, self.host
        builder.append(self.tables.symbols)
        self.unwind = None
        if self.code is not None and not self.code.whole:
            from pielink.passes.hostunwind import add_unwind_info

            header = self.base - self.room
            self.unwind = add_unwind_info(builder, self.code, host, self.address, header)
        symbols_pass.make_late_symbols(builder, self.tables, self.text.size + 1, self.pie)
        symbols, self.relocs, self.special = builder.finish()
        for rows in (self.tables.funcdata, host.interior.row, list(host.boundaries)):
            self.special[rows] = True
        memory, release = self.program.memory, self.program.release
        kind = classify(memory, symbols, self.special, release, self.pie)
        self.symbols = with_columns(symbols, kind=kind)

    def refer_to_dylibs(self) -> None:
        """GOT, stubs, and the words that dyld must change."""
        self.dynamic = dynamic_pass.fixups(
            *(self.program.memory, self.program.objects, self.symbols, self.relocs),
            *(self.text.rows, self.pie, self.lazy, self.host.shared.rows),
        )
        self.imports = with_binder(self.imports, self.dynamic.stubs)
        added = len(self.dynamic.symbols) - len(self.symbols)
        self.special = append(self.special, np.zeros(added, np.bool_))
        self.symbols, self.relocs = self.dynamic.symbols, self.dynamic.relocs

    def lay_out(self) -> None:
        """Order of the data, and the sections; every address is final from here on."""
        release, builder = self.program.release, self.builder
        plans = section_plans(release, self.pie)
        if self.host.sections:
            from pielink.passes.hostsections import add_plans

            plans = add_plans(plans, self.host.sections)
        zerobase = builder.find("runtime.zerobase")
        arrangement = arrange(self.program, self.symbols, self.special, zerobase)
        data = layout_pass.lay_out_segment(self.symbols, arrangement, plans[DATA])
        symbols = fill_pointer_maps(self.program, self.symbols, builder, data)
        module = symbols_pass.module_data(builder, self.tables, arrangement.types)
        filled = {self.early.module_data: module}
        self.symbols = with_contents(self.program.memory, symbols, filled)
        segments = {TEXT: [], DATA_CONST: [], DATA: data}  # in the order of the image
        for name in (TEXT, DATA_CONST):
            segments[name] = layout_pass.lay_out_segment(self.symbols, arrangement, plans[name])
        layout = layout_pass.lay_out(
            *(self.symbols, self.text, self.base, self.room, segments),
            *(self.rounding, self.options.data_address),
        )
        markers = [*TEXT_MARKERS, *data_markers(release, self.pie)]
        layout = place_interior(layout, self.host.interior, self.host.boundaries)
        self.layout = place_markers(layout, self.symbols, builder.find, markers, data)

    def relocate(self) -> None:
        """The bytes of the image."""
        memory = self.program.memory
        if self.code is not None and self.unwind is not None:
            from pielink.passes.hostunwind import fill_unwind_info

            fill_unwind_info(
                *(memory, self.symbols, self.relocs, self.layout, self.unwind),
                *(self.code, self.host),
            )
        inputs = relocate_pass.Inputs(
            *(memory, self.program.objects, self.symbols, self.relocs),
            *(concatenate(self.dynamic.patches, self.host.patches), self.layout),
            *(int(self.builder.find("runtime.unreachableMethod", 1)), self.program.lookup),
        )
        pointers = self.dynamic.pointers
        self.fixups = dynamic_pass.place(memory, self.symbols, pointers, self.layout)
        self.image, _ = together(
            lambda: relocate_pass.relocate(inputs), self._make_tables, threads=self._is_large()
        )
        if self.options.verify:
            from pielink.passes.verify import verify

            verify(inputs, self.image, self.fixups)
        fips.put_sum(self.image, self.layout, self.early.fips, self.options.fips_output)

    def _make_tables(self) -> None:
        """What dyld is told, and the symbol table: as far as they do not depend on the image."""
        options, layout, stubs = self.options, self.layout, self.dynamic.stubs
        directives = cgo_exports(self.cgo, self.row_of_slot, self.host)
        self.exports = named = exports(
            *(self.program, self.symbols, layout, self.row_of_slot, directives, options),
            self.host.shared,
        )
        if self.pie and not self.chained:
            self.info, self.lazy_offsets = opcode_info(
                *(self.fixups, layout, self.imports, stubs, named)
            )
        self.symbol_table = symtab_pass.symtab(
            self.program.memory,
            self.program.objects,
            self.symbols,
            layout,
            self.imports,
            named,
            stubs.indirect,
            self._are_text,
            options.strip_symbols,
        )

    def describe(self) -> None:
        """The load commands, and what of the image dyld's information decides."""
        layout, stubs, table = self.layout, self.dynamic.stubs, self.symbol_table
        if self.chained:
            self.info = chained_info(self.image, self.fixups, layout, self.imports, self.exports)
        elif stubs.lazy:
            set_lazy_offsets(self.image, layout, stubs, self.lazy_offsets)
        tables: dict[str, bytes] = {}
        if self.code is not None and not self.code.whole:
            from pielink.passes.hostcode import code_tables

            tables = code_tables(self.code, self.host, layout, self.functions)
        self.linkedit = headers_pass.linkedit(layout, self.info, table, self.rounding, tables)
        about = self._description()
        header = headers_pass.headers(layout, self.linkedit, table, about)
        self.image[: len(header)] = np.frombuffer(header, np.uint8)

    def _description(self) -> headers_pass.Description:
        options = self.options
        entry = self.builder.find(self.entry.decode("utf-8", "surrogateescape"))
        uuid = headers_pass.uuid_of(
            options.uuid or ("gobuildid" if options.build_id else ""),
            options.build_id,
            [self.image.data, self.linkedit.content],
        )
        return headers_pass.Description(
            entry=int(self.layout.address[entry]),
            pie=self.pie,
            dylibs=self.imports.dylibs,
            minos=self.minos,
            sdk=self.sdk,
            uuid=uuid,
            weak_defines=bool((self.exports.weak | self.exports.overriding).any()),
            binds_to_weak=len(self.fixups.weak_address) > 0,
        )

    def _are_text(self, keys: Sequence[tuple[bytes, int]]) -> Bool:
        kinds = self.program.slots.kind[self.program.lookup(keys)]
        found: Bool = (kinds == Kind.TEXT) | (kinds == Kind.TEXT_FIPS)
        return found

    def write(self) -> None:
        """The file, whole or not at all."""
        gap = bytes(self.linkedit.offset - len(self.image))
        write(self.options.output, [self.image.data, gap, self.linkedit.content])
        if self.options.dump_call_graph:
            from pielink.golang.callgraph import size_lines

            print("\n".join(size_lines(self.layout)))
