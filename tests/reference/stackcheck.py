"""How much stack each function needs, by recursion: the plain twin of pielink.golang.stackcheck."""

from __future__ import annotations

from pielink.tables import FLAG_NOSPLIT, Aux, Auxes, Memory, Reloc, Relocs, Symbols

INFINITE = 2**15 - 1


def pcsp_steps(data: bytes) -> list[tuple[int, int]]:
    """(stack depth, offset in the code where it ends) of a pc-sp table."""
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value, shift = 0, 0
    steps, depth, pc = [], -1, 0
    for change, size in zip(numbers[0:-1:2], numbers[1::2], strict=True):
        depth += -(change >> 1) - 1 if change & 1 else change >> 1
        pc += size
        steps.append((depth, pc))
    return steps


class Checker:
    """Heights of functions, found by following the calls."""

    def __init__(
        self, memory: Memory, symbols: Symbols, relocs: Relocs, auxes: Auxes, morestack: int
    ) -> None:
        self.memory, self.symbols, self.relocs = memory, symbols, relocs
        self.morestack = morestack
        pairs = list(zip(auxes.owner.tolist(), auxes.type.tolist(), auxes.target.tolist(),
                         strict=True))  # fmt: skip
        self.has_info = {owner for owner, kind, _ in pairs if kind == Aux.FUNCINFO}
        self.pcsp = {owner: target for owner, kind, target in pairs if kind == Aux.PCSP}
        self.heights: dict[int, int] = {}

    def height(self, row: int) -> int:
        """Bytes of stack that a function and what it calls take; INFINITE for circles."""
        if row not in self.heights:
            self.heights[row] = INFINITE
            self.heights[row] = min(INFINITE, self.compute(row))
        return self.heights[row]

    def compute(self, row: int) -> int:
        """The height of a function that is not known yet."""
        if row == self.morestack or row not in self.has_info:
            return 0
        if not self.symbols.flags[row] & FLAG_NOSPLIT:
            return 8
        highest, start = 0, 0
        table = self.pcsp.get(row, 0)
        data = self.memory.get(
            int(self.symbols.data_offset[table]), int(self.symbols.data_size[table])
        )
        for depth, end in pcsp_steps(data):
            highest = max(highest, depth)
            for at, kind, target in self.calls(row):
                if start <= at < end:
                    called = 8 if kind == Reloc.CALLIND else self.height(target)
                    highest = max(highest, depth + 8 + called)
            start = end
        return highest

    def calls(self, row: int) -> list[tuple[int, int, int]]:
        """(offset, type, target) of the calls in a function."""
        start, count = int(self.symbols.reloc_start[row]), int(self.symbols.reloc_count[row])
        rows = range(start, start + count)
        found = [(self.relocs.offset[r], self.relocs.type[r], self.relocs.target[r]) for r in rows]
        return [tuple(map(int, f)) for f in found if f[1] in (Reloc.CALL, Reloc.CALLIND)]
