"""Turn the relocations of amd64 object files into uniform rows: kind, target, addend, bias.

The addend of a Mach-O relocation is in the field that it patches. Against a symbol (extern) the
field holds the addend itself; against a section it holds the target's address in the object's own
address space, or for pc-relative fields the distance to it. So a section target is found from the
field: the atom at that address. What displacements count from: the end of the 4-byte field, and
1, 2 or 4 bytes more for SIGNED_1, SIGNED_2, SIGNED_4, whose instruction ends with an immediate. A
SUBTRACTOR and the UNSIGNED that follows it at the same place are one row: UNSIGNED's target minus
SUBTRACTOR's. Source: <mach-o/x86_64/reloc.h>.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import append
from pielink.arraytypes import NDArray
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.hints import Any
from pielink.native import atoms as atoms_pass
from pielink.native.tables import (
    NONE,
    Atoms,
    Host,
    HostRelocs,
    Names,
    Placement,
    RelocKind,
    Relocs,
)
from pielink.record import NamedTuple, fields, replace
from pielink.tables import I4, I8, Bool

NO_KIND = 255


class _Type(NamedTuple):
    """What a relocation type must look like, and what it becomes."""

    kind: int
    pcrel: bool
    lengths: tuple[int, ...]  # log2 of the sizes that fields may have
    extern: bool  # a section is no target for it
    after: int = 0  # bytes of immediate between the field and the next instruction


_TYPES = {
    macho.X86_64_RELOC_UNSIGNED: _Type(RelocKind.ABSOLUTE, False, (2, 3), False),
    macho.X86_64_RELOC_SIGNED: _Type(RelocKind.PCREL, True, (2,), False),
    macho.X86_64_RELOC_BRANCH: _Type(RelocKind.BRANCH, True, (0, 2), False),
    macho.X86_64_RELOC_GOT_LOAD: _Type(RelocKind.GOT_LOAD, True, (2,), True),
    macho.X86_64_RELOC_GOT: _Type(RelocKind.GOT, True, (2,), True),
    macho.X86_64_RELOC_SUBTRACTOR: _Type(RelocKind.DELTA, False, (2, 3), True),
    macho.X86_64_RELOC_SIGNED_1: _Type(RelocKind.PCREL, True, (2,), False, 1),
    macho.X86_64_RELOC_SIGNED_2: _Type(RelocKind.PCREL, True, (2,), False, 2),
    macho.X86_64_RELOC_SIGNED_4: _Type(RelocKind.PCREL, True, (2,), False, 4),
    macho.X86_64_RELOC_TLV: _Type(RelocKind.TLV, True, (2,), True),
}
_KIND = np.full(16, NO_KIND, np.uint8)
_PCREL = np.zeros(16, np.bool_)
_EXTERN = np.zeros(16, np.bool_)
_AFTER = np.zeros(16, np.int64)
_LENGTHS = np.zeros((16, 4), np.bool_)
for _number, _row in _TYPES.items():
    _KIND[_number], _PCREL[_number], _EXTERN[_number] = _row.kind, _row.pcrel, _row.extern
    _AFTER[_number] = _row.after
    _LENGTHS[_number, list(_row.lengths)] = True

TLV_DESCRIPTOR_SIZE, TLV_OFFSET_FIELD = 24, 16  # bytes; of the offset in a descriptor
MOV_LOAD, LEA = 0x8B, 0x8D  # opcodes: load from memory, load the address


def normalise(host: Host, atoms: Atoms, placement: Placement, names: Names) -> Relocs:
    """Return one row for each relocation (each pair) of the sections that have atoms.

    Raises FormatError naming file, section and offset for a relocation that amd64 objects cannot
    have.
    """
    raw = host.relocs
    kept = atoms.first[raw.section] != atoms.first[raw.section + 1]
    raw = HostRelocs(*(getattr(raw, column)[kept] for column in fields(raw)))
    _check(host, raw)
    paired = raw.type == macho.X86_64_RELOC_SUBTRACTOR
    second = np.flatnonzero(paired) + 1
    content = _contents(host, raw)
    target, target_offset, name, addend = _targets(host, atoms, placement, names, raw, content)
    minus = np.full(len(target), NONE, np.int32)
    minus_name = minus.copy()
    kind = _KIND[raw.type]
    kind[second] = RelocKind.DELTA
    # The subtrahend has no addend of its own; its symbol's offset in its atom counts against.
    own = _symbol_offset(placement, names, raw.symbol[second - 1])
    minus[second], minus_name[second] = target[second - 1], name[second - 1]
    addend[second] -= own
    kind[_is_tlv_offset(host, raw)] = RelocKind.TLV_OFFSET
    atom = atoms_pass.find(atoms, raw.section, raw.offset)
    offset = raw.offset - atoms.offset[atom] if len(atoms) else raw.offset
    size = (1 << raw.length.astype(np.int64)).astype(np.uint8)
    bias = np.where(raw.pcrel, size + _AFTER[raw.type], 0).astype(np.uint8)
    _check_inside(host, atoms, raw, atom, offset + size)
    columns = (atom, offset, kind, size, bias, target, target_offset, name, addend)
    order = np.lexsort((offset, atom))
    order = order[~paired[order]]
    position = np.arange(len(atom), dtype=np.int32)
    return Relocs(*(column[order] for column in (*columns, minus, minus_name, position, name)))


def _refuse(host: Host, raw: HostRelocs, bad: Bool, why: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        section, offset = int(raw.section[row]), int(raw.offset[row])
        what = f"relocation at {host.title(section)}+{offset:#x} {why}"
        raise FormatError(what, host.file_name(section))


def _check(host: Host, raw: HostRelocs) -> None:
    """Raise FormatError for the first relocation that breaks a rule of its type."""
    _refuse(host, raw, _KIND[raw.type] == NO_KIND, "has an unknown type")
    _refuse(host, raw, raw.pcrel != _PCREL[raw.type], "is pc-relative by mistake, or is not")
    _refuse(host, raw, ~_LENGTHS[raw.type, raw.length], "has a field of the wrong size")
    _refuse(host, raw, _EXTERN[raw.type] & (raw.symbol == NONE), "needs a symbol as its target")
    stab = (raw.symbol != NONE) & ((_at(host.symbols.type, raw.symbol) & macho.N_STAB) != 0)
    _refuse(host, raw, stab, "has a debug symbol as its target")
    first = raw.type == macho.X86_64_RELOC_SUBTRACTOR
    follows = np.zeros(len(first), np.bool_)
    follows[:-1] = raw.type[1:] == macho.X86_64_RELOC_UNSIGNED
    for column in (raw.section, raw.offset, raw.length):
        follows[:-1] &= column[1:] == column[:-1]
    _refuse(host, raw, first & ~follows, "is a SUBTRACTOR without its UNSIGNED")


def _check_inside(host: Host, atoms: Atoms, raw: HostRelocs, atom: I4, end: I8) -> None:
    if len(atoms):
        _refuse(host, raw, end > atoms.size[atom], "reaches over the end of its subsection")


def _at(column: NDArray[Any], rows: I4) -> NDArray[Any]:
    """Return column[rows]; 0 for a column without rows (all rows are NONE then)."""
    return column[rows] if len(column) else np.zeros(len(rows), column.dtype)


def _contents(host: Host, raw: HostRelocs) -> I8:
    """Return the field of each relocation, sign-extended."""
    place = host.sections.data[raw.section] + raw.offset
    content = np.zeros(len(place), np.int64)
    for length, dtype in ((0, np.int8), (2, np.int32), (3, np.int64)):
        rows = np.flatnonzero(raw.length == length)
        size = 1 << length
        fields_ = host.contents[place[rows][:, None] + np.arange(size)]
        content[rows] = fields_.view(dtype).reshape(len(rows))
    return content


def _symbol_offset(placement: Placement, names: Names, symbol: I4) -> I8:
    """Return the offset in its atom of each local symbol; 0 for one that is reached by name."""
    local = (symbol != NONE) & (_at(names.of_symbol, symbol) == NONE)
    offset: I8 = np.where(local, _at(placement.offset, symbol), 0)
    return offset


def _targets(
    host: Host, atoms: Atoms, placement: Placement, names: Names, raw: HostRelocs, content: I8
) -> tuple[I4, I8, I4, I8]:
    """Return target atom, offset in it, target name and addend of each relocation."""
    after = _AFTER[raw.type]
    by_symbol = raw.symbol != NONE
    name = np.where(by_symbol, _at(names.of_symbol, raw.symbol), NONE).astype(np.int32)
    local = by_symbol & (name == NONE)
    target = np.where(local, _at(placement.atom, raw.symbol), NONE).astype(np.int32)
    addend = np.where(by_symbol, content + after, 0)
    target_offset = _symbol_offset(placement, names, raw.symbol)
    absolute = local & ((_at(host.symbols.type, raw.symbol) & macho.N_TYPE) == macho.N_ABS)
    target_offset += np.where(absolute, _at(host.symbols.value, raw.symbol), 0)
    _refuse(host, raw, local & ~absolute & (target == NONE), "has a target that is left out")
    subtracted = absolute & (raw.type == macho.X86_64_RELOC_SUBTRACTOR)
    _refuse(host, raw, subtracted, "subtracts a symbol that is a number")

    rows = np.flatnonzero(~by_symbol)
    section = raw.target_section[rows]
    end_of_field = raw.offset[rows] + (1 << raw.length[rows].astype(np.int64))
    here = host.sections.address[raw.section[rows]] + end_of_field
    address = content[rows] + np.where(raw.pcrel[rows], here + after[rows], 0)
    inside = address - host.sections.address[section]
    found = atoms_pass.find(atoms, section, inside)
    missing = np.zeros(len(content), np.bool_)
    missing[rows] = found == NONE
    _refuse(host, raw, missing, "has a target section that is left out")
    target[rows] = found
    target_offset[rows] = inside - (atoms.offset[found] if len(atoms) else 0)
    return target, target_offset, name, addend


def _is_tlv_offset(host: Host, raw: HostRelocs) -> Bool:
    """Return which rows patch the third word of a thread-local's descriptor."""
    in_descriptors = atoms_pass.section_type(host)[raw.section] == macho.S_THREAD_LOCAL_VARIABLES
    found: Bool = in_descriptors & (raw.offset % TLV_DESCRIPTOR_SIZE == TLV_OFFSET_FIELD)
    found &= raw.type == macho.X86_64_RELOC_UNSIGNED
    return found


