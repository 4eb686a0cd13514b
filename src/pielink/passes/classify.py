"""Sort read-only symbols into finer kinds by their names, so that those of a kind lie together.

Source: symtab in cmd/link/internal/ld/symtab.go and makeRelroForSharedLib in data.go.
"""

from __future__ import annotations

import numpy as np

from pielink.golang.release import Release
from pielink.names import words_at
from pielink.tables import FLAG2_ITAB, U1, Bool, Kind, Memory, Symbols

# In releases without type links itabs lie among the types.
_GO_STRING, _GC_BITS, _TYPE = b"go:string.", b"runtime.gcbits.", b"type:"
_GC_PROGRAM, _GC_MASK, _FUNC_VALUE = b"type:.gcprog.", b"type:.gcmask.", "·f".encode()


def classify(memory: Memory, symbols: Symbols, special: Bool, release: Release, pie: bool) -> U1:
    """The kind of each row, with general read-only data split up.

    In a PIE read-only data that has relocations becomes RODATA_RELRO. Special symbols stay as
    they are. Shape (len(symbols),).
    """
    kind = symbols.kind.copy()
    plain = ((kind == Kind.RODATA) | (kind == Kind.GO_FUNC)) & ~special
    masks = (kind == Kind.NOPTR_BSS) & starts_with(memory, symbols, _GC_MASK)
    types = starts_with(memory, symbols, _TYPE)
    bits = starts_with(memory, symbols, _GC_BITS)
    if release.type_links:
        bits |= starts_with(memory, symbols, _GC_PROGRAM)
    else:
        types |= (symbols.flags2 & FLAG2_ITAB) != 0
        kind[masks] = Kind.GC_MASK
    choices = [
        (starts_with(memory, symbols, _GO_STRING), Kind.GO_STRING),
        (bits, Kind.GC_BITS),
        (ends_with(memory, symbols, _FUNC_VALUE), Kind.GO_FUNC),
        (types, Kind.TYPE),
    ]
    for chosen, new in choices:
        kind[plain & chosen] = new
        plain &= ~chosen
    if pie:
        rest = (kind == Kind.RODATA) & ~special & (symbols.reloc_count > 0)
        kind[rest] = Kind.RODATA_RELRO
    return kind


def starts_with(memory: Memory, symbols: Symbols, prefix: bytes) -> Bool:
    """Which names begin with `prefix`."""
    found: Bool = symbols.name_size >= len(prefix)
    return _matches(memory, symbols, found, 0 * symbols.name_offset, prefix)


def ends_with(memory: Memory, symbols: Symbols, suffix: bytes) -> Bool:
    """Which names end with `suffix`."""
    found: Bool = symbols.name_size >= len(suffix)
    at = symbols.name_size.astype(np.int64) - len(suffix)
    return _matches(memory, symbols, found, at, suffix)


def _matches(memory: Memory, symbols: Symbols, found: Bool, at: object, text: bytes) -> Bool:
    rows = np.flatnonzero(found)
    start = symbols.name_offset[rows] + np.asarray(at)[rows]
    for begin in range(0, len(text), 8):
        part = text[begin : begin + 8]
        mask = np.uint64((1 << 8 * len(part)) - 1)
        same = (words_at(memory, start + begin) & mask) == np.uint64(int.from_bytes(part, "little"))
        rows, start = rows[same], start[same]
    result = np.zeros(len(symbols), np.bool_)
    result[rows] = True
    return result
