"""Writing bind opcodes: rows in a given order, in the fewest bytes that the order allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import append, changes, without
from pielink.arraytypes import I8, U8, Bool
from pielink.dyld import leb128
from pielink.dyld.columns import POINTER_SIZE, Rows
from pielink.dyld.errors import DyldInfoError
from pielink.dyld.plan import CostModel, Costs, Ints, Plan, plan
from pielink.dyld.writer import Opcodes, assemble, plain, with_strings, with_uleb
from pielink.formats import macho

MAX_IMMEDIATE = 15
MAX_SCALED = MAX_IMMEDIATE * POINTER_SIZE
MIN_ORDINAL = macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP


def check_rows(rows: Rows, names: Sequence[bytes]) -> None:
    """Raise DyldInfoError for the first row whose name, flags or ordinal cannot be encoded."""
    for bad, what in (
        (rows["name"] >= len(names), f"there are {len(names)} names"),
        (rows["flags"] > MAX_IMMEDIATE, f"flags above {MAX_IMMEDIATE}"),
        (rows["ordinal"] < MIN_ORDINAL, f"a library ordinal below {MIN_ORDINAL}"),
    ):
        if bad.any():
            raise DyldInfoError(f"row {np.flatnonzero(bad)[0]} cannot be encoded: {what}")


def unique_locations(rows: Rows, key: U8) -> I8 | slice:
    """What to index the rows with for ascending order of location, each location once.

    key: (n,) sorts the rows by location. Raises DyldInfoError if two rows that differ have one.
    """
    if (key[1:] > key[:-1]).all():
        return slice(None)
    order = np.argsort(key, kind="stable")
    key = key[order]
    again = np.flatnonzero(key[1:] == key[:-1])
    differ = np.flatnonzero(rows[order[again]] != rows[order[again + 1]])
    if len(differ):
        row = rows[order[again[differ[0]]]]
        raise DyldInfoError(
            f"segment {row['segment']}, offset {row['offset']:#x} is to be bound twice"
        )
    return without(order, again + 1)


def single_cost(gap: Ints) -> Costs:
    """Bytes of DO_BIND or one of its two forms that move the address on by gap >= 0 bytes."""
    scaled = (gap & (POINTER_SIZE - 1) == 0) & (gap <= MAX_SCALED)
    cost: Costs = 1 + leb128.uleb_sizes(gap) * ~scaled
    return cost


def _repeat_cost(count: Ints, gap: Ints) -> Costs:
    cost: Costs = 1 + leb128.uleb_sizes(count) + leb128.uleb_sizes(gap)
    return cost


def _residual_cost(gap: Ints) -> Costs:
    cost: Costs = 1 + leb128.uleb_sizes(gap)
    return cost


_COSTS = CostModel(single_cost, _repeat_cost, _residual_cost)


def emit(rows: Rows, names: Sequence[bytes], ordinals: bool) -> bytes:
    """Write a stream that binds the rows (n >= 1) in the given order, and DONE.

    ordinals: whether the stream names libraries. Consecutive rows share what they agree in. A row
    of type 0 only sets its symbol.
    """
    new_symbol = changes(rows["name"]) | changes(rows["flags"])
    bound = np.flatnonzero(rows["type"])
    binds = rows[bound] if len(bound) < len(rows) else rows
    new = {name: changes(binds[name]) for name in ("ordinal", "type", "addend")}
    new["ordinal"] &= ordinals
    new["addend"][:1] = binds["addend"][:1] != 0
    starts = changes(np.cumsum(new_symbol)[bound]) | new["ordinal"] | new["type"] | new["addend"]
    chosen, sets = _plan(binds, starts)
    # A slot for each opcode that binds and for each row that does not.
    slot_rows = np.sort(append(np.flatnonzero(rows["type"] == 0), bound[chosen.first]))
    do = np.searchsorted(slot_rows, bound[chosen.first])
    slot_of = {name: np.searchsorted(slot_rows, bound[where]) for name, where in new.items()}
    symbols, moves = np.flatnonzero(new_symbol), np.flatnonzero(chosen.residual)
    kinds = binds["type"][new["type"]]
    pieces = [
        (slot_of["ordinal"], ordinal_opcodes(binds["ordinal"][new["ordinal"]].astype(np.int64))),
        (np.searchsorted(slot_rows, symbols), symbol_opcodes(rows[symbols], names)),
        (slot_of["type"], plain(macho.BIND_OPCODE_SET_TYPE_IMM | kinds)),
        (slot_of["addend"], addend_opcodes(binds["addend"][new["addend"]])),
        (do[sets], segment_opcodes(binds[chosen.first[sets]])),
        (do, _do_opcodes(chosen)),
        (do[moves], _add_opcodes(chosen.residual[moves])),
    ]
    return assemble(pieces, len(slot_rows))[0].tobytes()


def _plan(rows: Rows, starts: Bool) -> tuple[Plan, I8]:
    """Opcodes for the rows in order, and which of them need SET_SEGMENT first.

    starts: (n,) rows where an opcode has to start.
    """
    if not len(rows):
        none = np.zeros(0, np.int64)
        return Plan(none, none, none, none), none
    segment, offset = rows["segment"], rows["offset"].astype(np.int64)
    gap = append(offset[1:] - offset[:-1] - POINTER_SIZE, -1)
    gap[:-1][segment[1:] != segment[:-1]] = -1
    np.maximum(gap, -1, out=gap)
    jump = np.zeros(len(rows), np.int8)
    anew = np.flatnonzero(gap[:-1] < 0)
    jump[anew] = 1 + leb128.uleb_sizes(offset[anew + 1])
    closed = append(starts[1:], True) | (gap < 0)
    chosen = plan(gap, closed, jump, _COSTS)
    last = chosen.first + chosen.count - 1
    return chosen, append(0, np.flatnonzero(gap[last] < 0)[:-1] + 1)


def ordinal_opcodes(ordinal: I8) -> Opcodes:
    """The shortest opcode that sets each library ordinal (n,)."""
    special = macho.BIND_OPCODE_SET_DYLIB_SPECIAL_IMM | (ordinal & MAX_IMMEDIATE)
    small = np.where(ordinal <= 0, special, macho.BIND_OPCODE_SET_DYLIB_ORDINAL_IMM | ordinal)
    byte = np.where(ordinal <= MAX_IMMEDIATE, small, macho.BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB)
    return with_uleb(byte, np.maximum(ordinal, 0), ordinal > MAX_IMMEDIATE)


def symbol_opcodes(rows: Rows, names: Sequence[bytes]) -> Opcodes:
    """SET_SYMBOL_TRAILING_FLAGS_IMM for each row. Raises DyldInfoError for a NUL in a name."""
    byte = macho.BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM | rows["flags"]
    return with_strings(byte, list(map(names.__getitem__, rows["name"].tolist())))


def addend_opcodes(addend: I8) -> Opcodes:
    """SET_ADDEND_SLEB for each addend (n,) int64."""
    byte = np.full(len(addend), macho.BIND_OPCODE_SET_ADDEND_SLEB, np.uint8)
    none = np.zeros(len(addend), np.int64)
    value = addend.astype(np.int64)
    return Opcodes(byte, value, leb128.sleb_sizes(value), none, none)


def segment_opcodes(rows: Rows) -> Opcodes:
    """SET_SEGMENT_AND_OFFSET_ULEB for the location of each row."""
    byte = macho.BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB | rows["segment"]
    return with_uleb(byte, rows["offset"].astype(np.int64))


def _do_opcodes(chosen: Plan) -> Opcodes:
    count, gap = chosen.count, chosen.gap
    scaled = (gap % POINTER_SIZE == 0) & (gap <= MAX_SCALED)
    times = np.where(count > 1, leb128.uleb_sizes(count), 0)
    skip = np.where((count > 1) | ~scaled, leb128.uleb_sizes(gap), 0)
    near = macho.BIND_OPCODE_DO_BIND_ADD_ADDR_IMM_SCALED | (gap // POINTER_SIZE)
    one = np.where(scaled, near, macho.BIND_OPCODE_DO_BIND_ADD_ADDR_ULEB)
    one = np.where(gap == 0, macho.BIND_OPCODE_DO_BIND, one)
    byte = np.where(count > 1, macho.BIND_OPCODE_DO_BIND_ULEB_TIMES_SKIPPING_ULEB, one)
    return Opcodes(byte.astype(np.uint8), count, times, gap, skip)


def _add_opcodes(gap: Ints) -> Opcodes:
    return with_uleb(np.full(len(gap), macho.BIND_OPCODE_ADD_ADDR_ULEB), gap)
