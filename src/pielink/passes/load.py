"""Turn the symbol, relocation and auxiliary records of all objects into columns.

The records of an object are packed structs in the flat memory; each field is copied once into
one preallocated column, object after object.
"""

from __future__ import annotations

import itertools

import numpy as np

from pielink.arrays import append, differences
from pielink.arraytypes import NDArray
from pielink.formats import goobj
from pielink.hints import Any
from pielink.passes.read import Inputs
from pielink.record import NamedTuple
from pielink.tables import (
    ABI0,
    I4,
    I8,
    STATIC,
    U1,
    U2,
    U4,
    Kind,
    Objects,
    RawAuxes,
    RawRelocs,
    Slots,
)
from pielink.together import together

# Records copied at a time: few enough that a batch of packed structs stays in the cache.
_BATCH = 8192

# SymKind of the object file (cmd/internal/objabi/symkind.go) -> Kind.
OBJECT_KINDS = np.array(
    [
        *(Kind.UNDEFINED, Kind.TEXT, Kind.TEXT_FIPS, Kind.RODATA, Kind.RODATA_FIPS),
        *(Kind.NOPTR_DATA, Kind.NOPTR_DATA_FIPS, Kind.DATA, Kind.DATA_FIPS, Kind.BSS),
        *(Kind.NOPTR_BSS, Kind.TLS_BSS, *[Kind.DWARF] * 10),
        *(Kind.FUZZ_COUNTER, Kind.COVERAGE_COUNTER, Kind.COVERAGE_AUXVAR),
    ],
    np.uint8,
)
_FIRST_DWARF_KIND = 12  # in object files; all kinds above are without relocations, too


# Columns of Slots that come from the files, and which come straight from the symbol records.
_SLOT_DTYPES = {
    **dict.fromkeys(("name_offset", "size", "data_offset", "data_size"), np.int64),
    **dict.fromkeys(("reloc_start", "reloc_count", "aux_start", "aux_count"), np.int32),
    **dict.fromkeys(("name_size", "align"), np.uint32),
    **dict.fromkeys(("kind", "flags", "flags2"), np.uint8),
    "version": np.uint16,
}
_SYMBOL_FIELDS = (
    *((name, name) for name in ("name_offset", "name_size", "kind", "flags", "flags2")),
    *(("size", "size"), ("align", "align"), ("version", "abi")),
)


class Run(NamedTuple):
    """Records that lie one after the other in the flat memory."""

    start: int  # offset in the flat memory
    records: int


class Loaded(NamedTuple):
    """The columns as the files have them; `slots.canon` is each slot itself as yet."""

    objects: Objects
    slots: Slots
    first: I4  # first slot of each object row, and the end
    counts: I8  # symbol entries per block, shape (objects, 5)
    relocs: list[Run]  # the relocation records that the slots count
    auxes: list[Run]  # likewise the auxiliary ones


def load(inputs: Inputs) -> Loaded:
    """Read the symbols' records. Raises FormatError for kinds that no release defines.

    Slots 1 to n are the n builtins of the release; they belong to object row 0. The relocations of
    DWARF symbols, three quarters of all, are not read: their slots have none.
    """
    objects = inputs.objects
    blocks = np.array([np.zeros(19, np.int64), *(o.blocks for o in objects)])
    counts = np.array([np.zeros(18, np.int64), *(o.counts for o in objects)])
    table = Objects(
        base=np.array([0, *(o.base for o in objects)], np.int64),
        flags=np.array([0, *(o.flags for o in objects)], np.uint32),
        blocks=blocks,
        package=["", *(inputs.libraries[row].package for row in inputs.object_library)],
        file=["", *(o.name for o in objects)],
        library=np.array([-1, *inputs.object_library], np.int32),
    )
    symbols = counts[:, goobj.SYMDEF : goobj.NONPKGREF + 1]
    first = np.zeros(len(blocks) + 1, np.int32)
    first[1] = 1 + len(inputs.release.builtins)
    np.cumsum(symbols[1:].sum(1), out=first[2:])
    first[2:] += first[1]
    slots, relocs = _slots(inputs, table, first, counts)
    auxes = _whole_blocks(table, counts, goobj.AUX_BLOCK)
    return Loaded(table, slots, first, symbols, relocs, auxes)


