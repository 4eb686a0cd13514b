"""What dyld must write into an image with LC_DYLD_INFO: the rebase and bind opcodes.

The high four bits of each byte are the operation, the low four an immediate; some are followed by
ULEB128 or SLEB128 operands. A small state machine (segment, offset, and for binds ordinal,
symbol, addend, type) emits rows: `Rebases`, runs of pointers to slide, and `Bind`. Addresses are
unslid virtual addresses; each is checked to lie in a writable segment.

Source: <mach-o/loader.h>, dyld's mach_o/RebaseOpcodes.cpp and mach_o/BindOpcodes.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pielink.emulator.machofile import Image, Range, Segment
from pielink.formats import macho

_POINTER = 8
_MASK64 = (1 << 64) - 1
BIND_WEAK_IMPORT = 1
TYPE_POINTER = 1
MAX_ROWS = 1 << 24
MAX_BINDS = 1 << 20


class Rebases(NamedTuple):
    """So many pointers from `address` on, `stride` bytes apart."""

    address: int
    times: int
    stride: int


class Bind(NamedTuple):
    """One pointer that becomes the address of `symbol` plus `addend`."""

    address: int
    ordinal: int
    symbol: str
    addend: int
    weak_import: bool


class _Stream:
    """A cursor over one opcode stream."""

    def __init__(self, image: Image, part: Range, what: str) -> None:
        self.image, self.data, self.what = image, image.data, what
        self.at, self.end = part.offset, part.offset + part.size

    def error(self, message: str) -> Exception:
        return self.image.error(f"{self.what}: {message}", self.at)

    def byte(self) -> int:
        if self.at >= self.end:
            raise self.error("ends inside an operand")
        value = self.data[self.at]
        self.at += 1
        return value

    def uleb(self) -> int:
        data, at, end = self.data, self.at, self.end
        value = shift = 0
        while at < end:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                self.at = at
                if value > _MASK64:
                    raise self.error("ULEB128 of more than 64 bits")
                return value
            shift += 7
            if shift > 63:
                raise self.error("ULEB128 of more than 64 bits")
        raise self.error("ends inside an operand")

    def sleb(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value - (1 << shift) if byte & 0x40 else value
            if shift > 63:
                raise self.error("SLEB128 of more than 64 bits")

    def string(self) -> str:
        nul = self.data.find(b"\0", self.at, self.end)
        if nul < 0:
            raise self.error("symbol name has no end")
        name = self.data[self.at : nul].decode("utf-8", "surrogateescape")
        self.at = nul + 1
        return name


class _Place:
    """Where the next pointer goes: a segment and an offset into it."""

    def __init__(self, stream: _Stream) -> None:
        self.stream = stream
        self.segment: Segment | None = None
        self.offset = 0

    def set(self, index: int, offset: int) -> None:
        segments = self.stream.image.segments
        if index >= len(segments):
            raise self.stream.error(f"segment index {index} of {len(segments)}")
        self.segment, self.offset = segments[index], offset

    def move(self, distance: int) -> None:
        self.offset = (self.offset + distance) & _MASK64

    def take(self, count: int, stride: int) -> int:
        """The address of a run of `count` pointers; the place moves behind it."""
        segment = self.segment
        if segment is None:
            raise self.stream.error("fixup before any segment is set")
        last = self.offset + (count - 1) * stride
        if count > MAX_ROWS or not self.offset <= last <= segment.size - _POINTER:
            raise self.stream.error(f"fixup outside {segment.name} (offset {self.offset:#x})")
        check_writable(self.stream.image, segment, self.stream.at)
        start = self.offset
        self.move(count * stride)
        return segment.address + start


def check_writable(image: Image, segment: Segment, at: int) -> None:
    """dyld refuses to change a segment that is not writable, or that is executable."""
    if not segment.protection & macho.VM_PROT_WRITE:
        raise image.error(f"fixup in {segment.name}, which is not writable", at)


def rebases(image: Image) -> Iterator[Rebases]:
    """The rebase opcodes of LC_DYLD_INFO."""
    stream = _Stream(image, image.rebase, "rebase opcodes")
    place, kind = _Place(stream), 0
    while stream.at < stream.end:
        byte = stream.byte()
        op, low = byte & 0xF0, byte & 0x0F
        count, stride = 0, _POINTER
        if op == 0x00:  # REBASE_OPCODE_DONE
            return
        if op == 0x10:  # SET_TYPE_IMM
            kind = low
        elif op == 0x20:  # SET_SEGMENT_AND_OFFSET_ULEB
            place.set(low, stream.uleb())
        elif op == 0x30:  # ADD_ADDR_ULEB
            place.move(stream.uleb())
        elif op == 0x40:  # ADD_ADDR_IMM_SCALED
            place.move(low * _POINTER)
        elif op == 0x50:  # DO_REBASE_IMM_TIMES
            count = low
        elif op == 0x60:  # DO_REBASE_ULEB_TIMES
            count = stream.uleb()
        elif op == 0x70:  # DO_REBASE_ADD_ADDR_ULEB
            count, stride = 1, (stream.uleb() + _POINTER) & _MASK64
        elif op == 0x80:  # DO_REBASE_ULEB_TIMES_SKIPPING_ULEB
            count, stride = stream.uleb(), (stream.uleb() + _POINTER) & _MASK64
        else:
            raise stream.error(f"unknown opcode {byte:#04x}")
        if count:
            if kind != TYPE_POINTER:
                raise stream.error(f"rebase type {kind}: only pointers exist in 64-bit images")
            yield Rebases(place.take(count, stride), count, stride)


@dataclass
class _BindState:
    ordinal: int = 0
    symbol: str = ""
    flags: int = 0
    kind: int = TYPE_POINTER
    addend: int = 0


class _BindMachine:
    """Executes bind opcodes; `run` yields the binds until DONE (or the end, for lazy streams)."""

    def __init__(self, image: Image, part: Range, what: str, weak: bool = False) -> None:
        self.stream = _Stream(image, part, what)
        self.place, self.state, self.weak = _Place(self.stream), _BindState(), weak
        self.total = 0

    def setter(self, op: int, low: int) -> bool:
        """The opcodes that change the state and bind nothing."""
        stream, state = self.stream, self.state
        if op == 0x10:  # SET_DYLIB_ORDINAL_IMM
            state.ordinal = low
        elif op == 0x20:  # SET_DYLIB_ORDINAL_ULEB
            state.ordinal = stream.uleb()
        elif op == 0x30:  # SET_DYLIB_SPECIAL_IMM: a negative number of four bits
            state.ordinal = low - 16 if low else 0
        elif op == 0x40:  # SET_SYMBOL_TRAILING_FLAGS_IMM
            state.flags, state.symbol = low, stream.string()
        elif op == 0x50:  # SET_TYPE_IMM
            state.kind = low
        elif op == 0x60:  # SET_ADDEND_SLEB
            state.addend = stream.sleb()
        elif op == 0x70:  # SET_SEGMENT_AND_OFFSET_ULEB
            self.place.set(low, stream.uleb())
        elif op == 0x80:  # ADD_ADDR_ULEB
            self.place.move(stream.uleb())
        else:
            return False
        return True

    def run_length(self, byte: int) -> tuple[int, int]:
        """The opcodes that bind: how many pointers, and how far apart."""
        op, stream = byte & 0xF0, self.stream
        if op == 0x90:  # DO_BIND
            return 1, _POINTER
        if op == 0xA0:  # DO_BIND_ADD_ADDR_ULEB
            return 1, (stream.uleb() + _POINTER) & _MASK64
        if op == 0xB0:  # DO_BIND_ADD_ADDR_IMM_SCALED
            return 1, (byte & 0x0F) * _POINTER + _POINTER
        if op == 0xC0:  # DO_BIND_ULEB_TIMES_SKIPPING_ULEB
            return stream.uleb(), (stream.uleb() + _POINTER) & _MASK64
        raise stream.error(f"unknown opcode {byte:#04x}")

    def run(self, lazy: bool) -> Iterator[Bind]:
        """All binds. A lazy stream has a DONE after each bind; another ends at the first."""
        stream = self.stream
        while stream.at < stream.end:
            byte = stream.byte()
            op, low = byte & 0xF0, byte & 0x0F
            if op == 0x00:
                if lazy:
                    self.state = _BindState()
                    continue
                return
            if self.setter(op, low):
                continue
            yield from self.emit(*self.run_length(byte))

    def emit(self, count: int, stride: int) -> Iterator[Bind]:
        """The rows of one binding opcode."""
        state = self.state
        if state.kind != TYPE_POINTER:
            raise self.stream.error(f"bind type {state.kind}: only pointers exist here")
        if not state.symbol:
            raise self.stream.error("bind before any symbol is set")
        if not count:
            return
        self.total += count
        if self.total > MAX_BINDS:
            raise self.stream.error(f"more than {MAX_BINDS} binds")
        weak = bool(state.flags & BIND_WEAK_IMPORT)
        ordinal = macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP if self.weak else state.ordinal
        start = self.place.take(count, stride)
        for index in range(count):
            yield Bind(start + index * stride, ordinal, state.symbol, state.addend, weak)


def binds(image: Image) -> Iterator[Bind]:
    """The bind opcodes of LC_DYLD_INFO."""
    return _BindMachine(image, image.bind, "bind opcodes").run(lazy=False)


def weak_binds(image: Image) -> Iterator[Bind]:
    """The weak-bind opcodes: pointers to symbols that all images coalesce."""
    machine = _BindMachine(image, image.weak_bind, "weak bind opcodes", weak=True)
    return machine.run(lazy=False)


def lazy_binds(image: Image) -> Iterator[Bind]:
    """The lazy-bind opcodes, all of them."""
    return _BindMachine(image, image.lazy_bind, "lazy bind opcodes").run(lazy=True)


def lazy_bind_at(image: Image, offset: int) -> Bind:
    """The one lazy bind whose opcodes begin at `offset`: what a stub helper names."""
    part = image.lazy_bind
    if offset >= part.size:
        raise image.error(f"lazy bind offset {offset:#x} is outside the lazy bind opcodes")
    rest = Range(part.offset + offset, part.size - offset)
    machine = _BindMachine(image, rest, "lazy bind opcodes")
    found = next(machine.run(lazy=False), None)
    if found is None:
        raise image.error(f"no lazy bind at offset {offset:#x} of the lazy bind opcodes")
    return found
