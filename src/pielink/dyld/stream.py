"""Opcode streams as columns: where the opcodes are in the bytes, and what their operands say.

A rebase or bind stream is a sequence of opcodes. The high nibble of an opcode's byte says what it
does, the low nibble is its immediate; then come its operands: nothing, one or two LEB128 numbers,
or a string ended by NUL. So a byte can be told from an opcode only by reading what comes before:
the stream is a walk through an automaton of four states (an opcode is next; one number; two
numbers; a string).

The walk is taken without a loop over bytes. The stream is cut into about sqrt(n) blocks, and all
blocks are walked at once, from each of the four states that they could start in; which of the
four was right follows block after block. Both loops are of length sqrt(n).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pielink.arrays import append, differences
from pielink.arraytypes import I8, U1, U8, Bool
from pielink.dyld import leb128
from pielink.dyld.errors import DyldInfoError
from pielink.record import NamedTuple, Record

# What follows an opcode's byte; also the state of the walk in front of a byte.
NOTHING, ONE_LEB, TWO_LEBS, STRING = range(4)
STATES = 4


class Form(NamedTuple):
    """What an opcode is called, what follows its byte (NOTHING .. STRING), and how to show it."""

    name: str
    operands: int = NOTHING
    immediate: bool = True  # the low nibble means something
    signed: bool = False  # the number is an SLEB


class Opcode(NamedTuple):
    """One opcode for people: offset is in bytes from the start of the stream.

    opcode: its high nibble, in place; immediate: its low nibble; operands: what follows its byte,
    numbers or a string; text: the name of loader.h with immediate and operands.
    """

    offset: int
    opcode: int
    immediate: int
    operands: tuple[int | bytes, ...]
    text: str


class Stream(Record):
    """The opcodes of a stream in stream order, DONE included where it ends the stream.

    offset: of the opcode's byte; opcode: its high nibble, still in place (0x00..0xF0); immediate:
    its low nibble; first, second: the LEB operands, unsigned (0 where there is none); size: bytes
    of all operands.
    """

    offset: I8
    opcode: U1
    immediate: U1
    first: U8
    second: U8
    size: I8

    def __len__(self) -> int:
        return len(self.offset)


def fail(message: str, offset: int | np.integer | None = None) -> DyldInfoError:
    """The error to raise for a stream that is malformed at the byte offset."""
    return DyldInfoError(message, offset=None if offset is None else int(offset))


class Grammar(Record):
    """What follows each of the 256 bytes if it is an opcode: both (256,).

    operands: NOTHING .. STRING; signed: whether the number is an SLEB.
    """

    operands: U1
    signed: Bool


def grammar(forms: Mapping[int, Form]) -> Grammar:
    """Make `parse` able to read the opcodes of forms.

    forms: by the opcode with its immediate, or by the opcode alone for all others of its row.
    """
    nothing = Form("")
    rows = [forms.get(byte, forms.get(byte & 0xF0, nothing)) for byte in range(256)]
    operands = np.array([form.operands for form in rows], np.uint8)
    return Grammar(operands, np.array([form.signed for form in rows]))


def refuse(offset: I8, bad: Bool, message: str) -> None:
    """Raise the error at the first opcode that is bad; offset and bad: (n,)."""
    if bad.any():
        raise fail(message, offset[np.flatnonzero(bad)[0]])


def last_true(mask: Bool) -> I8:
    """For each row the index of the last True at or before it, -1 if there is none: (n,)."""
    return np.maximum.accumulate(np.where(mask, np.arange(len(mask)), -1))


def parse(data: bytes, rules: Grammar, done_ends: bool = True) -> Stream:
    """Split a stream into its opcodes.

    done_ends: an opcode 0x00 ends the stream, and what comes after it is not looked at.
    Raises DyldInfoError if the last operand is cut off or a number does not fit into 64 bits.
    """
    raw = np.frombuffer(data, np.uint8)
    states = _walk(raw, rules.operands)
    offset = np.flatnonzero(states[:-1] == NOTHING)
    end, cut_off = len(raw), int(states[-1]) != NOTHING
    if done_ends:
        done = np.flatnonzero(raw[offset] < 0x10)
        if len(done):
            end, cut_off = int(offset[done[0]]) + 1, False
            offset = offset[: int(done[0]) + 1]
    if cut_off:
        raise fail("the operand of an opcode runs past the end of the stream", offset[-1])
    size = differences(offset, end=end) - 1
    second_at = np.flatnonzero((states[1:end] == ONE_LEB) & (states[: end - 1] == TWO_LEBS)) + 1
    return _with_numbers(raw, offset, size, second_at, rules)


def _with_numbers(raw: U1, offset: I8, size: I8, second_at: I8, rules: Grammar) -> Stream:
    byte = raw[offset]
    kind = rules.operands[byte]
    first = np.zeros(len(offset), np.uint64)
    second = np.zeros(len(offset), np.uint64)
    two = np.flatnonzero(kind == TWO_LEBS)
    first_size = size.copy()
    first_size[two] = second_at - offset[two] - 1
    some = np.flatnonzero((kind == ONE_LEB) | (kind == TWO_LEBS))
    for operand, rows, starts, sizes in (
        (first, some, offset[some] + 1, first_size[some]),
        (second, two, second_at, size[two] - first_size[two]),
    ):
        bad = leb128.overflows(raw, starts, sizes, rules.signed[byte[rows]])
        refuse(offset[rows], bad, "a LEB128 number does not fit into 64 bits")
        operand[rows] = leb128.get(raw, starts, sizes)
    return Stream(offset, byte & np.uint8(0xF0), byte & np.uint8(0x0F), first, second, size)


def _transitions(operands: U1) -> U1:
    """The map of states of each byte value, packed: bits 2s and 2s + 1 hold what follows s."""
    byte = np.arange(256)
    more = byte >= 0x80
    after = [
        operands,
        np.where(more, ONE_LEB, NOTHING),
        np.where(more, TWO_LEBS, ONE_LEB),
        np.where(byte == 0, NOTHING, STRING),
    ]
    packed = sum(state.astype(np.uint8) << np.uint8(2 * s) for s, state in enumerate(after))
    return np.asarray(packed, np.uint8)


def _walk(raw: U1, operands: U1) -> U1:
    """The state in front of each byte, and behind the last one: (n + 1,) uint8."""
    length = max(1, int(len(raw) ** 0.5))
    blocks = -(-len(raw) // length)
    maps = np.zeros(length * blocks, np.uint8)
    maps[: len(raw)] = _transitions(operands)[raw]
    steps = np.ascontiguousarray(maps.reshape(blocks, length).T)
    # Twice the state, a row for each state that the blocks could start in.
    shift = np.repeat(np.arange(0, 2 * STATES, 2, dtype=np.uint8)[:, None], blocks, axis=1)
    for step in steps:
        shift = ((step >> shift) & np.uint8(3)) << np.uint8(1)
    ends = (shift.T >> np.uint8(1)).tolist()
    start = [NOTHING]
    for end in ends:
        start.append(end[start[-1]])
    shift = np.array(start[:blocks], np.uint8) << np.uint8(1)
    states = np.empty((length, blocks), np.uint8)
    for step, row in zip(steps, states, strict=True):
        row[:] = shift
        shift = ((step >> shift) & np.uint8(3)) << np.uint8(1)
    walked = (states.T.reshape(-1) >> np.uint8(1))[: len(raw)]
    return append(walked, _after(raw, walked, operands))


def _after(raw: U1, walked: U1, operands: U1) -> np.uint8:
    if not len(raw):
        return np.uint8(NOTHING)
    last = _transitions(operands)[raw[-1]]
    return np.uint8((last >> (np.uint8(2) * walked[-1])) & np.uint8(3))


def describe(stream: Stream, forms: Mapping[int, Form], data: bytes) -> list[Opcode]:
    """The opcodes of a stream one by one, with names and operands, for people."""
    columns = (stream.offset, stream.opcode, stream.immediate, stream.first, stream.second)
    listed = []
    for row, (offset, code, immediate, *numbers) in enumerate(
        zip(*(c.tolist() for c in columns), strict=True)
    ):
        form = forms[code | immediate] if code | immediate in forms else forms[code]
        operands: tuple[int | bytes, ...] = tuple(numbers[: form.operands])
        if form.operands == STRING:
            operands = (data[offset + 1 : offset + int(stream.size[row])],)
        elif form.signed:
            size = stream.size[row : row + 1]
            operands = (int(leb128.sign_extend(stream.first[row : row + 1], size)[0]),)
        shown = [str(immediate)] if form.immediate else []
        shown += [
            o.decode("utf-8", "backslashreplace") if isinstance(o, bytes) else f"{o:#x}"
            for o in operands
        ]
        listed.append(Opcode(offset, code, immediate, operands, f"{form.name}({', '.join(shown)})"))
    return listed
