"""The dyld info of Mach-O files: where each stream lies, what addresses mean, decoded on demand.

LC_DYLD_INFO(_ONLY) points at up to five streams in the file: rebase, bind, weak bind, lazy bind
and the export trie. Newer files have LC_DYLD_CHAINED_FIXUPS and LC_DYLD_EXPORTS_TRIE instead.
Source: <mach-o/loader.h>.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pielink.arrays import address_of, distinct
from pielink.arraytypes import U4, U8
from pielink.dyld import bind, chained, exports, lazy_bind, rebase, weak_bind
from pielink.dyld.columns import Rows
from pielink.dyld.errors import DyldInfoError
from pielink.dyld.stream import Opcode
from pielink.errors import FormatError
from pielink.formats import fat, macho
from pielink.formats.bounds import Bytes, as_bytes, check_range, records
from pielink.formats.loadcommands import (
    LoadCommand,
    command,
    command_string,
    cpu_name,
    read_header,
    walk,
)
from pielink.hints import Any
from pielink.record import NamedTuple

OPCODE_STREAMS = {
    "rebase": rebase.opcodes,
    "bind": bind.opcodes,
    "weak_bind": weak_bind.opcodes,
    "lazy_bind": lazy_bind.opcodes,
}
STREAMS = (*OPCODE_STREAMS, "export")
DYLIB_KINDS = {
    macho.LC_LOAD_DYLIB: "",
    macho.LC_LOAD_WEAK_DYLIB: "weak",
    macho.LC_REEXPORT_DYLIB: "re-export",
    macho.LC_LOAD_UPWARD_DYLIB: "upward",
    macho.LC_LAZY_LOAD_DYLIB: "lazy",
}


class Part(NamedTuple):
    """A piece of the file: offset in bytes from the start of the image, and the bytes."""

    offset: int
    data: bytes


class Segment(NamedTuple):
    """A segment: address and size in memory in bytes, and its bytes in the file."""

    name: str
    address: int
    size: int
    contents: Bytes


class Section(NamedTuple):
    """A section: its segment's index, address and size in memory in bytes."""

    segment: int
    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Image:
    """One thin image. Each property raises DyldInfoError, naming file and stream, if malformed.

    arch: as -arch names it; base: the address of the mach header without slide; dylibs: (install
    name, kind of DYLIB_KINDS) in the order that ordinals count from 1; parts: the streams that the
    file has, by the names of STREAMS and "chained"; offset: of the image in its file.
    """

    file: str
    arch: str
    offset: int
    base: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    dylibs: tuple[tuple[str, str], ...]
    parts: dict[str, Part]

    @property
    def _sizes(self) -> list[int]:
        return [segment.size for segment in self.segments]

    def _decode(self, part: str, decode: Any, *more: Any) -> Any:
        data = self.parts[part].data if part in self.parts else b""
        try:
            return decode(data, *more)
        except DyldInfoError as error:
            raise DyldInfoError(error.message, f"{self.file}: {part}", error.offset) from None

    @cached_property
    def rebases(self) -> Rows:
        """The rebase stream, (n,) REBASE in stream order."""
        rows: Rows = self._decode("rebase", rebase.decode, self._sizes)
        return rows

    @cached_property
    def binds(self) -> tuple[Rows, list[bytes]]:
        """The bind stream, as `bind.decode` gives it."""
        decoded: tuple[Rows, list[bytes]] = self._decode("bind", bind.decode, self._sizes)
        return decoded

    @cached_property
    def weak_binds(self) -> tuple[Rows, list[bytes]]:
        """The weak-bind stream, as `weak_bind.decode` gives it."""
        decoded: tuple[Rows, list[bytes]] = self._decode("weak_bind", weak_bind.decode, self._sizes)
        return decoded

    @cached_property
    def lazy_binds(self) -> tuple[Rows, list[bytes], U4]:
        """The lazy-bind stream, as `lazy_bind.decode` gives it."""
        decoded: tuple[Rows, list[bytes], U4] = self._decode(
            "lazy_bind", lazy_bind.decode, self._sizes
        )
        return decoded

    @cached_property
    def exports(self) -> tuple[Rows, list[bytes]]:
        """The export trie, as `exports.decode` gives it."""
        decoded: tuple[Rows, list[bytes]] = self._decode("export", exports.decode)
        return decoded

    @cached_property
    def chains(self) -> chained.Chains | None:
        """The chained fixups, None if the file has none."""
        if "chained" not in self.parts:
            return None
        table = np.array([(s.address, s.size) for s in self.segments], chained.SEGMENT)
        contents = [segment.contents.tobytes() for segment in self.segments]
        decoded: chained.Chains = self._decode(
            "chained", chained.decode, table, contents, self.base
        )
        return decoded

    def opcodes(self, part: str) -> list[Opcode]:
        """The opcodes of a stream of OPCODE_STREAMS."""
        listed: list[Opcode] = self._decode(part, OPCODE_STREAMS[part])
        return listed

    def addresses(self, rows: Rows) -> U8:
        """The address without slide of each location of REBASE or BIND rows: (n,) uint64."""
        starts = np.zeros(256, np.uint64)
        starts[: len(self.segments)] = [segment.address for segment in self.segments[:256]]
        found: U8 = starts[rows["segment"]] + rows["offset"]
        return found

    def words(self, rows: Rows) -> U8:
        """The 64-bit words that the file holds at the locations, 0 beyond its end: (n,) uint64."""
        values = np.zeros(len(rows), np.uint64)
        for index in distinct(rows["segment"]).tolist():
            contents = self.segments[index].contents
            mine = np.flatnonzero(rows["segment"] == index)
            offset = rows["offset"][mine]
            inside = offset + np.uint64(8) <= np.uint64(len(contents))
            at = offset[inside].astype(np.int64)[:, None] + np.arange(8)
            values[mine[inside]] = contents[at].view("<u8").reshape(-1)
        return values


