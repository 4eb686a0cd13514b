"""Reading a Mach-O file the way the kernel and dyld do before they map it.

`read_image` takes one thin executable or dylib (or the fitting slice of a fat file) apart into
plain records. Every offset and count is checked here once, so that the rest of the emulator can
index without fear; a file that breaks a rule raises FormatError with its name and the offset.

Source: <mach-o/loader.h>, <mach-o/fat.h>; the checks are those of dyld's mach_o/ and of xnu's
bsd/kern/mach_loader.c that guard memory safety. `pielink check` judges all the rest.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pielink.emulator.cpu import architecture_name, supported
from pielink.errors import FormatError
from pielink.formats import macho

_HEADER_SIZE = 32
_DYLIB_COMMANDS = {
    macho.LC_LOAD_DYLIB,
    macho.LC_LOAD_WEAK_DYLIB,
    macho.LC_REEXPORT_DYLIB,
    macho.LC_LOAD_UPWARD_DYLIB,
    macho.LC_LAZY_LOAD_DYLIB,
}
# LC_UNIXTHREAD: the index of the program counter among the 64-bit thread registers
_THREAD_PC = {macho.CPU_TYPE_X86_64: 16, macho.CPU_TYPE_ARM64: 32}


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `offset`..`offset + size` of the file (or of the slice of a fat file)."""

    offset: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """LC_SEGMENT_64; addresses are unslid."""

    name: str
    address: int
    size: int
    offset: int
    file_size: int
    protection: int
    flags: int

    @property
    def mapped(self) -> bool:
        """Whether it takes part in the image (`__PAGEZERO` and empty segments do not)."""
        return self.size > 0 and self.name != "__PAGEZERO"


@dataclass(frozen=True, slots=True)
class Section:
    """section_64; `kind` is its type, the low byte of its flags."""

    segment: str
    name: str
    address: int
    size: int
    kind: int
    alignment: int
    reserved1: int = 0  # of symbol pointers: their first row in the indirect symbol table


@dataclass(frozen=True, slots=True)
class Dependency:
    """One library that the image loads; its ordinal is its position, counted from 1."""

    name: str
    weak: bool
    reexported: bool


@dataclass
class Image:
    """What one Mach-O file says of itself. `data` is the file (or the slice)."""

    path: str
    data: bytes
    cputype: int
    filetype: int
    flags: int
    segments: list[Segment] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    dependencies: list[Dependency] = field(default_factory=list)
    rpaths: list[str] = field(default_factory=list)
    install_name: str = ""
    rebase: Range = Range()
    bind: Range = Range()
    weak_bind: Range = Range()
    lazy_bind: Range = Range()
    exports: Range = Range()
    has_dyld_info: bool = False  # LC_DYLD_INFO(_ONLY), even if all its streams are empty
    chained: Range = Range()
    symbols: Range = Range()  # size in bytes of nlist_64 records
    strings: Range = Range()
    indirect_symbols: Range = Range()  # 32-bit rows of the symbol table
    main_offset: int | None = None  # LC_MAIN: from the start of __TEXT
    stack_size: int = 0
    thread_pc: int | None = None  # LC_UNIXTHREAD: unslid

    def error(self, message: str, offset: int | None = None) -> FormatError:
        """A FormatError that names this file."""
        return FormatError(message, self.path, offset)

    def bytes_of(self, part: Range) -> bytes:
        """The bytes of a checked range."""
        return self.data[part.offset : part.offset + part.size]

    @cached_property
    def base(self) -> int:
        """The unslid address of the Mach-O header."""
        for segment in self.segments:
            if segment.mapped and segment.offset == 0 and segment.file_size:
                return segment.address
        raise self.error("no segment maps the Mach-O header")

    @cached_property
    def end(self) -> int:
        """The unslid address after the last mapped byte."""
        return max(segment.address + segment.size for segment in self.segments if segment.mapped)

    def string_at(self, start: int, end: int, what: str) -> str:
        """The NUL-terminated string at file offset `start`, which must end before `end`."""
        nul = self.data.find(b"\0", start, end) if start < end else -1
        if nul < 0:
            raise self.error(f"{what} has no end", start)
        return self.data[start:nul].decode("utf-8", "surrogateescape")

    @cached_property
    def _defined(self) -> tuple[list[int], list[int]]:
        rows = sorted(
            (value, strx)
            for strx, kind, _, _, value in struct.iter_unpack("<IBBHQ", self.bytes_of(self.symbols))
            if not kind & macho.N_STAB and kind & macho.N_TYPE == macho.N_SECT
        )
        return [value for value, _ in rows], [strx for _, strx in rows]

    def symbol_at(self, address: int) -> tuple[str, int]:
        """The nearest symbol at or below an unslid address, and its address; ("", 0) if none."""
        values, names = self._defined
        at = bisect_right(values, address) - 1
        if at < 0 or not self.base <= address < self.end:
            return "", 0
        start = self.strings.offset + names[at]
        end = self.strings.offset + self.strings.size
        nul = self.data.find(b"\0", start, end) if start < end else -1
        return self.data[start : max(nul, start)].decode("utf-8", "replace"), values[at]

    def sections_of(self, kind: int) -> Iterator[Section]:
        """The sections of one type, in file order."""
        return (section for section in self.sections if section.kind == kind)


