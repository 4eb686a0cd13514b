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
variables of all sections are taken apart level by level, all at once; then the events of a section
are encoded at once.

Source: GCProg in cmd/link/internal/ld/data.go, cmd/internal/gcprog, internal/abi/type.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from pielink.record import Record, fresh
from pielink.tables import I4, I8, U1, Aux, Symbols

if TYPE_CHECKING:
    from pielink.program import Program

WORD = 8
LONGEST_LITERAL = 127  # bits in one code
SHORT_GAP = 32  # words; a gap of at least as many becomes a repetition
GC_MASK_ON_DEMAND = 16  # flag of a type that has no mask
POINTER_BYTES, GC_MASK = 8, 32  # offsets in a type descriptor
ARRAY_ELEMENT = 48
ELEMENT_COUNT = 64  # elements of an array, fields of a struct
STRUCT_FIELDS, FIELD_SIZE, FIELD_TYPE, FIELD_OFFSET = 80, 24, 8, 16
DEEPEST = 1000  # levels of types within types; a descriptor that holds itself has no end

_LEAST_SIZE = np.full(256, typedata.COMMON_SIZE, np.int64)  # of a descriptor, by kind
_LEAST_SIZE[[typedata.ARRAY, typedata.STRUCT]] = ELEMENT_COUNT + WORD, STRUCT_FIELDS


