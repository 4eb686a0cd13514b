"""What the compiler says about each function: FuncInfo records and per-function tables.

A FuncInfo is the content of an auxiliary symbol of a function, little-endian:

     0: args (4)   4: locals (4)   8: function ID (1)   9: flags (1)   12: start line (4)
    16: number of files (4), then that many indices (4) into the file table of the object
     +: number of inlined calls (4), then 24 bytes for each: parent, file index, line,
        function as (package, symbol), PC of the parent

The other auxiliary symbols of a function are its pc tables (stack depth, file, line, inlining,
and numbered pcdata) and its funcdata, also numbered, where an empty entry keeps its number.

Source: cmd/internal/goobj/funcinfo.go, internal/abi/symtab.go of Go 1.26 and 1.27.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pielink.arrays import ranges
from pielink.blocks import windows
from pielink.errors import FormatError
from pielink.tables import I4, I8, U1, U4, Aux, Auxes, Bool, Symbols

if TYPE_CHECKING:
    from pielink.program import Program

ID_OFFSET, FLAGS_OFFSET, LINE_OFFSET, FILES_OFFSET = 8, 9, 12, 16
INLINED_SIZE = 24
SMALLEST = FILES_OFFSET + 4 + 4


@dataclass(frozen=True, slots=True)
class Entries:
    """Many values per function: `owner` ascends and indexes functions, `value` is the rest."""

    owner: I4
    value: I4

    def numbers(self, functions: int) -> I8:
        """The position of each entry among those of its function."""
        count = self.counts(functions)
        return np.arange(len(self.owner)) - (np.cumsum(count) - count)[self.owner]

    def counts(self, functions: int) -> I8:
        """Entries of each function."""
        return np.bincount(self.owner, minlength=functions)


@dataclass(frozen=True, slots=True)
class InlinedCalls:
    """The nodes of all inline trees: `owner` ascends and indexes functions."""

    owner: I4
    file: U4  # index into the file table of the owner's object
    slot: I4  # the inlined function; it need not be live
    parent_pc: U4


@dataclass(frozen=True, slots=True)
class Functions:
    """One row per text symbol, in address order."""

    row: I4  # in Symbols
    slot: I4  # in Slots; 0: made by the linker
    object: I4  # in Objects; 0: made by the linker
    valid: Bool  # whether there is a FuncInfo; without one, everything below is 0 or empty
    args: U4
    id: U1
    flags: U1
    start_line: U4
    pcsp: I4  # rows in Symbols, here and below
    pcfile: I4
    pcline: I4
    pcinline: I4
    pcdata: Entries
    funcdata: Entries  # value 0: an empty entry
    files: Entries  # indices into the file table of the function's object
    inlined: InlinedCalls

    def __len__(self) -> int:
        return len(self.row)


def read_functions(program: Program, symbols: Symbols, auxes: Auxes, text: I4) -> Functions:
    """Decode what the objects say about the functions `text` (rows of Symbols).

    Raises FormatError, which names file and function, for a FuncInfo that is cut short.
    """
    index, owner = ranges(symbols.aux_start[text], symbols.aux_count[text])
    kind, target = auxes.type[index], auxes.target[index]

    def single(wanted: Aux) -> I4:
        found = np.zeros(len(text), np.int32)
        hit = np.flatnonzero(kind == wanted)
        found[owner[hit]] = target[hit]
        return found

    info = single(Aux.FUNCINFO)
    valid = info != 0

    def several(wanted: Aux) -> Entries:
        hit = np.flatnonzero((kind == wanted) & valid[owner])
        return Entries(owner[hit], target[hit])

    slot = symbols.slot[text]
    start = np.where(valid, symbols.data_offset[info], 0)
    size = np.where(valid, symbols.data_size[info], SMALLEST)
    file_count, inline_count = _counts(program, slot, start, size, valid)
    words, memory = windows(program.memory.bytes, "<u4"), program.memory.bytes
    at, file_owner = ranges(np.zeros(len(text), np.int64), file_count)
    at = start[file_owner] + FILES_OFFSET + 4 + 4 * at
    zero = np.where(valid, 0xFF, 0).astype(np.uint8)
    return Functions(
        row=text,
        slot=slot,
        object=symbols.object[text],
        valid=valid,
        args=np.where(valid, words[start], 0),
        id=memory[start + ID_OFFSET] & zero,
        flags=memory[start + FLAGS_OFFSET] & zero,
        start_line=np.where(valid, words[start + LINE_OFFSET], 0),
        pcsp=np.where(valid, single(Aux.PCSP), 0),
        pcfile=np.where(valid, single(Aux.PCFILE), 0),
        pcline=np.where(valid, single(Aux.PCLINE), 0),
        pcinline=np.where(inline_count > 0, single(Aux.PCINLINE), 0),
        pcdata=several(Aux.PCDATA),
        funcdata=several(Aux.FUNCDATA),
        files=Entries(file_owner, words[at].astype(np.int32)),
        inlined=_inlined(program, symbols.object[text], start, file_count, inline_count),
    )


def _counts(program: Program, slot: I4, start: I8, size: I8, valid: Bool) -> tuple[I8, I8]:
    """(files, inlined calls) of each FuncInfo, checked against its size."""
    words = windows(program.memory.bytes, "<u4")
    _require(program, slot, size >= SMALLEST)
    files = np.where(valid, words[start + FILES_OFFSET], 0).astype(np.int64)
    _require(program, slot, SMALLEST + 4 * files <= size)
    at = np.where(valid, start + FILES_OFFSET + 4 + 4 * files, 0)
    inlined = np.where(valid, words[at], 0).astype(np.int64)
    _require(program, slot, SMALLEST + 4 * files + INLINED_SIZE * inlined <= size)
    return files, inlined


def _inlined(
    program: Program, objects: I4, start: I8, file_count: I8, inline_count: I8
) -> InlinedCalls:
    number, owner = ranges(np.zeros(len(start), np.int64), inline_count)
    at = (start + SMALLEST + 4 * file_count)[owner] + INLINED_SIZE * number
    words = windows(program.memory.bytes, "<u4")
    package, symbol = words[at + 12], words[at + 16]
    slot = program.resolve(objects[owner], package, symbol)
    return InlinedCalls(owner, words[at + 4], slot, words[at + 20])


def _require(program: Program, slot: I4, holds: Bool) -> None:
    if not holds.all():
        bad = int(slot[np.argmin(holds)])
        file = program.objects.file[int(program.slots.object[bad])]
        name = program.name(bad).decode("utf-8", "replace")
        raise FormatError(f"malformed object: the FuncInfo of {name} is cut short", file)


def ids_and_lines(program: Program, slots: I4) -> tuple[U1, U4]:
    """(function ID, start line) of functions that need not be live, by slot.

    Raises FormatError if one has no FuncInfo, which every inlined function must have.
    """
    table = program.slots
    index, owner = ranges(table.aux_start[slots], table.aux_count[slots])
    hit = np.flatnonzero(program.auxes.type[index] == Aux.FUNCINFO)
    row, owner = index[hit], owner[hit]
    info = np.zeros(len(slots), np.int32)
    info[owner] = program.resolve(
        table.object[slots[owner]], program.auxes.package[row], program.auxes.symbol[row]
    )
    missing = (info == 0) | (table.data_size[info] < SMALLEST)
    if missing.any():
        bad = int(slots[np.argmax(missing)])
        file = program.objects.file[int(table.object[bad])]
        name = program.name(bad).decode("utf-8", "replace")
        raise FormatError(f"malformed object: inlined function {name} has no FuncInfo", file)
    start = table.data_offset[info]
    words = windows(program.memory.bytes, "<u4")
    return program.memory.bytes[start + ID_OFFSET], words[start + LINE_OFFSET]
