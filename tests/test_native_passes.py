"""The passes over host objects equal their plain twins on random objects."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from host_writer import random_object
from reference import native_link

from pielink.errors import Problems
from pielink.formats import machobj
from pielink.native import atoms as atoms_pass
from pielink.native import gather, literals, reach, relocs, symbols
from pielink.native.tables import NONE, AtomFlag, NameKind, RelocKind, Relocs

SEEDS = range(60)


class Case:
    """Random objects, gathered and split, beside the twin's view of them."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        data = [random_object(rng, number) for number in range(rng.randrange(1, 5))]
        self.plain = [native_link.Object(number, each) for number, each in enumerate(data)]
        files = [machobj.read(each, f"{number}.o") for number, each in enumerate(data)]
        self.host = gather.gather(files)
        self.first = np.cumsum([0, *(len(file.sections) for file in files)])
        self.split, self.placement = atoms_pass.split(self.host)
        self.problems = Problems()
        unplaced = symbols.resolve(self.host, self.placement, self.problems)
        self.atoms, self.names = symbols.allocate_commons(self.host, self.split, unplaced)

    def key(self, atom: int) -> Any:
        """Return the twin's name of an atom."""
        section = int(self.atoms.section[atom])
        file = int(self.host.sections.file[section])
        if file == NONE:
            return native_link.COMMON, self.host.symbol_name(int(self.atoms.symbol[atom])), 0
        return file, section - int(self.first[file]), int(self.atoms.offset[atom])

    def target(self, atom: int, offset: int, name: int) -> Any:
        if atom != NONE:
            return ("atom", self.key(atom), offset)
        return ("name", self.names.text()[name]) if name != NONE else ("number", offset)

    def relocs(self) -> Relocs:
        rows = relocs.normalise(self.host, self.atoms, self.placement, self.names)
        return symbols.settle(rows, self.names)


@pytest.fixture(params=SEEDS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_split(case: Case) -> None:
    expected = [
        (file.number, section, cut)
        for file in case.plain
        for section, cuts in enumerate(file.cuts)
        for cut in cuts
    ]
    assert [case.key(atom) for atom in range(len(case.split))] == expected
    assert case.split.size.tolist() == [case.plain[key[0]].size(key) for key in expected]
    for section in range(len(case.host.sections.file)):
        rows = slice(case.split.first[section], case.split.first[section + 1])
        assert set(case.split.section[rows].tolist()) <= {section}


def test_symbols_are_placed_and_atoms_named(case: Case) -> None:
    row = 0
    for file in case.plain:
        for index in range(len(file.symbols)):
            place = file.symbol_place(index)
            atom = int(case.placement.atom[row])
            found = (case.key(atom), int(case.placement.offset[row])) if atom != NONE else None
            assert found == place
            row += 1
    for atom in range(len(case.split)):
        symbol = int(case.split.symbol[atom])
        starts = (case.placement.atom == atom) & (case.placement.offset == 0)
        assert (symbol != NONE) == starts.any()
        if symbol != NONE:
            external = case.host.symbols.type & 1
            assert starts[symbol]
            assert external[symbol] == external[starts].max()


def test_alignment_is_what_the_place_in_the_section_gives(case: Case) -> None:
    sections = case.host.sections
    for atom in range(len(case.split)):
        limit = int(sections.align[case.split.section[atom]])
        offset = int(case.split.offset[atom])
        align = max(a for a in range(limit + 1) if offset % (1 << a) == 0)
        assert case.split.align[atom] == align


def test_resolve(case: Case) -> None:
    expected = native_link.resolve(case.plain)
    assert case.names.text() == list(expected)
    for row, entry in enumerate(expected.values()):
        assert NameKind(case.names.kind[row]).name == entry["kind"]
        assert bool(case.names.weak_definition[row]) == entry["weak"]
        assert bool(case.names.private[row]) == entry["private"]
        assert bool(case.names.weak_reference[row]) == entry["weak_reference"]
        assert bool(case.names.referenced[row]) == entry["referenced"]
        defined = case.names.kind[row] != NameKind.UNDEFINED
        place = (int(case.names.atom[row]), int(case.names.offset[row]), NONE if defined else row)
        assert case.target(*place) == entry["target"]
    assert not list(case.problems)


def test_relocations(case: Case) -> None:
    rows = case.relocs()
    expected = native_link.relocations(case.plain, native_link.resolve(case.plain))
    assert len(rows) == len(expected)
    order = np.lexsort((rows.offset, rows.atom))
    assert (order == np.arange(len(rows))).all()
    for row in range(len(rows)):
        place = (case.key(int(rows.atom[row])), int(rows.offset[row]))
        kind, size, bias, target, addend, minus = expected[place]
        assert RelocKind(rows.kind[row]).name == kind
        assert (int(rows.size[row]), int(rows.bias[row])) == (size, bias)
        where = (int(rows.target[row]), int(rows.target_offset[row]), int(rows.name[row]))
        assert case.target(*where) == target
        found = int(rows.addend[row])
        if minus is None:
            assert (rows.minus[row], rows.minus_name[row], found) == (NONE, NONE, addend)
            continue
        taken = case.target(int(rows.minus[row]), 0, int(rows.minus_name[row]))
        if minus[0] == "atom":  # offset folded into the addend
            assert (taken[1], found) == (minus[1], addend - minus[2])
        elif minus[0] == "number":
            assert found == addend - minus[1]
        else:
            assert (taken, found) == (minus, addend)


def test_merged_literals(case: Case) -> None:
    rows = case.relocs()
    canonical = literals.merge(case.host, case.atoms, rows)
    plain = native_link.relocations(case.plain, native_link.resolve(case.plain))
    expected = native_link.merged(case.plain, plain)
    for atom in range(len(case.atoms)):
        key = case.key(atom)
        assert case.key(int(canonical[atom])) == expected.get(key, key)


def test_what_is_live(case: Case) -> None:
    rows = case.relocs()
    canonical = literals.merge(case.host, case.atoms, rows)
    merged_atoms, rows, names = literals.apply(case.atoms, rows, case.names, canonical)
    roots = names.atom[:3][names.atom[:3] != NONE]
    none = np.zeros(0, np.int32)
    quiet = np.zeros(len(merged_atoms), np.bool_)
    found = reach.live_atoms(merged_atoms, rows, roots, (none, none), quiet)
    plain = native_link.relocations(case.plain, native_link.resolve(case.plain))
    same = native_link.merged(case.plain, plain)
    start = [case.key(int(atom)) for atom in roots]
    expected = native_link.live(case.plain, plain, start, same)
    assert {case.key(int(atom)) for atom in np.flatnonzero(found)} == expected


def test_flags_and_alignment_move_to_what_stands_for_merged_atoms(case: Case) -> None:
    rows = case.relocs()
    canonical = literals.merge(case.host, case.atoms, rows)
    merged_atoms, _, _ = literals.apply(case.atoms, rows, case.names, canonical)
    for atom in range(len(case.atoms)):
        group = np.flatnonzero(canonical == atom)
        if len(group):
            assert merged_atoms.align[atom] == case.atoms.align[group].max()
            assert merged_atoms.flags[atom] == np.bitwise_or.reduce(case.atoms.flags[group])
        else:
            assert merged_atoms.flags[atom] & AtomFlag.NO_DEAD_STRIP == 0
