"""Decide which slot stands for each symbol: one definition per symbol.

Symbols are the same if they have the same place in a package (package index and number), the
same content hash, or the same name and ABI. The canonical slot is the one that Go's linker would
number first; if another definition wins, its columns move there. The rules of who wins are those
of addSym in cmd/link/internal/loader/loader.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import (
    changes,
    classes,
    differences,
    first_equal,
    joined,
    paired,
    row_classes,
    split,
    without,
)
from pielink.errors import Problems
from pielink.formats import goobj
from pielink.golang.prefix import path_to_prefix
from pielink.names import NameIndex, groups, keys
from pielink.options import LinkOptions
from pielink.passes.load import Loaded, load, strings
from pielink.passes.read import Inputs
from pielink.program import (
    BUILTIN_ROW,
    HASHED64_ROW,
    HASHED_ROW,
    INVALID_ROW,
    NONE_ROW,
    SELF_ROW,
    PackageTable,
    Program,
)
from pielink.record import Record, fields
from pielink.records import auxiliaries, contents, relocations
from pielink.rows import take
from pielink.tables import (
    BLOCK_DEF,
    BLOCK_HASHED,
    BLOCK_HASHED64,
    BLOCK_NONPKG_DEF,
    BLOCK_NONPKG_REF,
    FLAG2_USED_IN_IFACE,
    FLAG_DUPOK,
    FLAG_LOCAL,
    I4,
    I8,
    U2,
    U4,
    U8,
    Kind,
    Memory,
    Slots,
)
from pielink.together import together

_FILTER_FACTOR = 8  # places for each name: one in ten is taken for one of the others by mistake
# Columns that a winning definition brings to the canonical slot.
_DEFINITION = [
    name
    for name in fields(Slots)
    if name not in ("canon", "order", "own_kind", "local", "used_in_iface")
]


def resolve(inputs: Inputs, options: LinkOptions) -> Program:
    """Load all records and resolve symbols.

    Raises LinkError: references to packages that are not there, symbols that are defined twice.
    """
    loaded = load(inputs)
    problems = Problems()
    slots, where = loaded.slots, (inputs.memory, loaded.objects, loaded.slots)

    def merge_named() -> tuple[PackageTable, NameIndex]:
        packages = _package_table(inputs, loaded, problems)
        problems.raise_if_any()
        index = _merge_named(inputs, loaded, options, problems)
        problems.raise_if_any()
        return packages, index

    (packages, index), _ = together(merge_named, lambda: _merge_hashed(inputs, loaded))
    builtins = inputs.release.builtins
    slots.canon[1 : 1 + len(builtins)] = slots.canon[index.lookup(builtins)]
    program = Program(
        *(*where, relocations(*where), auxiliaries(*where), contents(*where)),
        *(packages, index, inputs.release),
    )
    _spread_flags(inputs, loaded, program)
    inputs.files.release()  # most of the files has been read for good
    return program


def _package_table(inputs: Inputs, loaded: Loaded, problems: Problems) -> PackageTable:
    """Where the symbols of each package that each object refers to begin."""
    base, (definitions, hashed64, hashed, named, references) = loaded.objects.first, loaded.counts.T
    target, owner = _imported(inputs, loaded, problems)
    special = np.zeros((len(base), 6, 2), np.int64)  # first slot and count of each
    special[:, SELF_ROW] = np.stack([base, definitions], 1)
    special[:, BUILTIN_ROW] = 1, len(inputs.release.builtins)
    special[:, HASHED64_ROW] = np.stack([base + definitions, hashed64], 1)
    special[:, HASHED_ROW] = np.stack([base + definitions + hashed64, hashed], 1)
    others = base + definitions + hashed64 + hashed
    special[:, NONE_ROW] = np.stack([others, named + references], 1)
    special[:, INVALID_ROW] = 0, 1
    start = np.zeros(len(base) + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=len(base)) + 6, out=start[1:])
    rows = np.empty((start[-1], 2), np.int64)
    rows[start[:-1, None] + np.arange(6)] = special
    imported = np.arange(len(owner)) + 6 * (owner + 1)
    rows[imported] = np.stack([base.take(target), definitions.take(target)], 1)
    return PackageTable(paired(start[:-1], start[1:]), paired(rows[:, 0], rows[:, 1]))


def _imported(inputs: Inputs, loaded: Loaded, problems: Problems) -> tuple[I8, I8]:
    """The packages that the objects name: row of a package's first object, row of who names it.

    An object's package 0 is not among them: it is invalid.
    """
    first_object: dict[bytes, int] = {}
    for row, package in enumerate(loaded.objects.package):
        first_object.setdefault(path_to_prefix(package).encode(), row)
    offset, size, owner = strings(inputs, loaded.objects, goobj.PKGIDX)
    valid = np.flatnonzero(~changes(owner))
    offset, size, owner = offset.take(valid), size.take(valid), owner.take(valid)
    names = offset, size, np.zeros(len(size), np.uint16)
    group = groups(inputs.memory, keys(inputs.memory, *names), *names)
    target = np.zeros(len(group), np.int64)
    for head in np.flatnonzero(group == np.arange(len(group))).tolist():
        name = inputs.memory.get(int(offset[head]), int(size[head]))
        target[head] = first_object.get(name, -1)
    target = target.take(group)
    for row in np.flatnonzero(target < 0).tolist():
        name = inputs.memory.get(int(offset[row]), int(size[row]))
        missing = name.decode("utf-8", "replace")
        file = loaded.objects.file[owner[row]]
        problems.add(f"reference to nonexistent package {missing}", file)
    return np.maximum(target, 0), owner


def _merge_hashed(inputs: Inputs, loaded: Loaded) -> None:
    """One slot for each content hash; of several sizes the largest wins."""
    for block, index, words in ((BLOCK_HASHED64, goobj.HASH64, 1), (BLOCK_HASHED, goobj.HASH, 2)):
        hashed = np.flatnonzero(loaded.slots.block == block).astype(np.int32)
        parts = [
            np.frombuffer(inputs.view, "<u8", n * words, o.blocks[index])
            for o, n in zip(inputs.objects, loaded.counts[1:, block].tolist(), strict=True)
        ]
        values = joined(parts, np.uint64).reshape(-1, words)
        row = np.arange(len(values), dtype=np.int32)
        first = first_equal(values[:, 0].copy())
        again = np.flatnonzero(first != row)
        rest = values[:, -1]
        if (rest.take(again) != rest.take(first.take(again))).any():  # one half is the same
            _, at, back = row_classes(values)
            first = at[back].astype(np.int32)
            again = np.flatnonzero(first != row)
        members, canonical = hashed.take(again), hashed.take(first.take(again))
        _take_largest(loaded.slots, members, canonical)
        _spread_alignment(loaded.slots, members, canonical)


def _take_largest(slots: Slots, members: I4, canonical: I4) -> None:
    """Let `canonical` stand for `members`; the first member of the largest size wins."""
    slots.canon[members] = canonical
    larger = np.flatnonzero(slots.size.take(members) > slots.size.take(canonical))
    if not len(larger):
        return
    order = larger[np.lexsort((slots.order[members[larger]], -slots.size[members[larger]]))]
    groups, at, _ = classes(canonical[order])
    _overwrite(slots, groups, members[order[at]])


def _overwrite(slots: Slots, canonical: I4, winner: I4) -> None:
    for name in _DEFINITION:
        column = getattr(slots, name)
        column[canonical] = column[winner]


def _merge_named(
    inputs: Inputs, loaded: Loaded, options: LinkOptions, problems: Problems
) -> NameIndex:
    """Merge what has the same name and ABI; return an index of the slots with a name.

    Of those that have one name, which only definitions of different packages can have, the first
    is the one to be found.
    """
    memory, slots = inputs.memory, loaded.slots
    lookable = slots.lookable()
    package = np.flatnonzero(lookable & (slots.block == BLOCK_DEF))
    others = np.flatnonzero(lookable & (slots.block >= BLOCK_NONPKG_DEF))
    names = _named(memory, slots, np.concatenate([package, others]).astype(np.int32))
    possible = _possibly_named(names.key, len(package))
    chosen = np.concatenate([possible, np.arange(len(package), len(names.slot))])
    chosen = chosen.take(np.argsort(slots.order.take(names.slot.take(chosen))))
    members = take(names, chosen)
    group = groups(memory, members.key, members.offset, members.size, members.version)
    slots.canon[members.slot] = members.slot.take(group)
    _choose_definitions(inputs, loaded, options, members.slot, group, problems)
    is_head = group == np.arange(len(group))
    twins = np.flatnonzero(~is_head)
    _spread_alignment(slots, members.slot.take(twins), members.slot.take(group.take(twins)))
    alone = without(np.arange(len(package)), possible)
    found = take(names, np.concatenate([alone, chosen.compress(is_head)]))
    return NameIndex(memory, found.slot, found.key, found.offset, found.size, found.version)


class _Names(Record):
    """Slots with their names: what groups and indices are made of."""

    key: U8
    offset: I8
    size: U4
    version: U2
    slot: I4


def _named(memory: Memory, slots: Slots, slot: I4) -> _Names:
    names = (slots.name_offset.take(slot), slots.name_size.take(slot), slots.version.take(slot))
    return _Names(keys(memory, *names), *names, slot)


def _possibly_named(key: U8, count: int) -> I8:
    """Those of the first `count` names whose key also occurs among the others: few."""
    bits = (_FILTER_FACTOR * len(key)).bit_length()
    place = (key & np.uint64((1 << bits) - 1)).view(np.int64)
    seen = np.zeros(1 << bits, np.bool_)
    seen[place[count:]] = True
    return np.flatnonzero(seen.take(place[:count]))


def _choose_definitions(
    inputs: Inputs,
    loaded: Loaded,
    options: LinkOptions,
    members: I4,
    group: I4,
    problems: Problems,
) -> None:
    """Where a name is defined more than once, let the right definition win."""
    slots = loaded.slots
    defined = slots.block[members] != BLOCK_NONPKG_REF
    rows, of = members[defined], group[defined]
    count = np.bincount(of, minlength=len(members))
    several = count[of] > 1
    rows, of = rows[several], of[several]
    all_dupok = np.ones(len(members), np.bool_)
    all_dupok[of[(slots.flags[rows] & FLAG_DUPOK) == 0]] = False
    easy = all_dupok[of]
    if options.strict_dups:
        _check_duplicates(inputs, loaded, options, rows[easy], members[of[easy]], problems)
    _take_largest(slots, rows[easy], members[of[easy]])
    hard, hard_of = rows[~easy], of[~easy]
    order = np.argsort(hard_of, kind="stable")
    for part in split(hard[order], np.flatnonzero(differences(hard_of[order])) + 1):
        if len(part):
            _fold(inputs, loaded, part.tolist(), problems)


def _fold(inputs: Inputs, loaded: Loaded, definitions: list[int], problems: Problems) -> None:
    """Apply Go's rules to the definitions of one name, in load order.

    Text beats zero-fill, content beats zero-fill, the larger zero-fill wins, DUPOK gives way to
    what is not; content under a larger zero-fill takes its size. Two contents are an error.
    """
    slots, rows = loaded.slots, np.array(definitions, np.int32)
    sizes = contents(inputs.memory, loaded.objects, slots).spans(rows)[1].tolist()
    filled = dict(zip(definitions, sizes, strict=True))
    canonical, winner = definitions[0], definitions[0]
    size = int(slots.size[winner])
    data_kinds = range(Kind.NOPTR_DATA, Kind.NOPTR_BSS + 1)
    for new in definitions[1:]:
        new_size = int(slots.size[new])
        old_dup = bool(slots.flags[winner] & FLAG_DUPOK)
        if slots.flags[new] & FLAG_DUPOK:
            grows = size < new_size and (old_dup or not inputs.release.dupok_yields)
            winner, size = (new, new_size) if grows else (winner, size)
            continue
        if old_dup and inputs.release.dupok_yields:
            winner, size = new, new_size
            continue
        old_bss = slots.kind[winner] in data_kinds and not filled[winner]
        new_bss = slots.kind[new] in data_kinds and not filled[new]
        is_text = Kind.TEXT <= slots.kind[new] <= Kind.TEXT_END
        if old_bss and (is_text or filled[new] or (new_bss and new_size > size)):
            winner, size = new, new_size if is_text else max(size, new_size)
        elif new_bss:
            size = max(size, new_size)
        elif old_dup:
            winner, size = new, new_size
        else:
            _report_duplicate(inputs, loaded, winner, new, problems)
    slots.canon[definitions] = canonical
    if winner != canonical:
        _overwrite(slots, np.array([canonical]), np.array([winner]))
    slots.size[canonical] = size


def _report_duplicate(
    inputs: Inputs, loaded: Loaded, old: int, new: int, problems: Problems
) -> None:
    slots, files = loaded.slots, loaded.objects.file
    name = inputs.memory.get(int(slots.name_offset[new]), int(slots.name_size[new]))
    problems.add(
        f"duplicated definition of symbol, also in {files[slots.object[old]]} "
        f"({Kind(slots.kind[new]).name} size {slots.size[new]}, there "
        f"{Kind(slots.kind[old]).name} size {slots.size[old]}); remove or rename one",
        files[slots.object[new]],
        name.decode("utf-8", "replace"),
    )


def _check_duplicates(
    inputs: Inputs,
    loaded: Loaded,
    options: LinkOptions,
    members: I4,
    canonical: I4,
    problems: Problems,
) -> None:
    """-strictdups: symbols that may be defined more than once must have the same content."""
    slots, memory = loaded.slots, inputs.memory
    where = contents(memory, loaded.objects, slots)
    for new, old in zip(members.tolist(), canonical.tolist(), strict=True):
        places = np.stack(where.spans(np.array([new, old], np.int32))).T.tolist()
        found = [memory.get(*place) for place in places]
        sizes = [int(slots.size[s]) for s in (new, old)]
        if found[0] == found[1] and sizes[0] == sizes[1]:
            continue
        name = memory.get(int(slots.name_offset[new]), int(slots.name_size[new])).decode(
            "utf-8", "replace"
        )
        message = (
            f"duplicate symbol, previous def in {loaded.objects.file[slots.object[old]]}, "
            f"with mismatched payload: {_mismatch(found, sizes)}"
        )
        problems.report(
            message, loaded.objects.file[slots.object[new]], name, fatal=options.strict_dups > 1
        )


def _mismatch(found: list[bytes], sizes: list[int]) -> str:
    """How the contents and sizes of a new and an old definition differ."""
    new, old = map(len, found)
    if new != old:
        return f"new length {new} != old length {old}"
    if found[0] != found[1]:
        return "same length but different contents"
    return f"different sizes: new size {sizes[0]} != old size {sizes[1]}"


def _spread_flags(inputs: Inputs, loaded: Loaded, program: Program) -> None:
    """Collect on canonical slots what any of their entries or references says."""
    slots = loaded.slots
    _spread_uses(inputs, program)
    slots.local[slots.canon[np.flatnonzero(slots.flags & FLAG_LOCAL)]] = True
    slots.local[0] = False


def _spread_alignment(slots: Slots, members: I4, canonical: I4) -> None:
    """The largest alignment of all entries counts."""
    align = slots.align.take(members)
    larger = np.flatnonzero(align > slots.align.take(canonical))
    np.maximum.at(slots.align, canonical.take(larger), align.take(larger))


def _spread_uses(inputs: Inputs, program: Program) -> None:
    """A type is used in an interface if a definition or a reference says so."""
    slots = program.slots
    slots.used_in_iface[slots.canon[np.flatnonzero(slots.flags2 & FLAG2_USED_IN_IFACE)]] = True
    counts = [o.counts[goobj.REFFLAGS] for o in inputs.objects]
    parts = (
        np.frombuffer(inputs.view, goobj.REF_FLAGS, n, o.blocks[goobj.REFFLAGS])
        for o, n in zip(inputs.objects, counts, strict=True)
    )
    rows = joined(parts, goobj.REF_FLAGS)
    owner = np.repeat(np.arange(1, len(counts) + 1, dtype=np.int32), counts)
    keep = np.flatnonzero(rows["flags2"] & FLAG2_USED_IN_IFACE)
    targets = program.resolve(owner[keep], rows["package"][keep], rows["symbol"][keep])
    slots.used_in_iface[targets] = True
    slots.used_in_iface[0] = False
