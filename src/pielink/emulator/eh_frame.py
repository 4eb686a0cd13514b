"""DWARF call frame information in `__eh_frame`: how to get from a frame to its caller's.

A CIE (common information entry) holds what several functions share: alignment factors, the
encodings of pointers, the personality routine and initial instructions. An FDE names its CIE, the
range of one function, its language-specific data and the instructions that change the rules at
given addresses. Executing both up to an address gives one row: how to compute the CFA (the
canonical frame address, the caller's stack pointer), and where each register is saved.

Source: the Linux Standard Base's description of .eh_frame, DWARF 5 section 6.4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from pielink.emulator.errors import EmulatorError

_OMIT, _INDIRECT = 0xFF, 0x80
_FORMATS = {0x00: "<Q", 0x02: "<H", 0x03: "<I", 0x04: "<Q", 0x0A: "<h", 0x0B: "<i", 0x0C: "<q"}
_PC_RELATIVE = 0x10
_LARGEST_SECTION = 1 << 28


@dataclass
class Entry:
    """One FDE with what its CIE says: the function, its personality and its LSDA (or 0)."""

    start: int
    end: int
    code_factor: int
    data_factor: int
    return_register: int
    initial: bytes
    instructions: bytes
    personality: int = 0
    lsda: int = 0


@dataclass
class Row:
    """The rules at one address: CFA = register + offset; register -> (rule, operand)."""

    register: int = 0
    offset: int = 0
    saved: dict[int, tuple[str, int]] = field(default_factory=dict)

    def copy(self) -> Row:
        """For DW_CFA_remember_state."""
        return Row(self.register, self.offset, dict(self.saved))


class Cursor:
    """Reads the section; `address` is where `data` is mapped, for relative pointers."""

    def __init__(self, data: bytes, at: int, end: int, address: int = 0) -> None:
        self.data, self.at, self.end, self.address = data, at, end, address

    def take(self, layout: str) -> int:
        """One fixed-size number."""
        size = struct.calcsize(layout)
        if self.at + size > self.end:
            raise EmulatorError("call frame information ends inside an entry")
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += size
        return int(value)

    def uleb(self) -> int:
        """A ULEB128."""
        return self._leb()[0]

    def sleb(self) -> int:
        """A SLEB128."""
        value, bits, last = self._leb()
        return value - (1 << bits) if last & 0x40 else value

    def _leb(self) -> tuple[int, int, int]:
        """The value of a LEB128 without its sign, how many bits it has, and its last byte."""
        value = shift = 0
        while True:
            byte = self.take("<B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, shift, byte

    def string(self) -> bytes:
        """A NUL-terminated string."""
        nul = self.data.find(b"\0", self.at, self.end)
        if nul < 0:
            raise EmulatorError("call frame information has an endless string")
        found = self.data[self.at : nul]
        self.at = nul + 1
        return found

    def pointer(self, encoding: int, read: Callable[[int], int] | None) -> int:
        """An encoded pointer; `read` follows an indirect one (None: the address of it)."""
        if encoding == _OMIT:
            return 0
        here, form = self.address + self.at, encoding & 0x0F
        if form in (0x01, 0x09):
            value = self.uleb() if form == 0x01 else self.sleb()
        elif form in _FORMATS:
            value = self.take(_FORMATS[form])
        else:
            raise EmulatorError(f"pointer encoding {encoding:#x} is not supported")
        if not value:
            return 0
        if encoding & 0x70 == _PC_RELATIVE:
            value += here
        value &= (1 << 64) - 1
        return read(value) if encoding & _INDIRECT and read is not None else value


@dataclass
class _Common:
    code_factor: int
    data_factor: int
    return_register: int
    augmentation: bytes
    initial: bytes
    pointer_encoding: int = 0
    lsda_encoding: int = _OMIT
    personality: int = 0


class EhFrame:
    """One image's `__eh_frame`, mapped at `address`."""

    def __init__(self, data: bytes, address: int, read: Callable[[int], int]) -> None:
        self.data, self.address, self.read = data[:_LARGEST_SECTION], address, read
        self._common: dict[int, _Common] = {}

    def _record(self, at: int) -> tuple[Cursor, int, int]:
        """The cursor behind the length, where the id is, and the end of the record at `at`."""
        cursor = Cursor(self.data, at, len(self.data), self.address)
        length = cursor.take("<I")
        if length == 0xFFFF_FFFF:
            length = cursor.take("<Q")
        if cursor.at + length > len(self.data):
            raise EmulatorError(f"__eh_frame record at {at:#x} runs past the section")
        cursor.end = cursor.at + length
        return cursor, cursor.at, cursor.end

    def _cie(self, at: int) -> _Common:
        if at in self._common:
            return self._common[at]
        if not 0 <= at < len(self.data):
            raise EmulatorError("an FDE names a CIE outside __eh_frame")
        cursor, _, end = self._record(at)
        if cursor.take("<I") != 0:
            raise EmulatorError("an FDE names a record that is no CIE")
        version, augmentation = cursor.take("<B"), cursor.string()
        code, data = cursor.uleb(), cursor.sleb()
        register = cursor.take("<B") if version == 1 else cursor.uleb()
        common = _Common(code, data, register, augmentation, b"")
        if augmentation.startswith(b"z"):
            after = cursor.uleb()
            after += cursor.at
            self._augment(common, cursor)
            cursor.at = after
        common.initial = self.data[cursor.at : end]
        self._common[at] = common
        return common

    def _augment(self, common: _Common, cursor: Cursor) -> None:
        for letter in common.augmentation[1:].decode("latin-1"):
            if letter == "P":
                encoding = cursor.take("<B")
                common.personality = cursor.pointer(encoding, self.read)
            elif letter == "L":
                common.lsda_encoding = cursor.take("<B")
            elif letter == "R":
                common.pointer_encoding = cursor.take("<B")
            elif letter not in "SB":
                raise EmulatorError(f"unknown __eh_frame augmentation {letter!r}")

    def entry(self, at: int) -> Entry:
        """The FDE at offset `at` of the section."""
        cursor, id_at, end = self._record(at)
        common = self._cie(id_at - cursor.take("<I"))
        start = cursor.pointer(common.pointer_encoding, None)
        size = cursor.pointer(common.pointer_encoding & 0x0F, None)
        found = Entry(
            start,
            start + size,
            common.code_factor,
            common.data_factor,
            common.return_register,
            common.initial,
            b"",
            common.personality,
        )
        if common.augmentation.startswith(b"z"):
            after = cursor.uleb()
            after += cursor.at
            found.lsda = cursor.pointer(common.lsda_encoding, None)
            cursor.at = after
        found.instructions = self.data[cursor.at : end]
        return found

    def find(self, pc: int) -> Entry | None:
        """The FDE of the function that holds `pc`: a walk over the section."""
        at = 0
        while at + 8 <= len(self.data):
            cursor, _, end = self._record(at)
            if cursor.at == end:  # a length of zero ends the section
                return None
            if cursor.take("<I") != 0:
                found = self.entry(at)
                if found.start <= pc < found.end:
                    return found
            at = end
        return None


