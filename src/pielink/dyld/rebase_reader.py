"""Reading the rebase stream of LC_DYLD_INFO; `rebase` explains the opcodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import isin
from pielink.arraytypes import U8
from pielink.dyld.columns import (
    POINTER_SIZE,
    REBASE,
    REBASE_TYPES,
    Rows,
    check_limits,
    expand,
)
from pielink.dyld.stream import (
    ONE_LEB,
    TWO_LEBS,
    Form,
    Opcode,
    Stream,
    describe,
    fail,
    grammar,
    last_true,
    parse,
    refuse,
)
from pielink.formats import macho

MAX_PADDING = 15

FORMS = {
    macho.REBASE_OPCODE_DONE: Form("REBASE_OPCODE_DONE", immediate=False),
    macho.REBASE_OPCODE_SET_TYPE_IMM: Form("REBASE_OPCODE_SET_TYPE_IMM"),
    macho.REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB: Form(
        "REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB", ONE_LEB
    ),
    macho.REBASE_OPCODE_ADD_ADDR_ULEB: Form(
        "REBASE_OPCODE_ADD_ADDR_ULEB", ONE_LEB, immediate=False
    ),
    macho.REBASE_OPCODE_ADD_ADDR_IMM_SCALED: Form("REBASE_OPCODE_ADD_ADDR_IMM_SCALED"),
    macho.REBASE_OPCODE_DO_REBASE_IMM_TIMES: Form("REBASE_OPCODE_DO_REBASE_IMM_TIMES"),
    macho.REBASE_OPCODE_DO_REBASE_ULEB_TIMES: Form(
        "REBASE_OPCODE_DO_REBASE_ULEB_TIMES", ONE_LEB, immediate=False
    ),
    macho.REBASE_OPCODE_DO_REBASE_ADD_ADDR_ULEB: Form(
        "REBASE_OPCODE_DO_REBASE_ADD_ADDR_ULEB", ONE_LEB, immediate=False
    ),
    macho.REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB: Form(
        "REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB", TWO_LEBS, immediate=False
    ),
}
_GRAMMAR = grammar(FORMS)


def decode(data: bytes, segment_sizes: Sequence[int] | None = None) -> Rows:
    """Decode a stream: (n,) REBASE in stream order, repeated locations included.

    segment_sizes: bytes in memory of each segment; a location must then lie inside its segment.
    Without them any offset below 2**58 is let through. At most 2**24 locations are.
    Raises DyldInfoError with the offset in the stream of the opcode at fault.
    """
    stream = _parse(data)
    code, immediate = stream.opcode, stream.immediate
    count, stride, advance = _effects(stream)
    sets = code == macho.REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB
    moved = np.cumsum(advance)
    last_set = last_true(sets)
    start = (moved - advance) + (stream.first - moved)[last_set]
    last_type = last_true(code == macho.REBASE_OPCODE_SET_TYPE_IMM)
    kind = np.where(last_type < 0, 0, immediate[last_type])
    segment = immediate[last_set]
    does = np.flatnonzero(count)
    at = stream.offset[does]
    refuse(at, last_set[does] < 0, "a rebase comes before any SET_SEGMENT_AND_OFFSET_ULEB")
    refuse(at, ~isin(kind[does], REBASE_TYPES), "a rebase has an unknown type, or none was set")
    repeats = (start[does], count[does], stride[does])
    check_limits(at, segment[does], repeats, segment_sizes)
    offset = expand(*repeats)
    times = count[does].astype(np.int64)
    rows = np.empty(len(offset), REBASE)
    rows["segment"], rows["type"] = np.repeat(segment[does], times), np.repeat(kind[does], times)
    rows["offset"] = offset
    return rows


def _parse(data: bytes) -> Stream:
    """The opcodes in front of DONE, once the whole stream is found to be well-formed."""
    stream = parse(data, _GRAMMAR)
    known = stream.opcode <= macho.REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB
    refuse(stream.offset, ~known, "unknown rebase opcode")
    if len(stream) and stream.opcode[-1] == macho.REBASE_OPCODE_DONE:
        end = int(stream.offset[-1])
        if len(data) - end - 1 > MAX_PADDING:
            raise fail(f"over {MAX_PADDING} bytes follow DONE", end)
        if any(data[end:]):
            raise fail("the padding that follows DONE is not zero", end)
    return stream


def _effects(stream: Stream) -> tuple[U8, U8, U8]:
    """What each opcode does: locations rebased, bytes from one to the next, bytes moved in all."""
    code, a, b = stream.opcode, stream.first, stream.second
    words = stream.immediate.astype(np.uint64)
    add = code == macho.REBASE_OPCODE_DO_REBASE_ADD_ADDR_ULEB
    skipping = code == macho.REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB
    immediate = code == macho.REBASE_OPCODE_DO_REBASE_IMM_TIMES
    times = skipping | (code == macho.REBASE_OPCODE_DO_REBASE_ULEB_TIMES)
    count = words * immediate + a * times + add
    stride = np.uint64(POINTER_SIZE) + b * skipping + a * add
    advance = count * stride + a * (code == macho.REBASE_OPCODE_ADD_ADDR_ULEB)
    scaled = code == macho.REBASE_OPCODE_ADD_ADDR_IMM_SCALED
    return count, stride, advance + words * scaled * np.uint64(POINTER_SIZE)


def opcodes(data: bytes) -> list[Opcode]:
    """The opcodes one by one, DONE included, for people who debug an encoder.

    Raises DyldInfoError as `decode` does for a stream that is malformed as such.
    """
    return describe(_parse(data), FORMS, data)
