"""The order of the functions in the image, and their addresses.

Packages come in the order of their dependencies, the runtime and what it imports first; inside a
package, functions that have one definition precede those that may have several (generic
instances, wrappers), which lie with the first package that has them. Source:
AssignTextSymbolOrder in cmd/link/internal/loader/loader.go, postorder in ld/lib.go, textaddress
in ld/data.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import (
    among,
    append,
    changes,
    differences,
)
from pielink.errors import LinkError, Problem
from pielink.golang.sequence import first_seen
from pielink.passes.read import Library
from pielink.program import Program
from pielink.tables import BLOCK_NONPKG_REF, FLAG_DUPOK, I4, I8, Kind, Symbols

# Functions are at least this far apart: the tables that find a function by its PC need it.
MIN_FUNCTION = 16


def text_order(program: Program, libraries: list[Library], row_of_slot: I4, rewritten: I4) -> I4:
    """Rows of all live functions from Go objects, in the order of the image.

    `rewritten` are slots of functions whose relocations the linker has changed: Go's linker treats
    them as if they were defined elsewhere.
    """
    slots, objects = program.slots, program.objects
    code = (slots.own_kind == Kind.TEXT) | (slots.own_kind == Kind.TEXT_FIPS)
    found = np.flatnonzero(code & (slots.block != BLOCK_NONPKG_REF)).astype(np.int32)
    found = found.compress(row_of_slot.take(slots.canon.take(found)) > 0)
    canon = slots.canon.take(found)
    wins = slots.definition.take(canon) == found
    wins &= ~among(found, np.sort(rewritten))
    several = ~wins | ((slots.flags.take(found) & FLAG_DUPOK) != 0)
    rank = _package_rank(libraries, program.release.runtime_packages)
    library = rank.take(objects.library.take(objects.of(found)))
    order = np.argsort(2 * library + several, kind="stable")
    rows = row_of_slot.take(canon.take(order))
    return first_seen(rows, int(rows.max(initial=0)) + 1).astype(np.int32)


def _package_rank(libraries: list[Library], runtime: frozenset[str]) -> I4:
    """Position of each library: dependencies first, the runtime's packages before all others."""
    order: list[int] = []
    state = [0] * len(libraries)  # 1: its imports are being visited, 2: done
    for root in range(len(libraries)):
        stack = [(root, iter(libraries[root].imports))] if not state[root] else []
        while stack:
            row, rest = stack[-1]
            state[row] = 1
            for imported in rest:
                if state[imported] == 1:
                    name = libraries[imported].package
                    message = f"import cycle through {name}; remove one of the imports"
                    raise LinkError([Problem(message, libraries[row].file)])
                if not state[imported]:
                    stack.append((imported, iter(libraries[imported].imports)))
                    break
            else:
                state[row] = 2
                order.append(row)
                stack.pop()
    order.sort(key=lambda row: libraries[row].package not in runtime)
    rank = np.empty(len(libraries), np.int32)
    rank[order] = np.arange(len(order))
    return rank


def shuffled(text: I4, seed: int) -> I4:
    """The functions in a random order that `seed` decides (-randlayout)."""
    import random  # rarely needed, and slow to import

    order = list(range(len(text)))
    random.Random(seed).shuffle(order)
    return text[order]


def by_kind(symbols: Symbols, text: I4) -> I4:
    """The functions with those of the FIPS module gathered between their two markers."""
    return text[np.argsort(symbols.kind[text], kind="stable")]


def text_offsets(symbols: Symbols, text: I4, function_align: int) -> tuple[I8, int, int]:
    """Offsets of the functions from the start of the text, its size, and its alignment."""
    align = np.maximum(symbols.align[text].astype(np.int64), function_align)
    size = np.maximum(symbols.size[text], MIN_FUNCTION)
    offset, end = place(size, align, 0)
    return offset, end, int(align.max(initial=function_align))


def place(size: I8, align: I8, start: int) -> tuple[I8, int]:
    """Offsets of pieces that follow each other from `start` on, each at its alignment (a power of
    two), and the end of the last one.

    Inside a run of one alignment every piece takes a multiple of it, so that sums give the
    offsets; only from run to run one offset depends on the other.
    """
    offset = np.empty(len(size), np.int64)
    if not len(size):
        return offset, start
    rounded = (size + align - 1) & -align
    ends = np.cumsum(rounded)
    heads = np.flatnonzero(changes(align))
    if len(heads) == 1:
        boundary = int(align[0])
        at = (start + boundary - 1) & -boundary
        return ends - rounded + at, at + int(ends[-1] - rounded[-1] + size[-1])
    before = ends[heads] - rounded[heads]
    last = append(heads[1:], len(size)) - 1
    tails = (ends[last] - before - rounded[last] + size[last]).tolist()
    bases = []
    at = start
    for boundary, length in zip(align[heads].tolist(), tails, strict=True):
        at = (at + boundary - 1) & -boundary
        bases.append(at)
        at += length
    shift = np.array(bases, np.int64) - before
    np.subtract(ends, rounded, out=offset)
    offset += np.repeat(shift, differences(append(heads, len(size))))
    return offset, at