class _Machine:
    """Executes call frame instructions up to an address."""

    def __init__(self, entry: Entry) -> None:
        self.entry, self.row, self.location = entry, Row(), entry.start
        self.first, self.stack = Row(), list[Row]()

    def run(self, code: bytes, pc: int) -> None:
        cursor = Cursor(code, 0, len(code))
        while cursor.at < len(code):
            op = cursor.take("<B")
            if op >> 6 == 1:
                self.location += (op & 0x3F) * self.entry.code_factor
            elif op in _ADVANCE:
                self.location += cursor.take(_ADVANCE[op]) * self.entry.code_factor
            elif op == 0x01:  # set_loc
                self.location = cursor.take("<Q")
            else:
                self.rule(op, cursor)
            if self.location > pc:
                return

    def rule(self, op: int, cursor: Cursor) -> None:
        row, factor = self.row, self.entry.data_factor
        if op >> 6 == 2:
            row.saved[op & 0x3F] = ("offset", cursor.uleb() * factor)
        elif op >> 6 == 3:
            self.restore(op & 0x3F)
        elif op == 0x05:  # offset_extended
            row.saved[cursor.uleb()] = ("offset", cursor.uleb() * factor)
        elif op == 0x11:  # offset_extended_sf
            row.saved[cursor.uleb()] = ("offset", cursor.sleb() * factor)
        elif op == 0x06:  # restore_extended
            self.restore(cursor.uleb())
        elif op == 0x07:  # undefined
            row.saved[cursor.uleb()] = ("undefined", 0)
        elif op == 0x08:  # same_value
            row.saved.pop(cursor.uleb(), None)
        elif op == 0x09:  # register
            row.saved[cursor.uleb()] = ("register", cursor.uleb())
        elif op == 0x0A:  # remember_state
            self.stack.append(row.copy())
        elif op == 0x0B and self.stack:  # restore_state
            self.row = self.stack.pop()
        else:
            self.frame_address(op, cursor)

    def frame_address(self, op: int, cursor: Cursor) -> None:
        row, factor = self.row, self.entry.data_factor
        if op == 0x0C:  # def_cfa
            row.register, row.offset = cursor.uleb(), cursor.uleb()
        elif op == 0x12:  # def_cfa_sf
            row.register, row.offset = cursor.uleb(), cursor.sleb() * factor
        elif op == 0x0D:  # def_cfa_register
            row.register = cursor.uleb()
        elif op == 0x0E:  # def_cfa_offset
            row.offset = cursor.uleb()
        elif op == 0x13:  # def_cfa_offset_sf
            row.offset = cursor.sleb() * factor
        elif op == 0x2E:  # GNU_args_size
            cursor.uleb()
        elif op != 0x00:  # nop
            raise EmulatorError(f"call frame instruction {op:#x} is not supported")

    def restore(self, register: int) -> None:
        if register in self.first.saved:
            self.row.saved[register] = self.first.saved[register]
        else:
            self.row.saved.pop(register, None)


_ADVANCE = {0x02: "<B", 0x03: "<H", 0x04: "<I"}


def row_at(entry: Entry, pc: int) -> Row:
    """The rules that hold at `pc`."""
    machine = _Machine(entry)
    machine.run(entry.initial, (1 << 64) - 1)
    machine.first, machine.location = machine.row.copy(), entry.start
    machine.run(entry.instructions, pc)
    return machine.row