def _slots(inputs: Inputs, objects: Objects, first: I4, counts: I8) -> tuple[Slots, list[Run]]:
    """The slots, and where the relocation records are that they count."""
    total = int(first[-1])
    bounds = first.tolist()
    defined = counts[:, goobj.SYMDEF : goobj.NONPKGDEF + 1].sum(1).tolist()
    parts = [
        _Part(objects.blocks[row], int(objects.base[row]), start, start + defined[row], stop)
        for row, (start, stop) in enumerate(itertools.pairwise(bounds))
    ]

    def entries_and_contents() -> dict[str, Any]:
        entries = _entries(inputs, parts)
        _check_versions(entries["version"], objects, first)
        entries["kind"] = _kind_column(entries["kind"], objects, first)
        return entries | _contents(inputs, parts) | _places(first, counts)

    def indices() -> tuple[dict[str, Any], list[Run]]:
        relocs, runs = _relocs(inputs, parts)
        return relocs | _auxes(inputs, parts, counts[:, goobj.AUX_BLOCK].tolist()), runs

    columns, (more, runs) = together(entries_and_contents, indices)
    slots = Slots(
        **columns,
        **more,
        own_object=columns["object"].copy(),
        own_kind=columns["kind"].copy(),
        canon=np.arange(total, dtype=np.int32),
        definition=np.arange(total, dtype=np.int32),
        local=np.zeros(total, np.bool_),
        used_in_iface=np.zeros(total, np.bool_),
    )
    return slots, runs


class _Part(NamedTuple):
    """One object's slots: definitions from `start` on, references from `defined` to `stop`."""

    blocks: I8  # offsets of the object's blocks
    base: int
    start: int
    defined: int
    stop: int

    def records(self, inputs: Inputs, stop: int) -> NDArray[Any]:
        """The symbol records of the slots up to `stop`."""
        at = int(self.blocks[goobj.SYMDEF])
        return np.frombuffer(inputs.view, goobj.SYMBOL, stop - self.start, at)


def _columns(parts: list[_Part], *names: str, filled: int | None = None) -> dict[str, Any]:
    """Columns, zero up to the slot `filled`, or all of them.

    np.empty, unlike np.zeros, asks the kernel for huge pages.
    """
    columns = {name: np.empty(parts[-1].stop, _SLOT_DTYPES[name]) for name in names}
    for column in columns.values():
        column[:filled] = 0
    return columns


def _entries(inputs: Inputs, parts: list[_Part]) -> dict[str, Any]:
    """The columns that come straight from the symbol records; kinds as the objects have them."""
    builtins = parts[0].stop  # all other slots have records
    column = _columns(parts, *(name for name, _ in _SYMBOL_FIELDS), filled=builtins)
    for part in parts[1:]:
        records = part.records(inputs, part.stop)
        for name, field in _SYMBOL_FIELDS:
            column[name][part.start : part.stop] = records[field]
        column["name_offset"][part.start : part.stop] += part.base
    return column


def _contents(inputs: Inputs, parts: list[_Part]) -> dict[str, Any]:
    """Where the contents of definitions are."""
    column = _columns(parts, "data_offset", "data_size")
    for part in parts[1:]:
        index, size = _index(inputs, part, goobj.DATAIDX)
        column["data_size"][part.start : part.defined] = size
        np.add(
            index[:-1],
            part.blocks[goobj.DATA],
            out=column["data_offset"][part.start : part.defined],
        )
    return column


def _auxes(inputs: Inputs, parts: list[_Part], records: list[int]) -> dict[str, Any]:
    """Which auxiliary records definitions have. records: how many each object has."""
    column = _columns(parts, "aux_start", "aux_count")
    total = 0
    for part, count in zip(parts[1:], records[1:], strict=True):
        index, size = _index(inputs, part, goobj.AUXIDX)
        column["aux_start"][part.start : part.defined] = index[:-1] + total
        column["aux_count"][part.start : part.defined] = size
        total += count
    return column


def _relocs(inputs: Inputs, parts: list[_Part]) -> tuple[dict[str, Any], list[Run]]:
    """How many relocations definitions have; where those records are, one run behind another."""
    column = _columns(parts, "reloc_start", "reloc_count")
    count, runs = column["reloc_count"], []
    for part in parts[1:]:
        index, size = _index(inputs, part, goobj.RELOCIDX)
        size[part.records(inputs, part.defined)["kind"] >= _FIRST_DWARF_KIND] = 0
        count[part.start : part.defined] = size
        runs += _kept_runs(index[:-1], size, int(part.blocks[goobj.RELOC_BLOCK]))
    np.cumsum(count, out=column["reloc_start"])
    column["reloc_start"] -= count
    return column, runs


def _places(first: I4, counts: I8) -> dict[str, Any]:
    """The columns that follow from where the slots are."""
    owner = np.repeat(np.arange(len(first) - 1, dtype=np.int32), differences(first))
    return {
        "object": owner,
        "block": _block_column(first, counts),
        "order": _go_order(first, counts),
    }


def _index(inputs: Inputs, part: _Part, block: int) -> tuple[I8, I8]:
    """An index block: a start for each definition and the end, and the differences."""
    count, at = part.defined - part.start + 1, int(part.blocks[block])
    index = np.frombuffer(inputs.view, "<u4", count, at).astype(np.int64)
    return index, differences(index)


