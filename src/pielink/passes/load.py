"""Turn the symbol records of all objects into columns.

The records of an object are packed structs in the flat memory; each field is copied once into
one preallocated column, object by object. What symbols refer to and contain stays where it
is (records.py).
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import differences, joined
from pielink.formats import goobj
from pielink.hints import Any
from pielink.passes.read import Inputs
from pielink.record import NamedTuple
from pielink.tables import ABI0, BLOCK_NONPKG_REF, I4, I8, STATIC, U1, U2, U4, Kind, Objects, Slots

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

# Columns of Slots that come straight from the symbol records: name, dtype, field.
_COLUMNS = (
    ("name_offset", np.int64, "name_offset"),
    ("name_size", np.uint32, "name_size"),
    *((name, np.uint8, name) for name in ("kind", "flags", "flags2")),
    ("size", np.int64, "size"),
    ("align", np.uint32, "align"),
    ("version", np.uint16, "abi"),
)


class Loaded(NamedTuple):
    """The columns as the files have them; `slots.canon` is each slot itself as yet."""

    objects: Objects
    slots: Slots
    counts: I8  # symbol entries per block, shape (objects, 5)


def load(inputs: Inputs) -> Loaded:
    """Read the symbols' records.

    Slots 1 to n are the n builtins of the release; they belong to object row 0. Raises FormatError
    for kinds and ABIs that no release defines, for names outside of their file, for index blocks
    that do not ascend or lead out of what they index.
    """
    objects = inputs.objects
    counts = np.array([[0] * 18, *(o.counts for o in objects)])
    symbols = counts[:, goobj.SYMDEF : goobj.NONPKGREF + 1]
    first = np.zeros(len(counts), np.int32)
    first[1] = 1 + len(inputs.release.builtins)
    np.cumsum(symbols[1:-1].sum(1), out=first[2:])
    first[2:] += first[1]
    table = Objects(
        base=np.array([0, *(o.base for o in objects)], np.int64),
        flags=np.array([0, *(o.flags for o in objects)], np.uint32),
        blocks=np.array([[0] * 19, *(o.blocks for o in objects)]),
        package=["", *(inputs.libraries[row].package for row in inputs.object_library)],
        file=["", *(o.name for o in objects)],
        library=np.array([-1, *inputs.object_library], np.int32),
        first=first,
    )
    sizes = symbols.copy()
    sizes[0, 0] = first[1]
    columns = _entries(inputs, sizes.sum(1)) | _places(sizes)
    _check_indices(inputs, symbols[1:, :-1].sum(1))
    _check_names(inputs, columns, table)
    _check_versions(columns["version"], columns["object"], table)
    columns["kind"] = _kind_column(columns["kind"], columns["object"], table)
    total = len(columns["kind"])
    canon = np.arange(total, dtype=np.int32)
    definition = canon * (columns["block"] != BLOCK_NONPKG_REF)
    definition[: first[1]] = 0
    slots = Slots(
        **columns,
        own_kind=columns["kind"].copy(),
        canon=canon,
        definition=definition,
        local=np.zeros(total, np.bool_),
        used_in_iface=np.zeros(total, np.bool_),
    )
    return Loaded(table, slots, symbols)


def _entries(inputs: Inputs, sizes: I8) -> dict[str, Any]:
    """The columns that come straight from the symbol records; kinds as the objects have them.

    `sizes` are the slots of each object row. Those of row 0 have no records: they are zeros.
    """
    # np.empty, unlike np.zeros, asks the kernel for huge pages.
    columns = {name: np.empty(int(sizes.sum()), dtype) for name, dtype, _ in _COLUMNS}
    fields = [(columns[name], field) for name, _, field in _COLUMNS]
    stop = int(sizes[0])
    for column, _ in fields:
        column[:stop] = 0
    for found, size in zip(inputs.objects, sizes[1:].tolist(), strict=True):
        start, stop = stop, stop + size
        records = np.frombuffer(inputs.view, goobj.SYMBOL, size, found.blocks[goobj.SYMDEF])
        for column, field in fields:
            column[start:stop] = records[field]
        columns["name_offset"][start:stop] += found.base
    return columns


def _places(sizes: I8) -> dict[str, Any]:
    """The columns that follow from where the slots are. sizes: slots per block, (objects, 5)."""
    objects = len(sizes)
    blocks = np.repeat(np.arange(5, dtype=np.uint8)[None], objects, axis=0)
    return {
        "object": np.repeat(np.arange(objects, dtype=np.int32), sizes.sum(1)),
        "block": np.repeat(blocks.ravel(), sizes.ravel()),
        "order": _go_order(sizes),
    }


def _go_order(sizes: I8) -> I4:
    """Go numbers all package symbols first, then hashed and named ones, then references."""
    phases = np.stack([sizes[:, 0], sizes[:, 1:4].sum(1), sizes[:, 4]])
    starts = (np.cumsum(phases) - phases.ravel()).reshape(phases.shape)
    origin = (np.cumsum(phases.T) - phases.T.ravel()).reshape(phases.T.shape)
    shift = (starts.T - origin).ravel().astype(np.int32)
    order = np.repeat(shift, phases.T.ravel())
    order += np.arange(len(order), dtype=np.int32)
    return order


def _check_indices(inputs: Inputs, definitions: I8) -> None:
    """Each record must belong to one symbol at most, or a small file could stand for a huge one."""
    memory, entries = inputs.memory.bytes, definitions + 1
    heads = np.cumsum(entries) - entries
    sizes = (4 * entries).tolist()
    for index, target in goobj.INDEXED.items():
        starts = [found.blocks[index] for found in inputs.objects]
        parts = [memory[at : at + size] for at, size in zip(starts, sizes, strict=True)]
        values = np.concatenate(parts).view("<u4")
        wrong = values[1:] < values[:-1]
        wrong[heads[1:] - 1] = False
        records = np.array([found.counts[target] for found in inputs.objects])
        outside = np.flatnonzero(values[heads + entries - 1] > records)
        if wrong.any() or len(outside):
            at = np.searchsorted(heads, np.flatnonzero(wrong) + 1, side="right") - 1
            found = inputs.objects[min([*at.tolist(), *outside.tolist()])]
            raise goobj.malformed("an index block is out of bounds", found.name)


def _check_names(inputs: Inputs, columns: dict[str, Any], objects: Objects) -> None:
    """Names must lie inside of their files, and share few of their bytes."""
    end = objects.blocks[:, goobj.END]
    size = columns["name_size"].astype(np.int64)
    full = np.flatnonzero(differences(objects.first, end=len(size)))[1:]
    heads = objects.first.take(full)
    outside = np.maximum.reduceat(columns["name_offset"] + size, heads) > end.take(full)
    if outside.any():
        file = objects.file[full[np.argmax(outside)]]
        raise goobj.malformed("a symbol's name lies outside of the file", file)
    _check_sharing(objects, full, np.add.reduceat(size, heads))
    strings(inputs, objects, goobj.FILE)


def _check_sharing(objects: Objects, rows: I8, total: I8) -> None:
    """Strings that share bytes would make a small file stand for a huge one: their total sizes."""
    size = objects.blocks[:, goobj.END] - objects.base
    shared = total > goobj.SHARING * size.take(rows)
    if shared.any():
        file = objects.file[rows[np.argmax(shared)]]
        raise goobj.malformed("its strings are larger than the file", file)


def strings(inputs: Inputs, objects: Objects, block: int) -> tuple[I8, U4, I8]:
    """The strings in the PkgIdx or File blocks of all objects: offset, size, and object row.

    Raises FormatError if one lies outside of its file, or if those of a file share their bytes.
    """
    counts = [found.counts[block] for found in inputs.objects]
    parts = [
        np.frombuffer(inputs.view, goobj.STRING, count, found.blocks[block])
        for found, count in zip(inputs.objects, counts, strict=True)
    ]
    rows = joined(parts, goobj.STRING)
    owner = np.repeat(np.arange(1, len(counts) + 1), counts)
    offset, size = objects.base.take(owner) + rows["offset"], rows["size"].copy()
    outside = offset + size > objects.blocks[:, goobj.END].take(owner)
    if outside.any():
        file = objects.file[owner[np.argmax(outside)]]
        raise goobj.malformed("a string lies outside of the file", file)
    total = np.bincount(owner, size, len(counts) + 1)
    _check_sharing(objects, np.arange(len(total)), total)
    return offset, size, owner


def _kind_column(kind: U1, owner: I4, objects: Objects) -> U1:
    if kind.max() >= len(OBJECT_KINDS):
        bad = np.argmax(kind >= len(OBJECT_KINDS))
        raise goobj.malformed(f"symbol of unknown kind {kind[bad]}", objects.file[owner[bad]])
    return OBJECT_KINDS.take(kind)


def _check_versions(version: U2, owner: I4, objects: Objects) -> None:
    bad = np.flatnonzero((version > ABI0 + 1) & (version != STATIC))
    if bad.size:
        what = f"invalid symbol ABI {version[bad[0]]}"
        raise goobj.malformed(what, objects.file[owner[bad[0]]])
