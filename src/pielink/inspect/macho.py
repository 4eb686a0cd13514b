"""A reader of finished 64-bit Mach-O files: every part as NumPy columns, decoded on first use.

`read_macho` checks only what all the rest hangs on: the magic, the header, and that the load
commands lie one behind the other inside the file. Each further part is a cached property which
raises FormatError when that part is malformed; so one broken stream does not hide the others.

The format is described in `pielink.formats.macho`, the fixup streams in `opcodes`, `trie` and
`chains` beside this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pielink.arraytypes import NDArray
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect import chains, opcodes, trie
from pielink.inspect.columns import (
    BIND,
    BINDS,
    LAZY_BIND,
    REBASES,
    WEAK_BIND,
    BindRows,
    Columns,
    StreamError,
)
from pielink.inspect.universal import slices

MAX_NAME_BYTES = 1 << 28  # of all symbol names together; overlapping strings could make it endless

COMMAND_NAMES = {
    value: name for name, value in sorted(vars(macho).items()) if name.startswith("LC_")
} | {macho.LC_REQ_DYLD: "LC_REQ_DYLD"}
DYLIB_COMMANDS = (
    macho.LC_LOAD_DYLIB,
    macho.LC_LOAD_WEAK_DYLIB,
    macho.LC_REEXPORT_DYLIB,
    macho.LC_LOAD_UPWARD_DYLIB,
    macho.LC_LAZY_LOAD_DYLIB,
)
SPECIAL_ORDINALS = {
    macho.BIND_SPECIAL_DYLIB_SELF: "this-image",
    macho.BIND_SPECIAL_DYLIB_MAIN_EXECUTABLE: "main-executable",
    macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP: "flat-namespace",
    macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP: "weak",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One load command: its number, file offset, and bytes (cmdsize of them)."""

    cmd: int
    offset: int
    data: bytes

    @property
    def name(self) -> str:
        return COMMAND_NAMES.get(self.cmd, f"LC_{self.cmd:#x}")

    def fields(self, dtype: np.dtype[Any], file: str = "") -> dict[str, Any]:
        """The leading fields as a dict; FormatError if the command is too short for `dtype`."""
        if len(self.data) < dtype.itemsize:
            message = f"{self.name} has {len(self.data)} bytes, needs {dtype.itemsize}"
            raise FormatError(message, file, self.offset)
        row = np.frombuffer(self.data, dtype, 1)[0]
        return {name: row[name].item() for name in dtype.names or ()}

    def string(self, at: int, file: str = "") -> str:
        """The NUL-terminated string at offset `at` of the command (an lc_str)."""
        end = self.data.find(b"\0", at)
        if at < 8 or at >= len(self.data) or end < 0:
            raise FormatError(f"{self.name}: its string is outside the command", file, self.offset)
        return self.data[at:end].decode("utf-8", "backslashreplace")


