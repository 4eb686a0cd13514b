"""Which relocations of live host code cannot be carried out in a position-independent image.

    target      ABSOLUTE   PCREL    BRANCH   GOT, GOT_LOAD       TLV
    atom        rebase     direct   direct   slot, or lea        slot, or lea
    import      bind       error    stub     slot                slot
    number      store      error    error    slot                error

A 4-byte ABSOLUTE of an address, and a DELTA of something that is in another image, are errors,
too. Source: <mach-o/x86_64/reloc.h>; LLVM's lld/MachO/Relocations.cpp and Arch/X86_64.cpp.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import append, distinct, row_classes
from pielink.errors import Problems
from pielink.native.prepare import Prepared
from pielink.native.tables import NONE, RelocKind
from pielink.record import IntEnum
from pielink.tables import I4, U1, Bool

_UNDEFINED = "undefined symbol; name its library in LDFLAGS (-l, -framework)"


class Where(IntEnum):
    """Where a name that no object defines is, as the caller has found."""

    NOWHERE = 0
    IMPORT = 1  # in a dynamic library
    IMAGE = 2  # in this image, but in no atom: Go symbols, what the linker makes itself


def places(prepared: Prepared, where: U1) -> U1:
    """Return the Where of the name of each relocation; NOWHERE for those without a name."""
    name = prepared.relocs.name
    return append(where, np.uint8(Where.NOWHERE))[name]


def report(prepared: Prepared, where: U1, problems: Problems) -> None:
    """Note what is undefined, and what cannot be position-independent, in `problems`.

    `where` has a Where for each name. Messages name object, section, offset and symbol.
    """
    relocs = prepared.relocs
    kind, place = relocs.kind, places(prepared, where)
    named = relocs.name != NONE
    imported = named & (place == Where.IMPORT)
    number = ~named & (relocs.target == NONE)
    delta = kind == RelocKind.DELTA
    direct = (kind == RelocKind.PCREL) | delta | (kind == RelocKind.TLV_OFFSET)
    branch = kind == RelocKind.BRANCH
    minus_lost = (relocs.minus_name != NONE) & (
        append(where, np.uint8(Where.IMAGE))[relocs.minus_name] != Where.IMAGE
    )
    minus_number = delta & (relocs.minus == NONE) & (relocs.minus_name == NONE)
    narrow = (kind == RelocKind.ABSOLUTE) & (relocs.size != 8) & ~number
    to_number = number & ((direct & ~delta) | branch | (kind == RelocKind.TLV) | minus_number)
    rules = (
        (narrow, "needs the address while linking, but the image can be loaded anywhere"),
        (direct & imported, "reaches into a dynamic library without the GOT"),
        (minus_lost, "subtracts the address of a symbol that is elsewhere"),
        (to_number, "reaches a number"),
        (branch & imported & (relocs.addend != 0), "branches into the middle of an import"),
    )
    found = _Reporter(prepared, problems)
    found.undefined(named & (place == Where.NOWHERE))
    entries = prepared.unwind_entries.personality_name
    found.undefined_personalities(distinct(entries), where)
    for rows, why in rules:
        found.refuse(rows, why)


class _Reporter:
    """Says which relocation cannot be carried out: object, section, offset and symbol."""

    def __init__(self, prepared: Prepared, problems: Problems) -> None:
        self.host, self.atoms = prepared.host, prepared.atoms
        self.relocs, self.names, self.problems = prepared.relocs, prepared.names, problems

    def undefined(self, rows: Bool) -> None:
        """Report each name once for each file that needs it."""
        chosen = np.flatnonzero(rows)
        if not len(chosen):
            return
        text = self.names.text()
        file = self.host.sections.file[self.atoms.section[self.relocs.atom[chosen]]]
        pairs, _, _ = row_classes(np.stack([file, self.relocs.name[chosen]], axis=1))
        for number, name in pairs.tolist():
            symbol = text[name].decode("utf-8", "replace")
            self.problems.add(_UNDEFINED, self.host.files[number].name, symbol)

    def undefined_personalities(self, names: I4, where: U1) -> None:
        """Report the personality functions (rows in Names, or NONE) that are nowhere."""
        text = self.names.text()
        for name in names[names != NONE].tolist():
            if where[name] == Where.NOWHERE:
                symbol = text[name].decode("utf-8", "replace")
                self.problems.add("undefined symbol, for exceptions to be caught", symbol=symbol)

    def refuse(self, rows: Bool, why: str) -> None:
        """Report each relocation among `rows`."""
        chosen = np.flatnonzero(rows)
        if not len(chosen):
            return
        text = self.names.text()
        for row in chosen.tolist():
            atom = int(self.relocs.atom[row])
            section = int(self.atoms.section[atom])
            at = int(self.atoms.offset[atom] + self.relocs.offset[row])
            message = f"relocation at {self.host.title(section)}+{at:#x} {why}"
            self.problems.add(message, self.host.file_name(section), self._target(row, text))

    def _target(self, row: int, text: list[bytes]) -> str:
        name, target = int(self.relocs.name[row]), int(self.relocs.target[row])
        if name != NONE:
            return text[name].decode("utf-8", "replace")
        if target == NONE:
            return ""
        symbol = int(self.atoms.symbol[target])
        if symbol != NONE:
            return self.host.symbol_name(symbol).decode("utf-8", "replace")
        return self.host.title(int(self.atoms.section[target]))
