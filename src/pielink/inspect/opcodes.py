"""Reads the rebase and bind opcode streams of LC_DYLD_INFO.

Each stream is a program for a small machine. A byte is an opcode (high four bits) and an immediate
operand (low four), and may be followed by ULEB128 numbers or a NUL-terminated name. The machine
keeps a segment, an offset inside it, a type, and for binds a symbol, library ordinal and addend;
the DO opcodes use that state on one or more places and move the offset on.

Lazy binds restart after each DONE and are pointers without saying so; weak binds have no library
ordinal, since dyld looks through all images.

Source: <mach-o/loader.h> (REBASE_OPCODE_*, BIND_OPCODE_*); dyld mach_o/RebaseOpcodes.cpp and
BindOpcodes.cpp, forEachRebase and forEachBind.
"""

from __future__ import annotations

import numpy as np

from pielink.inspect.columns import (
    BIND_ROW,
    NO_NAME,
    NO_ORDINAL,
    NO_SEGMENT,
    REBASE,
    BindRows,
    Columns,
    StreamError,
)

POINTER = 8
MASK64 = (1 << 64) - 1


class Reader:
    """A cursor over one stream. Every read is bounds-checked and raises StreamError."""

    def __init__(self, data: bytes, stream: str) -> None:
        self.data, self.stream, self.at = data, stream, 0

    def fail(self, kind: str, message: str, at: int) -> StreamError:
        return StreamError(self.stream, kind, message, at)

    def uleb(self) -> int:
        """An unsigned LEB128 number of at most 64 bits."""
        start, shift, value = self.at, 0, 0
        data, end = self.data, len(self.data)
        while True:
            if self.at >= end:
                raise self.fail("uleb", "a ULEB128 number runs off the end", start)
            byte = data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                break
            shift += 7
            if shift > 63:
                raise self.fail("uleb", "a ULEB128 number has more than 64 bits", start)
        if value > MASK64:
            raise self.fail("uleb", "a ULEB128 number has more than 64 bits", start)
        return value

    def sleb(self) -> int:
        """A signed LEB128 number of at most 64 bits."""
        start, shift, value = self.at, 0, 0
        while True:
            if self.at >= len(self.data):
                raise self.fail("uleb", "an SLEB128 number runs off the end", start)
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift > 63:
                raise self.fail("uleb", "an SLEB128 number has more than 64 bits", start)
        if byte & 0x40:
            value -= 1 << shift
        return (value + (1 << 63)) % (1 << 64) - (1 << 63)

    def name(self) -> bytes:
        """A NUL-terminated name."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise self.fail("name", "a symbol name is not terminated", self.at)
        raw = self.data[self.at : end]
        self.at = end + 1
        return raw


def _expand(groups: Columns, dtype: np.dtype[np.void], stream: str, limit: int) -> Columns:
    """One row per place: a group is `count` places, `stride` bytes apart from `offset` on."""
    total = int(groups["count"].sum(dtype=np.float64)) if len(groups) else 0
    if total > limit:
        at = int(groups["at"][int(np.argmax(groups["count"]))])
        raise StreamError(stream, "count", f"{total} fixups are more than the file can hold", at)
    counts = groups["count"].astype(np.int64)
    index = np.repeat(np.arange(len(groups)), counts)
    step = np.arange(len(index), dtype=np.uint64) - np.repeat(
        np.cumsum(counts) - counts, counts
    ).astype(np.uint64)
    rows = np.zeros(len(index), dtype)
    for field in dtype.names or ():
        rows[field] = groups[field][index]
    rows["offset"] += step * groups["stride"][index]
    return rows


def _groups(rows: list[tuple[int, ...]], dtype: np.dtype[np.void]) -> Columns:
    extra = [("count", "<u8"), ("stride", "<u8")]
    return np.array(rows, np.dtype([*((n, dtype[n]) for n in dtype.names or ()), *extra]))


def decode_rebases(data: bytes, limit: int) -> Columns:
    """The rows (REBASE dtype, stream order) of a rebase stream.

    Raises StreamError if it is malformed or describes more than `limit` rebases.
    """
    reader = Reader(data, "rebase")
    rows: list[tuple[int, ...]] = []
    segment, kind, offset = NO_SEGMENT, 0, 0
    while reader.at < len(data):
        at, byte = reader.at, data[reader.at]
        opcode, operand = byte & 0xF0, byte & 0x0F
        reader.at += 1
        if opcode == 0x00:  # DONE; dyld goes on, but allows no more than padding behind it
            if len(data) - reader.at > 15:
                raise reader.fail("end", "ends more than 15 bytes before its size", at)
        elif opcode == 0x10:  # SET_TYPE_IMM
            kind = operand
        elif opcode == 0x20:  # SET_SEGMENT_AND_OFFSET_ULEB
            segment, offset = operand, reader.uleb()
        elif opcode == 0x30:  # ADD_ADDR_ULEB
            offset += reader.uleb()
        elif opcode == 0x40:  # ADD_ADDR_IMM_SCALED
            offset += operand * POINTER
        else:
            count, stride = _rebase_run(reader, opcode, operand, at)
            if count:
                rows.append((segment, kind, offset & MASK64, at, count, stride))
            offset += count * stride
    return _expand(_groups(rows, REBASE), REBASE, "rebase", limit)


def _rebase_run(reader: Reader, opcode: int, operand: int, at: int) -> tuple[int, int]:
    """How many places a DO_REBASE opcode rebases, and the bytes from one to the next."""
    count, skip = 1, 0
    if opcode == 0x50:  # DO_REBASE_IMM_TIMES
        count = operand
    elif opcode == 0x60:  # DO_REBASE_ULEB_TIMES
        count = reader.uleb()
    elif opcode == 0x70:  # DO_REBASE_ADD_ADDR_ULEB
        skip = reader.uleb()
    elif opcode == 0x80:  # DO_REBASE_ULEB_TIMES_SKIPPING_ULEB
        count, skip = reader.uleb(), reader.uleb()
    else:
        raise reader.fail("opcode", f"unknown opcode {opcode | operand:#04x}", at)
    return count, (skip + POINTER) & MASK64


def decode_binds(data: bytes, kind: str, limit: int) -> BindRows:
    """The rows (BIND_ROW dtype, stream order) of a bind stream, with its names.

    `kind` is bind, weak_bind or lazy_bind. Raises StreamError as decode_rebases does.
    """
    return _BindMachine(data, kind).run(limit)


class _BindMachine:
    """The state of dyld's bind interpreter; one method call per opcode."""

    def __init__(self, data: bytes, kind: str) -> None:
        self.reader = Reader(data, kind)
        self.kind = kind
        self.lazy = kind == "lazy_bind"
        self.rows: list[tuple[int, ...]] = []
        self.names: list[bytes] = []
        self.strong: list[bytes] = []
        self.segment, self.offset, self.name, self.flags, self.addend = NO_SEGMENT, 0, NO_NAME, 0, 0
        self.type = 1 if self.lazy else 0
        self.ordinal = -3 if kind == "weak_bind" else NO_ORDINAL

    def run(self, limit: int) -> BindRows:
        reader, data = self.reader, self.reader.data
        while reader.at < len(data):
            at, byte = reader.at, data[reader.at]
            reader.at += 1
            if byte & 0xF0 == 0x00:  # DONE
                if not self.lazy:
                    break
            elif byte & 0xF0 >= 0x90:
                self._do(byte & 0xF0, byte & 0x0F, at)
            else:
                self._set(byte & 0xF0, byte & 0x0F)
        rows = _expand(_groups(self.rows, BIND_ROW), BIND_ROW, self.kind, limit)
        return BindRows(rows, self.names, tuple(self.strong))

    def _set(self, opcode: int, operand: int) -> None:
        reader = self.reader
        if opcode == 0x10:  # SET_DYLIB_ORDINAL_IMM
            self.ordinal = operand
        elif opcode == 0x20:  # SET_DYLIB_ORDINAL_ULEB
            self.ordinal = min(reader.uleb(), 0x7FFFFFFF)
        elif opcode == 0x30:  # SET_DYLIB_SPECIAL_IMM
            self.ordinal = operand - 16 if operand else 0
        elif opcode == 0x40:  # SET_SYMBOL_TRAILING_FLAGS_IMM
            self.flags, self.name = operand, len(self.names)
            self.names.append(reader.name())
            if operand & 8:
                self.strong.append(self.names[-1])
        elif opcode == 0x50:  # SET_TYPE_IMM
            self.type = operand
        elif opcode == 0x60:  # SET_ADDEND_SLEB
            self.addend = reader.sleb()
        elif opcode == 0x70:  # SET_SEGMENT_AND_OFFSET_ULEB
            self.segment, self.offset = operand, reader.uleb()
        else:  # ADD_ADDR_ULEB
            self.offset += reader.uleb()

    def _do(self, opcode: int, operand: int, at: int) -> None:
        reader, count, skip = self.reader, 1, 0
        if opcode == 0xA0:  # DO_BIND_ADD_ADDR_ULEB
            skip = reader.uleb()
        elif opcode == 0xB0:  # DO_BIND_ADD_ADDR_IMM_SCALED
            skip = operand * POINTER
        elif opcode == 0xC0:  # DO_BIND_ULEB_TIMES_SKIPPING_ULEB
            count, skip = reader.uleb(), reader.uleb()
        elif opcode == 0xD0:
            raise reader.fail("opcode", "threaded binds (old arm64e) are not supported", at)
        elif opcode != 0x90:  # DO_BIND
            raise reader.fail("opcode", f"unknown opcode {opcode | operand:#04x}", at)
        stride = (skip + POINTER) & MASK64
        if count:
            state = (self.segment, self.type, self.flags, self.ordinal, self.name, self.addend)
            self.rows.append((*state, self.offset & MASK64, at, count, stride))
        self.offset += count * stride
