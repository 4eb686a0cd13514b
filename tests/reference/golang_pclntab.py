"""The function tables, one function after the other: the plain twin of golang/pclntab.py."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

NONE = 0xFFFFFFFF


@dataclass(eq=False)
class Blob:
    """A pc table or a piece of funcdata."""

    content: bytes
    size: int
    align: int = 0
    refers: list[tuple[int, int, object]] = field(default_factory=list)  # offset, addend, target


@dataclass(eq=False)
class InlinedCall:
    """A node of an inline tree."""

    file: int
    function: Function
    parent_pc: int


@dataclass(eq=False)
class Info:
    """What a FuncInfo says."""

    args: int
    id: int
    flags: int
    line: int
    files: list[int]
    calls: list[InlinedCall]


@dataclass(eq=False)
class Function:
    """One text symbol, or a function that was inlined everywhere."""

    name: str
    object: int
    size: int = 0
    info: Info | None = None
    pcsp: Blob | None = None
    pcfile: Blob | None = None
    pcline: Blob | None = None
    pcinline: Blob | None = None
    pcdata: list[Blob] = field(default_factory=list)
    funcdata: list[Blob | None] = field(default_factory=list)
    deferreturn: list[int] = field(default_factory=list)  # offsets of the relocations


def data_align(size: int, align: int) -> int:
    """The alignment of a symbol that says `align` about itself."""
    if align:
        return align
    power = 32
    while power > 1 and power > size:
        power //= 2
    return power


class Tables:
    """All tables, by name, as bytes."""

    def __init__(
        self,
        functions: list[Function],
        entry: list[int],
        files: list[list[bytes]],
        assembly: set[int],
    ) -> None:
        self.functions, self.entry, self.files, self.assembly = functions, entry, files, assembly
        self.names = self._names()
        self.units, self.cutab, self.filetab, self.file_count = self._files()
        self.pc_offsets, self.pctab = self._pctab()
        self.trees = {f: self._tree(f) for f in functions if f.info and f.info.calls}
        self.data_offsets, self.funcdata, self.relocs = self._funcdata()
        self.functab = self._functab()
        self.findfunctab = findfunctab(entry, entry[-1] + functions[-1].size)

    def _names(self) -> dict[Function, int]:
        offsets: dict[Function, int] = {}
        text = b""
        for function in self.functions:
            calls = function.info.calls if function.info else []
            for one in [function, *(c.function for c in calls)]:
                if one not in offsets:
                    offsets[one] = len(text)
                    text += one.name.encode() + b"\0"
        self.funcnametab = text
        return offsets

    def _files(self) -> tuple[dict[int, int], bytes, bytes, int]:
        offset: dict[bytes, int] = {}
        filetab = b""
        entries: dict[int, int] = {}
        for function in self.functions:
            if function.object:
                entries.setdefault(function.object, 0)
            if not function.info:
                continue
            for index in [*function.info.files, *(c.file for c in function.info.calls)]:
                name = self.files[function.object][index]
                if name not in offset:
                    offset[name] = len(filetab)
                    filetab += name + b"\0"
                entries[function.object] = max(entries[function.object], index + 1)
        units, cutab = {}, b""
        for unit, count in entries.items():
            units[unit] = len(cutab) // 4
            for index in range(count):
                cutab += struct.pack("<I", offset.get(self.files[unit][index], NONE))
        return units, cutab, filetab, len(offset)

    def _pctab(self) -> tuple[dict[Blob, int], bytes]:
        offsets: dict[Blob, int] = {}
        table = b"\0"
        for function in self.functions:
            if not function.info:
                continue
            blobs = [function.pcsp, function.pcfile, function.pcline, *function.pcdata]
            if function.info.calls:
                blobs.append(function.pcinline)
            for blob in blobs:
                if blob and blob not in offsets:
                    offsets[blob] = len(table) if blob.size else 0
                    table += blob.content.ljust(blob.size, b"\0")
        return offsets, table

    def _tree(self, function: Function) -> Blob:
        content = b""
        assert function.info
        for call in function.info.calls:
            info = call.function.info
            assert info
            content += struct.pack(
                "<B3xIII", info.id, self.names[call.function], call.parent_pc, info.line
            )
        return Blob(content, len(content), 4)

    def _all_funcdata(self, function: Function) -> list[Blob | None]:
        if not function.info:
            return []
        entries = list(function.funcdata)
        if function in self.trees:
            entries += [None] * (4 - len(entries))
            entries[3] = self.trees[function]
        for number in (0, 5):
            if number < len(entries) and function.object in self.assembly:
                blob = entries[number]
                if blob and not blob.content:
                    entries[number] = None
        return entries

    def _funcdata(self) -> tuple[dict[Blob, int], bytes, list[tuple[int, int, object]]]:
        blobs: list[Blob] = []
        for function in self.functions:
            for blob in self._all_funcdata(function):
                if blob and blob not in blobs:
                    blobs.append(blob)
        blobs.sort(key=lambda b: -data_align(b.size, b.align))
        self.align = max((data_align(b.size, b.align) for b in blobs), default=1)
        offsets, relocs, table = {}, [], b""
        for blob in blobs:
            while len(table) % data_align(blob.size, blob.align):
                table += b"\0"
            offsets[blob] = len(table)
            relocs += [(len(table) + at, addend, target) for at, addend, target in blob.refers]
            table += blob.content.ljust(blob.size, b"\0")
        return offsets, table, relocs

    def _functab(self) -> bytes:
        count = len(self.functions)
        table = bytearray(8 * count + 4)
        for number, function in enumerate(self.functions):
            while len(table) % 8:
                table += b"\0"
            struct.pack_into("<II", table, 8 * number, self.entry[number], len(table))
            table += self._record(number, function)
        struct.pack_into("<I", table, 8 * count, self.entry[-1] + self.functions[-1].size)
        return bytes(table)

    def _record(self, number: int, function: Function) -> bytes:
        info = function.info
        pcdata: list[Blob | None] = list(function.pcdata) if info else []
        if info and info.calls:
            pcdata += [None] * (3 - len(pcdata))
            pcdata[2] = function.pcinline
        funcdata = self._all_funcdata(function)
        where = [function.pcsp, function.pcfile, function.pcline] if info else [None] * 3
        words = [
            self.entry[number],
            self.names[function],
            info.args if info else 0,
            function.deferreturn[0] - 1 if function.deferreturn else 0,
            *(self.pc_offsets[b] if b else 0 for b in where),
            len(pcdata),
            self.units[function.object] if function.object else NONE,
            info.line if info else 0,
        ]
        last = (info.id, info.flags, 0, len(funcdata)) if info else bytes(4)
        offsets = [self.pc_offsets[b] if b else 0 for b in pcdata]
        offsets += [self.data_offsets[b] if b else NONE for b in funcdata]
        return (
            struct.pack("<10I", *words) + bytes(last) + struct.pack(f"<{len(offsets)}I", *offsets)
        )


def findfunctab(entry: list[int], end: int) -> bytes:
    """For each part of 256 bytes, the first function that has a byte in it."""
    start = entry[0]
    part_count = -(-(end - start) // 256)
    first = [NONE] * part_count
    for number, begin in enumerate(entry):
        stop = entry[number + 1] if number + 1 < len(entry) else end
        for at in [*range(begin, stop, 256), stop - 1]:
            part = max(0, (at - start) // 256)
            first[part] = min(first[part], number)
    table = b""
    for bucket in range(0, part_count, 16):
        parts = first[bucket : bucket + 16]
        table += struct.pack("<I", parts[0]) + bytes(p - parts[0] for p in parts)
    return table
