"""Live host code as rows of the linker's tables, so that all later passes treat it like Go's.

An atom becomes a carrier: a row with contents and relocations that layout gives a place. The
symbols in it become interior rows, which have no room of their own: their address is that of the
carrier plus an offset. If Go refers to a host symbol there is a row for it already, undefined so
far, and that row becomes the interior one.

hostsections.py says where they go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import append, isin
from pielink.errors import LinkError, Problem
from pielink.formats import macho
from pielink.native.prepare import Prepared
from pielink.native.relocs import LEA, MOV_LOAD, at_names, relax, relaxable
from pielink.native.tables import NONE, NameKind, RelocKind
from pielink.native.tables import Relocs as HostRelocs
from pielink.passes.fixups import Patches
from pielink.passes.host import HostCode, go_name
from pielink.passes.hostsections import IMAGE_INFO, kinds_of_sections
from pielink.passes.hosttables import HostRows, Interior, OwnSection, Shared
from pielink.program import Program
from pielink.record import fields
from pielink.rows import NewSymbol, concatenate, extend, symbol_rows, take, with_columns
from pielink.tables import (
    ABI0,
    BLOCK_NONPKG_REF,
    I4,
    I8,
    NO_TARGET,
    STATIC,
    U1,
    Bool,
    Kind,
    Memory,
    Reloc,
    Relocs,
    Symbols,
)

_SLOT_KINDS = (RelocKind.GOT, RelocKind.GOT_LOAD, RelocKind.TLV)
_BY_NAME = (*_SLOT_KINDS, RelocKind.BRANCH, RelocKind.ABSOLUTE)
# What a host relocation becomes. Displacements count from the end of the field here; a bias that
# goes beyond it moves into the addend.
_TYPES = np.zeros(len(RelocKind), np.uint16)
_TYPES[RelocKind.ABSOLUTE] = Reloc.ADDR
_TYPES[RelocKind.PCREL] = Reloc.PCREL
_TYPES[RelocKind.BRANCH] = Reloc.CALL
_TYPES[list(_SLOT_KINDS)] = Reloc.GOTPCREL
_TYPES[RelocKind.DELTA] = Reloc.DELTA
_TYPES[RelocKind.TLV_OFFSET] = Reloc.TLV_OFFSET


def add_host_rows(
    program: Program, symbols: Symbols, relocs: Relocs, row_of_slot: I4, code: HostCode
) -> tuple[Symbols, Relocs, HostRows]:
    """Append the live atoms, their symbols, and the dylib symbols that they need."""
    memory, prepared = program.memory, code.prepared
    kind_of_section, sections = kinds_of_sections(code)
    kind = kind_of_section[prepared.atoms.section]
    live = np.flatnonzero(prepared.live & (kind > 0)).astype(np.int32)
    carriers = np.zeros(len(prepared.atoms), np.int32)
    carriers[live] = len(symbols) + np.arange(len(live))
    symbols = concatenate(symbols, _carriers(memory, code, live, kind[live]))
    symbols, interior, row_of_symbol = _interior(program, symbols, row_of_slot, code, carriers)
    first = len(symbols)
    imports = {first + i: found for i, found in enumerate(code.imports.values())}
    symbols, relocs = extend(symbols, relocs, memory, _made(code, sections))
    boundaries = dict(enumerate(dict.fromkeys(code.boundaries.values()), first + len(imports)))
    row_of = {boundary: row for row, boundary in boundaries.items()}
    row_of_name = _row_of_name(code, interior, carriers, row_of_slot)
    row_of_name[list(code.imports)] = list(imports)
    row_of_name[list(code.boundaries)] = [row_of[each] for each in code.boundaries.values()]
    own = np.flatnonzero(code.shared)
    row_of_name[own] = row_of_symbol[prepared.names.symbol[own]]
    symbols, relocs, patches = _add_relocs(
        memory, symbols, relocs, code, carriers, interior, row_of_name
    )
    text = carriers[live][kind[live] == Kind.TEXT]
    return (
        symbols,
        relocs,
        HostRows(
            carriers,
            text,
            interior,
            patches,
            imports,
            _shared(code, row_of_name, row_of_symbol),
            prepared.names.row,
            row_of_name,
            sections,
            boundaries,
        ),
    )


def _shared(code: HostCode, row_of_name: I4, row_of_symbol: I4) -> Shared:
    names = code.prepared.names
    text = names.text() if code.overriding or code.shared.any() else []
    return Shared(
        weak={text[row]: int(row_of_name[row]) for row in np.flatnonzero(code.shared).tolist()},
        strong={text[row]: int(row_of_symbol[names.symbol[row]]) for row in code.overriding},
        imported=[int(row_of_name[row]) for row in code.weak_imports],
    )


def _made(code: HostCode, sections: list[OwnSection]) -> list[NewSymbol]:
    """Symbols that no atom has: those of dylibs, boundaries, the image info of Objective-C."""
    made = [NewSymbol(name, Kind.DYNIMPORT) for name, _, _ in code.imports.values()]
    made += [NewSymbol("", Kind.RODATA, local=True) for _ in set(code.boundaries.values())]
    if code.prepared.image_info:
        kind = Kind.FIRST_HOST_SECTION + sections.index(IMAGE_INFO)
        made.append(NewSymbol("", kind, code.prepared.image_info, align=4, local=True))
    return made


def _add_relocs(
    memory: Memory,
    symbols: Symbols,
    relocs: Relocs,
    code: HostCode,
    carriers: I4,
    interior: Interior,
    row_of_name: I4,
) -> tuple[Symbols, Relocs, Patches]:
    """Append the relocations of live atoms; say which instructions change."""
    prepared = code.prepared
    rows, lea_atom, lea_offset = relax(
        prepared.relocs,
        relaxable(prepared.host, prepared.atoms, prepared.relocs, code.shared),
    )
    added = _relocs(code, _kept(rows, carriers), carriers, interior, row_of_name)
    added, loads = _relaxed(memory, symbols, added, row_of_name[np.flatnonzero(code.shared)])
    start = np.searchsorted(added.owner, np.arange(len(symbols)), side="left") + len(relocs)
    count = np.bincount(added.owner, minlength=len(symbols))
    owns = count > 0
    symbols = with_columns(
        symbols,
        reloc_start=np.where(owns, start, symbols.reloc_start),
        reloc_count=np.where(owns, count, symbols.reloc_count),
    )
    patches = Patches(
        carriers[lea_atom], lea_offset.astype(np.int32), np.full(len(lea_atom), LEA, np.uint8)
    )
    patches = concatenate(take(patches, patches.symbol > 0), loads)
    return symbols, concatenate(relocs, added), patches


def _relaxed(
    memory: Memory, symbols: Symbols, relocs: Relocs, shared: I4
) -> tuple[Relocs, Patches]:
    """Loads through the GOT of what is in the image become LEA; the atoms' own are relaxed.

    The rows `shared` may be replaced by another image's.
    """
    rows = np.flatnonzero((relocs.type == Reloc.GOTPCREL) & (relocs.target > 0))
    rows = rows[symbols.slot[relocs.target[rows]] > 0]
    rows = rows[symbols.kind[relocs.target[rows]] != Kind.DYNIMPORT]
    rows = rows[~isin(relocs.target[rows], shared)]
    rows = rows[relocs.offset[rows] >= 2]
    owner, place = relocs.owner[rows], relocs.offset[rows] - 2
    loads = memory.bytes[symbols.data_offset[owner] + place] == MOV_LOAD
    rows, owner, place = rows[loads], owner[loads], place[loads]
    kind = relocs.type.copy()
    kind[rows] = Reloc.PCREL
    return with_columns(relocs, type=kind), Patches(owner, place, np.full(len(rows), LEA, np.uint8))


def _carriers(memory: Memory, code: HostCode, live: I4, kind: U1) -> Symbols:
    """One row for each live atom."""
    host, atoms = code.prepared.host, code.prepared.atoms
    section = atoms.section[live]
    names = [_carrier_name(code, s) if code.whole else b"" for s in section.tolist()]
    data = np.where(host.sections.data[section] == NONE, 0, host.sections.data[section])
    data = data + np.where(data > 0, atoms.offset[live], 0)
    align = np.where(
        atoms.align[live] == 0, 0 if code.whole else 1, 1 << atoms.align[live].astype(np.int64)
    )
    return symbol_rows(
        len(live),
        name_offset=memory.add_names(names),
        name_size=[len(name) for name in names],
        version=np.full(len(live), STATIC),
        kind=kind,
        local=np.ones(len(live)),
        size=atoms.size[live],
        align=align,
        data_offset=data,
        data_size=np.where(data > 0, atoms.size[live], 0),
    )


def _carrier_name(code: HostCode, section: int) -> bytes:
    """As Go's linker calls a section: package(segment/section)."""
    sections = code.prepared.host.sections
    file = int(sections.file[section])
    package = code.packages[file] if file >= 0 else ""
    title = b"/".join([sections.segment[section], sections.name[section]])
    return package.encode() + b"(" + title + b")"