def relaxable(host: Host, atoms: Atoms, relocs: Relocs, shared: Bool) -> Bool:
    """Return which GOT_LOAD and TLV rows need no slot: their target is in the image.

    `relocs` are settled. Their instruction is a load (`mov slot(%rip), reg`), to become
    `lea target(%rip), reg`; see relax. `shared`, (n,) of Names: a definition that another image's
    can replace; a reference to such a name keeps its slot.
    """
    loads = (relocs.kind == RelocKind.GOT_LOAD) | (relocs.kind == RelocKind.TLV)
    here: Bool = loads & (relocs.target != NONE) & (relocs.offset >= 2)
    here &= ~at_names(shared, relocs.named)
    rows = np.flatnonzero(here)
    atom = relocs.atom[rows]
    section = atoms.section[atom]
    place = host.sections.data[section] + atoms.offset[atom] + relocs.offset[rows]
    here[rows] = host.contents[place - 2] == MOV_LOAD
    return here


def at_names(mask: Bool, name: I4) -> Bool:
    """Return what the mask, (n,) of Names, says of each name; False for NONE."""
    found: Bool = append(mask, False)[name]
    return found


def relax(relocs: Relocs, rows: Bool) -> tuple[Relocs, I4, I8]:
    """Make the relaxable `rows` PCREL.

    Also return where their opcode is (atom, offset in it), which the caller sets to LEA.
    """
    kind = np.where(rows, RelocKind.PCREL, relocs.kind).astype(np.uint8)
    return replace(relocs, kind=kind), relocs.atom[rows], relocs.offset[rows] - 2
