"""Go's type descriptors, read as arrays: kinds, names, methods, itabs.

A descriptor is the compiled form of internal/abi.Type. On a 64-bit machine it starts with 48
bytes that all kinds share (offset: field):

     0: size     8: pointer bytes   16: hash (4)   20: flags (1)   21: align (2 x 1)   23: kind (1)
    24: equal   32: gc data         40: name (4)   44: pointer to this (4)

Then come the fields of its kind, and, if FLAG_UNCOMMON is set, 16 bytes of the "uncommon type":

     0: package path (4)   4: number of methods (2)   6: exported (2)   8: offset (4)   12: unused

That offset, from the start of the uncommon type, leads to the method records, 16 bytes each:
name, type, function for interface calls, function for direct calls, 4 bytes each. A method of an
interface type is a record of 8 bytes: name, type. Whatever refers to something else is a
relocation of the descriptor, so the bytes there are of no use to a linker.

A name is a byte of flags, the length as a varint, then the bytes. An itab has its concrete type
at offset 8.

Source: internal/abi/type.go, iface.go and map.go of Go 1.26 and 1.27; a map type grew in 1.27.
"""

from __future__ import annotations

import numpy as np

from pielink.errors import FormatError
from pielink.formats.goobj import RELOC
from pielink.program import Program
from pielink.tables import I4, I8, U1, Bool

COMMON_SIZE, FLAGS_OFFSET, KIND_OFFSET, NAME_OFFSET = 48, 20, 23, 40
FLAG_UNCOMMON, UNCOMMON_SIZE, METHOD_SIZE = 1, 16, 16
FLAG_EXTRA_STAR = 2  # the type's string begins with a "*" that is not its own
ITAB_TYPE_OFFSET = 8
ARRAY, CHAN, FUNC, INTERFACE, MAP, POINTER, SLICE, STRUCT = 17, 18, 19, 20, 21, 22, 23, 25

_CUT_SHORT = "is a name that is cut short"

# Bytes that follow the common part, by kind; kinds that are not listed have none.
KIND_SIZE = {
    ARRAY: 24, CHAN: 16, FUNC: 8, INTERFACE: 32, POINTER: 8, SLICE: 8, STRUCT: 32,
}  # fmt: skip
MAP_SIZE = {"1.26": 64, "1.27": 88}


def relocation_target(program: Program, slots: I4, offsets: I8, guess: I8 | None = None) -> I4:
    """The symbol that each slot's relocation at that offset refers to; 0 if there is none.

    If several relocations are at the offset, the first one counts. `guess` gives rows of
    Program.relocs where they are likely to be: those that belong to the slot need no search.
    """
    relocs = program.relocs
    row = np.full(len(slots), -1, np.int64)
    if guess is not None:
        start, count = relocs.spans(slots)
        own = np.flatnonzero((guess >= start) & (guess < start + RELOC.itemsize * count))
        own = own[relocs.at(guess[own])["offset"] == offsets[own]]
        row[own] = guess[own]
    rest = np.flatnonzero(row < 0)
    if len(rest):
        searched, owner = relocs.rows(slots[rest])
        hit = np.flatnonzero(relocs.at(searched)["offset"] == offsets[rest[owner]])[::-1]
        row[rest[owner[hit]]] = searched[hit]
    found = np.zeros(len(slots), np.int32)
    there = np.flatnonzero(row >= 0)
    found[there] = program.targets(program.slots.object[slots[there]], relocs.at(row[there]))
    return found


def descriptors(program: Program, slots: I4) -> tuple[I8, I8]:
    """Where each descriptor is in the flat memory, and its size: (n,) each.

    FormatError if one is shorter than the common part.
    """
    start, size = program.contents.spans(slots)
    _require(program, slots, size >= COMMON_SIZE, "is no type descriptor")
    return start, size


def kinds(program: Program, slots: I4) -> U1:
    """The kind of each descriptor; FormatError if one is shorter than the common part."""
    return program.memory.bytes[descriptors(program, slots)[0] + KIND_OFFSET]


def methods(program: Program, slots: I4) -> tuple[I8, I8]:
    """Where each descriptor has its method records (offset in the descriptor), and how many.

    FormatError if a descriptor has no uncommon type or its records do not fit.
    """
    data, size = descriptors(program, slots)
    sizes = np.full(256, COMMON_SIZE, np.int64)
    for kind, extra in (*KIND_SIZE.items(), (MAP, MAP_SIZE[program.release.name])):
        sizes[kind] += extra
    uncommon = sizes[program.memory.bytes[data + KIND_OFFSET]]
    flags = program.memory.bytes[data + FLAGS_OFFSET]
    fits = ((flags & FLAG_UNCOMMON) != 0) & (uncommon + UNCOMMON_SIZE <= size)
    _require(program, slots, fits, "is a type without methods, but has method relocations")
    count = _little_endian(program, data + uncommon + 4, 2)
    start = uncommon + _little_endian(program, data + uncommon + 8, 4)
    fits = start + METHOD_SIZE * count <= size
    _require(program, slots, fits, "is a type whose methods lie outside of it")
    return start, count


def names(program: Program, slots: I4) -> list[bytes]:
    """The texts of name symbols; see `texts`."""
    places = zip(*(column.tolist() for column in texts(program, slots)), strict=True)
    return [program.memory.get(start, size) for start, size in places]


def texts(program: Program, slots: I4) -> tuple[I8, I8]:
    """The texts of name symbols, as offsets in the flat memory and sizes: (n,) each.

    FormatError if one is cut short. Slot 0 has the empty name.
    """
    memory = program.memory.bytes
    start, length = program.contents.spans(slots)
    end = start + length
    at, size = start + 1, np.zeros(len(slots), np.int64)
    going = np.flatnonzero(slots)
    for shift in range(0, 63, 7):  # a varint
        _require(program, slots[going], at[going] < end[going], _CUT_SHORT)
        byte = memory[at[going]].astype(np.int64)
        size[going] |= (byte & 0x7F) << shift
        at[going] += 1
        going = going[byte >= 0x80]
        if not len(going):
            break
    _require(program, slots[going], np.zeros(len(going), np.bool_), _CUT_SHORT)
    _require(program, slots, (size <= end - at) | (slots == 0), _CUT_SHORT)
    return at, size


def type_strings(program: Program, slots: I4) -> tuple[I8, I8]:
    """The string of each type descriptor, as reflection gives it; see `texts`."""
    offsets = np.full(len(slots), NAME_OFFSET, np.int64)
    start, size = texts(program, relocation_target(program, slots, offsets))
    flags = program.memory.bytes[program.contents.spans(slots)[0] + FLAGS_OFFSET]
    star = ((flags & FLAG_EXTRA_STAR) != 0) & (size > 0)
    return start + star, size - star


def malformed(program: Program, slot: int, why: str) -> FormatError:
    """The error for a symbol whose contents break the format."""
    file = program.objects.file[int(program.slots.object[slot])]
    return FormatError(f"{program.name(slot).decode('utf-8', 'replace')} {why}", file)


def _require(program: Program, slots: I4, holds: Bool, why: str) -> None:
    if not holds.all():
        raise malformed(program, int(slots[np.argmin(holds)]), why)


def _little_endian(program: Program, at: I8, size: int) -> I8:
    value = np.zeros(len(at), np.int64)
    for i in range(size):
        value |= program.memory.bytes[at + i].astype(np.int64) << 8 * i
    return value
