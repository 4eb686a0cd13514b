"""The function tables of the runtime: section __gopclntab.

The runtime finds out about functions here: which one a program counter lies in, its name, file
and line, its stack layout. The section is a row of symbols, each a multiple of 8 bytes long, in
this order (offsets between them are relative, so the section needs no dyld fixups):

    runtime.pclntab      carrier of the whole section, of size 0
    runtime.pcheader     magic, minimum instruction size, pointer size; then words: functions,
                         files, 0, offsets from here of the five tables below
    runtime.funcnametab  names, NUL-terminated: each function, then those inlined into it
    runtime.cutab        see pcfiles.py
    runtime.filetab      see pcfiles.py
    runtime.pctab        pc tables, from offset 1 on (0 means none), each once
    runtime.functab      (entry, offset of record) of each function, u4 each; the end of text;
                         then a record for each function, 8-byte aligned
    go:func.*            see funcdata.py
    runtime.findfunctab  see findfunctab.py

A record (runtime._func) is a row of u4: entry, name, args, deferreturn, pcsp, pcfile, pcln,
number of pcdata, cutab entry of the object, start line, then the bytes ID, flags, 0, number of
funcdata; then the pcdata (offsets in pctab) and the funcdata (offsets in go:func.*). Entries and
the end of text count from the start of text.

Source: cmd/link/internal/ld/pcln.go of Go 1.26 and 1.27, which is the same; runtime/runtime2.go,
runtime/symtab.go.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import distinct
from pielink.blocks import copy_ranges
from pielink.errors import LinkError, Problem
from pielink.formats.goobj import malformed
from pielink.golang.findfunctab import findfunctab
from pielink.golang.funcdata import FuncData, funcdata, inline_trees
from pielink.golang.funcinfo import Functions, read_functions
from pielink.golang.pcfiles import FileTables, file_tables
from pielink.golang.sequence import first_seen, interleave, round_up, starts
from pielink.hints import TYPE_CHECKING
from pielink.record import Record
from pielink.rows import NewSymbol
from pielink.tables import ABI_INTERNAL, I4, I8, U1, U4, Auxes, Kind, Reloc, Relocs, Symbols
from pielink.together import together

if TYPE_CHECKING:
    from pielink.program import Program

MAGIC = 0xFFFFFFF1
MIN_INSTRUCTION, POINTER_SIZE = 1, 8  # amd64
HEADER_SIZE = 8 + 8 * POINTER_SIZE
RECORD_WORDS = 11
INLINE_PCDATA = 2  # the number of the pcdata that leads into the inline tree


class PclnTables(Record):
    """The symbols of __gopclntab, in the order of creation, which is that of layout.

    `funcdata` are rows of Symbols that live on inside go:func.*: they must not be laid out on
    their own and have no entry in the symbol table.
    """

    symbols: list[NewSymbol]
    funcdata: I4
    function_count: int
    first_function: int  # rows of Symbols
    last_function: int


def pclntab(
    program: Program,
    symbols: Symbols,
    auxes: Auxes,
    relocs: Relocs,
    text: I4,
    address: I8,
    text_start: int,
    goroot: str,
) -> PclnTables:
    """Make the function tables for `text`, all text symbols in address order.

    `address` has an address for each row of Symbols (only those of text matter), `text_start` is
    that of runtime.text. `goroot` replaces $GOROOT in file names, unless it is empty. The text
    must be laid out and must not grow any more.

    Raises FormatError for malformed function data, LinkError for funcdata or text that does not
    fit the tables.
    """
    functions = read_functions(program, symbols, auxes, text)
    entry = address[text] - text_start
    end = int(entry[-1] + symbols.size[text[-1]])

    def names_and_data() -> tuple[U1, U4, FuncData, U4]:
        names, name_of_function, name_of_inlined = _names(program, symbols, functions)
        trees = inline_trees(program, functions, name_of_inlined)
        data = funcdata(program, symbols, relocs, functions, trees)
        return names, name_of_function, data, _deferreturn(program, symbols, relocs, functions)

    (names, name_of_function, data, deferreturn), (files, (pctab, pc_offset)) = together(
        names_and_data,
        lambda: (file_tables(program, functions, goroot), _pctab(program, symbols, functions)),
    )
    records = _Records(functions, data, pc_offset, files, entry, name_of_function)
    functab = records.functab(deferreturn, end)
    contents: list[U1 | U4 | bytes] = [names, files.cutab, files.filetab, pctab, functab]
    made = _new_symbols(contents, data, findfunctab(entry, end), len(functions), files.count)
    return PclnTables(
        symbols=made,
        funcdata=data.rows,
        function_count=len(functions),
        first_function=int(text[0]),
        last_function=int(text[-1]),
    )


def _names(program: Program, symbols: Symbols, functions: Functions) -> tuple[U1, U4, U4]:
    """funcnametab, and the offset in it of each function and of each inlined call's function."""
    slots, memory = program.slots, program.memory
    limit, numbers = len(slots.canon), np.arange(len(functions))
    own = np.where(functions.slot != 0, functions.slot, limit + numbers)
    inlined = functions.inlined
    walk = interleave(len(functions), [(numbers, own), (inlined.owner, inlined.slot)])
    ids = first_seen(walk, limit + len(functions))
    made = ids >= limit
    row, slot = functions.row[np.where(made, ids - limit, 0)], np.where(made, 0, ids)
    source = np.where(made, symbols.name_offset[row], slots.name_offset[slot])
    size = np.where(made, symbols.name_size[row], slots.name_size[slot]).astype(np.int64)
    offset = starts(size + 1)
    content = np.zeros(int((size + 1).sum()), np.uint8)
    copy_ranges(content, offset, memory.bytes, source, size)
    offset_of = np.zeros(limit + len(functions), np.uint32)
    offset_of[ids] = offset
    return content, offset_of[own], offset_of[inlined.slot]


