"""Relocated at the addresses that ld64.lld chose, atoms hold the bytes that ld64.lld stored."""

from __future__ import annotations

from pathlib import Path

import native_image
import native_oracle
import numpy as np
import pytest
from host_inputs import compile_object, link, lld
from native_image import Addresses, HostFixups
from native_oracle import Linked

from pielink.native.atoms import EH_FRAME, is_named
from pielink.native.prepare import Prepared
from pielink.native.tables import NONE, RelocKind

CASES = Path(__file__).parent / "cases" / "host"
pytestmark = pytest.mark.skipif(not lld(), reason="ld64.lld is not installed")
FLAGS = (
    *("-undefined", "dynamic_lookup", "-dead_strip", "-no_fixup_chains"),
    *("-exported_symbol", "_main"),  # so that weak definitions stay inside, as ours do
)
PROGRAMS = (
    ("features.c", ("-O1",)),
    ("features.c", ("-O0",)),
    ("exceptions.cc", ("-O2",)),
    ("classes.m", ("-O1",)),
    ("frames.c", ("-O2", "-fomit-frame-pointer")),
    ("relocations.s", ()),
)


@pytest.fixture(params=PROGRAMS, ids=[f"{p[0]}{''.join(p[1][:1])}" for p in PROGRAMS])
def both(request: pytest.FixtureRequest) -> tuple[Prepared, HostFixups, Linked]:
    source, flags = request.param
    path = CASES / source
    made = compile_object(path.read_text(), path.suffix, *flags)
    linker = lld()
    assert linker
    linked = native_oracle.read(link(linker, made, flags=FLAGS))
    return *native_oracle.prepared(made), linked


def test_atoms_hold_the_same_bytes(both: tuple[Prepared, HostFixups, Linked]) -> None:
    found, planned, linked = both
    at = native_oracle.addresses(found, planned, linked)
    stored = native_image.values(planned, at)
    host, atoms = found.host, found.atoms
    filled = host.sections.data[atoms.section] != NONE
    placed = np.flatnonzero(found.live & filled & (at.atom != NONE))
    position = np.full(len(atoms), NONE, np.int64)
    ends = np.cumsum(atoms.size[placed])
    position[placed] = ends - atoms.size[placed]
    image = np.zeros(int(ends[-1]) + 8, np.uint8)
    known = reachable(found, planned, at)
    bound = bind_words(planned)
    live = np.zeros(len(atoms), np.bool_)
    live[placed] = True
    dropped = ~live[planned.relocs.atom]
    position[position == NONE] = 0  # rows of atoms that could not be placed write over the start
    native_image.write(image, position, host, atoms, live, planned, np.where(dropped, 0, stored))
    position[~live] = NONE
    compared = 0
    for atom in placed.tolist():
        start, size = int(position[atom]), int(atoms.size[atom])
        if start == 0 or not known[atom] or not size:
            continue  # the first was written over
        expected = bytearray(linked.content(int(at.atom[atom]), size))
        for offset in bound.get(atom, ()):  # dyld stores those words; any contents will do
            expected[offset : offset + 8] = bytes(8)
        symbol = int(atoms.symbol[atom])
        title = host.symbol_name(symbol) if symbol != NONE else host.title(atoms.section[atom])
        assert image[start : start + size].tobytes() == bytes(expected), title
        compared += 1
    assert compared >= len(placed) * 0.8
    chosen = live[planned.relocs.atom] & known[planned.relocs.atom]
    in_frames = is_named(host, EH_FRAME)[atoms.section][planned.relocs.atom]
    assert chosen[~in_frames].mean() > 0.95


def bind_words(planned: HostFixups) -> dict[int, list[int]]:
    """Return the offsets in each atom of the words that dyld binds."""
    words: dict[int, list[int]] = {}
    for row in np.flatnonzero(planned.bind).tolist():
        atom, offset = int(planned.relocs.atom[row]), int(planned.relocs.offset[row])
        words.setdefault(atom, []).append(offset)
    return words


