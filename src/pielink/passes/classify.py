"""Sort read-only symbols into finer kinds by their names, so that those of a kind lie together.

Source: symtab in cmd/link/internal/ld/symtab.go and makeRelroForSharedLib in data.go.
"""

from __future__ import annotations

import numpy as np

from pielink.golang.release import Release
from pielink.names import words_at
from pielink.tables import FLAG2_ITAB, I8, U1, U8, Bool, Kind, Memory, Symbols

# In releases without type links itabs lie among the types.
_GO_STRING, _GC_BITS, _TYPE = b"go:string.", b"runtime.gcbits.", b"type:"
_GC_PROGRAM, _GC_MASK, _FUNC_VALUE = b"type:.gcprog.", b"type:.gcmask.", "·f".encode()


def classify(memory: Memory, symbols: Symbols, special: Bool, release: Release, pie: bool) -> U1:
    """The kind of each row, with general read-only data split up.

    In a PIE read-only data that has relocations becomes RODATA_RELRO. Special symbols stay as
    they are. Shape (len(symbols),).
    """
    kind = symbols.kind.copy()
    rows = np.flatnonzero(((kind == Kind.RODATA) | (kind == Kind.GO_FUNC)) & ~special)
    names = _Names(memory, symbols, rows)
    types, bits = names.begin_with(_TYPE), names.begin_with(_GC_BITS)
    if release.type_links:
        bits |= names.begin_with(_GC_PROGRAM)
    else:
        types |= (symbols.flags2.take(rows) & FLAG2_ITAB) != 0
        bss = np.flatnonzero(kind == Kind.NOPTR_BSS)
        kind[bss[_Names(memory, symbols, bss).begin_with(_GC_MASK)]] = Kind.GC_MASK
    choices = [
        (names.begin_with(_GO_STRING), Kind.GO_STRING),
        (bits, Kind.GC_BITS),
        (names.end_with(_FUNC_VALUE), Kind.GO_FUNC),
        (types, Kind.TYPE),
    ]
    plain = np.ones(len(rows), np.bool_)
    for chosen, new in choices:
        kind[rows.compress(plain & chosen)] = new
        plain &= ~chosen
    if pie:
        rest = (kind == Kind.RODATA) & ~special & (symbols.reloc_count > 0)
        kind[rest] = Kind.RODATA_RELRO
    return kind


class _Names:
    """The names of some rows, to be asked how they begin and end. Answers are (n,) bool."""

    def __init__(self, memory: Memory, symbols: Symbols, rows: I8) -> None:
        self.memory, self.offset = memory, symbols.name_offset.take(rows)
        self.size = symbols.name_size.take(rows)
        self.first = words_at(memory, self.offset)

    def begin_with(self, prefix: bytes) -> Bool:
        """Which names begin with `prefix`."""
        found = self.size >= len(prefix)
        found &= _agree(self.first, prefix[:8])
        for begin in range(8, len(prefix), 8):
            rows = np.flatnonzero(found)
            words = words_at(self.memory, self.offset[rows] + begin)
            found[rows] = _agree(words, prefix[begin : begin + 8])
        return found

    def end_with(self, suffix: bytes) -> Bool:
        """Which names end with `suffix`, of eight bytes at most."""
        start = np.maximum(self.size.astype(np.int64) - len(suffix), 0)
        found = _agree(words_at(self.memory, self.offset + start), suffix)
        return found & (self.size >= len(suffix))


def _agree(words: U8, text: bytes) -> Bool:
    """Which words begin with `text`, of eight bytes at most."""
    mask = np.uint64((1 << 8 * len(text)) - 1)
    same: Bool = (words & mask) == np.uint64(int.from_bytes(text, "little"))
    return same