def _interior(
    program: Program, symbols: Symbols, row_of_slot: I4, code: HostCode, carriers: I4
) -> tuple[Symbols, Interior, I4]:
    """Rows for the symbols inside of live atoms: those of Go that were undefined, or new ones.

    Also returns the row of each host symbol, NO_TARGET for those that have none.
    """
    prepared = code.prepared
    host, names = prepared.host, prepared.names
    table = host.symbols
    atom, inside = _places(prepared)
    defined = (atom != NONE) & (table.name_size > 0) & ((table.type & macho.N_STAB) == 0)
    defined[defined] = carriers[atom[defined]] > 0
    name = names.of_symbol
    external = defined & (name != NONE)
    lost = external.copy()
    lost[external] = names.symbol[name[external]] != np.flatnonzero(external)
    rows = np.flatnonzero(defined & ~lost)
    carrier, offset = carriers[atom[rows]], inside[rows]
    order = np.lexsort((offset, carrier))
    rows, carrier, offset = rows[order], carrier[order], offset[order]
    skip = np.where(host.contents[table.name[rows]] == ord("_"), 1, 0)
    skip[table.name_size[rows] < 2] = 0
    slot = _slots(program, code, rows)
    known = row_of_slot[slot]
    declared = np.where(
        program.slots.block[slot] == BLOCK_NONPKG_REF, 0, program.slots.object[slot]
    )
    new = known == 0
    row = np.where(new, len(symbols) + np.cumsum(new) - 1, known).astype(np.int32)
    kind, size = symbols.kind[carrier], _sizes(symbols, carrier, offset)
    added = symbol_rows(
        int(new.sum()),
        object=declared[new],
        name_offset=(table.name[rows] + skip)[new],
        name_size=(table.name_size[rows] - skip)[new],
        version=np.where(external[rows], ABI0, STATIC)[new],
        kind=kind[new],
        local=~external[rows][new],
        size=size[new],
        align=np.ones(int(new.sum())),
    )
    old = known[~new]
    kinds, sizes, objects = (
        column.copy() for column in (symbols.kind, symbols.size, symbols.object)
    )
    kinds[old], sizes[old], objects[old] = kind[~new], size[~new], declared[~new]
    symbols = concatenate(with_columns(symbols, kind=kinds, size=sizes, object=objects), added)
    row_of_symbol = np.full(len(table.section), NO_TARGET, np.int32)
    row_of_symbol[rows] = row
    return symbols, Interior(row, carrier, offset), row_of_symbol