def reachable(found: Prepared, planned: HostFixups, at: Addresses) -> np.ndarray:
    """Return which atoms refer only to what the other linker's addresses are known of."""
    relocs = planned.relocs
    lost = np.zeros(len(found.atoms), np.bool_)
    unknown = (relocs.target != NONE) & (at.atom[relocs.target] == NONE)
    for kinds, addresses in (
        ((RelocKind.GOT, RelocKind.GOT_LOAD), at.got),
        ((RelocKind.TLV,), at.tlv_pointer),
        ((RelocKind.BRANCH,), at.stub),
    ):
        rows = np.isin(relocs.kind, kinds) & (planned.slot != NONE)
        unknown[rows] |= addresses[planned.slot[rows]] == NONE
    lost[relocs.atom[unknown]] = True
    return ~lost


def test_rebases_and_binds_are_those_of_lld(both: tuple[Prepared, HostFixups, Linked]) -> None:
    found, planned, linked = both
    at = native_oracle.addresses(found, planned, linked)
    relocs, text = planned.relocs, found.names.text()
    placed = at.atom[relocs.atom] != NONE
    address = at.atom[relocs.atom] + relocs.offset
    rebased = {int(each.address) for each in linked.binary.relocations if each.address}
    ours = set(address[planned.rebase & placed].tolist())
    assert ours <= rebased
    bound = {
        (int(b.address), str(b.symbol.name).encode(), int(b.addend)) for b in linked.binary.bindings
    }
    rows = np.flatnonzero(planned.bind & placed)
    mine = {
        (int(address[row]), text[int(relocs.name[row])], int(relocs.addend[row])) for row in rows
    }
    assert mine <= bound
    in_data = {each for each in bound if not in_pointers(linked, each[0])}
    assert in_data <= mine
    names = {name for _, name, _ in bound if name != b"dyld_stub_binder"}
    needed = {text[row] for row in np.flatnonzero(found.needed)}
    assert names <= needed <= names | set(native_oracle.MADE_BY_THE_LINKER)


def in_pointers(linked: Linked, address: int) -> bool:
    """Return whether an address is in a section of pointers that the linker makes."""
    for name in ("__got", "__la_symbol_ptr", "__thread_ptrs"):
        section = linked.section(name)
        if section and section.virtual_address <= address < section.virtual_address + section.size:
            return True
    return False


def test_dropped_and_kept_functions_are_those_of_lld(
    both: tuple[Prepared, HostFixups, Linked],
) -> None:
    found, _, linked = both
    host, atoms = found.host, found.atoms
    code = (host.sections.flags[atoms.section] & 0x80000000) != 0
    for atom in np.flatnonzero(code & (atoms.symbol != NONE)).tolist():
        name = host.symbol_name(int(atoms.symbol[atom]))
        assert bool(found.live[atom]) == (name in linked.symbols), name


def test_the_frames_that_are_kept_describe_their_functions(
    both: tuple[Prepared, HostFixups, Linked],
) -> None:
    """Relocate `__eh_frame` at an address of its own, and read the functions back from it."""
    found, planned, linked = both
    host, atoms = found.host, found.atoms
    rows = np.flatnonzero(found.live & is_named(host, EH_FRAME)[atoms.section])
    at = native_oracle.addresses(found, planned, linked)
    base = 0x1_0800_0000
    ends = np.cumsum(atoms.size[rows])
    at.atom[rows] = base + ends - atoms.size[rows]
    position = np.where(at.atom >= base, at.atom - base, NONE)
    image = np.zeros(int(ends[-1]) if len(rows) else 0, np.uint8)
    relocs = planned.relocs
    stored = native_image.values(planned, at)
    for row in np.flatnonzero(np.isin(relocs.atom, rows)).tolist():
        start, size = int(position[relocs.atom[row]] + relocs.offset[row]), int(relocs.size[row])
        image[start : start + size] = np.frombuffer(
            (int(stored[row]) % (1 << 8 * size)).to_bytes(size, "little"), np.uint8
        )
    expected = {}
    for fde, function, offset, length in zip(
        found.unwind_entries.fde.tolist(),
        found.unwind_entries.function.tolist(),
        found.unwind_entries.offset.tolist(),
        found.unwind_entries.length.tolist(),
        strict=True,
    ):
        if fde != NONE:
            expected[int(position[fde])] = (int(at.atom[function]) + offset, length)
    for start, (function_address, _) in expected.items():
        word = image[start + 8 : start + 16].view("<i8")[0]
        assert base + start + 8 + int(word) == function_address
        back = int(image[start + 4 : start + 8].view("<u4")[0])
        assert start + 4 - back in set(position[rows].tolist()) - set(expected)
