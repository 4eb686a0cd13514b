"""Opcodes on their way into a stream: columns with the sizes known, so that all go out at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pielink.dyld import leb128

I8 = npt.NDArray[np.int64]
U1 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Opcodes:
    """n opcodes: the byte and up to two LEB operands, each with its size in bytes (0: absent).

    An operand of size 1 below 0x80 is written as it is, so it can also be a second opcode's byte.
    """

    byte: U1
    first: I8
    first_size: I8
    second: I8
    second_size: I8

    @property
    def size(self) -> I8:
        """Bytes of each opcode with its operands: (n,) int64."""
        return 1 + self.first_size + self.second_size

    def write(self, out: U1, at: I8) -> None:
        """Write each opcode at its byte position (n,) of out."""
        out[at] = self.byte
        for value, size, start in (
            (self.first, self.first_size, at + 1),
            (self.second, self.second_size, at + 1 + self.first_size),
        ):
            some = np.flatnonzero(size)
            leb128.put(out, start[some], value[some], size[some])


def opcodes(byte: U1, first: I8 | None = None, second: I8 | None = None) -> Opcodes:
    """Opcodes of one form: the operands that are given are ULEBs."""
    absent = np.zeros(len(byte), np.int64)
    one, one_size = (absent, absent) if first is None else (first, leb128.uleb_sizes(first))
    two, two_size = (absent, absent) if second is None else (second, leb128.uleb_sizes(second))
    return Opcodes(byte, one, one_size, two, two_size)
