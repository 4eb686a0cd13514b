"""Merge equal literals: strings, 4-, 8- and 16-byte numbers, and constant CFStrings.

Atoms of literal sections of the same name that hold the same bytes become one: the first. A
CFString is four words (class, flags, characters, length) with relocations; two are equal when
their bytes and their targets are, after the strings that they point at have been merged. Pointers
to literals (S_LITERAL_POINTERS) merge likewise. Source: ld64's Resolver and LLVM's
lld/MachO/SyntheticSections.cpp (deduplication), <mach-o/loader.h> for the section types.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import append, differences, isin
from pielink.formats import macho
from pielink.hints import Any
from pielink.native.tables import NONE, Atoms, Host, Names, Relocs
from pielink.record import replace
from pielink.tables import I4, I8, U8, Bool

PLAIN_TYPES = (
    macho.S_CSTRING_LITERALS,
    macho.S_4BYTE_LITERALS,
    macho.S_8BYTE_LITERALS,
    macho.S_16BYTE_LITERALS,
)
CFSTRING = b"__cfstring"
MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that its powers mix all 64 bits


def merge(host: Host, atoms: Atoms, relocs: Relocs) -> I4:
    """Return, for each atom, the atom that stands for it (itself, or an equal one before it).

    `relocs` are settled. Atoms without relocations merge by contents; then those that point.
    """
    sections = host.sections
    kind = sections.flags & macho.SECTION_TYPE
    divided = atoms.first[1:] - atoms.first[:-1] > 0
    plain = isin(kind, PLAIN_TYPES) & divided
    pointing = ((kind == macho.S_LITERAL_POINTERS) | (sections.name == CFSTRING)) & divided
    canonical = np.arange(len(atoms), dtype=np.int32)
    group = _section_groups(host)
    first_reloc = np.searchsorted(relocs.atom, np.arange(len(atoms) + 1))
    reloc_count = differences(first_reloc)

    filled = atoms.size > 0
    rows = np.flatnonzero(plain[atoms.section] & filled & (reloc_count == 0))
    _merge_rows(host, atoms, canonical, rows, group[atoms.section[rows]].astype(np.uint64))

    rows = np.flatnonzero(pointing[atoms.section] & filled & (reloc_count > 0))
    keys = group[atoms.section[rows]].astype(np.uint64)
    sums = append(np.uint64(0), np.cumsum(_target_numbers(relocs, canonical)))
    keys = keys * np.uint64(MULTIPLIER) + (sums[first_reloc[rows + 1]] - sums[first_reloc[rows]])
    _merge_rows(host, atoms, canonical, rows, keys, (relocs, first_reloc))
    return canonical


def _section_groups(host: Host) -> I8:
    """Number the sections so that those of the same segment, name and type have one number."""
    kind = (host.sections.flags & macho.SECTION_TYPE).tolist()
    titles = zip(host.sections.segment.tolist(), host.sections.name.tolist(), kind, strict=True)
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(title, len(numbers)) for title in titles], np.int64)


def _target_numbers(relocs: Relocs, canonical: I4) -> U8:
    """Return a number for each relocation, so that equal ones have equal numbers."""
    target = np.where(relocs.target == NONE, NONE, canonical[relocs.target])
    columns = (relocs.offset, target, relocs.target_offset, relocs.name, relocs.addend)
    mixed = np.zeros(len(relocs), np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.int64).view(np.uint64)) * np.uint64(MULTIPLIER)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _merge_rows(
    host: Host,
    atoms: Atoms,
    canonical: I4,
    rows: I8,
    keys: U8,
    pointers: tuple[Relocs, I8] | None = None,
) -> None:
    """Set canonical[row] for `rows` with equal keys, bytes and relocations."""
    if not len(rows):
        return
    start = host.sections.data[atoms.section[rows]] + atoms.offset[rows]
    size = atoms.size[rows]
    digest = _digests(host, start, size) ^ (keys * np.uint64(MULTIPLIER))
    order = np.lexsort((rows, size, digest))
    same = (digest[order][1:] == digest[order][:-1]) & (size[order][1:] == size[order][:-1])
    leader = np.maximum.accumulate(np.where(append(False, same), 0, np.arange(len(order))))
    first = order[leader]
    # Equal digests are a guess: only rows whose bytes and targets are equal merge.
    equal = _equal_bytes(host, start[order], start[first], size[order])
    equal &= keys[order] == keys[first]
    if pointers:
        equal &= _equal_targets(*pointers, canonical, rows[order], rows[first])
    canonical[rows[order[equal]]] = rows[first[equal]]


def _digests(host: Host, start: I8, size: I8) -> U8:
    """Return a 64-bit polynomial hash of each byte range (none is empty)."""
    ends = np.cumsum(size)
    begins = ends - size
    position = np.arange(int(ends[-1])) - np.repeat(begins, size)
    data = host.contents[np.repeat(start, size) + position].astype(np.uint64) + np.uint64(1)
    longest = int(size.max())
    powers = np.cumprod(np.full(longest, MULTIPLIER, np.uint64))
    return np.add.reduceat(data * powers[position], begins)


def _equal_bytes(host: Host, one: I8, other: I8, size: I8) -> Bool:
    """Return which pairs of byte ranges of equal size hold the same bytes."""
    ends = np.cumsum(size)
    position = np.arange(int(ends[-1])) - np.repeat(ends - size, size)
    contents = host.contents
    differ = (
        contents[np.repeat(one, size) + position] != contents[np.repeat(other, size) + position]
    )
    equal: Bool = np.add.reduceat(differ, ends - size, dtype=np.int64) == 0
    return equal


def _equal_targets(relocs: Relocs, first: I8, canonical: I4, one: I8, other: I8) -> Bool:
    """Return which pairs of atoms have the same relocations."""
    count = first[one + 1] - first[one]
    equal: Bool = count == first[other + 1] - first[other]
    count = np.where(equal, count, 0)
    ends = np.cumsum(count)
    position = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - count, count)
    left, right = np.repeat(first[one], count) + position, np.repeat(first[other], count) + position
    differ = np.zeros(len(position), np.bool_)
    target = np.where(relocs.target == NONE, NONE, canonical[relocs.target])
    same = (relocs.offset, target, relocs.target_offset, relocs.name, relocs.addend)
    for column in (*same, relocs.kind, relocs.size):
        differ |= column[left] != column[right]
    wrong = append(0, np.cumsum(differ))
    equal &= wrong[ends] == wrong[ends - count]
    return equal


def apply(atoms: Atoms, relocs: Relocs, names: Names, canonical: I4) -> tuple[Atoms, Relocs, Names]:
    """Redirect relocations and names to the merged atoms.

    Those take the strictest alignment and all flags of what they stand for; the others keep
    nothing alive any more.
    """
    align, flags = atoms.align.copy(), np.zeros_like(atoms.flags)
    np.maximum.at(align, canonical, atoms.align)
    np.bitwise_or.at(flags, canonical, atoms.flags)

    known = append(canonical, np.int32(NONE))  # NONE, as an index, is the last

    def redirected(column: I4) -> I4:
        return known[column]

    moved = replace(relocs, target=redirected(relocs.target), minus=redirected(relocs.minus))
    atoms = replace(atoms, align=align, flags=flags)
    return atoms, moved, replace(names, atom=redirected(names.atom))
