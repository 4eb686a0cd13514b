"""GC programs: which words of __data and __bss are pointers (runtime.gcdata, runtime.gcbss).

A program is a sequence of codes that describe one bit per 8-byte word, a pointer or not:

    0                    the end
    n (1 to 127)         n bits follow, in (n + 7) / 8 bytes, least significant bit first
    0x80 | n (n > 0), c  repeat the previous n bits c times; c is a varint
    0x80, n, c           the same with n as a varint

The bits come from the types of the variables, taken apart down to types with a pointer mask of
their own. An array of more than one element is the bits of one element, then a repetition. A gap
of fewer than 32 words without pointers is written as zero bits, a longer one as one zero bit and
its repetition.

So a program is a sequence of events in ascending order of words: a pointer, or a repetition. The
variables are taken apart level by level, all at once; then all events are encoded at once.

Source: GCProg in cmd/link/internal/ld/data.go, cmd/internal/gcprog, internal/abi/type.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import (
    classes,
    differences,
    ranges,
)
from pielink.arraytypes import Bool
from pielink.blocks import windows
from pielink.errors import FormatError, Problems
from pielink.golang import typedata
from pielink.golang.funcinfo import file_and_name
from pielink.golang.sequence import starts
from pielink.hints import TYPE_CHECKING
from pielink.record import fresh, record
from pielink.tables import I4, I8, U1, Aux, Symbols

if TYPE_CHECKING:
    from pielink.program import Program

WORD = 8
LONGEST_LITERAL = 127  # bits in one code
SHORT_GAP = 32  # words; a gap of at least as many becomes a repetition
GC_MASK_ON_DEMAND = 16  # flag of a type that has no mask
POINTER_BYTES, GC_MASK = 8, 32  # offsets in a type descriptor
ARRAY_ELEMENT, ARRAY_LENGTH, STRUCT_FIELD_COUNT = 48, 64, 64
STRUCT_FIELDS, FIELD_SIZE, FIELD_TYPE, FIELD_OFFSET = 80, 24, 8, 16
DEEPEST = 1000  # levels of types within types; a descriptor that holds itself has no end


def gc_program(program: Program, symbols: Symbols, rows: I4, offset: I8, size: int) -> bytes:
    """The program for the variables `rows`, which begin `offset` bytes into a section.

    Offsets ascend; `size` is that of the section's part that the program describes, in bytes.
    Raises LinkError for variables without type information, FormatError for malformed types.
    """
    types = _types(program, symbols, rows)
    events = _Walk(program, size).events(offset, types)
    return encode(*events, size // WORD)


def _types(program: Program, symbols: Symbols, rows: I4) -> I4:
    """The slot of each variable's type."""
    slots, auxes = program.slots, program.auxes
    slot = symbols.slot[rows]
    index, owner = ranges(slots.aux_start[slot], slots.aux_count[slot])
    hit = np.flatnonzero(auxes.type[index] == Aux.GOTYPE)[::-1]
    row, owner = index[hit], owner[hit]
    types = np.zeros(len(rows), np.int32)
    types[owner] = program.resolve(slots.object[slot[owner]], auxes.package[row], auxes.symbol[row])
    problems = Problems()
    for row in rows[types == 0].tolist():
        message = f"missing Go type information for a global symbol of {symbols.size[row]} bytes"
        problems.add(message, *file_and_name(program, symbols, row))
    problems.raise_if_any()
    return types