class MachOFile:
    """One thin 64-bit little-endian Mach-O image, in memory. Made by `read_macho`."""

    def __init__(self, data: bytes, path: str = "") -> None:
        self.path = path
        self.data = data
        if len(data) < macho.MACH_HEADER_64.itemsize:
            raise FormatError("too small for a Mach-O header", path, len(data))
        self.header = np.frombuffer(data, macho.MACH_HEADER_64, 1)[0]
        if int(self.header["magic"]) != macho.MH_MAGIC_64:
            raise FormatError("not a 64-bit little-endian Mach-O file", path, 0)
        self.commands = list(self._walk_commands())

    def _walk_commands(self) -> Iterator[Command]:
        at = macho.MACH_HEADER_64.itemsize
        end = at + int(self.header["sizeofcmds"])
        if end > len(self.data):
            raise FormatError("load commands reach beyond the end of the file", self.path, at)
        for index in range(int(self.header["ncmds"])):
            if at + 8 > end:
                raise FormatError(f"load command {index} is beyond sizeofcmds", self.path, at)
            cmd, size = np.frombuffer(self.data, "<u4", 2, at).tolist()
            if size < 8 or size > end - at:
                raise FormatError(f"load command {index} has cmdsize {size}", self.path, at)
            yield Command(cmd, at, self.data[at : at + size])
            at += size

    def of(self, *cmds: int) -> list[Command]:
        """The load commands with one of these numbers, in file order."""
        return [command for command in self.commands if command.cmd in cmds]

    def first(self, dtype: np.dtype[Any], *cmds: int) -> dict[str, Any] | None:
        """The fields of the first load command with one of these numbers, or None."""
        found = self.of(*cmds)
        return found[0].fields(dtype, self.path) if found else None

    def range(self, offset: int, size: int, what: str) -> bytes:
        """`size` bytes at file offset `offset`; FormatError naming `what` if they are not there."""
        if size and (offset > len(self.data) or size > len(self.data) - offset):
            raise FormatError(f"{what} ({size:#x} bytes) is outside the file", self.path, offset)
        return self.data[offset : offset + size]

    # -- segments and sections

    @cached_property
    def segments(self) -> Columns:
        """One SEGMENT_COMMAND_64 row per segment, in load command order."""
        raw = [self._checked_segment(c) for c in self.of(macho.LC_SEGMENT_64)]
        return np.frombuffer(b"".join(raw), macho.SEGMENT_COMMAND_64)

    def _checked_segment(self, command: Command) -> bytes:
        head, each = macho.SEGMENT_COMMAND_64.itemsize, macho.SECTION_64.itemsize
        nsects = command.fields(macho.SEGMENT_COMMAND_64, self.path)["nsects"]
        if nsects > (len(command.data) - head) // each:
            message = f"LC_SEGMENT_64 is too small for its {nsects} sections"
            raise FormatError(message, self.path, command.offset)
        return command.data[:head]

    @cached_property
    def sections(self) -> Columns:
        """One SECTION_64 row per section, in file order; n_sect 1 names row 0."""
        head, each = macho.SEGMENT_COMMAND_64.itemsize, macho.SECTION_64.itemsize
        counts = self.segments["nsects"].tolist()
        commands = self.of(macho.LC_SEGMENT_64)
        raw = [c.data[head : head + n * each] for c, n in zip(commands, counts, strict=True)]
        return np.frombuffer(b"".join(raw), macho.SECTION_64)

    @cached_property
    def section_segment(self) -> NDArray[np.int64]:
        """For each section, the index of the segment command that holds it."""
        return np.repeat(np.arange(len(self.segments)), self.segments["nsects"])

    @cached_property
    def section_names(self) -> list[str]:
        """`__SEGMENT,__section` for each section."""
        rows = zip(
            self.sections["segname"].tolist(), self.sections["sectname"].tolist(), strict=True
        )
        return [f"{text(segment)},{text(section)}" for segment, section in rows]

    def is_zero_fill(self, index: int) -> bool:
        """Does section `index` have no bytes in the file?"""
        return int(self.sections["flags"][index]) & macho.SECTION_TYPE in (
            macho.S_ZEROFILL,
            macho.S_GB_ZEROFILL,
            macho.S_THREAD_LOCAL_ZEROFILL,
        )

    def section_bytes(self, index: int) -> bytes:
        """The file contents of section `index`; empty for zero fill."""
        if self.is_zero_fill(index):
            return b""
        row = self.sections[index]
        return self.range(int(row["offset"]), int(row["size"]), self.section_names[index])

    def segment_bytes(self, index: int) -> bytes:
        """The file contents of segment `index`."""
        row = self.segments[index]
        what = f"segment {text(row['segname'].item())}"
        return self.range(int(row["fileoff"]), int(row["filesize"]), what)

    @cached_property
    def base(self) -> int:
        """The unslid address of the mach header: that of the segment mapped from file offset 0."""
        holds = (self.segments["fileoff"] == 0) & (self.segments["filesize"] > 0)
        return int(self.segments["vmaddr"][holds][0]) if holds.any() else 0

    # -- symbols

    @cached_property
    def symbols(self) -> Columns:
        """One NLIST_64 row per entry of the symbol table, in file order."""
        table = self.first(macho.SYMTAB_COMMAND, macho.LC_SYMTAB)
        if table is None:
            return np.zeros(0, macho.NLIST_64)
        size = table["nsyms"] * macho.NLIST_64.itemsize
        return np.frombuffer(self.range(table["symoff"], size, "symbol table"), macho.NLIST_64)

    @cached_property
    def strings(self) -> bytes:
        """The string table."""
        table = self.first(macho.SYMTAB_COMMAND, macho.LC_SYMTAB)
        if table is None:
            return b""
        return self.range(table["stroff"], table["strsize"], "string table")

    @cached_property
    def symbol_names(self) -> list[bytes]:
        """The name of each symbol."""
        start = self.symbols["n_strx"].astype(np.int64)
        if not len(start):
            return []
        ends = np.flatnonzero(np.frombuffer(self.strings + b"\0", "u1") == 0)
        if int(start.max()) > len(self.strings):
            bad = int(np.argmax(start > len(self.strings)))
            raise FormatError(f"symbol {bad}: its name is beyond the string table", self.path)
        stop = ends[np.searchsorted(ends, start)]
        if int((stop - start).sum()) > MAX_NAME_BYTES:
            raise FormatError("the symbol names overlap into an unreasonable size", self.path)
        strings = self.strings
        return [strings[a:b] for a, b in zip(start.tolist(), stop.tolist(), strict=True)]

    @cached_property
    def indirect_symbols(self) -> NDArray[np.uint32]:
        """The indirect symbol table: symbol indices, or INDIRECT_SYMBOL_LOCAL / _ABS."""
        table = self.first(macho.DYSYMTAB_COMMAND, macho.LC_DYSYMTAB)
        if table is None:
            return np.zeros(0, np.uint32)
        raw = self.range(table["indirectsymoff"], 4 * table["nindirectsyms"], "indirect symbols")
        return np.frombuffer(raw, "<u4")

    @cached_property
    def _defined(self) -> tuple[NDArray[np.uint64], list[int]]:
        rows = self.symbols
        kinds = rows["n_type"]
        real = np.flatnonzero(
            ((kinds & macho.N_STAB) == 0) & ((kinds & macho.N_TYPE) == macho.N_SECT)
        )
        order = real[np.argsort(rows["n_value"][real], kind="stable")]
        return rows["n_value"][order], order.tolist()

    def nearest_symbol(self, address: int) -> str:
        """`name` or `name+0x10` of the last symbol of the address's section that starts by it.

        Empty if the address is in no section or before its first symbol.
        """
        section = self._section_index(address)
        values, order = self._defined
        at = int(np.searchsorted(values, np.uint64(address & (1 << 64) - 1), "right")) - 1
        if section is None or at < 0 or int(self.symbols["n_sect"][order[at]]) != section + 1:
            return ""
        name, off = text(self.symbol_names[order[at]]), address - int(values[at])
        return f"{name}+{off:#x}" if off else name

    def _section_index(self, address: int) -> int | None:
        start, size = self.sections["addr"], self.sections["size"]
        probe = np.uint64(address & (1 << 64) - 1)
        hit = np.flatnonzero((start <= probe) & (probe - start < size))
        return int(hit[0]) if len(hit) else None

    def section_at(self, address: int) -> str:
        """`__SEG,__sect+0x10` for an address inside a section, else the bare address."""
        index = self._section_index(address)
        if index is None:
            return f"{address:#x}"
        return f"{self.section_names[index]}+{address - int(self.sections['addr'][index]):#x}"

    # -- what dyld is told

    @cached_property
    def libraries(self) -> list[str]:
        """Install names in load order; library ordinal 1 is item 0."""
        name_at = macho.DYLIB_COMMAND
        return [
            c.string(c.fields(name_at, self.path)["name"], self.path)
            for c in self.of(*DYLIB_COMMANDS)
        ]

    def library(self, ordinal: int) -> str:
        """The install name behind a library ordinal, or a word for the special ones."""
        if ordinal in SPECIAL_ORDINALS:
            return SPECIAL_ORDINALS[ordinal]
        if 0 < ordinal <= len(self.libraries):
            return self.libraries[ordinal - 1]
        return f"no library has ordinal {ordinal}"

    @cached_property
    def dyld_info(self) -> dict[str, int]:
        """The fields of LC_DYLD_INFO(_ONLY); all zero if there is none."""
        dtype = macho.DYLD_INFO_COMMAND
        found = self.first(dtype, macho.LC_DYLD_INFO_ONLY, macho.LC_DYLD_INFO)
        return found or dict.fromkeys(dtype.names or (), 0)

    def info_stream(self, name: str) -> bytes:
        """The bytes of one stream of LC_DYLD_INFO: rebase, bind, weak_bind, lazy_bind, export."""
        info = self.dyld_info
        return self.range(info[f"{name}_off"], info[f"{name}_size"], f"{name} stream")

    @cached_property
    def max_fixups(self) -> int:
        """More fixups than this cannot be meant: a bound that no stream may exceed."""
        return len(self.data) // 4 + 16

    @cached_property
    def rebase_rows(self) -> Columns:
        """REBASE rows of the rebase opcodes, in stream order."""
        return opcodes.decode_rebases(self.info_stream("rebase"), self.max_fixups)

    def bind_rows(self, kind: str) -> BindRows:
        """Rows of one bind stream in stream order; `kind` is bind, weak_bind or lazy_bind."""
        return opcodes.decode_binds(self.info_stream(kind), kind, self.max_fixups)

    @cached_property
    def chained(self) -> chains.Chained | None:
        """LC_DYLD_CHAINED_FIXUPS, decoded; None if there is none."""
        command = self.first(macho.LINKEDIT_DATA_COMMAND, macho.LC_DYLD_CHAINED_FIXUPS)
        if command is None:
            return None
        payload = self.range(command["dataoff"], command["datasize"], "chained fixups")
        contents = [self.segment_bytes(i) for i in range(len(self.segments))]
        return chains.decode(payload, contents, self.base, self.max_fixups)

    def addresses(self, rows: Columns, what: str) -> NDArray[np.uint64]:
        """The unslid address of each row (segment, offset); StreamError for a missing segment."""
        vmaddr, bad = self.segments["vmaddr"], rows["segment"] >= len(self.segments)
        if bad.any():
            at = rows[int(np.argmax(bad))]
            number = int(at["segment"])
            message = "no segment is set" if number == 255 else f"there is no segment {number}"
            raise StreamError(what, "segment", message, int(at["at"]))
        return np.asarray(vmaddr[rows["segment"]] + rows["offset"], np.uint64)

    @cached_property
    def rebases(self) -> Columns:
        """REBASES rows (address, type, target), ascending; from opcodes or from chains."""
        if self.chained is not None:
            rows, targets = self.chained.rebases, self.chained.targets
        else:
            rows, targets = self.rebase_rows, None
        out = np.zeros(len(rows), REBASES)
        out["address"], out["type"] = self.addresses(rows, "rebase"), rows["type"]
        out["target"] = self.words(rows) if targets is None else targets
        return out[np.argsort(out["address"], kind="stable")]

    def words(self, rows: Columns) -> NDArray[np.uint64]:
        """The 8 bytes in the file at each row's place; 0 where the file holds none."""
        out = np.zeros(len(rows), np.uint64)
        for index in np.unique(rows["segment"]).tolist():
            raw = np.frombuffer(self.segment_bytes(index), "u1")
            mine = np.flatnonzero(
                (rows["segment"] == index) & (rows["offset"] <= max(len(raw) - 8, 0))
            )
            if len(raw) >= 8:
                at = rows["offset"][mine].astype(np.int64)
                out[mine] = raw[at[:, None] + np.arange(8)].view("<u8")[:, 0]
        return out

    @cached_property
    def binds(self) -> BindRows:
        """BINDS rows of all bind forms (regular, weak, lazy, chained) and their names."""
        if self.chained is not None:
            parts = [self.chained.binds]
        else:
            parts = [self.bind_rows(kind) for kind in ("bind", "weak_bind", "lazy_bind")]
        names: list[bytes] = []
        columns = []
        for kind, part in zip((BIND, WEAK_BIND, LAZY_BIND), parts, strict=False):
            out = np.zeros(len(part.rows), BINDS)
            for field in ("ordinal", "addend", "flags", "type"):
                out[field] = part.rows[field]
            out["name"] = part.rows["name"] + len(names)
            out["address"] = self.addresses(part.rows, "bind")
            out["kind"] = kind
            names += part.names
            columns.append(out)
        return BindRows(np.concatenate(columns), names)

    @cached_property
    def export_stream(self) -> bytes:
        """The export trie, from LC_DYLD_EXPORTS_TRIE or LC_DYLD_INFO."""
        command = self.first(macho.LINKEDIT_DATA_COMMAND, macho.LC_DYLD_EXPORTS_TRIE)
        if command is None:
            return self.info_stream("export")
        return self.range(command["dataoff"], command["datasize"], "export trie")

    @cached_property
    def exports(self) -> list[trie.Export]:
        """The exported symbols, in trie order."""
        return trie.decode(self.export_stream)


def text(raw: bytes) -> str:
    """A name of the file as printable text."""
    return raw.decode("utf-8", "backslashreplace")


def read_macho(path: str | Path, arch: str | None = None) -> MachOFile:
    """Read one image. `arch` picks a slice of a fat file; without it the file must have just one.

    Raises FormatError if the file cannot be read or its header or load commands are malformed.
    """
    name = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FormatError(error.strerror or str(error), name) from error
    found = slices(data, name)
    wanted = [row for row in found if arch in (None, row.arch)]
    if len(wanted) != 1:
        has = ", ".join(row.arch for row in found) or "none"
        ask = f"no single {arch} image" if arch else "a fat file: name an architecture"
        raise FormatError(f"{ask} (it has: {has})", name)
    _, offset, size = wanted[0]
    return MachOFile(data[offset : offset + size], name)
