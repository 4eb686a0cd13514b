"""What hangs on functions: go:func.*, with stack maps, inline trees and other funcdata.

Each function has a list of funcdata by number: pointer maps of its arguments and locals, stack
objects, and so on. Functions share them by content. The linker adds one itself, the inline tree:
for each inlined call 16 bytes, in the runtime's form (runtime.inlinedCall):

     0: function ID (1)   4: offset of the name in funcnametab (4)   8: PC of the parent (4)
    12: start line of the function (4)

go:func.* holds all of them, ordered by falling alignment, then by first use. A record of stack
objects refers to the pointer masks of its types by R_ADDROFF relocations, which move with it.

Source: generateFuncdata, genInlTreeSym, ignoreFuncData in cmd/link/internal/ld/pcln.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import distinct, ranges
from pielink.blocks import copy_ranges
from pielink.errors import LinkError, Problem, Problems
from pielink.formats.goobj import OBJ_FROM_ASSEMBLY
from pielink.golang.funcinfo import Functions, file_and_name, ids_and_lines
from pielink.golang.sequence import alignment, first_seen, round_up, starts
from pielink.hints import TYPE_CHECKING
from pielink.record import Record
from pielink.rows import take
from pielink.tables import I4, I8, U1, U4, UNREACHED, Bool, Reloc, Relocs, Symbols

if TYPE_CHECKING:
    from pielink.program import Program

ARGS_POINTER_MAPS, INLINE_TREE, ARG_INFO = 0, 3, 5  # numbers of funcdata
NO_FUNCDATA = 0xFFFFFFFF
TREE_NODE, TREE_ALIGN = 16, 4


class FuncData(Record):
    """go:func.*, and what functions say about it."""

    content: U1
    align: int
    relocs: Relocs  # of go:func.*, with owner 0
    rows: I4  # the symbols that went into it: rows of Symbols
    count: I8  # funcdata entries of each function
    offsets: U4  # of all entries, function after function: into the content, or NO_FUNCDATA


def inline_trees(program: Program, functions: Functions, name_offset: U4) -> U4:
    """All inline trees, function after function: shape (nodes, 4), little-endian words.

    `name_offset` is the offset in funcnametab of each node's function.
    """
    inlined = functions.inlined
    slots = first_seen(inlined.slot, len(program.slots.canon))
    node = np.zeros(len(program.slots.canon), np.int32)
    node[slots] = np.arange(len(slots))
    ids, lines = ids_and_lines(program, slots.astype(np.int32))
    rows = node[inlined.slot]
    nodes = np.empty((len(rows), 4), np.uint32)
    nodes[:, 0] = ids[rows]
    nodes[:, 1] = name_offset
    nodes[:, 2] = inlined.parent_pc
    nodes[:, 3] = lines[rows]
    return nodes


def funcdata(
    program: Program, symbols: Symbols, relocs: Relocs, functions: Functions, trees: U4
) -> FuncData:
    """Lay out go:func.*.

    Raises LinkError for funcdata without content and for relocations other than 4-byte R_ADDROFF.
    """
    count, entries = _entries(program, symbols, functions)
    limit, nodes = len(symbols), np.bincount(functions.inlined.owner, minlength=len(functions))
    ids = first_seen(entries.compress(entries != 0), limit + len(functions))
    ids, size, align = _by_alignment(program, symbols, ids, nodes)
    offset, end = _place(size, align)
    is_tree = ids >= limit
    rows, with_tree, own = ids[~is_tree].astype(np.int32), ids[is_tree] - limit, offset[~is_tree]
    content, memory = np.zeros(end, np.uint8), program.memory.bytes
    copy_ranges(content, own, memory, symbols.data_offset[rows], symbols.data_size[rows])
    tree = starts(TREE_NODE * nodes)[with_tree]
    tree_bytes = trees.reshape(-1).view(np.uint8)
    copy_ranges(content, offset[is_tree], tree_bytes, tree, size[is_tree])
    offset_of = np.full(limit + len(functions), NO_FUNCDATA, np.uint32)
    offset_of[ids] = offset
    relocs = _moved(program, symbols, relocs, rows, own)
    return FuncData(
        content, int(align.max(initial=1)), relocs, rows, count, offset_of[entries]
    )  # fmt: skip


def _by_alignment(program: Program, symbols: Symbols, ids: I8, nodes: I8) -> tuple[I8, I8, I8]:
    """(ids, sizes, alignments), ordered by falling alignment; `nodes` are those of each function's
    inline tree."""
    is_tree = ids >= len(symbols)
    function, row = np.where(is_tree, ids - len(symbols), 0), np.where(is_tree, 0, ids)
    size = np.where(is_tree, TREE_NODE * nodes[function], symbols.size[row])
    align = np.where(is_tree, TREE_ALIGN, alignment(size, symbols.align[row]))
    problems = Problems()
    for empty in row[size == 0].tolist():
        problems.add("zero size funcdata", *file_and_name(program, symbols, empty))
    problems.raise_if_any()
    order = np.argsort(-align, kind="stable")
    return ids[order], size[order], align[order]


def _entries(program: Program, symbols: Symbols, functions: Functions) -> tuple[I8, I8]:
    """(count of each function, ids of all entries): a row of Symbols, or 0 for an empty entry.

    The inline tree of function f has the id len(symbols) + f.
    """
    table = functions.funcdata
    number, has_tree = table.numbers(len(functions)), np.zeros(len(functions), np.bool_)
    has_tree[functions.inlined.owner] = True
    count = table.counts(len(functions))
    count = np.where(has_tree, np.maximum(count, INLINE_TREE + 1), count)
    start = starts(count)
    ids = np.zeros(int(count.sum()), np.int64)
    ignored = _without_stub(program, symbols, functions, number)
    ids[start.take(table.owner) + number] = np.where(ignored, 0, table.value)
    ids[start[has_tree] + INLINE_TREE] = len(symbols) + np.flatnonzero(has_tree)
    return count, ids


def _without_stub(program: Program, symbols: Symbols, functions: Functions, number: I8) -> Bool:
    """Entries that assembly functions name in the hope of a Go declaration, in vain."""
    table = functions.funcdata
    in_vain: Bool = (number == ARGS_POINTER_MAPS) | (number == ARG_INFO)
    hoped = np.flatnonzero(in_vain)
    unit = functions.object.take(table.owner.take(hoped))
    from_assembly = program.objects.flags.take(unit) & OBJ_FROM_ASSEMBLY != 0
    in_vain[hoped] = from_assembly & (symbols.data_size.take(table.value.take(hoped)) == 0)
    return in_vain


def _place(size: I8, align: I8) -> tuple[I8, int]:
    """Offsets of pieces that follow one another, with falling alignments; and the end of all."""
    offset, end = np.zeros(len(size), np.int64), 0
    for step in distinct(align)[::-1].tolist():
        rows = np.flatnonzero(align == step)
        offset[rows] = round_up(end, step) + starts(round_up(size[rows], step))
        end = int(offset[rows[-1]] + size[rows[-1]])
    return offset, end


def _moved(program: Program, symbols: Symbols, relocs: Relocs, rows: I4, offset: I8) -> Relocs:
    """The relocations of these symbols, as relocations of what they were copied into."""
    index, owner = ranges(symbols.reloc_start[rows], symbols.reloc_count[rows])
    kept = relocs.target[index] != UNREACHED
    index, owner = index[kept], owner[kept]
    moved = take(relocs, index)
    unfit = (moved.type != Reloc.ADDROFF) | (moved.size != 4)
    if unfit.any():
        first = int(np.argmax(unfit))
        message = f"unsupported relocation {moved.type[first]} of {moved.size[first]} bytes"
        where = file_and_name(program, symbols, int(rows[owner[first]]))
        raise LinkError([Problem(f"{message} for funcdata symbol", *where)])
    return Relocs(
        owner=np.zeros(len(index), np.int32),
        offset=(moved.offset + offset[owner]).astype(np.int32),
        size=moved.size,
        type=moved.type,
        weak=moved.weak,
        addend=moved.addend,
        target=moved.target,
    )
