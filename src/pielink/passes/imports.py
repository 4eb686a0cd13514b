"""The names that a program shares with dylibs: what it imports, and what cgo exports, by row."""

from __future__ import annotations

import numpy as np

from pielink.formats import macho
from pielink.golang.cgo import Cgo, Export
from pielink.passes.hosttables import HostRows
from pielink.passes.symtab import import_name
from pielink.tables import I4, Imports


def dylib_imports(cgo: Cgo, row_of_slot: I4, host: HostRows) -> Imports:
    """The live symbols that dylibs define, in row order.

    What a directive imports from no particular library is looked up in all of them at run time.
    """
    number = {library: i + 1 for i, library in enumerate(cgo.dylibs)}
    anywhere = macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP
    found = {
        int(row_of_slot[slot]): (entry.name, number.get(entry.library, anywhere), False)
        for slot, entry in cgo.imports.items()
        if row_of_slot[slot]
    } | host.imports
    rows = sorted(found)
    library = {i + 1: name for i, name in enumerate(cgo.dylibs)}
    names = [
        import_name(
            b"_" + found[row][0].encode("utf-8", "surrogateescape"), library.get(found[row][1], "")
        )
        for row in rows
    ]
    return Imports(
        symbol=np.array(rows, np.int32),
        name=names,
        ordinal=np.array([found[row][1] for row in rows], np.int32),
        weak=np.array([found[row][2] for row in rows], np.bool_),
        dylibs=cgo.dylibs,
    )


def cgo_exports(cgo: Cgo, row_of_slot: I4, host: HostRows) -> dict[int, Export]:
    """What the directives export, by row."""
    found = {int(row_of_slot[slot]): e for slot, e in cgo.exports.items() if row_of_slot[slot]}
    for name, export in cgo.host_exports.items():
        name_row = host.names.get(b"_" + name.encode())
        if name_row is not None and host.row_of_name[name_row] > 0:
            found[int(host.row_of_name[name_row])] = export
    return found
