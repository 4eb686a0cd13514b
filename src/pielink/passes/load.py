"""Turn the symbol, relocation and auxiliary records of all objects into columns.

The records of an object are packed structs in the flat memory; each field is copied once into
one preallocated column, object after object.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pielink.arrays import append, differences
from pielink.formats import goobj
from pielink.passes.read import Inputs
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
_INDEX_COLUMNS = tuple(name for name in _SLOT_DTYPES if name not in dict(_SYMBOL_FIELDS))


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
    entries, (indices, runs) = together(
        lambda: _entries(inputs, objects, first) | _places(first, counts),
        lambda: _indices(inputs, objects, first, counts),
    )
    slots = Slots(
        **entries,
        **indices,
        own_object=entries["object"].copy(),
        own_kind=entries["kind"].copy(),
        canon=np.arange(total, dtype=np.int32),
        definition=np.arange(total, dtype=np.int32),
        local=np.zeros(total, np.bool_),
        used_in_iface=np.zeros(total, np.bool_),
    )
    return slots, runs


def _entries(inputs: Inputs, objects: Objects, first: I4) -> dict[str, Any]:
    """The columns that come from the symbol records."""
    column: dict[str, Any] = {
        name: np.empty(int(first[-1]), _SLOT_DTYPES[name]) for name, _ in _SYMBOL_FIELDS
    }
    for of in column.values():
        of[: first[1]] = 0
    bounds = first.tolist()
    for row in range(1, len(objects.base)):
        a, z = bounds[row], bounds[row + 1]
        records = np.frombuffer(inputs.view, goobj.SYMBOL, z - a, _symbols_at(objects, row))
        for name, field in _SYMBOL_FIELDS:
            column[name][a:z] = records[field]
        column["name_offset"][a:z] += objects.base[row]
    _check_versions(column["version"], objects, first)
    column["kind"] = _kind_column(column["kind"], objects, first)
    return column


def _places(first: I4, counts: I8) -> dict[str, Any]:
    """The columns that follow from where the slots are."""
    owner = np.repeat(np.arange(len(first) - 1, dtype=np.int32), differences(first))
    return {
        "object": owner,
        "block": _block_column(first, counts),
        "order": _go_order(first, counts),
    }


def _symbols_at(objects: Objects, row: int) -> int:
    return int(objects.blocks[row, goobj.SYMDEF])


def _indices(
    inputs: Inputs, objects: Objects, first: I4, counts: I8
) -> tuple[dict[str, Any], list[Run]]:
    """The columns that come from the index blocks; where the relocation records are."""
    column: dict[str, Any] = {
        name: np.zeros(int(first[-1]), _SLOT_DTYPES[name]) for name in _INDEX_COLUMNS
    }
    runs: list[Run] = []
    aux_total = 0
    defined = counts[:, goobj.SYMDEF : goobj.NONPKGDEF + 1].sum(1).tolist()
    for row in range(1, len(objects.base)):
        a = int(first[row])
        z = a + defined[row]
        kind = np.frombuffer(inputs.view, goobj.SYMBOL, z - a, _symbols_at(objects, row))["kind"]
        of = {name: of[a:z] for name, of in column.items()}
        runs += _read_indices(inputs, objects.blocks[row], kind, of)
        of["aux_start"] += aux_total
        aux_total += int(counts[row, goobj.AUX_BLOCK])
    np.cumsum(column["reloc_count"], out=column["reloc_start"])
    column["reloc_start"] -= column["reloc_count"]
    return column, runs


def _read_indices(inputs: Inputs, at: I8, kind: U1, column: dict[str, Any]) -> list[Run]:
    """Fill where the contents and auxiliary records of one object's definitions are.

    `at` has the offsets of the object's blocks. The result is where its relocation records are.
    """
    count = len(kind)
    data, column["data_size"][:] = _index(inputs, at, goobj.DATAIDX, count)
    column["data_offset"][:] = data[:-1] + at[goobj.DATA]
    aux, column["aux_count"][:] = _index(inputs, at, goobj.AUXIDX, count)
    column["aux_start"][:] = aux[:-1]
    reloc, reloc_count = _index(inputs, at, goobj.RELOCIDX, count)
    reloc_count[kind >= _FIRST_DWARF_KIND] = 0
    column["reloc_count"][:] = reloc_count
    return _kept_runs(reloc[:-1], reloc_count, int(at[goobj.RELOC_BLOCK]))


def _index(inputs: Inputs, at: I8, block: int, count: int) -> tuple[I8, I8]:
    """An index block: `count` starts and the end, and the differences."""
    index = np.frombuffer(inputs.view, "<u4", count + 1, int(at[block])).astype(np.int64)
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
