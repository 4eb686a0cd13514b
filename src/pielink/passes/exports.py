"""What the program offers to others: which symbols dyld finds by name, and under which names.

Four sources: cgo's export directives, `-exported-symbol NAME` (which also keeps the symbol in the
program, as with Apple's linker), `-export-dynamic` (every symbol that is neither local to a file
nor made for merging), and what dyld keeps once for all images (see hostweak.py). A symbol is
exported under the name that it has in the symbol table; those of cgo directives under the name
that C code knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pielink.arrays import append
from pielink.errors import Problems
from pielink.golang.cgo import Export
from pielink.options import LinkOptions
from pielink.passes.fixups import is_text
from pielink.passes.hosttables import Shared
from pielink.passes.symtab import Exports, visible
from pielink.program import Program
from pielink.tables import ABI0, ABI_INTERNAL, I4, STATIC, Kind, Layout, Symbols

OPTION = "-exported-symbol"


def named_slots(program: Program, names: Sequence[str]) -> I4:
    """The slots that -exported-symbol names: roots of the live program, in the order of `names`.

    A Go function comes before an assembly function of that name. LinkError for names that nobody
    defines.
    """
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    found = np.zeros(len(names), np.int32)
    for version in (ABI0, ABI_INTERNAL):
        slots = program.lookup([(name, version) for name in encoded])
        kind = program.slots.kind[slots]
        defined = (kind != Kind.UNDEFINED) & (kind != Kind.DYNIMPORT)
        found = np.where((slots > 0) & defined, slots, found)
    problems = Problems()
    for name, slot in zip(names, found.tolist(), strict=True):
        if not slot:
            message = f"{OPTION}: the program defines no such symbol (go tool nm lists them)"
            problems.add(message, symbol=name)
    problems.raise_if_any()
    return found


def exports(
    program: Program,
    symbols: Symbols,
    layout: Layout,
    row_of_slot: I4,
    cgo: Mapping[int, Export],
    options: LinkOptions,
    shared: Shared,
) -> Exports:
    """All exports; `cgo` maps rows to what the export directives say of them.

    Of two symbols with one name a directive's comes first, then one that an option names. A symbol
    can have several names.
    """
    found: dict[bytes, tuple[int, bool]] = {}
    for row, export in cgo.items():
        found[b"_" + export.name.encode()] = row, export.dynamic
    rows = row_of_slot[named_slots(program, options.exported_symbols)]
    if options.export_dynamic:
        shown = visible(program.memory, program.objects, symbols, layout)
        shown &= ~symbols.local & (symbols.version != STATIC)
        rows = append(rows, np.flatnonzero(shown))
    for row in rows.tolist():
        found.setdefault(shown_name(program, symbols, row), (row, True))
    for name, row in [*shared.weak.items(), *shared.strong.items()]:
        found[name] = row, True
    return Exports(
        np.array([row for row, _ in found.values()], np.int32),
        list(found),
        np.array([dynamic for _, dynamic in found.values()], np.bool_),
        np.array([name in shared.weak for name in found], np.bool_),
        np.array([name in shared.strong for name in found], np.bool_),
    )


def shown_name(program: Program, symbols: Symbols, row: int) -> bytes:
    """The name of one symbol in the symbol table; see passes.symtab."""
    memory = program.memory
    name = memory.get(int(symbols.name_offset[row]), int(symbols.name_size[row]))
    if symbols.version[row] == ABI0 and is_text(symbols.kind[row : row + 1]).all():
        other = program.lookup([(name, ABI_INTERNAL)])
        if is_text(program.slots.kind[other]).all():
            name += b".abi0"
    return b"_" + name.replace("·".encode(), b".")
