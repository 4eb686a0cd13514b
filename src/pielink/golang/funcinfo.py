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

import numpy as np

from pielink.arrays import ranges
from pielink.blocks import windows
from pielink.golang.typedata import malformed
from pielink.hints import TYPE_CHECKING
from pielink.record import Record
from pielink.tables import I4, I8, U1, U4, Aux, Auxes, Bool, Symbols

if TYPE_CHECKING:
    from pielink.program import Program

ID_OFFSET, FLAGS_OFFSET, LINE_OFFSET, FILES_OFFSET = 8, 9, 12, 16
INLINED_SIZE = 24
SMALLEST = FILES_OFFSET + 4 + 4


class Entries(Record):
    """Many values per function: `owner` ascends and indexes functions, `value` is the rest."""

    owner: I4
    value: I4

    def numbers(self, functions: int) -> I8:
        """The position of each entry among those of its function."""
        count = self.counts(functions)
        return np.arange(len(self.owner)) - (np.cumsum(count) - count).take(self.owner)

    def counts(self, functions: int) -> I8:
        """Entries of each function."""
        return np.bincount(self.owner, minlength=functions)


class InlinedCalls(Record):
    """The nodes of all inline trees: `owner` ascends and indexes functions."""

    owner: I4
    file: U4  # index into the file table of the owner's object
    slot: I4  # the inlined function; it need not be live
    parent_pc: U4


class Functions(Record):
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
    own = _OwnAuxes(symbols, auxes, text)
    info = own.single(Aux.FUNCINFO)
    valid = info != 0
    slot, objects = symbols.slot[text], symbols.object[text]
    start = np.where(valid, symbols.data_offset[info], 0)
    size = np.where(valid, symbols.data_size[info], SMALLEST)
    file_count, inline_count = _counts(program, slot, start, size, valid)
    words, memory = windows(program.memory.bytes, "<u4"), program.memory.bytes
    number, file_owner = ranges(np.zeros(len(text), np.int64), file_count)
    files = words[start[file_owner] + FILES_OFFSET + 4 + 4 * number]
    return Functions(
        row=text,
        slot=slot,
        object=objects,
        valid=valid,
        args=np.where(valid, words[start], 0),
        id=np.where(valid, memory[start + ID_OFFSET], 0),
        flags=np.where(valid, memory[start + FLAGS_OFFSET], 0),
        start_line=np.where(valid, words[start + LINE_OFFSET], 0),
        pcsp=np.where(valid, own.single(Aux.PCSP), 0),
        pcfile=np.where(valid, own.single(Aux.PCFILE), 0),
        pcline=np.where(valid, own.single(Aux.PCLINE), 0),
        pcinline=np.where(inline_count > 0, own.single(Aux.PCINLINE), 0),
        pcdata=own.several(Aux.PCDATA, valid),
        funcdata=own.several(Aux.FUNCDATA, valid),
        files=Entries(file_owner, files.astype(np.int32)),
        inlined=_inlined(program, objects, start, file_count, inline_count),
    )


class _OwnAuxes:
    """The auxiliary symbols of some rows of Symbols, by kind."""

    def __init__(self, symbols: Symbols, auxes: Auxes, rows: I4) -> None:
        index, self.owner = ranges(symbols.aux_start[rows], symbols.aux_count[rows])
        self.kind, self.target = auxes.type.take(index), auxes.target.take(index)
        self.count = len(rows)

    def single(self, wanted: Aux) -> I4:
        """The one of this kind that each row has, or 0."""
        found = np.zeros(self.count, np.int32)
        hit = np.flatnonzero(self.kind == wanted)
        found[self.owner.take(hit)] = self.target.take(hit)
        return found

    def several(self, wanted: Aux, chosen: Bool) -> Entries:
        """All of this kind, for the chosen rows."""
        hit = np.flatnonzero(self.kind == wanted)
        owner, target = self.owner.take(hit), self.target.take(hit)
        if not chosen.all():
            own = np.flatnonzero(chosen.take(owner))
            owner, target = owner.take(own), target.take(own)
        return Entries(owner, target)


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
    at = (start + SMALLEST + 4 * file_count).take(owner) + INLINED_SIZE * number
    records = windows(program.memory.bytes, f"V{INLINED_SIZE}")[at]
    _, file, _, package, symbol, parent_pc = records.view("<u4").reshape(-1, 6).T.copy()
    slot = program.resolve(objects.take(owner), package, symbol)
    return InlinedCalls(owner, file, slot, parent_pc)


def _require(program: Program, slot: I4, holds: Bool) -> None:
    if not holds.all():
        raise malformed(program, int(slot[np.argmin(holds)]), "has a FuncInfo that is cut short")


def ids_and_lines(program: Program, slots: I4) -> tuple[U1, U4]:
    """(function ID, start line) of functions that need not be live, by slot.

    Raises FormatError if one has no FuncInfo, which every inlined function must have.
    """
    owner, records = program.auxes.chosen(slots, lambda kinds: kinds == Aux.FUNCINFO)
    info = np.zeros(len(slots), np.int32)
    info[owner] = program.targets(program.slots.object[slots[owner]], records)
    start, size = program.contents.spans(info)
    missing = (info == 0) | (size < SMALLEST)
    if missing.any():
        raise malformed(program, int(slots[np.argmax(missing)]), "is inlined but has no FuncInfo")
    words = windows(program.memory.bytes, "<u4")
    return program.memory.bytes[start + ID_OFFSET], words[start + LINE_OFFSET]


def file_and_name(program: Program, symbols: Symbols, row: int) -> tuple[str, str]:
    """The object file and the name of a row of Symbols, for messages."""
    name = program.memory.get(int(symbols.name_offset[row]), int(symbols.name_size[row]))
    return program.objects.file[int(symbols.object[row])], name.decode("utf-8", "replace")