def _places(prepared: Prepared) -> tuple[I4, I8]:
    """Atom and offset of each host symbol that a section holds, or that a common's atom is for."""
    table, names, placement = prepared.host.symbols, prepared.names, prepared.placement
    atom = np.where(table.section != NONE, placement.atom, NONE).astype(np.int32)
    offset = placement.offset.copy()
    commons = np.flatnonzero((names.kind == NameKind.COMMON) & (names.alias == NONE))
    atom[names.symbol[commons]] = names.atom[commons]
    offset[names.symbol[commons]] = names.offset[commons]
    return atom, offset


def _slots(program: Program, code: HostCode, rows: I8) -> I4:
    """The slots that Go has for these host symbols; 0 where it has none."""
    names = code.prepared.names
    slots = np.zeros(len(rows), np.int32)
    external = np.flatnonzero(names.of_symbol[rows] != NONE)
    text = names.text()
    known = names.of_symbol[rows[external]].tolist()
    slots[external] = program.lookup([(go_name(text[name]), ABI0) for name in known])
    return slots


def _row_of_name(code: HostCode, interior: Interior, carriers: I4, row_of_slot: I4) -> I4:
    """The row of each of Names, as far as a live atom or Go defines it; NO_TARGET: none.

    There is one place more, so that NONE finds NO_TARGET.
    """
    names = code.prepared.names
    found = np.full(len(names) + 1, NO_TARGET, np.int32)
    slots = np.array(list(code.go_slots.values()), np.int32)
    found[list(code.go_slots)] = row_of_slot[slots]
    here = np.flatnonzero(names.atom != NONE)
    here = here[carriers[names.atom[here]] > 0]
    found[here] = interior.row_at(carriers[names.atom[here]], names.offset[here])
    return found


