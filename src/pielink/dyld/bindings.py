"""What the three bind streams have in common: the opcodes, and how to read them.

dyld runs bind opcodes on a machine that holds a segment and an offset into it (the address), a
symbol with flags, a library ordinal, a type and an addend. All stay until they are set again.

    0x00 DONE                                end; in the lazy stream, end of one symbol's opcodes
    0x1n SET_DYLIB_ORDINAL_IMM               ordinal = n
    0x20 SET_DYLIB_ORDINAL_ULEB              ordinal = uleb: the only form for 16 and above
    0x3n SET_DYLIB_SPECIAL_IMM               ordinal = 0, or n - 16: -1, -2, -3
    0x4f SET_SYMBOL_TRAILING_FLAGS_IMM       flags = f, symbol = the string up to NUL
    0x5t SET_TYPE_IMM                        type = t
    0x60 SET_ADDEND_SLEB                     addend = sleb
    0x7s SET_SEGMENT_AND_OFFSET_ULEB         segment = s, address = uleb
    0x80 ADD_ADDR_ULEB                       address += uleb
    0x90 DO_BIND                             bind, address += 8
    0xa0 DO_BIND_ADD_ADDR_ULEB               bind, address += 8 + uleb
    0xbn DO_BIND_ADD_ADDR_IMM_SCALED         bind, address += 8 + 8 * n
    0xc0 DO_BIND_ULEB_TIMES_SKIPPING_ULEB    first uleb times: bind, address += 8 + second uleb
    0xdn THREADED                            the first arm64e toolchains' chains; not supported

Sums wrap at 64 bits. Source: <mach-o/loader.h>; dyld's mach_o/BindOpcodes.cpp, `forEachBind`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import isin
from pielink.arraytypes import I8, U1, U8, Bool
from pielink.dyld import leb128
from pielink.dyld.columns import BIND, BIND_TYPES, POINTER_SIZE, Rows, check_limits, expand
from pielink.dyld.stream import (
    ONE_LEB,
    STRING,
    TWO_LEBS,
    Form,
    Opcode,
    Stream,
    describe,
    grammar,
    last_true,
    parse,
    refuse,
)
from pielink.dyld.strings import split
from pielink.formats import macho
from pielink.record import Record

FORMS = {
    macho.BIND_OPCODE_DONE: Form("BIND_OPCODE_DONE", immediate=False),
    macho.BIND_OPCODE_SET_DYLIB_ORDINAL_IMM: Form("BIND_OPCODE_SET_DYLIB_ORDINAL_IMM"),
    macho.BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB: Form(
        "BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB", ONE_LEB, immediate=False
    ),
    macho.BIND_OPCODE_SET_DYLIB_SPECIAL_IMM: Form("BIND_OPCODE_SET_DYLIB_SPECIAL_IMM"),
    macho.BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM: Form(
        "BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM", STRING
    ),
    macho.BIND_OPCODE_SET_TYPE_IMM: Form("BIND_OPCODE_SET_TYPE_IMM"),
    macho.BIND_OPCODE_SET_ADDEND_SLEB: Form(
        "BIND_OPCODE_SET_ADDEND_SLEB", ONE_LEB, immediate=False, signed=True
    ),
    macho.BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB: Form(
        "BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB", ONE_LEB
    ),
    macho.BIND_OPCODE_ADD_ADDR_ULEB: Form("BIND_OPCODE_ADD_ADDR_ULEB", ONE_LEB, immediate=False),
    macho.BIND_OPCODE_DO_BIND: Form("BIND_OPCODE_DO_BIND", immediate=False),
    macho.BIND_OPCODE_DO_BIND_ADD_ADDR_ULEB: Form(
        "BIND_OPCODE_DO_BIND_ADD_ADDR_ULEB", ONE_LEB, immediate=False
    ),
    macho.BIND_OPCODE_DO_BIND_ADD_ADDR_IMM_SCALED: Form("BIND_OPCODE_DO_BIND_ADD_ADDR_IMM_SCALED"),
    macho.BIND_OPCODE_DO_BIND_ULEB_TIMES_SKIPPING_ULEB: Form(
        "BIND_OPCODE_DO_BIND_ULEB_TIMES_SKIPPING_ULEB", TWO_LEBS, immediate=False
    ),
    macho.BIND_OPCODE_THREADED
    | macho.BIND_SUBOPCODE_THREADED_SET_BIND_ORDINAL_TABLE_SIZE_ULEB: Form(
        "BIND_SUBOPCODE_THREADED_SET_BIND_ORDINAL_TABLE_SIZE_ULEB", ONE_LEB, immediate=False
    ),
    macho.BIND_OPCODE_THREADED | macho.BIND_SUBOPCODE_THREADED_APPLY: Form(
        "BIND_SUBOPCODE_THREADED_APPLY", immediate=False
    ),
}
_GRAMMAR = grammar(FORMS)


class State(Record):
    """What dyld's machine holds at each opcode of a stream, all (n,).

    count and stride: locations that the opcode binds, and bytes from one to the next; start: the
    first one's offset. symbol: which SET_SYMBOL of the stream holds, -1 before the first.
    has_ordinal, has_segment: whether one was set.
    """

    stream: Stream
    names: list[bytes]
    count: U8
    stride: U8
    start: U8
    segment: U1
    has_segment: Bool
    symbol: I8
    flags: U1
    type: U1
    ordinal: I8
    has_ordinal: Bool
    addend: I8


def run(data: bytes, lazy: bool = False) -> State:
    """Run a stream's opcodes. lazy: DONE does not end it, and the type is a pointer from the start.

    Raises DyldInfoError with the offset of the opcode at fault.
    """
    stream = _parse(data, lazy)
    code, immediate = stream.opcode, stream.immediate
    refuse(stream.offset, code == macho.BIND_OPCODE_THREADED, "threaded binds are not supported")
    count, stride, advance = _effects(stream)
    moved = np.cumsum(advance)
    set_segment = last_true(code == macho.BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB)
    set_type = last_true(code == macho.BIND_OPCODE_SET_TYPE_IMM)
    set_addend = last_true(code == macho.BIND_OPCODE_SET_ADDEND_SLEB)
    sets_symbol = code == macho.BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM
    sets_ordinal, ordinal = _ordinals(stream)
    set_ordinal = last_true(sets_ordinal)
    addend = leb128.sign_extend(stream.first, stream.size)
    return State(
        stream,
        _names(data, stream, sets_symbol),
        count,
        stride,
        start=(moved - advance) + (stream.first - moved)[set_segment],
        segment=immediate[set_segment],
        has_segment=set_segment >= 0,
        symbol=np.cumsum(sets_symbol) - 1,
        flags=immediate[last_true(sets_symbol)],
        type=np.where(set_type < 0, BIND_TYPES.start if lazy else 0, immediate[set_type]).astype(
            "u1"
        ),
        ordinal=ordinal[set_ordinal],
        has_ordinal=set_ordinal >= 0,
        addend=np.where(set_addend < 0, 0, addend[set_addend]),
    )


def _parse(data: bytes, lazy: bool) -> Stream:
    stream = parse(data, _GRAMMAR, done_ends=not lazy)
    byte = stream.opcode | stream.immediate
    refuse(stream.offset, byte > max(FORMS), "unknown bind opcode")
    return stream


def _effects(stream: Stream) -> tuple[U8, U8, U8]:
    """What each opcode does: locations bound, bytes from one to the next, bytes moved in all."""
    code, a, b = stream.opcode, stream.first, stream.second
    pointer = np.uint64(POINTER_SIZE)
    add = code == macho.BIND_OPCODE_DO_BIND_ADD_ADDR_ULEB
    scaled = code == macho.BIND_OPCODE_DO_BIND_ADD_ADDR_IMM_SCALED
    times = code == macho.BIND_OPCODE_DO_BIND_ULEB_TIMES_SKIPPING_ULEB
    one = add | scaled | (code == macho.BIND_OPCODE_DO_BIND)
    count = a * times + one
    words = stream.immediate.astype(np.uint64) * pointer
    stride = pointer + a * add + words * scaled + b * times
    advance = count * stride + a * (code == macho.BIND_OPCODE_ADD_ADDR_ULEB)
    return count, stride, advance


def _ordinals(stream: Stream) -> tuple[Bool, I8]:
    """Which opcodes set the ordinal, and to what: (n,) each."""
    code, immediate = stream.opcode, stream.immediate.astype(np.int64)
    special = code == macho.BIND_OPCODE_SET_DYLIB_SPECIAL_IMM
    small = code == macho.BIND_OPCODE_SET_DYLIB_ORDINAL_IMM
    large = code == macho.BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB
    too_large = large & (stream.first > 0x7FFFFFFF)
    refuse(stream.offset, too_large, "the library ordinal does not fit into 31 bits")
    negative = np.where(immediate > 0, immediate - 16, 0)
    value = np.where(special, negative, np.where(small, immediate, stream.first.view(np.int64)))
    return special | small | large, value


def _names(data: bytes, stream: Stream, sets_symbol: Bool) -> list[bytes]:
    """The strings of all SET_SYMBOL opcodes, in stream order."""
    at = np.flatnonzero(sets_symbol)
    return split(np.frombuffer(data, np.uint8), stream.offset[at] + 1, stream.size[at])


def rows_of(
    state: State, does: I8, segment_sizes: Sequence[int] | None
) -> tuple[Rows, list[bytes], I8]:
    """The binds that opcodes do: (n,) BIND, distinct names, the opcode (n,) of each row.

    does: indices of the opcodes that bind, ascending.
    """
    at = state.stream.offset[does]
    refuse(at, ~state.has_segment[does], "a bind comes before any SET_SEGMENT_AND_OFFSET_ULEB")
    refuse(at, state.symbol[does] < 0, "a bind comes before any SET_SYMBOL_TRAILING_FLAGS_IMM")
    refuse(at, ~isin(state.type[does], BIND_TYPES), "a bind has an unknown type, or none was set")
    repeats = (state.start[does], state.count[does], state.stride[does])
    check_limits(at, state.segment[does], repeats, segment_sizes)
    offset = expand(*repeats)
    opcode = np.repeat(does, state.count[does].astype(np.int64))
    names, index = distinct(state.names)
    rows = np.empty(len(offset), BIND)
    for column in ("segment", "type", "flags", "ordinal", "addend"):
        rows[column] = getattr(state, column)[opcode]
    rows["name"], rows["offset"] = index[state.symbol[opcode]], offset
    return rows, names, opcode


def distinct(names: list[bytes]) -> tuple[list[bytes], I8]:
    """Each name once, in order of first appearance, and where each of the given ones is: (n,)."""
    places = dict.fromkeys(names)
    places = dict(zip(places, range(len(places)), strict=True))
    return list(places), np.fromiter(map(places.__getitem__, names), np.int64, len(names))


def listing(data: bytes, lazy: bool = False) -> list[Opcode]:
    """The opcodes one by one, for people. lazy: DONE does not end the stream."""
    return describe(_parse(data, lazy), FORMS, data)
