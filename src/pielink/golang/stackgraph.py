"""How much stack each function uses, and what it calls there.

A function asks for more stack at its start (it calls runtime.morestack), unless it is marked
nosplit. The depth of a nosplit function is the largest of:
how far it moves the stack pointer (its pc-sp table tells), and, for each call, the stack pointer
there, plus 8 bytes for the return address, plus the depth of what is called. A function that asks
for stack, and an indirect call, count 8 bytes: the call of runtime.morestack. Functions without
function info (of dylibs or C) run on another stack and count nothing.


A pc-sp table is a sequence of varint pairs (change of the value, zigzag-encoded; bytes of code
for which the new value holds), then a 0. The value starts from -1.

Source: cmd/link/internal/ld/stackcheck.go, cmd/internal/objabi/stack.go, cmd/internal/obj/pcln.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import (
    classes,
    differences,
    ranges,
)
from pielink.errors import FormatError
from pielink.record import Record
from pielink.tables import (
    FLAG_NOSPLIT,
    I4,
    I8,
    U1,
    Aux,
    Auxes,
    Bool,
    Memory,
    Reloc,
    Relocs,
    Symbols,
)

CALL_SIZE = 8  # the return address
INDIRECT = -1  # the callee of an indirect call


class StackGraph(Record):
    """What each function does to the stack; edges are grouped by caller, in code order."""

    nosplit: Bool  # of each row of Symbols: counts by its edges
    splittable: Bool  # of each row of Symbols: asks for stack
    own: I8  # of each row of Symbols: bytes that a nosplit function moves the stack pointer
    caller: I4  # row in Symbols
    callee: I4  # row in Symbols, or INDIRECT
    growth: I8  # bytes from the caller's entry to the callee's
    morestack: int  # row of runtime.morestack, or 0


def stack_graph(
    memory: Memory, symbols: Symbols, relocs: Relocs, auxes: Auxes, morestack: int
) -> StackGraph:
    """Collect the calls of nosplit functions. FormatError if a pc-sp table is malformed."""
    has_info = np.zeros(len(symbols), np.bool_)
    has_info[auxes.owner.take(np.flatnonzero(auxes.type == Aux.FUNCINFO))] = True
    nosplit = has_info & ((symbols.flags & FLAG_NOSPLIT) != 0)
    nosplit[morestack] = False
    splittable = has_info & ~nosplit
    splittable[morestack] = False
    table_of = np.zeros(len(symbols), np.int32)
    table = np.flatnonzero(auxes.type == Aux.PCSP)
    table_of[auxes.owner.take(table)] = auxes.target.take(table)
    functions = np.flatnonzero(nosplit & (table_of > 0)).astype(np.int32)
    tables, _, table_index = classes(table_of[functions])
    depths = _pcsp_spans(memory, symbols, tables)
    own = np.zeros(len(symbols), np.int64)
    own[functions] = depths.largest[table_index]

    row, owner = ranges(symbols.reloc_start[functions], symbols.reloc_count[functions])
    kind = relocs.type.take(row)
    called = np.flatnonzero((kind == Reloc.CALL) | (kind == Reloc.CALLIND))
    row, owner = row.take(called), owner.take(called)
    depth, covered = depths.at(table_index[owner], relocs.offset[row])
    row, owner = row[covered], owner[covered]
    # A call of something that is not in the program is taken for an indirect one.
    indirect = (relocs.type[row] == Reloc.CALLIND) | (relocs.target[row] <= 0)
    callee = np.where(indirect, INDIRECT, relocs.target[row]).astype(np.int32)
    growth = depth[covered] + CALL_SIZE
    return StackGraph(nosplit, splittable, own, functions[owner], callee, growth, morestack)


class _PcspSpans(Record):
    """Spans of code with one stack depth, for several tables; sorted by (table, end)."""

    key: I8  # table << 32 | end of the span
    depth: I8
    largest: I8  # of each table, at least 0

    def at(self, table: I8, offset: I4) -> tuple[I8, Bool]:
        """The depth at these code offsets, and whether the table reaches that far."""
        wanted = table.astype(np.int64) << 32 | offset
        place = np.searchsorted(self.key, wanted, side="right")
        covered = place < len(self.key)
        place[~covered] = 0
        covered[covered] = self.key[place[covered]] >> 32 == table[covered]
        depth = self.depth[place] if len(self.depth) else np.zeros(len(place), np.int64)
        return depth, covered


def _pcsp_spans(memory: Memory, symbols: Symbols, tables: I4) -> _PcspSpans:
    """Decode pc-sp tables, all at once."""
    size = symbols.data_size[tables]
    last_byte = memory.bytes[symbols.data_offset[tables] + size - 1]
    _require(memory, symbols, tables, (size == 0) | (last_byte == 0))
    at, table = ranges(symbols.data_offset[tables], size)
    value, end, length = _varints(memory.bytes[at])
    table = table[end]
    count = np.bincount(table, minlength=len(tables))
    place = np.arange(len(value)) - np.repeat(np.cumsum(count) - count, count)
    is_last = place == np.repeat(count, count) - 1
    is_step = (place % 2 == 0) & ~is_last
    bad = (is_last & (place % 2 != 0)) | (is_step & (place > 0) & (value == 0)) | (length > 5)
    _require(memory, symbols, tables, np.bincount(table, bad, len(tables)) == 0)
    steps, code = value[is_step], value[np.flatnonzero(is_step) + 1]
    table, count = table[is_step], count // 2
    depth = _running(np.where(steps & 1, -(steps >> 1) - 1, steps >> 1), count) - 1
    code_end = _running(code, count)
    _require(memory, symbols, tables, np.bincount(table, code_end >= 2**31, len(tables)) == 0)
    largest = np.zeros(len(tables), np.int64)
    np.maximum.at(largest, table, depth)
    return _PcspSpans(table.astype(np.int64) << 32 | code_end, depth, largest)


def _require(memory: Memory, symbols: Symbols, tables: I4, holds: Bool) -> None:
    if not holds.all():
        row = int(tables[np.argmin(holds)])
        name = memory.get(int(symbols.name_offset[row]), int(symbols.name_size[row]))
        raise FormatError(f"malformed pc-sp table {name.decode('utf-8', 'replace')!r}")


def _running(value: I8, count: I8) -> I8:
    """Running sums of the values of each group; `count` says how many values a group has."""
    total = np.cumsum(value, dtype=np.int64)
    before = np.concatenate([[0], total])[np.cumsum(count) - count]
    running: I8 = total - np.repeat(before, count)
    return running


def _varints(data: U1) -> tuple[I8, I8, I8]:
    """The varints that these bytes are: value, index of the last byte, number of bytes.

    The last byte of `data` must end a varint. Values of more than 5 bytes come out wrong.
    """
    end = np.flatnonzero(data < 0x80)
    length = differences(end, before=-1)
    start = end - length + 1
    place = np.minimum(np.arange(len(data)) - np.repeat(start, length), 4)
    parts = (data & 0x7F).astype(np.int64) << 7 * place
    return np.add.reduceat(parts, start) if len(start) else parts, end, length
