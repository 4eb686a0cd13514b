"""Opcodes on their way into a stream: columns with known sizes, so that all are written at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pielink.arraytypes import I8, U1, ArrayLike, NDArray
from pielink.dyld import leb128
from pielink.dyld.ragged import ranges
from pielink.dyld.strings import join
from pielink.hints import Any
from pielink.record import Record

Sizes = NDArray[np.signedinteger[Any]]
Integers = NDArray[np.integer[Any]]


class Opcodes(Record):
    """n opcodes: the byte, up to two LEB operands with their sizes (0: absent), and a string.

    An operand of size 1 below 0x80 is written as it is, so it can also be a second opcode's byte.
    strings holds all strings one after the other, text_size (n,) the bytes of each, NUL included.
    """

    byte: U1
    first: Integers
    first_size: Sizes
    second: Integers
    second_size: Sizes
    strings: bytes = b""
    text_size: I8 | None = None

    @property
    def size(self) -> Sizes:
        """Bytes of each opcode with its operands: (n,)."""
        size = 1 + self.first_size + self.second_size
        return size if self.text_size is None else size + self.text_size

    def write(self, out: U1, at: I8) -> None:
        """Write each opcode at its byte position (n,) of out."""
        out[at] = self.byte
        for value, size, start in (
            (self.first, self.first_size, at + 1),
            (self.second, self.second_size, at + 1 + self.first_size),
        ):
            some = np.flatnonzero(size)
            leb128.put(out, start[some], value[some], size[some])
        if self.text_size is not None:
            text_at = at + 1 + self.first_size + self.second_size
            out[ranges(text_at, self.text_size)] = np.frombuffer(self.strings, np.uint8)


def plain(byte: ArrayLike) -> Opcodes:
    """Opcodes without operands."""
    column = np.asarray(byte).astype(np.uint8)
    none = np.zeros(len(column), np.int64)
    return Opcodes(column, none, none, none, none)


def with_uleb(byte: ArrayLike, value: I8, present: ArrayLike = True) -> Opcodes:
    """Opcodes with one ULEB operand each, where it is present."""
    column = np.asarray(byte).astype(np.uint8)
    none = np.zeros(len(column), np.int64)
    return Opcodes(column, value, np.where(present, leb128.uleb_sizes(value), 0), none, none)


def with_strings(byte: ArrayLike, strings: Sequence[bytes]) -> Opcodes:
    """Opcodes followed by a string and a NUL each. Raises DyldInfoError for a NUL in a string."""
    column = np.asarray(byte).astype(np.uint8)
    none = np.zeros(len(column), np.int64)
    return Opcodes(column, none, none, none, none, *join(strings))


def assemble(pieces: Iterable[tuple[I8, Opcodes]], slots: int) -> tuple[U1, I8]:
    """Lay out opcodes slot by slot, and in a slot in the order of the pieces.

    pieces: (slot of each opcode, ascending and each at most once; the opcodes).
    Returns the bytes with one zero (DONE) behind them, and where each slot starts: (slots,).
    """
    sized = [(slot, opcodes, opcodes.size) for slot, opcodes in pieces]
    total = np.zeros(slots, np.int64)
    for slot, _, size in sized:
        total[slot] += size
    ends = np.cumsum(total)
    out = np.zeros(int(ends[-1]) + 1, np.uint8)
    cursor = ends - total
    starts = cursor.copy()
    for slot, opcodes, size in sized:
        at = cursor[slot]
        opcodes.write(out, at)
        cursor[slot] = at + size
    return out, starts
