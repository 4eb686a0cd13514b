"""A small linker's last steps, for the tests: GOT, stubs, thread-local pointers, and the bytes.

The linker itself turns atoms into rows of its own tables. This carries the native tables out
directly, so that what they say can be held against another linker's output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pielink.blocks import copy_ranges
from pielink.native import diagnose, unwind
from pielink.native import relocs as relocs_pass
from pielink.native.diagnose import Where
from pielink.native.prepare import Prepared
from pielink.native.relocs import LEA
from pielink.native.tables import NONE, Atoms, Host, RelocKind, Relocs
from pielink.tables import I4, I8, U1, Bool


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


def plan(prepared: Prepared, where: U1) -> HostFixups:
    """Decide how each relocation of live atoms is carried out; `where` has a Where a name.

    Nothing is exported. See native.diagnose for what each kind of target needs.
    """
    host, atoms, relocs, names = prepared.host, prepared.atoms, prepared.relocs, prepared.names
    shared = np.zeros(len(names), np.bool_)
    relax = relocs_pass.relaxable(host, atoms, relocs, shared)
    relocs, lea_atom, lea_offset = relocs_pass.relax(relocs, relax)
    kind, place = relocs.kind, diagnose.places(prepared, where)
    imported = place == Where.IMPORT
    absolute = kind == RelocKind.ABSOLUTE
    slot = np.full(len(relocs), NONE, np.int32)
    through_got = (kind == RelocKind.GOT) | (kind == RelocKind.GOT_LOAD)
    personality, distinct = unwind.personalities(prepared.unwind_entries)
    got, personality_slots = _number(relocs, through_got, slot, distinct)
    tlv_pointers, _ = _number(relocs, kind == RelocKind.TLV, slot)
    stubs, _ = _number(relocs, (kind == RelocKind.BRANCH) & imported, slot)
    return HostFixups(
        relocs=relocs,
        slot=slot,
        rebase=absolute & ((relocs.target != NONE) | (place == Where.IMAGE)),
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


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is, unslid; one row for each row of the table in the comment."""

    atom: I8  # Atoms
    name: I8  # Names; those of Where.IMAGE
    got: I8  # HostFixups.got
    tlv_pointer: I8  # HostFixups.tlv_pointers
    stub: I8  # HostFixups.stubs
    tlv_template: int


def values(fixups: HostFixups, at: Addresses) -> I8:
    """Return what each relocation stores, before it is cut to the size of its field."""
    relocs, kind = fixups.relocs, fixups.relocs.kind
    target = np.where(relocs.target == NONE, 0, np.append(at.atom, 0)[relocs.target])
    target += np.where(relocs.name == NONE, 0, np.append(at.name, 0)[relocs.name])
    target += relocs.target_offset
    slots = (
        (RelocKind.GOT, at.got),
        (RelocKind.GOT_LOAD, at.got),
        (RelocKind.TLV, at.tlv_pointer),
        (RelocKind.BRANCH, at.stub),
    )
    for each, addresses in slots:
        rows = (kind == each) & (fixups.slot != NONE)
        target[rows] = addresses[fixups.slot[rows]]
    from_here = (kind >= RelocKind.PCREL) & (kind <= RelocKind.TLV)
    place = at.atom[relocs.atom] + relocs.offset + relocs.bias
    minus = np.append(at.atom, 0)[relocs.minus] + np.append(at.name, 0)[relocs.minus_name]
    stored = target + relocs.addend
    stored -= np.where(from_here, place, 0)
    stored -= np.where(kind == RelocKind.DELTA, minus, 0)
    stored -= np.where(kind == RelocKind.TLV_OFFSET, at.tlv_template, 0)
    stored[fixups.bind] = 0
    return stored


def write(
    image: U1, position: I8, host: Host, atoms: Atoms, live: Bool, fixups: HostFixups, stored: I8
) -> None:
    """Copy the live atoms into `image` (uint8) and store their relocated values.

    `position` is where each atom starts in `image`, in bytes; atoms of zero fill have no bytes
    there and NONE as their position.
    """
    rows = np.flatnonzero(live & (position != NONE))
    source = host.sections.data[atoms.section[rows]] + atoms.offset[rows]
    copy_ranges(image, position[rows], host.contents, source, atoms.size[rows])
    relocs = fixups.relocs
    place = position[relocs.atom] + relocs.offset
    for size, dtype in ((1, np.int8), (4, np.int32), (8, np.int64)):
        chosen = np.flatnonzero(relocs.size == size)
        cut = stored[chosen].astype(dtype)
        image[place[chosen][:, None] + np.arange(size)] = cut[:, None].view(np.uint8)
    image[position[fixups.lea_atom] + fixups.lea_offset] = LEA