def _sizes(symbols: Symbols, carrier: I4, offset: I8) -> I8:
    """A symbol reaches to the next one in its carrier, or to the carrier's end."""
    end = symbols.size[carrier]
    following = np.flatnonzero(carrier[1:] == carrier[:-1])
    end[following] = offset[following + 1]
    size: I8 = end - offset
    return size


def _kept(rows: HostRelocs, carriers: I4) -> HostRelocs:
    """The relocations of atoms that are in the image."""
    kept = carriers[rows.atom] > 0
    return HostRelocs(*(getattr(rows, column)[kept] for column in fields(rows)))


def _relocs(
    code: HostCode, rows: HostRelocs, carriers: I4, interior: Interior, row_of_name: I4
) -> Relocs:
    """Host relocations in the linker's form: those of a carrier together, in the object's order.

    A DELTA takes two rows: its own, then a marker of size 0 with what is subtracted.
    """
    atom_row = append(carriers, 0)
    target = np.where(rows.target != NONE, atom_row[rows.target], row_of_name[rows.name])
    inside = rows.target_offset.copy()
    # A GOT entry holds the address of the target itself, not of what is around it.
    slot = isin(rows.kind, _SLOT_KINDS) & (rows.target != NONE)
    target[slot] = interior.row_at(target[slot], inside[slot])
    inside[slot] = 0
    # What dyld may replace is reached by its name: through a slot, a stub, or a pointer.
    weak = at_names(code.shared, rows.named) & isin(rows.kind, _BY_NAME)
    names = code.prepared.names
    target[weak] = row_of_name[rows.named[weak]]
    inside[weak] = rows.target_offset[weak] - names.offset[rows.named[weak]]
    _check_slots(code, rows, target[slot] == NO_TARGET, slot)
    number = (rows.target == NONE) & (rows.name == NONE)
    kind = np.where(number & (rows.kind == RelocKind.ABSOLUTE), Reloc.CONST, _TYPES[rows.kind])
    relative = (rows.kind >= RelocKind.PCREL) & (rows.kind <= RelocKind.TLV)
    bias = rows.bias.astype(np.int64) - rows.size
    addend = rows.addend + inside - np.where(relative, bias, 0)
    owner = carriers[rows.atom]
    delta = np.flatnonzero(rows.kind == RelocKind.DELTA)
    minus = np.where(
        rows.minus[delta] != NONE,
        atom_row[rows.minus[delta]],
        row_of_name[rows.minus_name[delta]],
    )
    count = len(rows.atom)
    table = Relocs(
        owner=owner,
        offset=rows.offset.astype(np.int32),
        size=rows.size,
        type=kind.astype(np.uint16),
        weak=np.zeros(count, np.bool_),
        addend=addend,
        target=target.astype(np.int32),
    )
    markers = Relocs(
        owner=owner[delta],
        offset=rows.offset[delta].astype(np.int32),
        size=np.zeros(len(delta), np.uint8),
        type=np.full(len(delta), Reloc.MINUS, np.uint16),
        weak=np.zeros(len(delta), np.bool_),
        addend=np.zeros(len(delta), np.int64),
        target=minus.astype(np.int32),
    )
    both = concatenate(table, markers)
    position = 2 * rows.position.astype(np.int64)
    place = append(position, position[delta] + 1)
    return take(both, np.lexsort((place, both.owner)))


def _check_slots(code: HostCode, rows: HostRelocs, bad: Bool, slot: Bool) -> None:
    """LinkError for the first GOT reference to a place without a symbol."""
    if bad.any():
        row = int(np.flatnonzero(slot)[np.argmax(bad)])
        host, atoms = code.prepared.host, code.prepared.atoms
        section = int(atoms.section[rows.atom[row]])
        place = int(atoms.offset[rows.atom[row]] + rows.offset[row])
        why = f"relocation at {host.title(section)}+{place:#x} needs a GOT entry for no symbol"
        raise LinkError([Problem(why, host.file_name(section))])