def _pctab(program: Program, symbols: Symbols, functions: Functions) -> tuple[U1, U4]:
    """pctab, and the offset in it of each row of Symbols (0: none, or empty)."""
    numbers = np.arange(len(functions))
    singles = [functions.pcsp, functions.pcfile, functions.pcline]
    walk = interleave(
        len(functions),
        [
            *((numbers, rows) for rows in singles),
            (functions.pcdata.owner, functions.pcdata.value),
            (numbers, functions.pcinline),
        ],
    )
    rows = first_seen(walk, len(symbols))
    rows = rows.compress(symbols.size.take(rows) != 0)
    size = symbols.size[rows]
    if int(size.sum()) > program.memory.used:  # what an object holds is no larger than the object
        file = program.objects.file[int(symbols.object[rows[np.argmax(size)]])]
        raise malformed("a table of a function is larger than the file", file)
    offset = 1 + starts(size)
    content = np.zeros(1 + int(size.sum()), np.uint8)
    memory = program.memory.bytes
    copy_ranges(content, offset, memory, symbols.data_offset[rows], symbols.data_size[rows])
    offset_of = np.zeros(len(symbols), np.uint32)
    offset_of[rows] = offset
    return content, offset_of


def _deferreturn(program: Program, symbols: Symbols, relocs: Relocs, functions: Functions) -> U4:
    """Where each function first calls runtime.deferreturn, in bytes from its entry; 0: nowhere."""
    found = np.zeros(len(functions), np.uint32)
    slot = program.find(b"runtime.deferreturn", ABI_INTERNAL)
    if slot and len(rows := np.flatnonzero(symbols.slot == slot)):
        number = np.full(len(symbols), -1, np.int32)
        number[functions.row] = np.arange(len(functions))
        calls = np.flatnonzero((relocs.target == rows[0]) & (relocs.type == Reloc.CALL))[::-1]
        calls = calls[number[relocs.owner[calls]] >= 0]
        # The relocation is for the operand, one byte into the call instruction.
        found[number[relocs.owner[calls]]] = relocs.offset[calls] - 1
    return found


