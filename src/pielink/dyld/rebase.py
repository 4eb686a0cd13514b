"""The rebase stream of LC_DYLD_INFO: which pointers dyld slides when the image is not at its home.

dyld runs the opcodes on a small machine: a type, a segment, and an offset into it (the address).

    0x00 DONE                         end; at most 15 bytes of padding, zeros, may follow
    0x1t SET_TYPE_IMM                 type = t
    0x2s SET_SEGMENT_AND_OFFSET_ULEB  segment = s, address = uleb
    0x30 ADD_ADDR_ULEB                address += uleb
    0x4n ADD_ADDR_IMM_SCALED          address += 8 * n
    0x5n DO_REBASE_IMM_TIMES          n times: rebase, address += 8
    0x60 DO_REBASE_ULEB_TIMES         uleb times: rebase, address += 8
    0x70 DO_REBASE_ADD_ADDR_ULEB      rebase, address += 8 + uleb
    0x80 DO_REBASE_ULEB_TIMES_SKIPPING_ULEB   first uleb times: rebase, address += 8 + second uleb

Sums wrap at 64 bits. Source: <mach-o/loader.h>; dyld's mach_o/RebaseOpcodes.cpp, `forEachRebase`
(what a stream means, the padding) and `valid` (types, segment bounds).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import append, changes
from pielink.arraytypes import I8, U1, U8, Bool
from pielink.dyld import leb128
from pielink.dyld.columns import (
    LOCATION_MASK,
    POINTER_SIZE,
    REBASE_TYPES,
    Rows,
    location_keys,
)
from pielink.dyld.columns import MAX_OFFSET_BITS as OFFSET_BITS
from pielink.dyld.errors import DyldInfoError
from pielink.dyld.plan import CostModel, Costs, Ints, Plan, plan
from pielink.dyld.strides import passes
from pielink.dyld.writer import Opcodes, assemble
from pielink.formats import macho
from pielink.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from pielink.dyld.stream import Opcode

BOTH_UP_TO = 4096  # locations for which both orders are tried: an estimate may be off by a byte
MAX_IMMEDIATE = 15
MAX_SCALED = MAX_IMMEDIATE * POINTER_SIZE


def _single(gap: Ints) -> Costs:
    """DO_REBASE_ADD_ADDR_ULEB, or DO_REBASE_IMM_TIMES of one if there is no gap."""
    cost: Costs = leb128.uleb_sizes(gap) + (gap > 0)
    return cost


def _repeat(count: Ints, gap: Ints) -> Costs:
    """DO_REBASE_ULEB_TIMES_SKIPPING_ULEB, or one of DO_REBASE_..._TIMES if there is no gap."""
    skips = gap > 0
    times = leb128.uleb_sizes(count) * (skips | (count > MAX_IMMEDIATE))
    cost: Costs = 1 + times + leb128.uleb_sizes(gap) * skips
    return cost


def _residual(gap: Ints) -> Costs:
    """One or two ADD_ADDR_IMM_SCALED, or ADD_ADDR_ULEB."""
    cost = 1 + leb128.uleb_sizes(gap)
    scaled = (gap & (POINTER_SIZE - 1) == 0) & (gap <= 2 * MAX_SCALED)
    np.copyto(cost, 2, where=scaled)
    cost -= scaled & (gap <= MAX_SCALED)
    return cost


_COSTS = CostModel(_single, _repeat, _residual)


def encode(rows: Rows) -> bytes:
    """Encode the rows.

    rows: (n,) REBASE, in any order; a row given twice counts once. The stream ends with DONE and
    is not padded; no rows give no bytes. Locations come out by (type, segment, offset), but for
    periods, which `strides` takes apart; for the order that is chosen no stream is shorter.
    Raises DyldInfoError for a segment above 15, an unknown type, an offset of 2**58 or more, or a
    location that has two types.
    """
    if not len(rows):
        return b""
    key = location_keys(rows, REBASE_TYPES)
    if not (key[1:] > key[:-1]).all():
        key = np.sort(key)
        key = key[changes(key)]
    _refuse_two_types(key)
    place = (key >> np.uint64(OFFSET_BITS)).astype(np.uint8)  # type and segment
    offset = (key & np.uint64((1 << OFFSET_BITS) - 1)).view(np.int64)
    order = passes(offset, _gaps(place, offset))
    if order is None:
        return _in_order(place, offset)
    taken_apart = _in_order(place, offset[order])
    if len(key) > BOTH_UP_TO:
        return taken_apart
    return min(taken_apart, _in_order(place, offset), key=len)


def _in_order(place: U1, offset: I8) -> bytes:
    """The shortest stream for locations in this order. place: type and segment."""
    gap = _gaps(place, offset)
    closed = gap < 0
    jump = np.zeros(len(gap), np.int8)
    sets = np.flatnonzero(closed[:-1])
    jump[sets] = 1 + leb128.uleb_sizes(offset[sets + 1])
    return _emit(plan(gap, closed, jump, _COSTS), place, offset, closed)


def _gaps(place: U1, offset: I8) -> I8:
    """Bytes from the end of each pointer to the next location; -1 if that is not ahead: (n,)."""
    gap = np.full(len(offset), -1, np.int64)
    np.subtract(offset[1:], offset[:-1] + POINTER_SIZE, out=gap[:-1])
    gap[:-1][place[1:] != place[:-1]] = -1
    return np.maximum(gap, -1, out=gap)


def _refuse_two_types(key: U8) -> None:
    if int(key[0]) >> (OFFSET_BITS + 4) == int(key[-1]) >> (OFFSET_BITS + 4):
        return
    location = np.sort(key & LOCATION_MASK)
    twice = np.flatnonzero(location[1:] == location[:-1])
    if len(twice):
        at = int(location[twice[0]])
        raise DyldInfoError(
            f"segment {at >> OFFSET_BITS}, offset {at & ((1 << OFFSET_BITS) - 1):#x} "
            "is to be rebased with two types"
        )


def _emit(chosen: Plan, place: U1, offset: I8, closed: Bool) -> bytes:
    """Write the opcodes of a plan, and the SET opcodes in front of it and at its jumps."""
    last = chosen.first + chosen.count - 1
    sets = append(0, np.flatnonzero(closed[last])[:-1] + 1)
    moves = np.flatnonzero(chosen.residual)
    target = chosen.first[sets]
    pieces = [
        (sets, _set_opcodes(place[target], offset[target])),
        (np.arange(len(last)), _do_opcodes(chosen)),
        (moves, _add_opcodes(chosen.residual[moves])),
    ]
    return assemble(pieces, len(last))[0].tobytes()


def _do_opcodes(chosen: Plan) -> Opcodes:
    """The opcode that rebases, for each step of the plan."""
    count, gap = chosen.count, chosen.gap
    skips, many = gap > 0, count > 1
    times = leb128.uleb_sizes(count) * ((skips & many) | (count > MAX_IMMEDIATE))
    counted = np.where(
        many,
        macho.REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB,
        macho.REBASE_OPCODE_DO_REBASE_ADD_ADDR_ULEB,
    ).astype(np.uint8)
    byte = (macho.REBASE_OPCODE_DO_REBASE_IMM_TIMES | count).astype(np.uint8)
    np.copyto(byte, macho.REBASE_OPCODE_DO_REBASE_ULEB_TIMES, where=count > MAX_IMMEDIATE)
    np.copyto(byte, counted, where=skips)
    return Opcodes(byte, count, times, gap, leb128.uleb_sizes(gap) * skips)


def _add_opcodes(gap: Ints) -> Opcodes:
    """The shortest opcodes that move the address on by gap > 0 bytes; two scaled ones may win."""
    words = gap // POINTER_SIZE
    scaled = (gap & (POINTER_SIZE - 1) == 0) & (gap <= 2 * MAX_SCALED)
    immediate = macho.REBASE_OPCODE_ADD_ADDR_IMM_SCALED | np.minimum(words, MAX_IMMEDIATE)
    byte = np.where(scaled, immediate, macho.REBASE_OPCODE_ADD_ADDR_ULEB).astype(np.uint8)
    # A second scaled add goes out as the operand of the first.
    rest = macho.REBASE_OPCODE_ADD_ADDR_IMM_SCALED | (words - MAX_IMMEDIATE)
    none = np.zeros(len(gap), np.int8)
    return Opcodes(byte, np.where(scaled, rest, gap), _residual(gap) - np.int8(1), none, none)


def _set_opcodes(place: U1, offset: I8) -> Opcodes:
    """SET_SEGMENT_AND_OFFSET for each place; before it SET_TYPE where the type is a new one."""
    kind, segment = (place >> 4).astype(np.int64), (place & 0xF).astype(np.int64)
    set_segment = macho.REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB | segment
    new_type = changes(kind)  # then SET_SEGMENT is its operand
    byte = np.where(new_type, macho.REBASE_OPCODE_SET_TYPE_IMM | kind, set_segment)
    return Opcodes(
        byte.astype(np.uint8),
        set_segment,
        new_type.astype(np.int64),
        offset,
        leb128.uleb_sizes(offset),
    )


def decode(data: bytes, segment_sizes: Sequence[int] | None = None) -> Rows:
    """Decode a stream: see `rebase_reader.decode`."""
    from pielink.dyld import rebase_reader  # what writes streams starts sooner without it

    return rebase_reader.decode(data, segment_sizes)


def opcodes(data: bytes) -> list[Opcode]:
    """The opcodes one by one: see `rebase_reader.opcodes`."""
    from pielink.dyld import rebase_reader

    return rebase_reader.opcodes(data)