def _kept_runs(start: I8, count: I8, base: int) -> list[Run]:
    """The relocation records of symbols that keep theirs, those of neighbours together.

    `start` and `count` are records of each symbol, `base` is the offset of the object's first.
    """
    rows = np.flatnonzero(count)
    if not len(rows):
        return []
    begin, end = start[rows], start[rows] + count[rows]
    heads = np.flatnonzero(append(True, begin[1:] != end[:-1]))
    tails = append(heads[1:], len(rows)) - 1
    size = goobj.RELOC.itemsize
    return [
        Run(base + size * b, e - b)
        for b, e in zip(begin[heads].tolist(), end[tails].tolist(), strict=True)
    ]


def _whole_blocks(objects: Objects, counts: I8, block: int) -> list[Run]:
    rows = zip(objects.blocks[1:, block].tolist(), counts[1:, block].tolist(), strict=True)
    return [Run(*row) for row in rows]


def _object_of(slot: int, first: I4) -> int:
    return int(np.searchsorted(first, slot, side="right")) - 1


def _kind_column(kind: U1, objects: Objects, first: I4) -> U1:
    if (bad := np.flatnonzero(kind >= len(OBJECT_KINDS))).size:
        file = objects.file[_object_of(int(bad[0]), first)]
        what = f"symbol of unknown kind {kind[bad[0]]}"
        raise goobj.malformed(what, file)
    return OBJECT_KINDS[kind]


def _check_versions(version: U2, objects: Objects, first: I4) -> None:
    bad = np.flatnonzero((version > ABI0 + 1) & (version != STATIC))
    if bad.size:
        file = objects.file[_object_of(int(bad[0]), first)]
        raise goobj.malformed(f"invalid symbol ABI {version[bad[0]]}", file)


def _block_column(first: I4, counts: I8) -> U1:
    blocks = np.repeat(np.arange(5, dtype=np.uint8)[None], len(counts), axis=0)
    sizes = counts[:, goobj.SYMDEF : goobj.NONPKGREF + 1].copy()
    sizes[0, 0] = first[1]
    return np.repeat(blocks.ravel(), sizes.ravel())


def _go_order(first: I4, counts: I8) -> I4:
    """Go numbers all package symbols first, then hashed and named ones, then references."""
    sizes = counts[:, goobj.SYMDEF : goobj.NONPKGREF + 1].copy()
    sizes[0, 0] = first[1]
    phases = np.stack([sizes[:, 0], sizes[:, 1:4].sum(1), sizes[:, 4]])
    starts = (np.cumsum(phases) - phases.ravel()).reshape(phases.shape)
    origin = (np.cumsum(phases.T) - phases.T.ravel()).reshape(phases.T.shape)
    shift = (starts.T - origin).ravel()
    order = np.arange(int(first[-1]), dtype=np.int32)
    order += np.repeat(shift, phases.T.ravel()).astype(np.int32)
    return order


def read_relocs(inputs: Inputs, runs: list[Run]) -> RawRelocs:
    """The relocation records of these runs, one run behind the other."""
    total = sum(run.records for run in runs)
    table = RawRelocs(
        offset=np.empty(total, np.int32),
        size=np.empty(total, np.uint8),
        type=np.empty(total, np.uint16),
        addend=np.empty(total, np.int64),
        package=np.empty(total, np.uint32),
        symbol=np.empty(total, np.uint32),
    )
    columns = [(name, getattr(table, name)) for name in goobj.RELOC.names or ()]
    _copy_records(inputs, runs, goobj.RELOC, columns)
    return table


def read_auxes(inputs: Inputs, runs: list[Run]) -> RawAuxes:
    """The records of auxiliary symbols, likewise."""
    total = sum(run.records for run in runs)
    table = RawAuxes(
        np.empty(total, np.uint8), np.empty(total, np.uint32), np.empty(total, np.uint32)
    )
    columns = [(name, getattr(table, name)) for name in goobj.AUX.names or ()]
    _copy_records(inputs, runs, goobj.AUX, columns)
    return table


def _copy_records(
    inputs: Inputs,
    runs: list[Run],
    dtype: np.dtype[np.void],
    columns: list[tuple[str, U1 | U2 | U4 | I4 | I8]],
) -> None:
    at = 0
    for run in runs:
        records = np.frombuffer(inputs.view, dtype, run.records, run.start)
        for begin in range(0, run.records, _BATCH):
            batch = records[begin : begin + _BATCH]
            end = at + begin + len(batch)
            for name, column in columns:
                column[at + begin : end] = batch[name]
        at += run.records
