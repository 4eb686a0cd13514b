"""Plain-Python twin of the native passes: one symbol, one relocation, one atom at a time.

An atom is (file, section, offset); file COMMON holds common symbols, as (COMMON, name, 0). A
target is ("atom", atom, offset in it), ("name", name) or ("number", value).
"""

from __future__ import annotations

import struct
from typing import Any

from reference import native_machobj

COMMON = -1
N_STAB, N_PEXT, N_TYPE, N_EXT, N_ABS, N_SECT = 0xE0, 0x10, 0x0E, 0x01, 0x2, 0xE
NO_DEAD_STRIP, WEAK_REF, WEAK_DEF, ALT_ENTRY = 0x20, 0x40, 0x80, 0x200
KEEP_ATTRIBUTE, SUPPORT_ATTRIBUTE, DEBUG_ATTRIBUTE = 0x10000000, 0x08000000, 0x02000000
RECORDS = {3: 4, 4: 8, 14: 16, 5: 8, 9: 8, 10: 8}
AFTER = {6: 1, 7: 2, 8: 4}
KINDS = {0: "ABSOLUTE", 1: "PCREL", 2: "BRANCH", 3: "GOT_LOAD", 4: "GOT", 6: "PCREL", 7: "PCREL",
         8: "PCREL", 9: "TLV"}  # fmt: skip

Atom = tuple[Any, Any, int]


class Object:
    """One object file, read by the plain reader."""

    def __init__(self, number: int, data: bytes) -> None:
        self.number = number
        self.data = data
        self.flags = struct.unpack_from("<I", data, 24)[0]
        self.sections = native_machobj.sections(data)
        self.symbols = native_machobj.symbols(data)
        self.relocations = native_machobj.relocations(data)
        self.cuts = [self._cuts(index) for index in range(len(self.sections))]

    def content(self, section: int) -> bytes:
        row = self.sections[section]
        return self.data[int(row["offset"]) :][: int(row["size"])]

    def _cuts(self, index: int) -> list[int]:
        row = self.sections[index]
        size, kind = int(row["size"]), int(row["flags"]) & 0xFF
        if int(row["flags"]) & DEBUG_ATTRIBUTE:
            return []
        cuts = {0} if size else set()
        divisible = bool(self.flags & 0x2000)
        if divisible and kind == 2:
            content = self.content(index)
            cuts |= {at + 1 for at in range(size - 1) if content[at] == 0}
        elif divisible and kind in RECORDS:
            cuts |= set(range(0, size, RECORDS[kind]))
        elif divisible:
            for name, type_, section, desc, value in self.symbols:
                here = not type_ & N_STAB and type_ & N_TYPE == N_SECT and section == index + 1
                if here and not desc & ALT_ENTRY and not name.startswith(b"L"):
                    cuts.add(value - int(row["addr"]))
        return sorted(cuts)

    def atom_at(self, section: int, offset: int) -> tuple[Atom, int] | None:
        """Return the atom that holds a place, and the offset in it."""
        cuts = self.cuts[section]
        if not cuts:
            return None
        start = max((cut for cut in cuts if cut <= offset), default=cuts[0])
        return (self.number, section, start), offset - start

    def size(self, atom: Atom) -> int:
        _, section, start = atom
        later = [cut for cut in self.cuts[section] if cut > start]
        return (later[0] if later else int(self.sections[section]["size"])) - start

    def symbol_place(self, index: int) -> tuple[Atom, int] | None:
        _, type_, section, _, value = self.symbols[index]
        if type_ & N_STAB or type_ & N_TYPE != N_SECT:
            return None
        return self.atom_at(section - 1, value - int(self.sections[section - 1]["addr"]))


def resolve(objects: list[Object]) -> dict[bytes, dict[str, Any]]:
    """Return what each external name is, in the order of first appearance."""
    names: dict[bytes, dict[str, Any]] = {}
    for file in objects:
        for index, (name, type_, _, desc, value) in enumerate(file.symbols):
            if type_ & N_STAB or not type_ & N_EXT:
                continue
            entry = names.setdefault(name, {"definitions": [], "weak_refs": [], "private": []})
            kind = type_ & N_TYPE
            if kind == 0 and value == 0:
                entry["weak_refs"].append(bool(desc & WEAK_REF))
                continue
            rank = 1 if kind == 0 else 2 if desc & WEAK_DEF else 3
            size = value if rank == 1 else 0
            hidden = rank == 2 and bool(desc & WEAK_REF)
            found = (rank, size, file, index, hidden or bool(type_ & N_PEXT))
            entry["definitions"].append(found)
    return {name: _settled(name, entry) for name, entry in names.items()}