@record
class _Walk:
    """Takes variables apart; collects pointers and repetitions, as words from the start."""

    program: Program
    size: int
    pointers: list[I8] = fresh(factory=list)
    repeats: list[tuple[I8, I8, I8]] = fresh(factory=list)  # at, words, times

    def events(self, offset: I8, types: I4) -> tuple[I8, I8, I8, I8]:
        """(pointers, and of repetitions: where, how many words, how many times), unsorted."""
        for _ in range(DEEPEST):
            if not len(types):
                break
            offset, types = self._level(offset, types)
        else:
            raise typedata.malformed(self.program, int(types[0]), "is a type that holds itself")
        nothing = np.zeros(0, np.int64)
        columns = zip((nothing, nothing, nothing), *self.repeats, strict=True)
        at, words, times = (np.concatenate(column) for column in columns)
        return np.concatenate([nothing, *self.pointers]), at, words, times

    def _level(self, offset: I8, types: I4) -> tuple[I8, I4]:
        """Take apart variables at `offset`; return the arrays' elements and structs' fields."""
        unique, _, back = classes(types)
        kind = typedata.kinds(self.program, unique)
        end = offset + self._word(unique, POINTER_BYTES)[back]
        if (offset < 0).any() or (end <= offset).any() or (end > self.size).any():
            bad = (offset < 0) | (end <= offset) | (end > self.size)
            raise self._malformed(types[np.argmax(bad)], "has its pointers outside of the variable")
        if len(types) > self.size // WORD:
            raise self._malformed(types[0], "has fields that overlap")
        is_array, is_struct = kind == typedata.ARRAY, kind == typedata.STRUCT
        self._masks(offset, back, unique, ~(is_array | is_struct))
        at, element = self._arrays(offset, back, unique, is_array)
        field_at, inner = self._structs(offset, back, unique, is_struct)
        return np.concatenate([at, field_at]), np.concatenate([element, inner])

    def _masks(self, offset: I8, back: I8, unique: I4, chosen: Bool) -> None:
        """Types with a mask: a pointer for each bit that is set."""
        slots, memory = self.program.slots, self.program.memory.bytes
        group, item = _pick(chosen, back)
        types = unique[chosen]
        flags = memory[slots.data_offset[types] + typedata.FLAGS_OFFSET]
        if (flags & GC_MASK_ON_DEMAND).any():
            raise self._malformed(types[np.argmax(flags & GC_MASK_ON_DEMAND)], "has no GC mask")
        words = self._word(types, POINTER_BYTES) // WORD
        mask = typedata.relocation_target(self.program, types, np.full(len(types), GC_MASK))
        short = slots.data_size[mask] * 8 < words
        if short.any():
            raise self._malformed(types[np.argmax(short)], "has a GC mask that is cut short")
        if int(words[group].sum()) > self.size // WORD:
            raise self._malformed(types[0], "has fields that overlap")
        bit, owner = ranges(np.zeros(len(group), np.int64), words[group])
        byte = memory[slots.data_offset[mask][group][owner] + bit // 8]
        is_set = (byte >> (bit % 8).astype(np.uint8)) & 1 != 0
        self.pointers.append((offset[item][owner] // WORD + bit)[is_set])

    def _arrays(self, offset: I8, back: I8, unique: I4, chosen: Bool) -> tuple[I8, I4]:
        """One element of each array, and a repetition for the others."""
        group, item = _pick(chosen, back)
        types = unique[chosen]
        self._require_size(types, np.full(len(types), ARRAY_LENGTH + WORD))
        at = np.full(len(types), ARRAY_ELEMENT)
        element = typedata.relocation_target(self.program, types, at)
        typedata.kinds(self.program, element)
        length, size = self._word(types, ARRAY_LENGTH), self._word(element, 0)
        unfit = (size <= 0) | (length <= 0) | (length > self.size // np.maximum(size, 1))
        if unfit.any():
            raise self._malformed(types[np.argmax(unfit)], "is an array larger than the variable")
        many = length[group] > 1
        words = size[group][many] // WORD
        after = (offset[item][many] + size[group][many]) // WORD
        self.repeats.append((after, words, length[group][many] - 1))
        return offset[item], element[group]

    def _structs(self, offset: I8, back: I8, unique: I4, chosen: Bool) -> tuple[I8, I4]:
        """The fields with pointers."""
        slots = self.program.slots
        group, item = _pick(chosen, back)
        types = unique[chosen]
        self._require_size(types, np.full(len(types), STRUCT_FIELDS))
        count = self._word(types, STRUCT_FIELD_COUNT)
        flags = self.program.memory.bytes[slots.data_offset[types] + typedata.FLAGS_OFFSET]
        is_uncommon = (flags & typedata.FLAG_UNCOMMON).astype(np.int64)
        first = STRUCT_FIELDS + typedata.UNCOMMON_SIZE * is_uncommon
        room = (slots.data_size[types] - first) // FIELD_SIZE
        unfit = (count < 0) | (count > room)
        if unfit.any():
            raise self._malformed(types[np.argmax(unfit)], "has fields outside of the descriptor")
        number, struct = ranges(np.zeros(len(types), np.int64), count)
        at = first[struct] + FIELD_SIZE * number
        inner = typedata.relocation_target(self.program, types[struct], at + FIELD_TYPE)
        typedata.kinds(self.program, inner)
        kept = self._word(inner, POINTER_BYTES) != 0
        inner, struct, at = inner[kept], struct[kept], at[kept]
        shift = self._word(types[struct], at + FIELD_OFFSET)
        kept_count = np.bincount(struct, minlength=len(types))
        index, owner = ranges(starts(kept_count)[group], kept_count[group])
        if len(index) > self.size // WORD:
            raise self._malformed(types[0], "has fields that overlap")
        return offset[item][owner] + shift[index], inner[index]

    def _word(self, slots: I4, at: I8 | int) -> I8:
        """The 8-byte number `at` bytes into each descriptor, whose size has been checked."""
        words = windows(self.program.memory.bytes, "<i8")
        found: I8 = words[self.program.slots.data_offset[slots] + at]
        return found

    def _require_size(self, slots: I4, size: I8) -> None:
        short = self.program.slots.data_size[slots] < size
        if short.any():
            raise self._malformed(slots[np.argmax(short)], "is a type that is cut short")

    def _malformed(self, slot: np.integer, why: str) -> FormatError:
        return typedata.malformed(self.program, int(slot), why)


def _pick(chosen: Bool, back: I8) -> tuple[I8, I8]:
    """(which of the chosen types, which item) for all items whose type is chosen."""
    number = np.cumsum(chosen) - 1
    item = np.flatnonzero(chosen[back])
    return number[back[item]], item


def encode(pointers: I8, repeat_at: I8, repeat_words: I8, repeat_times: I8, words: int) -> bytes:
    """The program of these events for `words` words.

    A repetition at word a of w words, c times, says that the words from a on are the w words
    before a, c times over; nothing else may lie there. Raises FormatError if events overlap.
    """
    at = np.concatenate([pointers, repeat_at, [words]])
    order = np.argsort(at, kind="stable")
    is_pointer = order < len(pointers)
    period = np.concatenate([np.zeros(len(pointers), np.int64), repeat_words, [0]])[order]
    times = np.concatenate([np.zeros(len(pointers), np.int64), repeat_times, [0]])[order]
    at = at[order]
    covered = np.where(is_pointer, 1, period * times)
    gap = at - np.concatenate([[0], (at + covered)[:-1]])
    if (gap < 0).any():
        raise FormatError("malformed types: the pointers of variables overlap")
    is_long = gap >= SHORT_GAP
    literals = np.where(is_long, 1, gap) + is_pointer
    ends = np.cumsum(literals)
    # Two places where the literal bits of an event can be cut: after the zero that starts a long
    # gap, and at the event itself unless it is a pointer. At each, a repetition is written.
    cut = np.stack([ends - literals + 1, ends], axis=1)
    wanted = np.stack([is_long, ~is_pointer], axis=1)
    repeat_period = np.stack([np.ones_like(gap), period], axis=1)
    repeat_count = np.stack([gap - 1, times], axis=1)
    ones = (ends - 1)[is_pointer]
    return _write(cut[wanted], repeat_period[wanted], repeat_count[wanted], ones)


def _write(cut: I8, period: I8, times: I8, ones: I8) -> bytes:
    """Literal bits up to each cut, followed by a repetition; the last cut is the end.

    `ones` are the positions of the literal bits that are set.
    """
    bits = differences(cut, before=0)
    chunks = -(-bits // LONGEST_LITERAL)
    number, run = ranges(np.zeros(len(cut), np.int64), chunks)
    length = np.minimum(bits[run] - LONGEST_LITERAL * number, LONGEST_LITERAL)
    chunk_size = 1 + (length + 7) // 8
    wide = period >= 128
    code_size = 1 + np.where(wide, _varint_size(period), 0) + _varint_size(times)
    code_size[-1] = 1
    literal_size = np.bincount(run, weights=chunk_size, minlength=len(cut)).astype(np.int64)
    start = starts(literal_size + code_size)
    code = start + literal_size
    chunk = starts(chunk_size) + (start - starts(literal_size))[run]
    out = np.zeros(int(code[-1]) + 1, np.uint8)
    first_bit = np.concatenate([[0], cut])[run] + LONGEST_LITERAL * number
    holder = np.searchsorted(first_bit, ones, side="right") - 1
    set_bits = np.zeros(8 * len(out), np.bool_)
    set_bits[8 * (chunk[holder] + 1) + ones - first_bit[holder]] = True
    out |= np.packbits(set_bits, bitorder="little")
    out[chunk] = length
    code, period, times, wide = code[:-1], period[:-1], times[:-1], wide[:-1]
    out[code] = np.where(wide, 0x80, 0x80 | period)
    _put_varints(out, code[wide] + 1, period[wide])
    _put_varints(out, code + 1 + np.where(wide, _varint_size(period), 0), times)
    return out.tobytes()


def _varint_size(value: I8) -> I8:
    size = np.ones(len(value), np.int64)
    for shift in range(7, 63, 7):
        size += value >> shift != 0
    return size


def _put_varints(out: U1, at: I8, value: I8) -> None:
    while len(at):
        more = value >= 0x80
        out[at] = (value & 0x7F) | np.where(more, 0x80, 0)
        at, value = at[more] + 1, value[more] >> 7