def gc_programs(
    program: Program, symbols: Symbols, sections: Sequence[tuple[I4, I8, int]]
) -> list[bytes]:
    """The program for each section: (rows of its variables, their offsets in it, its size).

    Offsets ascend; the size is that of the section's part that the program describes; both are in
    bytes. Raises LinkError for variables without type information, FormatError for malformed types.
    """
    rows, offset = (np.concatenate([s[column] for s in sections]) for column in (0, 1))
    size = np.array([size for _, _, size in sections])
    section = np.repeat(np.arange(len(sections)), [len(rows) for rows, _, _ in sections])
    walk = _Walk(program, size, int(size.sum()) // WORD)
    walk.take_apart(offset, _types(program, symbols, rows), section)
    events = walk.events()
    return [encode(*own, words) for own, words in zip(events, (size // WORD).tolist(), strict=True)]


def _types(program: Program, symbols: Symbols, rows: I4) -> I4:
    """The slot of each variable's type."""
    slot = symbols.slot[rows]
    owner, records = program.auxes.chosen(slot, lambda kinds: kinds == Aux.GOTYPE)
    owner, records = owner[::-1], records[::-1]  # the first one of a variable counts
    types = np.zeros(len(rows), np.int32)
    types[owner] = program.targets(program.slots.object[slot[owner]], records)
    problems = Problems()
    for row in rows[types == 0].tolist():
        message = f"missing Go type information for a global symbol of {symbols.size[row]} bytes"
        problems.add(message, *file_and_name(program, symbols, row))
    problems.raise_if_any()
    return types


class _Types(Record):
    """The different types of one level, and the symbols that they refer to; columns (n,)."""

    slot: I4
    start: I8  # of the descriptor, in the flat memory
    pointer_bytes: I8
    is_array: Bool
    is_struct: Bool
    is_mask: Bool  # a type of any other kind: it has a mask of its own
    count: I8  # elements of an array, fields of a struct, 0 of others
    links: I8  # what it refers to: one element type, the types of all fields, or one mask
    place: I8  # of the reference to the first of them, in the descriptor


class _Walk(Record):
    """Takes variables apart; collects pointers and repetitions, as words from a section's start."""

    program: Program
    size: I8  # of each section, in bytes
    words: int  # of all sections
    pointers: list[tuple[I8, I8]] = fresh(factory=list)  # section, at
    repeats: list[tuple[I8, I8, I8, I8]] = fresh(factory=list)  # section, at, words, times

    def take_apart(self, offset: I8, types: I4, section: I8) -> None:
        """Collect the events of these variables."""
        for _ in range(DEEPEST):
            if not len(types):
                return
            offset, types, section = self._level(offset, types, section)
        raise typedata.malformed(self.program, int(types[0]), "is a type that holds itself")

    def events(self) -> Iterator[tuple[I8, I8, I8, I8]]:
        """(pointers, and of repetitions: where, how many words, how many times), unsorted."""
        nothing = np.zeros(0, np.int64)
        section, pointers = (
            np.concatenate(c) for c in zip([nothing] * 2, *self.pointers, strict=True)
        )
        of, *repeats = (np.concatenate(c) for c in zip([nothing] * 4, *self.repeats, strict=True))
        for number in range(len(self.size)):
            own = of == number
            yield pointers[section == number], *(column[own] for column in repeats)

    def _level(self, offset: I8, types: I4, section: I8) -> tuple[I8, I4, I8]:
        """Take apart variables at `offset`; return the arrays' elements and structs' fields."""
        unique, _, back = classes(types)
        found = self._read(unique)
        end = offset + found.pointer_bytes[back]
        outside = (offset < 0) | (end <= offset) | (end > self.size[section])
        if outside.any():
            bad = types[np.argmax(outside)]
            raise self._malformed(bad, "has its pointers outside of the variable")
        number, owner = ranges(np.zeros(len(unique), np.int64), found.links)
        at = found.place[owner] + FIELD_SIZE * number
        target = self._targets(found)
        self._masks(found, target[found.is_mask[owner]], offset, back, section)
        inside = np.flatnonzero(~found.is_mask[owner])
        owner, inner, at = owner[inside], target[inside], at[inside]
        start = typedata.descriptors(self.program, inner)[0]
        element = np.flatnonzero(found.is_array[owner])
        if len(element):
            self._arrays(found, self._word(start[element]), offset, back, section)
        has_pointers = self._word(start + POINTER_BYTES) != 0
        has_pointers[element] = True
        kept = np.flatnonzero(has_pointers)
        owner, inner, at = owner[kept], inner[kept], at[kept]
        shift = self._word(found.start[owner] + at + (FIELD_OFFSET - FIELD_TYPE))
        shift *= found.is_struct[owner]
        count = np.bincount(owner, minlength=len(unique))
        self._limit(types, count[back])
        index, item = ranges(starts(count)[back], count[back])
        return offset[item] + shift[index], inner[index], section[item]

    def _read(self, types: I4) -> _Types:
        """What the descriptors say."""
        memory = self.program.memory.bytes
        start, size = typedata.descriptors(self.program, types)
        kind = memory[start + typedata.KIND_OFFSET]
        is_array, is_struct = kind == typedata.ARRAY, kind == typedata.STRUCT
        is_mask = ~(is_array | is_struct)
        self._refuse(types, size < _LEAST_SIZE[kind], "is a type that is cut short")
        flags = memory[start + typedata.FLAGS_OFFSET]
        on_demand = is_mask & (flags & GC_MASK_ON_DEMAND != 0)
        self._refuse(types, on_demand, "has no GC mask")
        # The number lies behind the descriptor of another kind, but not behind the memory.
        count = np.where(is_mask, 0, self._word(start + ELEMENT_COUNT))
        uncommon = (flags & typedata.FLAG_UNCOMMON).astype(np.int64) * typedata.UNCOMMON_SIZE
        first = STRUCT_FIELDS + uncommon
        unfit = is_struct & ((count < 0) | (count > (size - first) // FIELD_SIZE))
        self._refuse(types, unfit, "has fields outside of the descriptor")
        return _Types(
            *(types, start, self._word(start + POINTER_BYTES)),
            *(is_array, is_struct, is_mask, count),
            links=np.where(is_struct, count, 1),
            place=np.where(
                is_struct, first + FIELD_TYPE, np.where(is_array, ARRAY_ELEMENT, GC_MASK)
            ),
        )

    def _targets(self, found: _Types) -> I4:
        """What each link refers to, those of one type after the other; 0 if there is nothing.

        Links have one distance, so a relocation tells by its offset which link it is. If several
        are at one place, the first one counts.
        """
        row, owner = self.program.relocs.rows(found.slot)
        records = self.program.relocs.at(row)
        distance = records["offset"] - found.place.take(owner)
        number = distance // FIELD_SIZE
        fits = (distance == number * FIELD_SIZE) & (number >= 0) & (number < found.links[owner])
        hit = np.flatnonzero(fits)[::-1]
        owner, number = owner[hit], number[hit]
        target = np.zeros(int(found.links.sum()), np.int32)
        target[starts(found.links)[owner] + number] = self.program.targets(
            self.program.slots.object[found.slot[owner]], records[hit]
        )
        return target

    def _masks(self, found: _Types, mask: I4, offset: I8, back: I8, section: I8) -> None:
        """Types with a mask: a pointer for each bit that is set."""
        types = np.flatnonzero(found.is_mask)
        begin, size = self.program.contents.spans(mask)
        words = np.where(found.is_mask, found.pointer_bytes // WORD, 0)
        short = size * 8 < words[types]
        self._refuse(found.slot[types], short, "has a GC mask that is cut short")
        self._limit(found.slot[types], words[back])
        start = np.zeros(len(words), np.int64)
        start[types] = begin
        bit, item = ranges(np.zeros(len(back), np.int64), words[back])
        byte = self.program.memory.bytes[start[back][item] + (bit >> 3)]
        is_set = np.flatnonzero((byte >> (bit & 7).astype(np.uint8)) & 1)
        bit, item = bit[is_set], item[is_set]
        self.pointers.append((section[item], offset[item] // WORD + bit))

    def _arrays(self, found: _Types, element: I8, offset: I8, back: I8, section: I8) -> None:
        """A repetition for the elements of each array but its first; they have `element` bytes."""
        size = np.zeros(len(found.slot), np.int64)
        size[found.is_array] = element
        item = np.flatnonzero(found.is_array[back])
        of = back[item]
        size, length, section = size[of], found.count[of], section[item]
        unfit = (size <= 0) | (length <= 0) | (length > self.size[section] // np.maximum(size, 1))
        self._refuse(found.slot[of], unfit, "is an array larger than the variable")
        many = np.flatnonzero(length > 1)
        size, length = size[many], length[many]
        after = (offset[item[many]] + size) // WORD
        self.repeats.append((section[many], after, size // WORD, length - 1))

    def _word(self, at: I8) -> I8:
        """The 8-byte numbers at these places of the flat memory."""
        found: I8 = windows(self.program.memory.bytes, "<i8")[at]
        return found

    def _limit(self, types: I4, words: I8) -> None:
        """FormatError, of the first type, if so many words are more than there are."""
        if int(words.sum()) > self.words:
            raise self._malformed(types[0], "has fields that overlap")

    def _refuse(self, types: I4, bad: Bool, why: str) -> None:
        if bad.any():
            raise self._malformed(types[np.argmax(bad)], why)

    def _malformed(self, slot: np.integer, why: str) -> FormatError:
        return typedata.malformed(self.program, int(slot), why)


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
