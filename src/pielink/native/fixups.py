"""Decide how each relocation of the image is carried out, and what dyld has to change.

    target      ABSOLUTE   PCREL    BRANCH   GOT, GOT_LOAD       TLV
    atom        rebase     direct   direct   slot, or lea        slot, or lea
    import      bind       error    stub     slot                slot
    number      store      error    error    slot                error

A 4-byte ABSOLUTE of an address, and a DELTA of something that is elsewhere, cannot be
position-independent. Slots and stubs are numbered in the order of first use. Source:
<mach-o/x86_64/reloc.h>; LLVM's lld/MachO/Relocations.cpp and Arch/X86_64.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pielink.errors import Problems
from pielink.native import relocs as relocs_pass
from pielink.native import unwind
from pielink.native.prepare import Prepared
from pielink.native.tables import NONE, Atoms, Host, Names, RelocKind, Relocs
from pielink.tables import I4, I8, U1, Bool


class Where(IntEnum):
    """Where a name that no object defines is, as the caller has found."""

    NOWHERE = 0
    IMPORT = 1  # in a dynamic library
    IMAGE = 2  # in this image, but in no atom: Go symbols, what the linker makes itself


@dataclass(frozen=True, slots=True)
class Slots:
    """Pointers that the linker makes: to an atom and offset, or to a name."""

    target: I4
    target_offset: I8
    name: I4

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, slots=True)
class HostFixups:
    """What relocations of the image need.

    `relocs` are those of live atoms, relaxed where they can be; `slot` (one row a relocation) is
    the row in `got`, `tlv_pointers` or `stubs` that GOT, TLV and BRANCH rows go through, NONE:
    none. `rebase` and `bind` mark the ABSOLUTE rows that dyld changes. `lea_atom`, `lea_offset`
    are where an opcode becomes LEA. Slots of `got` and `tlv_pointers` with an atom or a name in
    the image want a rebase, those with an import a bind. `personality` is the number of the
    personality function of each unwind entry (0: none), and `personality_slots` their rows in
    `got`, number 1 first.
    """

    relocs: Relocs
    slot: I4
    rebase: Bool
    bind: Bool
    got: Slots
    tlv_pointers: Slots
    stubs: I4  # rows in Names
    lea_atom: I4
    lea_offset: I8
    personality: I4
    personality_slots: I4


def plan(prepared: Prepared, where: U1, exported: Bool, problems: Problems) -> HostFixups:
    """Return what the relocations of live atoms need.

    For each name `where` has a Where, and `exported` says whether other images will see it.
    What is undefined or cannot be position-independent goes into `problems`. Raises LinkError
    when there are more personality functions than unwind information has room for.
    """
    host, atoms, relocs, names = prepared.host, prepared.atoms, prepared.relocs, prepared.names
    place = np.full(len(relocs), Where.NOWHERE, np.uint8)
    named = relocs.name != NONE
    place[named] = where[relocs.name[named]]
    relax = relocs_pass.relaxable(host, atoms, relocs, names, exported)
    relocs, lea_atom, lea_offset = relocs_pass.relax(relocs, relax)
    kind = relocs.kind
    imported = named & (place == Where.IMPORT)
    slides = (relocs.target != NONE) | (named & (place == Where.IMAGE))
    number = ~named & (relocs.target == NONE)
    absolute = kind == RelocKind.ABSOLUTE

    report = _Reporter(host, atoms, relocs, names, problems)
    report.undefined(named & (place == Where.NOWHERE))
    fixed = "needs the address while linking, but the image can be loaded anywhere"
    report.refuse(absolute & (slides | imported) & (relocs.size != 8), fixed)
    direct = (kind == RelocKind.PCREL) | (kind == RelocKind.DELTA)
    direct |= kind == RelocKind.TLV_OFFSET
    report.refuse(direct & imported, "reaches into a dynamic library without the GOT")
    missing_minus = (relocs.minus_name != NONE) & (
        where[relocs.minus_name] != Where.IMAGE if len(where) else True
    )
    report.refuse(missing_minus, "subtracts the address of a symbol that is elsewhere")
    relative = direct | (kind == RelocKind.BRANCH) | (kind == RelocKind.TLV)
    only_delta = (kind == RelocKind.DELTA) & (relocs.minus == NONE) & (relocs.minus_name == NONE)
    report.refuse(number & (relative & (kind != RelocKind.DELTA) | only_delta), "reaches a number")
    branch = (kind == RelocKind.BRANCH) & imported
    report.refuse(branch & (relocs.addend != 0), "branches into the middle of an import")

    slot = np.full(len(relocs), NONE, np.int32)
    through_got = (kind == RelocKind.GOT) | (kind == RelocKind.GOT_LOAD)
    personality, distinct = unwind.personalities(prepared.unwind_entries)
    report.undefined_personalities(distinct[:, 1], where)
    got, personality_slots = _number(relocs, through_got, slot, distinct)
    tlv_pointers, _ = _number(relocs, kind == RelocKind.TLV, slot)
    stubs, _ = _number(relocs, branch, slot)
    return HostFixups(
        relocs=relocs,
        slot=slot,
        rebase=absolute & slides,
        bind=absolute & imported,
        got=got,
        tlv_pointers=tlv_pointers,
        stubs=stubs.name,
        lea_atom=lea_atom,
        lea_offset=lea_offset,
        personality=personality,
        personality_slots=personality_slots,
    )


def _number(
    relocs: Relocs, rows: Bool, slot: I4, more: npt.NDArray[np.int64] | None = None
) -> tuple[Slots, I4]:
    """Give each distinct target of `rows` a slot, and write its number into `slot`.

    `more` are further targets (atom, name, offset), whose slots are returned beside.
    """
    chosen = np.flatnonzero(rows)
    columns = (relocs.target, relocs.name, relocs.target_offset)
    keys = np.stack([column[chosen].astype(np.int64) for column in columns], axis=1)
    keys = keys if more is None else np.concatenate([keys, more])
    distinct, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    number = rank[inverse.reshape(-1)]
    slot[chosen] = number[: len(chosen)]
    target, name, offset = distinct[order].reshape(-1, 3).T
    slots = Slots(target.astype(np.int32), offset, name.astype(np.int32))
    return slots, number[len(chosen) :]


class _Reporter:
    """Says which relocation cannot be carried out: object, section, offset and symbol."""

    def __init__(
        self, host: Host, atoms: Atoms, relocs: Relocs, names: Names, problems: Problems
    ) -> None:
        self.host, self.atoms, self.relocs, self.problems = host, atoms, relocs, problems
        self.names = names

    def undefined(self, rows: Bool) -> None:
        """Report each name once for each file that needs it."""
        chosen = np.flatnonzero(rows)
        if not len(chosen):
            return
        text = self.names.text()
        file = self.host.sections.file[self.atoms.section[self.relocs.atom[chosen]]]
        pairs = np.unique(np.stack([file, self.relocs.name[chosen]], axis=1), axis=0)
        for number, name in pairs.tolist():
            symbol = text[name].decode("utf-8", "replace")
            self.problems.add("undefined symbol", self.host.files[number].name, symbol)

    def undefined_personalities(self, names: I8, where: U1) -> None:
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
