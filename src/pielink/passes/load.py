"""Turn the symbol, relocation and auxiliary records of all objects into columns.

The records of an object are packed structs in the flat memory; each field is copied once into
one preallocated column, object after object.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pielink.errors import FormatError
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
    Bool,
    Kind,
    Objects,
    RawAuxes,
    RawRelocs,
    Slots,
)

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


class Loaded(NamedTuple):
    """The columns as the files have them; `slots.canon` is each slot itself as yet."""

    objects: Objects
    slots: Slots
    relocs: RawRelocs
    auxes: RawAuxes
    first: I4  # first slot of each object row, and the end
    counts: I8  # symbol entries per block, shape (objects, 5)


def load(inputs: Inputs) -> Loaded:
    """Read all records. Raises FormatError for kinds of symbols that no release defines.

    Slots 1 to n are the n builtins of the release; they belong to object row 0.
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
    slots = _slots(inputs, table, first, counts)
    return Loaded(
        table, slots, _relocs(inputs, table, counts), _auxes(inputs, table, counts), first, symbols
    )


def _slots(inputs: Inputs, objects: Objects, first: I4, counts: I8) -> Slots:
    total = int(first[-1])
    offsets: list[I8] = [np.zeros(total, np.int64) for _ in range(4)]
    name_offset, data_offset, reloc_start, aux_start = offsets
    sizes: list[I8] = [np.zeros(total, np.int64) for _ in range(4)]
    size, data_size, reloc_count, aux_count = sizes
    name_size, align = np.zeros(total, np.uint32), np.zeros(total, np.uint32)
    version = np.zeros(total, np.uint16)
    kind, flags, flags2 = (np.zeros(total, np.uint8) for _ in range(3))
    reloc_base = np.cumsum(counts[:, goobj.RELOC_BLOCK]) - counts[:, goobj.RELOC_BLOCK]
    aux_base = np.cumsum(counts[:, goobj.AUX_BLOCK]) - counts[:, goobj.AUX_BLOCK]
    for row in range(1, len(objects.base)):
        a, z = int(first[row]), int(first[row + 1])
        at, base = objects.blocks[row], int(objects.base[row])
        records = np.frombuffer(inputs.view, goobj.SYMBOL, z - a, int(at[goobj.SYMDEF]))
        name_size[a:z], version[a:z] = records["name_size"], records["abi"]
        kind[a:z], flags[a:z], flags2[a:z] = (records[f] for f in ("kind", "flags", "flags2"))
        size[a:z], align[a:z] = records["size"], records["align"]
        np.add(records["name_offset"], base, out=name_offset[a:z], dtype=np.int64)
        d = a + int(counts[row, goobj.SYMDEF : goobj.NONPKGDEF + 1].sum())
        for block, start, count, origin in (
            (goobj.RELOCIDX, reloc_start, reloc_count, int(reloc_base[row])),
            (goobj.AUXIDX, aux_start, aux_count, int(aux_base[row])),
            (goobj.DATAIDX, data_offset, data_size, int(at[goobj.DATA])),
        ):
            index = np.frombuffer(inputs.view, "<u4", d - a + 1, int(at[block]))
            np.add(index[:-1], origin, out=start[a:d], dtype=np.int64)
            np.subtract(index[1:], index[:-1], out=count[a:d], dtype=np.int64)
    _check_versions(version, objects, first)
    return Slots(
        canon=np.arange(total, dtype=np.int32),
        object=np.repeat(np.arange(len(first) - 1, dtype=np.int32), np.diff(first)),
        block=_block_column(first, counts),
        name_offset=name_offset,
        name_size=name_size,
        version=version,
        kind=_kind_column(kind, objects, first),
        own_kind=_kind_column(kind, objects, first),
        own_object=np.repeat(np.arange(len(first) - 1, dtype=np.int32), np.diff(first)),
        definition=np.arange(total, dtype=np.int32),
        flags=flags,
        flags2=flags2,
        size=size,
        align=align,
        data_offset=data_offset,
        data_size=data_size,
        reloc_start=reloc_start,
        reloc_count=reloc_count,
        aux_start=aux_start,
        aux_count=aux_count,
        order=_go_order(first, counts),
        local=np.zeros(total, np.bool_),
        used_in_iface=np.zeros(total, np.bool_),
    )


def _object_of(slot: int, first: I4) -> int:
    return int(np.searchsorted(first, slot, side="right")) - 1


def _kind_column(kind: U1, objects: Objects, first: I4) -> U1:
    if (bad := np.flatnonzero(kind >= len(OBJECT_KINDS))).size:
        file = objects.file[_object_of(int(bad[0]), first)]
        raise FormatError(f"malformed object: symbol of unknown kind {kind[bad[0]]}", file)
    return OBJECT_KINDS[kind]


def _check_versions(version: U2, objects: Objects, first: I4) -> None:
    bad = np.flatnonzero((version > ABI0 + 1) & (version != STATIC))
    if bad.size:
        file = objects.file[_object_of(int(bad[0]), first)]
        raise FormatError(f"malformed object: invalid symbol ABI {version[bad[0]]}", file)


def _block_column(first: I4, counts: I8) -> U1:
    blocks = np.tile(np.arange(5, dtype=np.uint8), (len(counts), 1))
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


def _relocs(inputs: Inputs, objects: Objects, counts: I8) -> RawRelocs:
    total = int(counts[:, goobj.RELOC_BLOCK].sum())
    table = RawRelocs(
        offset=np.empty(total, np.int32),
        size=np.empty(total, np.uint8),
        type=np.empty(total, np.uint16),
        addend=np.empty(total, np.int64),
        package=np.empty(total, np.uint32),
        symbol=np.empty(total, np.uint32),
    )
    columns = [(name, getattr(table, name)) for name in goobj.RELOC.names or ()]
    _copy_records(inputs, objects, counts, goobj.RELOC_BLOCK, goobj.RELOC, columns)
    return table


def _auxes(inputs: Inputs, objects: Objects, counts: I8) -> RawAuxes:
    total = int(counts[:, goobj.AUX_BLOCK].sum())
    table = RawAuxes(
        np.empty(total, np.uint8), np.empty(total, np.uint32), np.empty(total, np.uint32)
    )
    columns = [(name, getattr(table, name)) for name in goobj.AUX.names or ()]
    _copy_records(inputs, objects, counts, goobj.AUX_BLOCK, goobj.AUX, columns)
    return table


def _copy_records(
    inputs: Inputs,
    objects: Objects,
    counts: I8,
    block: int,
    dtype: np.dtype[np.void],
    columns: list[tuple[str, U1 | U2 | U4 | I4 | I8 | Bool]],
) -> None:
    at = 0
    for row in range(1, len(objects.base)):
        count, start = int(counts[row, block]), int(objects.blocks[row, block])
        records = np.frombuffer(inputs.view, dtype, count, start)
        for begin in range(0, count, _BATCH):
            batch = records[begin : begin + _BATCH]
            for name, column in columns:
                column[at + begin : at + begin + len(batch)] = batch[name]
        at += count
