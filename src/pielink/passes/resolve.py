"""Decide which slot stands for each symbol: one definition per symbol.

Symbols are the same if they have the same place in a package (package index and number), the
same content hash, or the same name and ABI. The canonical slot is the one that Go's linker would
number first; if another definition wins, its columns move there. The rules of who wins are those
of addSym in cmd/link/internal/loader/loader.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import (
    classes,
    differences,
    first_equal,
    isin,
    row_classes,
    split,
)
from pielink.errors import Problems
from pielink.formats import goobj
from pielink.golang.prefix import path_to_prefix
from pielink.names import NameIndex, hashes, keys
from pielink.options import LinkOptions
from pielink.passes.load import Loaded, load, read_auxes, read_relocs
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
from pielink.record import fields
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
    STATIC,
    U4,
    U8,
    Kind,
    Memory,
    RawAuxes,
    RawRelocs,
    Slots,
)
from pielink.together import together

_FILTER_BITS = 20
# Columns that a winning definition brings to the canonical slot.
_DEFINITION = [
    name
    for name in fields(Slots)
    if name not in ("canon", "order", "own_kind", "own_object", "local", "used_in_iface")
]


def resolve(inputs: Inputs, options: LinkOptions) -> Program:
    """Load all records and resolve symbols.

    Raises LinkError: references to packages that are not there, symbols that are defined twice.
    """
    loaded = load(inputs)
    problems = Problems()
    slots = loaded.slots

    def merge_named() -> tuple[PackageTable, NameIndex]:
        packages = _package_table(inputs, loaded, problems)
        problems.raise_if_any()
        named = _merge_named(inputs, loaded, options, problems)
        problems.raise_if_any()
        return packages, _index(inputs.memory, slots, named)

    def merge_hashed() -> tuple[RawRelocs, RawAuxes]:
        _merge_hashed(inputs, loaded)
        return read_relocs(inputs, loaded.relocs), read_auxes(inputs, loaded.auxes)

    (packages, index), (relocs, auxes) = together(merge_named, merge_hashed)
    builtins = inputs.release.builtins
    slots.canon[1 : 1 + len(builtins)] = slots.canon[index.lookup(builtins)]
    program = Program(
        *(inputs.memory, loaded.objects, slots, relocs, auxes),
        *(packages, index, inputs.release),
    )
    _spread_flags(inputs, loaded, program)
    inputs.files.release()  # most of the files has been read for good
    return program


def _package_table(inputs: Inputs, loaded: Loaded, problems: Problems) -> PackageTable:
    """Where the symbols of each package that each object refers to begin."""
    first_object: dict[bytes, int] = {}
    for row, package in enumerate(loaded.objects.package):
        first_object.setdefault(path_to_prefix(package).encode(), row)
    starts, firsts, counts = [0], [], []
    first, symbols = loaded.first.tolist(), loaded.counts.tolist()
    builtins = len(inputs.release.builtins)
    for row in range(len(loaded.objects.base)):
        definitions, hashed64, hashed, named, references = symbols[row]
        base = first[row]
        special = [(0, 0)] * 6
        special[SELF_ROW] = (base, definitions)
        special[BUILTIN_ROW] = (1, builtins)
        special[HASHED64_ROW] = (base + definitions, hashed64)
        special[HASHED_ROW] = (base + definitions + hashed64, hashed)
        special[NONE_ROW] = (base + definitions + hashed64 + hashed, named + references)
        special[INVALID_ROW] = (0, 1)
        rows = special + _imported(inputs, loaded, row, first_object, problems)
        firsts += [slot for slot, _ in rows]
        counts += [count for _, count in rows]
        starts.append(len(firsts))
    return PackageTable(
        np.array(starts, np.int64), np.array(firsts, np.int32), np.array(counts, np.uint32)
    )


def _imported(
    inputs: Inputs, loaded: Loaded, row: int, first_object: dict[bytes, int], problems: Problems
) -> list[tuple[int, int]]:
    """(first slot, count) of the packages that an object row names; its index 0 is invalid."""
    if row == 0:
        return []
    found = []
    for package in goobj.strings(inputs.objects[row - 1], inputs.view, goobj.PKGIDX)[1:]:
        target = first_object.get(package)
        if target is None:
            name = package.decode("utf-8", "replace")
            problems.add(f"reference to nonexistent package {name}", loaded.objects.file[row])
            target = 0
        found.append((int(loaded.first[target]), int(loaded.counts[target, 0])))
    return found


def _merge_hashed(inputs: Inputs, loaded: Loaded) -> None:
    """One slot for each content hash; of several sizes the largest wins."""
    for block, index, words in ((BLOCK_HASHED64, goobj.HASH64, 1), (BLOCK_HASHED, goobj.HASH, 2)):
        hashed = np.flatnonzero(loaded.slots.block == block).astype(np.int32)
        parts = [
            np.frombuffer(inputs.view, "<u8", n * words, int(o.blocks[index]))
            for o, n in zip(inputs.objects, loaded.counts[1:, block].tolist(), strict=True)
        ]
        values = np.concatenate([*parts, np.zeros(0, np.uint64)]).reshape(-1, words)
        first = first_equal(_mixed(values))
        if words > 1 and (values[first] != values).any():
            _, at, back = row_classes(values)
            first = at[back].astype(np.int32)
        _take_largest(loaded.slots, hashed, hashed[first])


def _mixed(values: U8) -> U8:
    """One word per row of hash words."""
    mixed: U8 = values[:, 0].copy()
    for column in range(1, values.shape[1]):
        mixed ^= values[:, column] * np.uint64(0x9E3779B97F4A7C15)
    return mixed


def _take_largest(slots: Slots, members: I4, canonical: I4) -> None:
    """Let `canonical` stand for `members`; the first member of the largest size wins."""
    slots.canon[members] = canonical
    larger = np.flatnonzero(slots.size[members] > slots.size[canonical])
    if not len(larger):
        return
    order = larger[np.lexsort((slots.order[members[larger]], -slots.size[members[larger]]))]
    groups, at, _ = classes(canonical[order])
    _overwrite(slots, groups, members[order[at]])


def _overwrite(slots: Slots, canonical: I4, winner: I4) -> None:
    for name in _DEFINITION:
        column = getattr(slots, name)
        column[canonical] = column[winner]


def _merge_named(inputs: Inputs, loaded: Loaded, options: LinkOptions, problems: Problems) -> I4:
    """Merge what has the same name and ABI; return the slots that can be found by name."""
    memory, slots = inputs.memory, loaded.slots
    lookable = (slots.name_size > 0) & (slots.version != STATIC)
    lookable[: loaded.first[1]] = False
    package = np.flatnonzero(lookable & (slots.block == BLOCK_DEF)).astype(np.int32)
    others = np.flatnonzero(
        lookable & ((slots.block == BLOCK_NONPKG_DEF) | (slots.block == BLOCK_NONPKG_REF))
    ).astype(np.int32)
    members = np.concatenate([_possibly_named(memory, slots, package, others), others])
    members = members[np.argsort(slots.order[members])]
    names = slots.name_offset[members], slots.name_size[members]
    group = _verified(memory, names, slots, members, hashes(memory, *names, slots.version[members]))
    slots.canon[members] = members[group]
    _choose_definitions(inputs, loaded, options, members, group, problems)
    shadowed = package[~isin(package, members)]
    heads = members[group == np.arange(len(members))]
    found: I4 = np.concatenate([heads, shadowed])
    return found


def _possibly_named(memory: Memory, slots: Slots, package: I4, others: I4) -> I4:
    """Those package symbols whose key also occurs among the others: few."""
    mask = np.uint64((1 << _FILTER_BITS) - 1)
    seen = np.zeros(1 << _FILTER_BITS, np.bool_)
    seen[keys(memory, slots.name_offset[others], slots.name_size[others]) & mask] = True
    key = keys(memory, slots.name_offset[package], slots.name_size[package])
    found: I4 = package[seen[key & mask]]
    return found


def _verified(memory: Memory, names: tuple[I8, U4], slots: Slots, members: I4, hash_: U8) -> I4:
    """Group by hash; by name where sizes, last bytes or ABIs say that different names collide."""
    offset, size = names
    group = first_equal(hash_)
    key, version = keys(memory, offset, size), slots.version[members]
    same = (key == key[group]) & (size == size[group]) & (version == version[group])
    strangers: dict[tuple[bytes, int], int] = {}
    for row in np.flatnonzero(~same).tolist():
        name = memory.get(int(offset[row]), int(size[row]))
        group[row] = strangers.setdefault((name, int(version[row])), row)
    return group


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
    slots = loaded.slots
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
        old_bss = slots.kind[winner] in data_kinds and not slots.data_size[winner]
        new_bss = slots.kind[new] in data_kinds and not slots.data_size[new]
        is_text = Kind.TEXT <= slots.kind[new] <= Kind.TEXT_END
        if old_bss and (is_text or slots.data_size[new] or (new_bss and new_size > size)):
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
    for new, old in zip(members.tolist(), canonical.tolist(), strict=True):
        contents = [
            memory.get(int(slots.data_offset[s]), int(slots.data_size[s])) for s in (new, old)
        ]
        sizes = [int(slots.size[s]) for s in (new, old)]
        if contents[0] == contents[1] and sizes[0] == sizes[1]:
            continue
        name = memory.get(int(slots.name_offset[new]), int(slots.name_size[new])).decode(
            "utf-8", "replace"
        )
        message = (
            f"duplicate symbol, previous def in {loaded.objects.file[slots.object[old]]}, "
            f"with mismatched payload: {_mismatch(contents, sizes)}"
        )
        problems.report(
            message, loaded.objects.file[slots.object[new]], name, fatal=options.strict_dups > 1
        )


def _mismatch(contents: list[bytes], sizes: list[int]) -> str:
    """How the contents and sizes of a new and an old definition differ."""
    new, old = map(len, contents)
    if new != old:
        return f"new length {new} != old length {old}"
    if contents[0] != contents[1]:
        return "same length but different contents"
    return f"different sizes: new size {sizes[0]} != old size {sizes[1]}"


def _index(memory: Memory, slots: Slots, named: I4) -> NameIndex:
    named = named[np.argsort(slots.order[named])]
    return NameIndex(
        memory, named, slots.name_offset[named], slots.name_size[named], slots.version[named]
    )


def _spread_flags(inputs: Inputs, loaded: Loaded, program: Program) -> None:
    """Collect on canonical slots what any of their entries or references says."""
    slots = loaded.slots
    together(lambda: _spread_alignment(slots), lambda: _spread_uses(inputs, program))
    slots.local[slots.canon[np.flatnonzero(slots.flags & FLAG_LOCAL)]] = True
    slots.local[0] = False


def _spread_alignment(slots: Slots) -> None:
    """The largest alignment of all entries counts."""
    twins = np.flatnonzero(slots.canon != np.arange(len(slots.canon), dtype=np.int32))
    twins = twins[slots.align.take(twins) > 0]
    np.maximum.at(slots.align, slots.canon.take(twins), slots.align.take(twins))


def _spread_uses(inputs: Inputs, program: Program) -> None:
    """A type is used in an interface if a definition or a reference says so."""
    slots = program.slots
    slots.used_in_iface[slots.canon[np.flatnonzero(slots.flags2 & FLAG2_USED_IN_IFACE)]] = True
    counts = [int(o.counts[goobj.REFFLAGS]) for o in inputs.objects]
    rows = np.concatenate(
        [
            np.frombuffer(inputs.view, goobj.REF_FLAGS, n, int(o.blocks[goobj.REFFLAGS]))
            for o, n in zip(inputs.objects, counts, strict=True)
        ],
        dtype=goobj.REF_FLAGS,
    )
    owner = np.repeat(np.arange(1, len(counts) + 1, dtype=np.int32), counts)
    keep = np.flatnonzero(rows["flags2"] & FLAG2_USED_IN_IFACE)
    targets = program.resolve(owner[keep], rows["package"][keep], rows["symbol"][keep])
    slots.used_in_iface[targets] = True
    slots.used_in_iface[0] = False
