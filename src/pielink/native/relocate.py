"""Store the relocated values of host atoms into the image.

S, A, P and B as in tables.RelocKind. ABSOLUTE words that dyld binds hold 0 (the addend travels in
the bind), those that it rebases the unslid address.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pielink.blocks import copy_ranges
from pielink.errors import Problems
from pielink.native.fixups import HostFixups
from pielink.native.relocs import LEA
from pielink.native.tables import NONE, Atoms, Host, RelocKind, Relocs
from pielink.tables import I8, U1, Bool

SIGNED_LIMITS = {1: 1 << 7, 4: 1 << 31}


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


def check_range(host: Host, atoms: Atoms, relocs: Relocs, stored: I8, problems: Problems) -> None:
    """Report the values that their fields cannot hold, as signed or (not pc-relative) unsigned."""
    relative = (relocs.kind >= RelocKind.PCREL) & (relocs.kind <= RelocKind.DELTA)
    for size, limit in SIGNED_LIMITS.items():
        high = np.where(relative, limit, 2 * limit)
        rows = (relocs.size == size) & ((stored < -limit) | (stored >= high))
        for row in np.flatnonzero(rows).tolist():
            atom = int(relocs.atom[row])
            section = int(atoms.section[atom])
            where = f"{host.title(section)}+{int(atoms.offset[atom] + relocs.offset[row]):#x}"
            value = int(stored[row])
            why = f"relocation at {where}: {value:#x} does not fit into {size} bytes"
            problems.add(why, host.file_name(section))


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
