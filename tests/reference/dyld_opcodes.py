"""Plain-Python twins of the rebase and bind codecs: decoders that step byte by byte, and a search
for the fewest bytes that an ordered list of locations can take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

NEVER = 1 << 30
POINTER = 8
WRAP = 1 << 64


def uleb(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        if not value:
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def sleb(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        if (value == 0 and not low & 0x40) or (value == -1 and low & 0x40):
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def read_uleb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return value, at


def read_sleb(data: bytes, at: int) -> tuple[int, int]:
    value, end = read_uleb(data, at)
    bits = 7 * (end - at)
    return (value - (1 << bits) if data[end - 1] & 0x40 else value), end


def decode_rebase(data: bytes) -> list[tuple[int, int, int]]:
    """(segment, type, offset) of each rebase, in stream order."""
    rows: list[tuple[int, int, int]] = []
    at = segment = kind = address = 0

    def rebase(times: int, skip: int) -> None:
        nonlocal address
        for _ in range(times):
            rows.append((segment, kind, address))
            address = (address + POINTER + skip) % WRAP

    while at < len(data):
        opcode, immediate = data[at] & 0xF0, data[at] & 0x0F
        at += 1
        if opcode == 0x00:
            return rows
        if opcode == 0x10:
            kind = immediate
        elif opcode == 0x20:
            segment = immediate
            address, at = read_uleb(data, at)
        elif opcode == 0x30:
            move, at = read_uleb(data, at)
            address = (address + move) % WRAP
        elif opcode == 0x40:
            address = (address + POINTER * immediate) % WRAP
        elif opcode == 0x50:
            rebase(immediate, 0)
        elif opcode == 0x60:
            times, at = read_uleb(data, at)
            rebase(times, 0)
        elif opcode == 0x70:
            skip, at = read_uleb(data, at)
            rebase(1, skip)
        elif opcode == 0x80:
            times, at = read_uleb(data, at)
            skip, at = read_uleb(data, at)
            rebase(times, skip)
        else:
            raise ValueError(f"opcode {opcode:#x}")
    return rows


def shortest_rebase(offsets: Sequence[int]) -> int:
    """The fewest bytes for ascending offsets of one segment, in this order, without the opening
    SET_TYPE, SET_SEGMENT and the DONE: every opcode is tried at every location."""
    n = len(offsets)

    def moves(address: int, target: int) -> Iterator[int]:
        yield 1 + len(uleb(target))  # SET_SEGMENT_AND_OFFSET
        if address == target:
            yield 0
        for scaled in range(4):
            for words in {0, 15 * scaled, max(0, (target - address) // POINTER)}:
                rest = target - address - POINTER * words
                if words <= 15 * scaled and rest >= 0:
                    yield scaled + (1 + len(uleb(rest)) if rest else 0)

    @cache
    def from_location(i: int) -> int:
        return n and min(each_opcode(i)) if i < n else 0

    def after(i: int, address: int) -> int:
        return from_location(i) + (min(moves(address, offsets[i])) if i < n else 0)

    def each_opcode(i: int) -> Iterator[int]:
        here = offsets[i]
        skips = {0} if i + 1 == n else {max(0, offsets[i + 1] - here - POINTER)}
        skips |= {s - POINTER * w for s in skips for w in range(16) if s >= POINTER * w}
        for skip in skips | {0x7F, 0x3FFF}:
            stride, count = POINTER + skip, 1
            while True:
                end = here + count * stride
                if skip == 0:
                    cost = 1 if count <= 15 else 1 + len(uleb(count))
                elif count == 1:
                    cost = 1 + len(uleb(skip))
                else:
                    cost = 1 + len(uleb(count)) + len(uleb(skip))
                yield cost + after(i + count, end)
                if i + count >= n or offsets[i + count] != end:
                    break
                count += 1

    for i in range(n - 1, -1, -1):  # fills the cache from the end: no deep recursion
        from_location(i)
    return from_location(0)


Bind = tuple[int, int, int, int, bytes, int, int]  # segment, type, flags, ordinal, name, addend, at


def decode_bind(data: bytes, lazy: bool = False) -> list[Bind]:
    """(segment, type, flags, ordinal, name, addend, offset) of each bind, in stream order."""
    rows: list[Bind] = []
    at = segment = flags = ordinal = addend = address = 0
    kind, name = int(lazy), b""

    def bind(times: int, skip: int) -> None:
        nonlocal address
        for _ in range(times):
            rows.append((segment, kind, flags, ordinal, name, addend, address))
            address = (address + POINTER + skip) % WRAP

    while at < len(data):
        opcode, immediate = data[at] & 0xF0, data[at] & 0x0F
        at += 1
        if opcode == 0x00:
            if not lazy:
                return rows
        elif opcode == 0x10:
            ordinal = immediate
        elif opcode == 0x20:
            ordinal, at = read_uleb(data, at)
        elif opcode == 0x30:
            ordinal = immediate - 16 if immediate else 0
        elif opcode == 0x40:
            end = data.index(b"\0", at)
            flags, name, at = immediate, data[at:end], end + 1
        elif opcode == 0x50:
            kind = immediate
        elif opcode == 0x60:
            addend, at = read_sleb(data, at)
        elif opcode == 0x70:
            segment = immediate
            address, at = read_uleb(data, at)
        elif opcode == 0x80:
            move, at = read_uleb(data, at)
            address = (address + move) % WRAP
        elif opcode == 0x90:
            bind(1, 0)
        elif opcode == 0xA0:
            skip, at = read_uleb(data, at)
            bind(1, skip)
        elif opcode == 0xB0:
            bind(1, POINTER * immediate)
        elif opcode == 0xC0:
            times, at = read_uleb(data, at)
            skip, at = read_uleb(data, at)
            bind(times, skip)
        else:
            raise ValueError(f"opcode {opcode:#x}")
    return rows


def shortest_bind(rows: Sequence[Bind]) -> int:
    """The fewest bytes for any order of the rows, DONE left out: a search over all orders.

    The state is the set of rows done and the row done last (an opcode leaves the address anywhere
    it likes behind that one); the sets of one size are looked at together. Rows that one repeat
    could cover are not tried as such: the rows must not hold four with one symbol and equal
    strides.
    """
    n = len(rows)

    def change(last: Bind | None, row: Bind) -> int:
        """Bytes to set the machine from behind `last` for `row`, and to bind it."""
        segment, kind, flags, ordinal, name, addend, at = row
        cost = 1
        if last is None or last[3] != ordinal:
            cost += 1 if ordinal <= 15 else 1 + len(uleb(ordinal))
        if last is None or (last[2], last[4]) != (flags, name):
            cost += 2 + len(name)
        cost += last is None or last[1] != kind
        if (last[5] if last else 0) != addend:
            cost += 1 + len(sleb(addend))
        moves = [1 + len(uleb(at))]
        if last is not None and last[0] == segment and at >= last[6] + POINTER:
            gap = at - last[6] - POINTER
            moves.append(0 if gap % POINTER == 0 and gap <= 120 else len(uleb(gap)))
        return cost + min(moves)

    sets = np.arange(1 << n)
    best = np.full((1 << n, n), NEVER, np.int32)
    for i in range(n):
        best[1 << i, i] = change(None, rows[i])
    step = np.array([[change(last, row) for last in rows] for row in rows], np.int32)
    for size in range(1, n):
        done = sets[np.bitwise_count(sets) == size]
        for i in range(n):
            without = done[done >> i & 1 == 0]
            best[without | 1 << i, i] = (best[without] + step[i]).min(axis=1)
    return int(best[-1].min())
