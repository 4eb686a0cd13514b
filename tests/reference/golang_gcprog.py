"""GC programs, one type after the other: the plain twin of golang/gcprog.py, and a decoder."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from pielink.golang.typedata import ARRAY, STRUCT
from pielink.tables import Aux
from reference.golang_program import Made, Maker

WORD = 8


@dataclass(eq=False)
class Type:
    """A type: a mask, or an element and a length, or fields; sizes in bytes."""

    kind: int
    size: int
    pointer_bytes: int
    mask: int = 0  # bit i: word i is a pointer
    element: Type | None = None
    length: int = 0
    fields: list[tuple[int, Type]] = field(default_factory=list)  # offset, type
    uncommon: bool = False
    made: Made | None = None


def array(element: Type, length: int) -> Type:
    """[length]element."""
    pointers = element.size * (length - 1) + element.pointer_bytes if element.pointer_bytes else 0
    return Type(ARRAY, element.size * length, pointers if length else 0, 0, element, length)


def struct_of(fields: Sequence[tuple[int, Type]], size: int, uncommon: bool = False) -> Type:
    """A struct with fields at these offsets."""
    pointers = max((at + t.pointer_bytes for at, t in fields if t.pointer_bytes), default=0)
    return Type(STRUCT, size, pointers, fields=list(fields), uncommon=uncommon)


def pointer_words(kind: Type, first: int = 0) -> list[int]:
    """The words of a variable of this type that are pointers, by looking at every word."""
    if not kind.pointer_bytes:
        return []
    if kind.kind == ARRAY:
        assert kind.element
        step = kind.element.size // WORD
        return [
            word
            for i in range(kind.length)
            for word in pointer_words(kind.element, first + i * step)
        ]
    if kind.kind == STRUCT:
        return [w for at, t in kind.fields for w in pointer_words(t, first + at // WORD)]
    return [first + i for i in range(kind.pointer_bytes // WORD) if kind.mask >> i & 1]


class Program:
    """Writes a program; words are numbered from the start of the section."""

    def __init__(self) -> None:
        self.code = bytearray()
        self.literal: list[int] = []
        self.position = 0

    def bit(self, value: int) -> None:
        if len(self.literal) == 127:
            self.flush()
        self.literal.append(value)
        self.position += 1

    def flush(self) -> None:
        if self.literal:
            number = sum(bit << i for i, bit in enumerate(self.literal))
            self.code.append(len(self.literal))
            self.code += number.to_bytes((len(self.literal) + 7) // 8, "little")
        self.literal = []

    def zeros_until(self, word: int) -> None:
        gap = word - self.position
        assert gap >= 0
        for _ in range(gap if gap < 32 else 1):
            self.bit(0)
        if gap >= 32:
            self.repeat(1, gap - 1)

    def repeat(self, words: int, times: int) -> None:
        self.flush()
        self.code += bytes([0x80 | words]) if words < 128 else b"\x80" + varint(words)
        self.code += varint(times)
        self.position += words * times

    def add(self, kind: Type, first: int) -> None:
        if kind.kind == ARRAY:
            assert kind.element
            self.add(kind.element, first)
            if kind.length > 1:
                words = kind.element.size // WORD
                self.zeros_until(first + words)
                self.repeat(words, kind.length - 1)
        elif kind.kind == STRUCT:
            for at, inner in kind.fields:
                if inner.pointer_bytes:
                    self.add(inner, first + at // WORD)
        else:
            for word in pointer_words(kind, first):
                self.zeros_until(word)
                self.bit(1)

    def finish(self, words: int) -> bytes:
        self.zeros_until(words)
        self.flush()
        return bytes(self.code) + b"\0"


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = []
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def decode(program: bytes) -> list[int]:
    """The bits that a program stands for."""
    bits: list[int] = []
    at = 0

    def number() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = program[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while code := program[at]:
        at += 1
        if code < 0x80:
            bits += [program[at + i // 8] >> i % 8 & 1 for i in range(code)]
            at += (code + 7) // 8
        else:
            words = code & 0x7F or number()
            bits += bits[-words:] * number()
    assert at == len(program) - 1
    return bits


def make(maker: Maker, kind: Type) -> Made:
    """The type's descriptor as a symbol, with all that it refers to."""
    if kind.made:
        return kind.made
    flags = 1 if kind.uncommon else 0
    content = struct.pack("<QQIBBBB", kind.size, kind.pointer_bytes, 0, flags, 8, 8, kind.kind)
    content += bytes(24)
    relocs = []
    if kind.kind == ARRAY:
        content += struct.pack("<QQQ", 0, 0, kind.length)
        assert kind.element
        relocs.append((48, 8, 1, 0, make(maker, kind.element).id))
    elif kind.kind == STRUCT:
        count = len(kind.fields)
        content += struct.pack("<QQQQ", 0, 0, count, count) + bytes(16 * kind.uncommon)
        for at, inner in kind.fields:
            relocs.append((len(content) + 8, 8, 1, 0, make(maker, inner).id))
            content += struct.pack("<QQQ", 0, 0, at)
    elif kind.pointer_bytes:
        words = kind.pointer_bytes // WORD
        mask = maker.symbol("runtime.gcbits", kind.mask.to_bytes((words + 7) // 8, "little"))
        relocs.append((32, 8, 1, 0, mask.id))
    kind.made = maker.symbol(f"type:t{len(maker.symbols)}", content, live=False)
    kind.made.relocs = relocs
    return kind.made


def variable(maker: Maker, name: str, kind: Type) -> Made:
    """A variable of this type."""
    made = maker.symbol(name, size=kind.size)
    made.auxes.append((Aux.GOTYPE, make(maker, kind).id))
    return made
