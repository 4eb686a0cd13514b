"""Unwinding the stack of x86_64 code by what the image itself says of it.

`__unwind_info` is a two-level table from function offsets to 32-bit encodings. An encoding says
that the function keeps a frame pointer, or how large its frame is and which registers it saved in
which order, or that an FDE in `__eh_frame` has the details. First level: pages by their first
function; second level: a page with plain entries (kind 2) or with 24-bit offsets and indices into
a table of encodings (kind 3). Personality routines and LSDAs are in tables of their own.

Source: <mach-o/compact_unwind_encoding.h>, libunwind's CompactUnwinder.hpp.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pielink.emulator.eh_frame import EhFrame, Entry, row_at
from pielink.emulator.errors import EmulatorError, GuestFault

if TYPE_CHECKING:
    from pielink.emulator.lookup import LoadedImage
    from pielink.emulator.process import Process

# DWARF numbers of the registers that matter: rbx rbp rsp r12..r15, and the return address
RBX, RBP, RSP, R12, R13, R14, R15, RIP = 3, 6, 7, 12, 13, 14, 15, 16
PRESERVED = (RBX, RBP, R12, R13, R14, R15)
_COMPACT_REGISTERS = {1: RBX, 2: R12, 3: R13, 4: R14, 5: R15, 6: RBP}
_MODE, _RBP_FRAME, _STACK_IMMEDIATE, _STACK_INDIRECT, _DWARF = 0x0F00_0000, 1, 2, 3, 4
_HAS_LSDA = 0x4000_0000


@dataclass(frozen=True)
class Frame:
    """The registers of one frame, by DWARF number; `call` is false in the interrupted frame."""

    registers: dict[int, int]
    call: bool = True

    @property
    def pc(self) -> int:
        """Where the frame goes on."""
        return self.registers[RIP]

    @property
    def lookup(self) -> int:
        """An address inside the call instruction: a call may be the last thing of a function."""
        return self.pc - self.call


@dataclass(frozen=True)
class Procedure:
    """What the tables say of one function; addresses are real ones, 0 when there is none."""

    start: int
    personality: int = 0
    lsda: int = 0
    encoding: int = 0
    entry: Entry | None = None


class ImageUnwinder:
    """The unwind tables of one image."""

    def __init__(self, proc: Process, loaded: LoadedImage) -> None:
        self.proc, self.loaded = proc, loaded
        sections = {s.name: s for s in loaded.image.sections if s.segment == "__TEXT"}
        info, frames = sections.get("__unwind_info"), sections.get("__eh_frame")
        memory, slide = proc.memory, loaded.slide
        self.info = memory.read(info.address + slide, info.size) if info else b""
        self.frames: EhFrame | None = None
        if frames:
            data = memory.read(frames.address + slide, frames.size)
            self.frames = EhFrame(data, frames.address + slide, memory.u64)

    def _unpack(self, layout: str, at: int) -> tuple[int, ...]:
        if at < 0 or at + struct.calcsize(layout) > len(self.info):
            raise EmulatorError(f"{self.loaded.name}: __unwind_info ends inside a table")
        return struct.unpack_from(layout, self.info, at)

    @cached_property
    def _header(self) -> tuple[int, ...]:
        header = self._unpack("<7I", 0)
        if header[0] != 1:
            raise EmulatorError(f"{self.loaded.name}: __unwind_info version {header[0]}")
        return header

    @cached_property
    def _index(self) -> list[tuple[int, ...]]:
        at, count = self._header[5:7]
        return [self._unpack("<III", at + 12 * i) for i in range(min(count, len(self.info) // 12))]

    def find(self, pc: int) -> Procedure | None:
        """The function that holds `pc`."""
        found = self._compact(pc - self.loaded.header) if self.info else None
        if found is not None and found.encoding & _MODE:
            if (found.encoding & _MODE) >> 24 != _DWARF:
                return found
            if self.frames is None:
                raise EmulatorError(f"{self.loaded.name}: __unwind_info names a missing FDE")
            return self._from_entry(self.frames.entry(found.encoding & 0xFF_FFFF))
        entry = self.frames.find(pc) if self.frames is not None else None
        return self._from_entry(entry) if entry is not None else None

    @staticmethod
    def _from_entry(entry: Entry) -> Procedure:
        return Procedure(entry.start, entry.personality, entry.lsda, 0, entry)

    def _compact(self, offset: int) -> Procedure | None:
        """Look `offset` (from the header) up in both levels."""
        starts = [entry[0] for entry in self._index]
        at = bisect_right(starts, offset) - 1
        if at < 0 or at + 1 >= len(starts) or not self._index[at][1]:
            return None
        first, page, _ = self._index[at]
        (kind,) = self._unpack("<I", page)
        start, encoding = (
            self._regular(page, offset) if kind == 2 else self._compressed(page, offset - first)
        )
        start += 0 if kind == 2 else first
        header = self.loaded.header
        return Procedure(
            header + start, self._personality(encoding), self._lsda(at, start, encoding), encoding
        )

    def _regular(self, page: int, offset: int) -> tuple[int, int]:
        at, count = self._unpack("<HH", page + 4)
        entries = [self._unpack("<II", page + at + 8 * i) for i in range(count)]
        found = bisect_right([entry[0] for entry in entries], offset) - 1
        start, encoding = entries[max(found, 0)]
        return start, encoding

    def _compressed(self, page: int, offset: int) -> tuple[int, int]:
        at, count, encodings, _ = self._unpack("<HHHH", page + 4)
        words = self._unpack(f"<{count}I", page + at)
        found = bisect_right([word & 0xFF_FFFF for word in words], offset) - 1
        word = words[max(found, 0)]
        number, shared, shared_count = word >> 24, *self._header[1:3]
        place = (
            shared + 4 * number
            if number < shared_count
            else page + encodings + 4 * (number - shared_count)
        )
        return word & 0xFF_FFFF, self._unpack("<I", place)[0]

    def _personality(self, encoding: int) -> int:
        number = encoding >> 28 & 3
        if not number:
            return 0
        (offset,) = self._unpack("<I", self._header[3] + 4 * (number - 1))
        return self.proc.memory.u64(self.loaded.header + offset)

    def _lsda(self, at: int, start: int, encoding: int) -> int:
        if not encoding & _HAS_LSDA:
            return 0
        low, high = self._index[at][2], self._index[at + 1][2]
        entries = [self._unpack("<II", place) for place in range(low, high, 8)]
        found = bisect_right([entry[0] for entry in entries], start) - 1
        if found < 0 or entries[found][0] != start:
            raise EmulatorError(f"{self.loaded.name}: no LSDA for the function at {start:#x}")
        return self.loaded.header + entries[found][1]


class Unwinder:
    """Steps from frame to frame; one for each process."""

    def __init__(self, proc: Process) -> None:
        self.proc = proc
        self._images: dict[LoadedImage, ImageUnwinder] = {}

    def procedure(self, frame: Frame) -> Procedure | None:
        """What the tables say of the function of a frame; None outside of all images."""
        loaded = self.proc.dyld.image_at(frame.lookup)
        if loaded is None:
            return None
        if loaded not in self._images:
            self._images[loaded] = ImageUnwinder(self.proc, loaded)
        return self._images[loaded].find(frame.lookup)

    def current(self) -> Frame:
        """The frame that called the emulated function that runs now."""
        cpu, memory = self.proc.cpu, self.proc.memory
        _, sp, back = cpu.entry(memory.u64)
        registers = dict(zip(PRESERVED, cpu.preserved(), strict=True))
        return Frame({**registers, RSP: sp + 8, RIP: back})

    def step(self, frame: Frame, procedure: Procedure) -> Frame | None:
        """The caller's frame; None at the end of the stack."""
        try:
            if procedure.entry is not None:
                caller = self._by_entry(frame, procedure.entry)
            else:
                caller = self._by_encoding(frame, procedure)
        except GuestFault:
            return None
        return caller if caller.pc else None

    def _by_entry(self, frame: Frame, entry: Entry) -> Frame:
        memory, row = self.proc.memory, row_at(entry, frame.lookup)
        address = frame.registers[row.register] + row.offset
        registers = {**frame.registers, RSP: address}
        for register, (rule, operand) in row.saved.items():
            if rule == "offset":
                registers[register] = memory.u64(address + operand)
            elif rule == "register":
                registers[register] = frame.registers[operand]
            elif rule == "undefined" and register == entry.return_register:
                registers[register] = 0
        return Frame({**registers, RIP: registers[entry.return_register]})

    def _by_encoding(self, frame: Frame, procedure: Procedure) -> Frame:
        mode = (procedure.encoding & _MODE) >> 24
        if mode == _RBP_FRAME:
            return self._frame_pointer(frame, procedure.encoding)
        if mode in (_STACK_IMMEDIATE, _STACK_INDIRECT):
            return self._frameless(frame, procedure, mode)
        raise EmulatorError(f"compact unwind encoding {procedure.encoding:#x} is not x86_64's")

    def _frame_pointer(self, frame: Frame, encoding: int) -> Frame:
        memory, base = self.proc.memory, frame.registers[RBP]
        registers = dict(frame.registers)
        slot = base - 8 * (encoding >> 16 & 0xFF)
        for index in range(5):
            number = encoding >> 3 * index & 7
            if number in _COMPACT_REGISTERS:
                registers[_COMPACT_REGISTERS[number]] = memory.u64(slot + 8 * index)
        registers[RSP], registers[RIP] = base + 16, memory.u64(base + 8)
        registers[RBP] = memory.u64(base)
        return Frame(registers)

    def _frameless(self, frame: Frame, procedure: Procedure, mode: int) -> Frame:
        memory, encoding = self.proc.memory, procedure.encoding
        size = (encoding >> 16 & 0xFF) * 8
        if mode == _STACK_INDIRECT:  # the size is in the function's `sub` instruction
            where = procedure.start + (encoding >> 16 & 0xFF)
            size = memory.u32(where) + 8 * (encoding >> 13 & 7)
        order = permutation(encoding >> 10 & 7, encoding & 0x3FF)
        registers, top = dict(frame.registers), frame.registers[RSP] + size
        slot = top - 8 - 8 * len(order)
        for index, number in enumerate(order):
            registers[_COMPACT_REGISTERS[number]] = memory.u64(slot + 8 * index)
        registers[RIP], registers[RSP] = memory.u64(top - 8), top
        return Frame(registers)


def permutation(count: int, code: int) -> list[int]:
    """The compact numbers of `count` saved registers, in the order of the stack.

    `code` is a number in a mixed-radix system: digit i counts, among the registers 1..6 that are
    not taken yet, those below the i-th one.
    """
    if count > 6:
        raise EmulatorError(f"compact unwind encoding saves {count} registers")
    free, found = [1, 2, 3, 4, 5, 6], []
    weights = []
    weight = 1
    for index in reversed(range(count)):
        weights.append(weight)
        weight *= 6 - index
    for weight in reversed(weights):
        digit, code = divmod(code, weight)
        if digit >= len(free):
            raise EmulatorError("compact unwind encoding has a bad register permutation")
        found.append(free.pop(digit))
    return found


def with_pc(frame: Frame, pc: int) -> Frame:
    """The frame, going on elsewhere."""
    return replace(frame, registers={**frame.registers, RIP: pc})