class _Records(Record):
    """The parts that the records in functab are made of."""

    functions: Functions
    data: FuncData
    pc_offset: U4  # of each row of Symbols
    files: FileTables
    entry: I8
    name: U4

    def functab(self, deferreturn: U4, end: int) -> U4:
        """The table of entries, then the records."""
        functions, many = self.functions, len(self.functions)
        if self.entry[0] < 0 or end > 0xFFFFFFFF:
            raise LinkError([Problem(f"text of {end:#x} bytes does not fit function tables")])
        pcdata_count = functions.pcdata.counts(many)
        inlines = distinct(functions.inlined.owner)
        pcdata_count[inlines] = np.maximum(pcdata_count[inlines], INLINE_PCDATA + 1)
        words = RECORD_WORDS + pcdata_count + self.data.count
        table = 2 * many + 1
        start = round_up(table, 2) + starts(round_up(words, 2))
        out = np.zeros(int(start[-1] + words[-1]), np.uint32)
        out[0 : table - 1 : 2], out[1:table:2], out[table - 1] = self.entry, 4 * start, end
        for i, column in enumerate(self._columns(deferreturn, pcdata_count)):
            out[start + i] = column
        pcdata = functions.pcdata
        at = start.take(pcdata.owner) + RECORD_WORDS + pcdata.numbers(many)
        out[at] = self.pc_offset.take(pcdata.value)
        at = start[inlines] + RECORD_WORDS + INLINE_PCDATA
        out[at] = self.pc_offset[functions.pcinline[inlines]]
        count = self.data.count
        at = np.repeat(start + RECORD_WORDS + pcdata_count - starts(count), count)
        out[at + np.arange(len(at))] = self.data.offsets
        return out

    def _columns(self, deferreturn: U4, pcdata_count: I8) -> list[U4 | I8]:
        """The words that all records have."""
        functions, offset = self.functions, self.pc_offset
        last = functions.id.astype(np.uint32) | functions.flags.astype(np.uint32) << 8
        return [
            self.entry,
            self.name,
            functions.args,
            deferreturn,
            offset.take(functions.pcsp),
            offset.take(functions.pcfile),
            offset.take(functions.pcline),
            pcdata_count,
            self.files.unit,
            functions.start_line,
            last | (self.data.count.astype(np.uint32) << 24),
        ]


def _new_symbols(
    contents: Sequence[U1 | U4 | bytes], data: FuncData, find: U1, functions: int, files: int
) -> list[NewSymbol]:
    """All symbols of the section; `contents` are those of funcnametab to functab."""
    names = ["funcnametab", "cutab", "filetab", "pctab", "functab"]
    aligns = [1, 4, 1, 1, 4]
    made = [
        _symbol(f"runtime.{name}", content, align)
        for name, content, align in zip(names, contents, aligns, strict=True)
    ]
    tables = np.cumsum([HEADER_SIZE, *(symbol.size for symbol in made)])[:-1]
    first = MAGIC | MIN_INSTRUCTION << 48 | POINTER_SIZE << 56
    header = np.array([first, functions, files, 0, *tables.tolist()], "<u8").view(np.uint8)
    align = max(POINTER_SIZE, data.align)
    functions_data = _symbol("go:func.*", data.content, data.align)._replace(relocs=data.relocs)
    return [
        NewSymbol("runtime.pclntab", Kind.PCLNTAB, align=align, local=True),
        NewSymbol("runtime.pcheader", Kind.PCLNTAB, header, align=POINTER_SIZE, local=True),
        *made,
        functions_data,
        NewSymbol("runtime.findfunctab", Kind.PCLNTAB, find, align=4, local=True),
    ]


def _symbol(name: str, content: U1 | U4 | bytes, align: int) -> NewSymbol:
    """A table as a symbol, with zeros up to the next multiple of 8 bytes."""
    octets = np.frombuffer(content, np.uint8)
    size = round_up(len(octets), POINTER_SIZE)
    return NewSymbol(name, Kind.PCLNTAB, octets, size=size, align=align, local=True)
