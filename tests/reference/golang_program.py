"""Small Go programs as the linker's tables, made by hand: symbols are plain objects with ids.

A `Maker` numbers symbols; every symbol is one slot, and live ones are rows of Symbols, in the same
order. References inside contents are (0, slot): `MadeProgram.resolve` takes the second number as
the answer. So tests of passes after the resolve pass need no object files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from object_records import Definition, put_blocks, with_blocks

from pielink.arraytypes import NDArray
from pielink.errors import LinkError, Problem
from pielink.formats import goobj
from pielink.golang.release import RELEASES, Release
from pielink.record import fields
from pielink.records import Records, auxiliaries, contents, relocations
from pielink.tables import (
    I4,
    U4,
    Aux,
    Auxes,
    Kind,
    Memory,
    Objects,
    Reloc,
    Relocs,
    Slots,
    Symbols,
)


@dataclass(eq=False)
class Made:
    """One symbol."""

    id: int
    name: str
    content: bytes
    size: int
    kind: Kind
    object: int
    align: int
    version: int
    live: bool
    auxes: list[tuple[Aux, int]] = field(default_factory=list)  # type, id
    relocs: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    # offset, size, type, addend, id of the target

    def kept(self, left_out: tuple[Aux, ...]) -> list[tuple[Aux, int]]:
        """The auxiliary symbols of other kinds."""
        return [aux for aux in self.auxes if aux[0] not in left_out]


@dataclass(frozen=True)
class MadeProgram:
    """Stands for a Program whose references are resolved already."""

    memory: Memory
    objects: Objects
    slots: Slots
    relocs: Records
    auxes: Records
    contents: Records
    release: Release
    ids: dict[tuple[bytes, int], int]

    def resolve(self, objects: I4, package: U4, symbol: U4) -> I4:
        """The slot that a reference names; LinkError if there is none."""
        outside = (np.asarray(symbol) >= len(self.slots.canon)) | (np.asarray(package) != 0)
        if outside.any():
            file = self.objects.file[int(np.asarray(objects)[np.argmax(outside)])]
            raise LinkError([Problem("a reference names a symbol that does not exist", file)])
        return np.asarray(symbol).astype(np.int32)

    def targets(self, objects: I4, records: NDArray[np.void]) -> I4:
        """The slots that these records refer to."""
        return self.resolve(objects, records["package"], records["symbol"])

    def content(self, slot: int) -> tuple[int, int]:
        """Where the contents of a slot are, and their size."""
        (start,), (size,) = self.contents.spans(np.array([slot], np.int32))
        return int(start), int(size)

    def lookup(self, names: Sequence[tuple[bytes, int]]) -> I4:
        """Slots by name and version; 0 if there is none."""
        return np.array([self.ids.get(name, 0) for name in names], np.int32)

    def find(self, name: bytes, version: int) -> int:
        """The slot of one symbol; 0 if there is none."""
        return self.ids.get((name, version), 0)

    def name(self, slot: int) -> bytes:
        """The name of a slot."""
        slots = self.slots
        return self.memory.get(int(slots.name_offset[slot]), int(slots.name_size[slot]))


@dataclass
class Maker:
    """Collects symbols, then makes the tables."""

    files: list[list[bytes]] = field(default_factory=lambda: [[], []])  # by object
    assembly: set[int] = field(default_factory=set)  # objects from the assembler
    release: str = "1.27"
    symbols: list[Made] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.symbol("", live=True, object=0)

    def symbol(
        self,
        name: str,
        content: bytes = b"",
        *,
        size: int = -1,
        kind: Kind = Kind.RODATA,
        object: int = 1,
        align: int = 0,
        version: int = 0,
        live: bool = True,
    ) -> Made:
        """Add a symbol."""
        size = len(content) if size < 0 else size
        made = Made(
            len(self.symbols), name, content, size, kind, object, align, version, live
        )  # fmt: skip
        self.symbols.append(made)
        return made

    def finish(self) -> tuple[MadeProgram, Symbols, Relocs, Auxes, I4]:
        """The program, the tables of its live symbols, and the row of each slot (0: not live)."""
        memory = Memory(np.zeros(1 << 22, np.uint8), 0)
        memory.add(bytes(64))
        slots = self._columns(Slots, memory, self.symbols)
        live = [s for s in self.symbols if s.live]
        row_of_slot = np.zeros(len(self.symbols), np.int32)
        row_of_slot[[s.id for s in live]] = np.arange(len(live))
        symbols = self._columns(Symbols, memory, live, left_out=(Aux.GOTYPE,))
        relocs = [(int(row_of_slot[s.id]), *r) for s in live for r in s.relocs]
        auxes = [(int(row_of_slot[s.id]), *a) for s in live for a in s.kept((Aux.GOTYPE,))]
        where = memory, self._objects(memory), slots
        program = MadeProgram(
            *where,
            relocations(*where),
            auxiliaries(*where),
            contents(*where),
            RELEASES[self.release],
            {(s.name.encode(), s.version): s.id for s in self.symbols if s.name},
        )
        return (
            program,
            symbols,
            _relocs(relocs, row_of_slot),
            _auxes(auxes, row_of_slot),
            row_of_slot,
        )

    def _columns(
        self, table: Any, memory: Memory, rows: list[Made], left_out: tuple[Aux, ...] = ()
    ) -> Any:
        names = [s.name.encode() for s in rows]
        relocs, auxes = [len(s.relocs) for s in rows], [len(s.kept(left_out)) for s in rows]
        known = {
            "canon": np.array([s.id for s in rows], np.int32),
            "slot": np.array([s.id for s in rows], np.int32),
            "definition": np.array([s.id for s in rows], np.int32),
            "object": np.array([s.object for s in rows], np.int32),
            "name_offset": np.array([memory.add(n, 1) for n in names], np.int64),
            "name_size": np.array([len(n) for n in names], np.uint32),
            "version": np.array([s.version for s in rows], np.uint16),
            "kind": np.array([s.kind for s in rows], np.uint8),
            "size": np.array([s.size for s in rows], np.int64),
            "align": np.array([s.align for s in rows], np.uint32),
            "data_offset": np.array([memory.add(s.content, 1) for s in rows], np.int64),
            "data_size": np.array([len(s.content) for s in rows], np.int64),
            "reloc_start": np.cumsum([0, *relocs])[:-1],
            "reloc_count": np.array(relocs, np.int64),
            "aux_start": np.cumsum([0, *auxes])[:-1],
            "aux_count": np.array(auxes, np.int64),
        }
        empty = np.zeros(len(rows), np.int64)
        return table(**{name: known.get(name, empty) for name in fields(table)})

    def _objects(self, memory: Memory) -> Objects:
        blocks = np.zeros((len(self.files), 19), np.int64)
        base = np.zeros(len(self.files), np.int64)
        for row, names in enumerate(self.files):
            text = b"".join(names)
            sizes = np.array([len(n) for n in names], np.int64)
            table = np.zeros(len(names), goobj.STRING)
            table["size"] = sizes
            table["offset"] = goobj.STRING.itemsize * len(names) + np.cumsum(sizes) - sizes
            base[row] = memory.add(table.tobytes() + text)
            blocks[row, : goobj.FILE + 1] = base[row]
            blocks[row, goobj.FILE + 1 :] = base[row] + table.nbytes
            blocks[row, goobj.END] += len(text)
        with_blocks(blocks, self._records(memory))
        flags = [goobj.OBJ_FROM_ASSEMBLY if row in self.assembly else 0 for row in range(len(base))]
        return Objects(
            base=base,
            flags=np.array(flags, np.uint32),
            blocks=blocks,
            package=[f"package{row}" for row in range(len(base))],
            file=[f"package{row}.a(_go_.o)" for row in range(len(base))],
            library=np.arange(len(base), dtype=np.int32),
            first=np.zeros(len(base), np.int32),
        )

    def _records(self, memory: Memory) -> dict[int, int]:
        """Blocks with the records of all slots, for all objects alike."""
        return put_blocks(
            memory,
            [
                Definition(
                    [(*r[:4], 0, r[4]) for r in s.relocs],
                    [(a, 0, i) for a, i in s.auxes],
                    s.content,
                )
                for s in self.symbols
            ],
        )


def _relocs(rows: list[tuple[int, int, int, int, int, int]], row_of_slot: I4) -> Relocs:
    owner, offset, size, kind, addend, target = np.array(rows, np.int64).reshape(-1, 6).T
    return Relocs(
        owner=owner.astype(np.int32),
        offset=offset.astype(np.int32),
        size=size.astype(np.uint8),
        type=(kind & (Reloc.WEAK - 1)).astype(np.uint16),
        weak=kind >= Reloc.WEAK,
        addend=addend,
        target=row_of_slot[target],
    )


def _auxes(rows: list[tuple[int, Aux, int]], row_of_slot: I4) -> Auxes:
    owner, kind, target = np.array(rows, np.int64).reshape(-1, 3).T
    return Auxes(owner.astype(np.int32), kind.astype(np.uint8), row_of_slot[target])