def read(data: Any, file: str) -> list[Image]:
    """The images of a Mach-O file, thin or fat, in file order.

    data: the file's bytes (bytes-like); file: its name, for messages.
    Raises FormatError, naming the file, if it is no 64-bit Mach-O file or its load commands point
    outside of it.
    """
    whole = as_bytes(data)
    if not fat.is_fat(data):
        return [_image(whole, 0, file)]
    begin = address_of(whole)
    return [_image(part.data, address_of(part.data) - begin, file) for part in fat.read(data, file)]


def _image(data: Bytes, offset: int, file: str) -> Image:
    header = read_header(data, file)
    commands = walk(data, header, file)
    segments, sections, base = _segments(data, commands, file)
    return Image(
        file,
        _arch(int(header["cputype"]), int(header["cpusubtype"])),
        offset,
        base,
        segments,
        sections,
        tuple(_dylibs(data, commands, file)),
        _parts(data, commands, file),
    )


def _arch(cputype: int, cpusubtype: int) -> str:
    if cputype == macho.CPU_TYPE_ARM64 and cpusubtype & 0xFFFFFF == macho.CPU_SUBTYPE_ARM64E:
        return "arm64e"
    return cpu_name(cputype)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _segments(
    data: Bytes, commands: list[LoadCommand], file: str
) -> tuple[tuple[Segment, ...], tuple[Section, ...], int]:
    segments: list[Segment] = []
    sections: list[Section] = []
    base = 0
    for at in commands:
        if at.cmd != macho.LC_SEGMENT_64:
            continue
        fields = command(data, at, macho.SEGMENT_COMMAND_64, "LC_SEGMENT_64", file)
        name, start, size = (
            _text(fields["segname"]),
            int(fields["fileoff"]),
            int(fields["filesize"]),
        )
        check_range(data, start, size, f"segment {name}", file)
        if start == 0 and size:
            base = int(fields["vmaddr"])
        table = at.offset + macho.SEGMENT_COMMAND_64.itemsize
        count = int(fields["nsects"])
        if macho.SEGMENT_COMMAND_64.itemsize + count * macho.SECTION_64.itemsize > at.size:
            raise FormatError(f"segment {name}: its sections do not fit", file, at.offset)
        for row in records(data, table, count, macho.SECTION_64, "sections", file):
            where = int(row["addr"]), int(row["size"])
            sections.append(Section(len(segments), _text(row["sectname"]), *where))
        address, memory = int(fields["vmaddr"]), int(fields["vmsize"])
        segments.append(Segment(name, address, memory, data[start : start + size]))
    return tuple(segments), tuple(sections), base


def _dylibs(data: Bytes, commands: list[LoadCommand], file: str) -> list[tuple[str, str]]:
    found = []
    for at in commands:
        if at.cmd in DYLIB_KINDS:
            fields = command(data, at, macho.DYLIB_COMMAND, "dylib command", file)
            name = command_string(data, at, int(fields["name"]), "dylib name", file)
            found.append((_text(name), DYLIB_KINDS[at.cmd]))
    return found


def _parts(data: Bytes, commands: list[LoadCommand], file: str) -> dict[str, Part]:
    places: dict[str, tuple[int, int]] = {}
    for at in commands:
        if at.cmd in (macho.LC_DYLD_INFO, macho.LC_DYLD_INFO_ONLY):
            row = command(data, at, macho.DYLD_INFO_COMMAND, "LC_DYLD_INFO", file)
            for name in STREAMS:
                places[name] = int(row[f"{name}_off"]), int(row[f"{name}_size"])
        elif at.cmd in (macho.LC_DYLD_CHAINED_FIXUPS, macho.LC_DYLD_EXPORTS_TRIE):
            row = command(data, at, macho.LINKEDIT_DATA_COMMAND, "linkedit command", file)
            name = "chained" if at.cmd == macho.LC_DYLD_CHAINED_FIXUPS else "export"
            places[name] = int(row["dataoff"]), int(row["datasize"])
    parts = {}
    for name, (offset, size) in places.items():
        if size:
            check_range(data, offset, size, f"{name} stream", file)
            parts[name] = Part(offset, data[offset : offset + size].tobytes())
    return parts
