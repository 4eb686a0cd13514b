"""Chained fixups (LC_DYLD_CHAINED_FIXUPS): the rows are kept in the pointers themselves.

Each pointer of a chain holds its target and the distance to the next pointer of its page; an
import table holds the symbols of the binds. The rows are `ChainedRebase` and the `Bind` of the
opcodes. Addresses are unslid virtual addresses.

Source: <mach-o/fixup-chains.h>, dyld's mach_o/ChainedFixups.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pielink.emulator.fixups import Bind, check_writable
from pielink.emulator.machofile import Image, Segment

_POINTER = 8
_CHAIN_END, _START_NONE, _START_MULTI = 0, 0xFFFF, 0x8000
_PTR_64, _PTR_64_OFFSET = 2, 6
_IMPORT_SIZES = {1: 4, 2: 8, 3: 16}


class ChainedRebase(NamedTuple):
    """A pointer of a chain: its address and its target (unslid, high byte included)."""

    address: int
    target: int


@dataclass(frozen=True, slots=True)
class _Import:
    ordinal: int
    symbol: str
    addend: int
    weak_import: bool


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


class _Chains:
    """The header, imports and page starts of LC_DYLD_CHAINED_FIXUPS."""

    def __init__(self, image: Image) -> None:
        self.image, self.part = image, image.chained
        self.data = image.bytes_of(image.chained)
        fields = self.unpack("<7I", 0, "header")
        version, self.starts, imports, symbols, count, form, packing = fields
        if version:
            raise self.error(f"fixups version {version} is unknown", 0)
        if packing:
            raise self.error("compressed symbol strings are not supported", 24)
        self.imports = self.read_imports(imports, symbols, count, form)

    def error(self, message: str, at: int) -> Exception:
        return self.image.error(f"chained fixups: {message}", self.part.offset + at)

    def unpack(self, layout: str, at: int, what: str) -> tuple[int, ...]:
        if at + struct.calcsize(layout) > len(self.data):
            raise self.error(f"{what} past the end", min(at, len(self.data)))
        return struct.unpack_from(layout, self.data, at)

    def read_imports(self, at: int, symbols: int, count: int, form: int) -> list[_Import]:
        """The import table in one of its three formats."""
        if form not in _IMPORT_SIZES:
            raise self.error(f"imports format {form} is unknown", 20)
        if at + count * _IMPORT_SIZES[form] > len(self.data):
            raise self.error("imports past the end", 8)
        return [self.read_import(at + i * _IMPORT_SIZES[form], symbols, form) for i in range(count)]

    def read_import(self, at: int, symbols: int, form: int) -> _Import:
        """DYLD_CHAINED_IMPORT, _ADDEND or _ADDEND64."""
        if form == 3:
            word, addend = self.unpack("<Qq", at, "import")
            ordinal, weak, name = _signed(word & 0xFFFF, 16), word >> 16 & 1, word >> 32
        else:
            word, addend = (
                self.unpack("<Ii", at, "import")
                if form == 2
                else (
                    *self.unpack("<I", at, "import"),
                    0,
                )
            )
            ordinal, weak, name = word & 0xFF, word >> 8 & 1, word >> 9
            ordinal = ordinal - 256 if ordinal > 0xF0 else ordinal
        nul = self.data.find(b"\0", symbols + name)
        if nul < 0:
            raise self.error("symbol name past the end", at)
        symbol = self.data[symbols + name : nul].decode("utf-8", "surrogateescape")
        return _Import(ordinal, symbol, addend, bool(weak))

    def rows(self) -> Iterator[ChainedRebase | Bind]:
        """Follow every chain of every segment."""
        (count,) = self.unpack("<I", self.starts, "starts")
        if count > len(self.image.segments):
            raise self.error(f"starts for {count} segments", self.starts)
        for index in range(count):
            (offset,) = self.unpack("<I", self.starts + 4 + 4 * index, "starts")
            if offset:
                yield from self.segment(self.image.segments[index], self.starts + offset)

    def segment(self, segment: Segment, at: int) -> Iterator[ChainedRebase | Bind]:
        """The chains of one segment: one start for each page."""
        _, page, form, where, _, pages = self.unpack("<IHHQIH", at, "segment starts")
        if form not in (_PTR_64, _PTR_64_OFFSET):
            raise self.error(f"pointer format {form} is not one of x86_64's", at + 6)
        if page not in (0x1000, 0x4000) or self.image.base + where != segment.address:
            raise self.error(f"segment starts of {segment.name} do not fit it", at)
        check_writable(self.image, segment, self.part.offset + at)
        for number in range(pages):
            (start,) = self.unpack("<H", at + 22 + 2 * number, "page start")
            if start == _START_NONE:
                continue
            if start & _START_MULTI or start >= page:
                raise self.error(f"bad page start {start:#x}", at + 22 + 2 * number)
            yield from self.chain(segment, number * page + start, (number + 1) * page, form)

    def chain(
        self, segment: Segment, offset: int, limit: int, form: int
    ) -> Iterator[ChainedRebase | Bind]:
        """One page's chain; each pointer gives the distance to the next in 4-byte units."""
        while True:
            if offset >= limit or offset + _POINTER > segment.file_size:
                raise self.error(f"chain leaves its page in {segment.name} at {offset:#x}", 0)
            (word,) = struct.unpack_from("<Q", self.image.data, segment.offset + offset)
            yield self.pointer(word, segment.address + offset, form)
            step = word >> 51 & 0xFFF
            if step == _CHAIN_END:
                return
            offset += 4 * step

    def pointer(self, word: int, address: int, form: int) -> ChainedRebase | Bind:
        """One pointer: bit 63 tells binds from rebases."""
        if word >> 63:
            number = word & 0xFF_FFFF
            if number >= len(self.imports):
                raise self.error(f"bind to import {number} of {len(self.imports)}", 0)
            entry, inline = self.imports[number], word >> 24 & 0xFF
            return Bind(
                address, entry.ordinal, entry.symbol, entry.addend + inline, entry.weak_import
            )
        target, high = word & 0xF_FFFF_FFFF, word >> 36 & 0xFF
        base = self.image.base if form == _PTR_64_OFFSET else 0
        return ChainedRebase(address, (target + base) | high << 56)


def chained(image: Image) -> Iterator[ChainedRebase | Bind]:
    """Every pointer of LC_DYLD_CHAINED_FIXUPS."""
    return _Chains(image).rows()
