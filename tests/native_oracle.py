"""Another linker's output as the oracle of ours: where it put each atom, and what it stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lief
import native_image
import numpy as np
from native_image import Addresses, HostFixups

from pielink.errors import Problems
from pielink.formats import machobj
from pielink.native import diagnose, gather, prepare
from pielink.native.diagnose import Where
from pielink.native.prepare import Prepared
from pielink.native.tables import NONE
from pielink.native.tlv import in_template

MADE_BY_THE_LINKER = (b"___dso_handle", b"__mh_execute_header")


@dataclass
class Linked:
    """An executable of another linker, read by LIEF."""

    path: Path
    binary: Any
    symbols: dict[bytes, int]
    header: int

    def section(self, name: str) -> Any:
        return next((s for s in self.binary.sections if s.name == name), None)

    def content(self, address: int, size: int) -> bytes:
        return bytes(self.binary.get_content_from_virtual_address(address, size))


def read(path: Path) -> Linked:
    fat = lief.MachO.parse(str(path))
    assert fat is not None
    binary = fat.at(0)
    defined = {str(s.name).encode(): s.value for s in binary.symbols if s.value}
    return Linked(path, binary, defined, binary.imagebase)


def prepared(*objects: Path, roots: tuple[bytes, ...] = (b"_main",)) -> tuple[Prepared, HostFixups]:
    """Run our passes over the objects; names that nobody defines come from dylibs."""
    problems = Problems()
    files = [machobj.read(each.read_bytes(), each.name) for each in objects]
    found = prepare.keep(prepare.analyse(gather.gather(files), problems), roots)
    where = np.full(len(found.names), Where.IMPORT, np.uint8)
    for name in MADE_BY_THE_LINKER:
        if name in found.names.row:
            where[found.names.row[name]] = Where.IMAGE
    diagnose.report(found, where, problems)
    problems.raise_if_any()
    return found, native_image.plan(found, where)


def atom_addresses(found: Prepared, linked: Linked) -> np.ndarray[Any, Any]:
    """Return where the other linker put each live atom; NONE where that cannot be told.

    Named atoms are found by name; those without a name or a relocation by their contents; those
    of a section that was kept whole by their place in it.
    """
    host, atoms = found.host, found.atoms
    address = np.full(len(atoms), NONE, np.int64)
    patched = set(found.relocs.atom.tolist())
    for atom in np.flatnonzero(found.live).tolist():
        symbol, section = int(atoms.symbol[atom]), int(atoms.section[atom])
        if symbol != NONE and host.symbol_name(symbol) in linked.symbols:
            address[atom] = linked.symbols[host.symbol_name(symbol)]
        elif atom not in patched and host.sections.data[section] != NONE:
            start = int(host.sections.data[section] + atoms.offset[atom])
            content = host.contents[start : start + int(atoms.size[atom])].tobytes()
            for name in (host.sections.name[section].decode(), "__literals", "__cstring"):
                home = linked.section(name)
                at = _find_literal(bytes(home.content), content) if home else -1
                if at >= 0:
                    address[atom] = home.virtual_address + at
                    break
        else:
            home = linked.section(host.sections.name[section].decode())
            if home and home.size == host.sections.size[section]:
                address[atom] = home.virtual_address + atoms.offset[atom]
    return address


def _find_literal(where: bytes, what: bytes) -> int:
    """Return where a literal begins; a string must not be found as the end of a longer one."""
    at = where.find(what)
    while at > 0 and what[-1:] == b"\0" and len(what) not in (4, 8, 16) and where[at - 1]:
        at = where.find(what, at + 1)
    return at


def _local_slots(planned: HostFixups, linked: Linked, atom: Any, got: Any) -> Any:
    """Fill in the GOT slots that hold the address of an atom, by what they hold."""
    section = linked.section("__got")
    words = np.frombuffer(bytes(section.content), np.int64) if section else np.zeros(0, np.int64)
    for row in np.flatnonzero(planned.got.target != NONE).tolist():
        wanted = atom[planned.got.target[row]] + planned.got.target_offset[row]
        at = np.flatnonzero(words == wanted)
        if len(at):
            got[row] = section.virtual_address + 8 * at[0]
    return got


def slot_addresses(
    found: Prepared, planned: HostFixups, linked: Linked, atom: Any
) -> dict[str, Any]:
    """Return the addresses of GOT slots, thread-local pointers and stubs of imports, by name."""
    text = found.names.text()
    bound = {(b.segment.name, str(b.symbol.name).encode()): [] for b in linked.binary.bindings}
    slots: dict[tuple[str, bytes], int] = {}
    for each in linked.binary.bindings:
        bound[each.segment.name, str(each.symbol.name).encode()].append(each.address)
        for section in linked.binary.sections:
            start = section.virtual_address
            if start <= each.address < start + section.size:
                slots[section.name, str(each.symbol.name).encode()] = each.address
    stubs = linked.section("__stubs")
    if stubs:
        indirect = [
            str(s.name).encode() for s in linked.binary.dynamic_symbol_command.indirect_symbols
        ]
        count = stubs.size // stubs.reserved2
        for number, name in enumerate(indirect[stubs.reserved1 : stubs.reserved1 + count]):
            slots["__stubs", name] = stubs.virtual_address + number * stubs.reserved2

    def of(names: Any, section: str) -> np.ndarray[Any, Any]:
        return np.array([slots.get((section, text[n]), NONE) for n in names.tolist()], np.int64)

    return {
        "got": _local_slots(planned, linked, atom, of(planned.got.name, "__got")),
        "tlv_pointer": of(planned.tlv_pointers.name, "__thread_ptrs"),
        "stub": of(planned.stubs, "__stubs"),
    }


def addresses(found: Prepared, planned: HostFixups, linked: Linked) -> Addresses:
    """Return everything that relocating needs, as the other linker laid it out."""
    atom = atom_addresses(found, linked)
    name = np.full(len(found.names), linked.header, np.int64)
    known = found.live & (atom != NONE)
    initial = atom[in_template(found.host, found.atoms) & known]
    template = int(initial.min()) if len(initial) else 0
    slots = slot_addresses(found, planned, linked, atom)
    return Addresses(atom=atom, name=name, tlv_template=template, **slots)
