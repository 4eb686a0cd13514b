"""The records of one slot, field by field: the plain twin of pielink.records."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pielink.formats import goobj
from pielink.program import Program

RELOC, AUX, BYTE = struct.Struct("<iBHqII"), struct.Struct("<BII"), struct.Struct("B")


def records(
    program: Program, slot: int, index: int, record: struct.Struct
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(offset in the flat memory, fields) of each record that the index block gives the slot."""
    objects, data = program.objects, program.memory.bytes
    entry, owner = int(program.slots.definition[slot]), int(program.slots.object[slot])
    if entry == 0:
        return
    place = entry - int(objects.first[owner])
    blocks = objects.blocks[owner].tolist()
    start, stop = struct.unpack_from("<II", data, blocks[index] + 4 * place)
    for number in range(start, stop):
        at = blocks[goobj.INDEXED[index]] + record.size * number
        yield at, record.unpack_from(data, at)


def content(program: Program, slot: int) -> bytes:
    """The contents of a slot."""
    return bytes(byte for _, (byte,) in records(program, slot, goobj.DATAIDX, BYTE))
