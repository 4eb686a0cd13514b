"""Edits finished Mach-O files in place, to damage them in a way that a test names."""

from __future__ import annotations

from typing import Any

import numpy as np

from pielink.formats import macho
from pielink.inspect.compare_commands import COMMAND_FIELDS
from pielink.inspect.macho import MachOFile

HEADER = macho.MACH_HEADER_64.itemsize


class Edit:
    """The bytes of one thin file, with setters by the names of the structures."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    @property
    def file(self) -> MachOFile:
        """The file as it is now."""
        return MachOFile(bytes(self.data))

    def write(self, at: int, new: bytes) -> None:
        assert at + len(new) <= len(self.data)
        self.data[at : at + len(new)] = new

    def _set(self, dtype: np.dtype[Any], at: int, fields: dict[str, Any]) -> None:
        row = np.frombuffer(self.data, dtype, 1, at)
        for name, value in fields.items():
            row[name] = value if not callable(value) else value(row[name][0].item())

    def header(self, **fields: Any) -> None:
        """Set fields of mach_header_64; a callable gets the old value."""
        self._set(macho.MACH_HEADER_64, 0, fields)

    def command_at(self, cmd: int, index: int = 0) -> int:
        return self.file.of(cmd)[index].offset

    def command(self, cmd: int, index: int = 0, /, **fields: Any) -> None:
        """Set fields of a load command."""
        self._set(COMMAND_FIELDS.get(cmd, macho.LOAD_COMMAND), self.command_at(cmd, index), fields)

    def segment(self, name: str, **fields: Any) -> None:
        """Set fields of the first segment of this name."""
        names = [s.decode() for s in self.file.segments["segname"]]
        at = self.command_at(macho.LC_SEGMENT_64, names.index(name))
        self._set(macho.SEGMENT_COMMAND_64, at, fields)

    def section_row(self, name: str) -> np.void:
        file = self.file
        return file.sections[file.section_names.index(name)]

    def section(self, name: str, **fields: Any) -> None:
        """Set fields of a section, named `__SEG,__sect`."""
        at = HEADER
        left = self.file.section_names.index(name)
        for command in self.file.of(macho.LC_SEGMENT_64):
            count = command.fields(macho.SEGMENT_COMMAND_64)["nsects"]
            if left < count:
                at = command.offset + macho.SEGMENT_COMMAND_64.itemsize
                self._set(macho.SECTION_64, at + left * macho.SECTION_64.itemsize, fields)
                return
            left -= count

    def symbol(self, index: int, **fields: Any) -> None:
        """Set fields of a symbol."""
        start = self.file.first(macho.SYMTAB_COMMAND, macho.LC_SYMTAB)["symoff"]
        self._set(macho.NLIST_64, start + index * macho.NLIST_64.itemsize, fields)

    def symbol_index(self, kind: int, sign: int = 0) -> int:
        """The first symbol whose N_TYPE is `kind`, with all bits of `sign` set."""
        rows = self.file.symbols["n_type"]
        match = (rows & macho.N_STAB == 0) & (rows & macho.N_TYPE == kind) & (rows & sign == sign)
        return int(np.flatnonzero(match)[0])

    def stream(self, name: str, new: bytes) -> None:
        """Put `new`, padded to 8 bytes, in place of a stream of LC_DYLD_INFO."""
        info = self.file.dyld_info
        new = new.ljust(-(-len(new) // 8) * 8, b"\0")
        assert len(new) <= info[f"{name}_size"]
        self.write(info[f"{name}_off"], new)
        cmd = self.file.of(macho.LC_DYLD_INFO, macho.LC_DYLD_INFO_ONLY)[0].cmd
        self.command(cmd, **{f"{name}_size": len(new)})

    def word(self, address: int, value: int, size: int = 8) -> None:
        """Write a little-endian word at an unslid address."""
        self.write(self.file_offset(address), value.to_bytes(size, "little"))

    def file_offset(self, address: int) -> int:
        for row in self.file.segments:
            start, size = int(row["vmaddr"]), int(row["filesize"])
            if start <= address < start + size:
                return int(row["fileoff"]) + address - start
        raise AssertionError(f"nothing in the file at {address:#x}")

    def linkedit(self, cmd: int) -> tuple[int, int]:
        """Offset and size that a linkedit_data_command names."""
        fields = self.file.first(macho.LINKEDIT_DATA_COMMAND, cmd)
        return fields["dataoff"], fields["datasize"]

    def commands(self, commands: list[bytes]) -> None:
        """Put these load commands in place of all that are there."""
        old = HEADER + int(self.file.header["sizeofcmds"])
        raw = b"".join(commands)
        room = min(int(o) for o in self.file.sections["offset"] if o)
        assert HEADER + len(raw) <= room
        self.header(ncmds=len(commands), sizeofcmds=len(raw))
        self.write(HEADER, raw.ljust(old - HEADER, b"\0"))

    def insert(self, command: bytes, before: int | None = None) -> None:
        """Add a load command, in front of the first one with number `before`, or at the end."""
        raw = [c.data for c in self.file.commands]
        numbers = [c.cmd for c in self.file.commands]
        raw.insert(len(raw) if before is None else numbers.index(before), command)
        self.commands(raw)

    def remove(self, *cmds: int) -> None:
        """Drop all load commands with these numbers."""
        self.commands([c.data for c in self.file.commands if c.cmd not in cmds])

    def repeat(self, cmd: int) -> None:
        """Add the first command of this number once more."""
        self.insert(self.file.of(cmd)[0].data)


def string_command(cmd: int, text: bytes, fixed: int = 12) -> bytes:
    """A load command that holds a string behind `fixed` bytes."""
    size = -(-(fixed + len(text) + 1) // 8) * 8
    head = b"".join(n.to_bytes(4, "little") for n in (cmd, size, fixed))
    return head.ljust(fixed, b"\0") + text.ljust(size - fixed, b"\0")


def data_command(cmd: int, offset: int, size: int) -> bytes:
    """A linkedit_data_command."""
    return b"".join(n.to_bytes(4, "little") for n in (cmd, 16, offset, size))