def _name(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _slice(data: bytes, path: str) -> bytes:
    """The slice of a fat file that can run here; a thin file is its own slice."""
    magic = int.from_bytes(data[:4], "big")
    if magic not in (macho.FAT_MAGIC, macho.FAT_MAGIC_64):
        return data
    wide = magic == macho.FAT_MAGIC_64
    entry = struct.Struct(">IIQQII" if wide else ">5I")
    count = int.from_bytes(data[4:8], "big")
    if 8 + count * entry.size > len(data):
        raise FormatError(f"fat header names {count} architectures, past the end", path, 4)
    names = []
    for index in range(count):
        cputype, _, offset, size, *_ = entry.unpack_from(data, 8 + index * entry.size)
        if offset + size > len(data):
            raise FormatError("fat slice past the end of the file", path, 8 + index * entry.size)
        if supported(cputype):
            return data[offset : offset + size]
        names.append(architecture_name(cputype))
    raise FormatError(f"no slice that the emulator runs (there are: {', '.join(names)})", path)


class _Reader:
    """Walks the load commands of one image."""

    def __init__(self, image: Image) -> None:
        self.image, self.data = image, image.data
        self.handlers = {
            macho.LC_SEGMENT_64: self.segment,
            macho.LC_SYMTAB: self.symtab,
            macho.LC_DYSYMTAB: self.dysymtab,
            macho.LC_DYLD_INFO: self.dyld_info,
            macho.LC_DYLD_INFO_ONLY: self.dyld_info,
            macho.LC_DYLD_EXPORTS_TRIE: self.exports,
            macho.LC_DYLD_CHAINED_FIXUPS: self.chained,
            macho.LC_MAIN: self.main,
            macho.LC_UNIXTHREAD: self.thread,
            macho.LC_RPATH: self.rpath,
            macho.LC_ID_DYLIB: self.identity,
            **dict.fromkeys(_DYLIB_COMMANDS, self.dylib),
        }

    def walk(self, count: int, size: int) -> None:
        """Call the handler of each load command."""
        offset, end = _HEADER_SIZE, _HEADER_SIZE + size
        if end > len(self.data):
            raise self.image.error("load commands past the end of the file", 20)
        for _ in range(count):
            if offset + 8 > end:
                raise self.image.error("load commands overrun sizeofcmds", offset)
            cmd, cmdsize = struct.unpack_from("<2I", self.data, offset)
            if cmdsize < 8 or cmdsize % 8 or offset + cmdsize > end:
                raise self.image.error(f"load command {cmd:#x} has bad size {cmdsize}", offset)
            if handler := self.handlers.get(cmd):
                handler(offset, cmdsize)
            offset += cmdsize

    def fields(self, layout: str, offset: int, cmdsize: int) -> tuple[int, ...]:
        """The fields after cmd and cmdsize."""
        if 8 + struct.calcsize(layout) > cmdsize:
            raise self.image.error("load command too short", offset)
        return struct.unpack_from(layout, self.data, offset + 8)

    def range(self, offset: int, size: int, what: str, at: int) -> Range:
        """A checked file range."""
        if offset + size > len(self.data):
            raise self.image.error(f"{what} lies past the end of the file", at)
        return Range(offset, size)

    def string(self, offset: int, cmdsize: int, start: int) -> str:
        """An lc_str: its offset counts from the start of the load command."""
        if not 8 <= start < cmdsize:
            raise self.image.error("string outside its load command", offset)
        raw = self.data[offset + start : offset + cmdsize]
        return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")

    def segment(self, offset: int, cmdsize: int) -> None:
        """LC_SEGMENT_64 and its sections."""
        if cmdsize < 72:
            raise self.image.error("segment command too short", offset)
        name, address, size, fileoff, filesize, _, prot, count, flags = struct.unpack_from(
            "<16s4Q2i2I", self.data, offset + 8
        )
        if 72 + 80 * count > cmdsize:
            raise self.image.error("sections overrun their segment command", offset)
        segment = Segment(_name(name), address, size, fileoff, filesize, prot & 7, flags)
        self.check(segment, offset)
        self.image.segments.append(segment)
        for at in range(offset + 72, offset + 72 + 80 * count, 80):
            section, owner, start, length, _, align, _, _, kind, first = struct.unpack_from(
                "<16s16s2Q6I", self.data, at
            )
            debug = kind & macho.S_ATTR_DEBUG
            if length and not debug and not (address <= start and start + length <= address + size):
                raise self.image.error(f"section {_name(section)} outside its segment", at)
            self.image.sections.append(
                Section(
                    *(_name(owner), _name(section), start, length),
                    *(kind & macho.SECTION_TYPE, align, first),
                )
            )

    def check(self, segment: Segment, offset: int) -> None:
        """The rules without which the segment cannot be mapped."""
        name = segment.name or "a segment"
        self.range(segment.offset, segment.file_size, name, offset)
        if segment.size and segment.file_size > segment.size:
            raise self.image.error(f"{name}: filesize exceeds vmsize", offset)
        if segment.mapped and (segment.address % 0x1000 or segment.offset % 0x1000):
            raise self.image.error(f"{name}: not page-aligned", offset)
        if segment.address + segment.size > 1 << 46:
            raise self.image.error(f"{name}: address out of range", offset)
        for other in self.image.segments:
            low = max(segment.address, other.address)
            if low < min(segment.address + segment.size, other.address + other.size):
                raise self.image.error(f"{name} overlaps {other.name}", offset)

    def symtab(self, offset: int, cmdsize: int) -> None:
        """LC_SYMTAB."""
        symoff, nsyms, stroff, strsize = self.fields("<4I", offset, cmdsize)
        self.image.symbols = self.range(symoff, 16 * nsyms, "symbol table", offset)
        self.image.strings = self.range(stroff, strsize, "string table", offset)

    def dysymtab(self, offset: int, cmdsize: int) -> None:
        """LC_DYSYMTAB."""
        indirectsymoff, nindirectsyms = self.fields("<18I", offset, cmdsize)[12:14]
        part = self.range(indirectsymoff, 4 * nindirectsyms, "indirect symbol table", offset)
        self.image.indirect_symbols = part

    def dyld_info(self, offset: int, cmdsize: int) -> None:
        """LC_DYLD_INFO(_ONLY)."""
        self.image.has_dyld_info = True
        values = self.fields("<10I", offset, cmdsize)
        names = ("rebase", "bind", "weak_bind", "lazy_bind", "exports")
        for name, start, size in zip(names, values[::2], values[1::2], strict=True):
            if size:
                setattr(self.image, name, self.range(start, size, f"{name} info", offset))

    def exports(self, offset: int, cmdsize: int) -> None:
        """LC_DYLD_EXPORTS_TRIE."""
        start, size = self.fields("<2I", offset, cmdsize)
        self.image.exports = self.range(start, size, "export trie", offset)

    def chained(self, offset: int, cmdsize: int) -> None:
        """LC_DYLD_CHAINED_FIXUPS."""
        start, size = self.fields("<2I", offset, cmdsize)
        self.image.chained = self.range(start, size, "chained fixups", offset)

    def main(self, offset: int, cmdsize: int) -> None:
        """LC_MAIN."""
        self.image.main_offset, self.image.stack_size = self.fields("<2Q", offset, cmdsize)

    def thread(self, offset: int, cmdsize: int) -> None:
        """LC_UNIXTHREAD: flavor, count of 32-bit words, registers."""
        index = _THREAD_PC[self.image.cputype]
        _, words = self.fields("<2I", offset, cmdsize)
        if words * 4 < 8 * (index + 1) or 16 + words * 4 > cmdsize:
            raise self.image.error("thread command too short", offset)
        (pc,) = struct.unpack_from("<Q", self.data, offset + 16 + 8 * index)
        self.image.thread_pc = pc

    def rpath(self, offset: int, cmdsize: int) -> None:
        """LC_RPATH."""
        (start,) = self.fields("<I", offset, cmdsize)
        self.image.rpaths.append(self.string(offset, cmdsize, start))

    def identity(self, offset: int, cmdsize: int) -> None:
        """LC_ID_DYLIB."""
        (start,) = self.fields("<I", offset, cmdsize)
        self.image.install_name = self.string(offset, cmdsize, start)

    def dylib(self, offset: int, cmdsize: int) -> None:
        """The LC_LOAD_DYLIB family."""
        (start,) = self.fields("<I", offset, cmdsize)
        (cmd,) = struct.unpack_from("<I", self.data, offset)
        self.image.dependencies.append(
            Dependency(
                self.string(offset, cmdsize, start),
                cmd == macho.LC_LOAD_WEAK_DYLIB,
                cmd == macho.LC_REEXPORT_DYLIB,
            )
        )


def read_image(data: bytes, path: str) -> Image:
    """Take a Mach-O file apart. FormatError when it is malformed or not for this emulator."""
    data = _slice(data, path)
    if len(data) < _HEADER_SIZE:
        raise FormatError("too short for a Mach-O header", path)
    magic, cputype, _, filetype, count, size, flags, _ = struct.unpack_from("<8I", data)
    if magic != macho.MH_MAGIC_64:
        raise FormatError(f"not a 64-bit Mach-O file (magic {magic:#010x})", path, 0)
    if not supported(cputype):
        raise FormatError(f"{architecture_name(cputype)} programs cannot be emulated", path, 4)
    image = Image(path, data, cputype, filetype, flags)
    _Reader(image).walk(count, size)
    if image.chained.size and (image.rebase.size or image.bind.size):
        raise image.error("both LC_DYLD_INFO and LC_DYLD_CHAINED_FIXUPS")
    if not any(segment.mapped for segment in image.segments):
        raise image.error("no segments")
    return image


def read_executable(data: bytes, path: str) -> Image:
    """`read_image` for a main program, with what the kernel asks of one."""
    image = read_image(data, path)
    if image.filetype != macho.MH_EXECUTE:
        raise image.error(f"not an executable (filetype {image.filetype})", 12)
    if image.main_offset is None and image.thread_pc is None:
        raise image.error("no entry point: neither LC_MAIN nor LC_UNIXTHREAD")
    if image.main_offset is not None and image.main_offset >= image.end - image.base:
        raise image.error("LC_MAIN's entry lies outside the image")
    return image