def _settled(name: bytes, entry: dict[str, Any]) -> dict[str, Any]:
    refs, definitions = entry["weak_refs"], entry["definitions"]
    result = {"kind": "UNDEFINED", "target": ("name", name), "weak": False, "private": False}
    result |= {"weak_reference": bool(refs) and all(refs), "referenced": bool(refs)}
    if not definitions:
        return result
    best = max(definitions, key=lambda each: (each[0], each[1]))
    rank, _, file, index, private = best
    weak = [each[4] for each in definitions if each[0] == 2]
    result["private"] = all(weak) if rank == 2 else private and all(weak)
    result["weak"] = rank == 2
    if rank == 1:
        result |= {"kind": "COMMON", "target": ("atom", (COMMON, name, 0), 0)}
    elif file.symbols[index][1] & N_TYPE == N_ABS:
        result |= {"kind": "ABSOLUTE", "target": ("number", file.symbols[index][4])}
    else:
        result |= {"kind": "DEFINED", "target": ("atom", *file.symbol_place(index))}
    return result


def _symbol_target(file: Object, index: int, names: dict[bytes, dict[str, Any]]) -> Any:
    name, type_, _, _, value = file.symbols[index]
    if type_ & N_EXT:
        return names[name]["target"]
    if type_ & N_TYPE == N_ABS:
        return ("number", value)
    place = file.symbol_place(index)
    assert place
    return ("atom", *place)


def relocations(objects: list[Object], names: dict[bytes, dict[str, Any]]) -> dict[Any, Any]:
    """Return (atom, offset) -> (kind, size, bias, target, addend, minus) of every relocation."""
    rows = {}
    for file in objects:
        pending = None
        for section, type_, length, pcrel, extern, symbol, at in file.relocations:
            here = file.atom_at(section, at)
            if here is None:
                continue
            if type_ == 5:
                pending = _symbol_target(file, symbol, names)
                continue
            size = 1 << length
            content = int.from_bytes(file.content(section)[at : at + size], "little", signed=True)
            after = AFTER.get(type_, 0)
            if extern:
                target, addend = _symbol_target(file, symbol, names), content + after
            else:
                base = int(file.sections[section]["addr"]) + at + size + after if pcrel else 0
                offset = content + base - int(file.sections[symbol - 1]["addr"])
                place = file.atom_at(symbol - 1, offset)
                assert place
                target, addend = ("atom", *place), 0
            kind = "DELTA" if pending else KINDS[type_]
            bias = size + after if pcrel else 0
            rows[here] = (kind, size, bias, target, addend, pending)
            pending = None
    return rows


def merged(objects: list[Object], rows: dict[Any, Any]) -> dict[Atom, Atom]:
    """Return the atom that stands for each literal atom."""
    first: dict[Any, Atom] = {}
    canonical = {}
    patched = {atom for atom, _ in rows}
    for file in objects:
        for index, section in enumerate(file.sections):
            kind = int(section["flags"]) & 0xFF
            if kind not in (2, 3, 4, 14):
                continue
            for start in file.cuts[index]:
                atom = (file.number, index, start)
                content = file.content(index)[start : start + file.size(atom)]
                title = (section["segname"], section["sectname"], kind, content)
                if atom not in patched:
                    canonical[atom] = first.setdefault(title, atom)
    return canonical


def live(
    objects: list[Object], rows: dict[Any, Any], roots: list[Atom], canonical: Any
) -> set[Atom]:
    """Return the atoms that roots reach, by a depth-first walk."""

    def stands(atom: Atom) -> Atom:
        return canonical.get(atom, atom)

    reaches: dict[Atom, set[Atom]] = {}
    for (atom, _), (_, _, _, target, _, minus) in rows.items():
        for end in (target, minus):
            if end and end[0] == "atom":
                reaches.setdefault(atom, set()).add(stands(end[1]))
    keep, support = set(map(stands, roots)), set()
    for file in objects:
        for index, section in enumerate(file.sections):
            for start in file.cuts[index]:
                if int(section["flags"]) & KEEP_ATTRIBUTE:
                    keep.add(stands((file.number, index, start)))
                if int(section["flags"]) & SUPPORT_ATTRIBUTE:
                    support.add((file.number, index, start))
        for index, (_, _, _, desc, _) in enumerate(file.symbols):
            place = file.symbol_place(index)
            if place and desc & NO_DEAD_STRIP:
                keep.add(stands(place[0]))
    found: set[Atom] = set()
    while True:
        pending = list(keep - found)
        while pending:
            atom = pending.pop()
            if atom not in found:
                found.add(atom)
                pending.extend(reaches.get(atom, ()))
        keep = {atom for atom in support if reaches.get(atom, set()) & found}
        if keep <= found:
            return found
