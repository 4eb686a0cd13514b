"""scanf: the conversions of the C standard.

A directive is white space, a literal byte, or `%[*][width][length]letter`. The input is a string,
or what a stream holds (read to the end of the line, and further while directives want more).

Source: ISO C 7.23.6.2.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from pielink.emulator.abi import Variadic
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.stdio import Stream, Streams, standard_input
from pielink.emulator.libsystem.stdio_input import fill
from pielink.emulator.libsystem.stdlib import parse_float, parse_integer
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_DIRECTIVE = re.compile(
    rb"%(?P<skip>\*)?(?P<width>\d+)?(?P<length>hh|h|ll|l|q|j|z|t|L)?"
    rb"(?P<letter>\[\^?\]?[^\]]*\]|.)",
    re.DOTALL,
)
_SPACE = b" \t\n\v\f\r"
_SIZES = {b"hh": 1, b"h": 2, b"": 4, b"l": 8, b"ll": 8, b"q": 8, b"j": 8, b"z": 8, b"t": 8}
_BASES = {b"d": 10, b"u": 10, b"i": 0, b"x": 16, b"X": 16, b"o": 8, b"p": 16}
_EOF = -1
_NUMBER = re.compile(rb"[+-]?[0-9a-zA-Z.+-]*")


class _Scanner:
    """One call: where it is in the input, and how many values it stored."""

    def __init__(self, proc: Process, data: bytes, arguments: Variadic) -> None:
        self.memory, self.data, self.arguments = proc.memory, data, arguments
        self.at = self.stored = 0

    def run(self, template: bytes) -> int:
        """Follow the template; the result of scanf."""
        place = 0
        while place < len(template):
            byte = template[place]
            if byte in _SPACE:
                self.skip_space()
                place += 1
            elif byte != 37 or template[place + 1 : place + 2] == b"%":
                place += 1 if byte != 37 else 2
                if byte == 37:
                    self.skip_space()
                if self.data[self.at : self.at + 1] != bytes([byte]):
                    return self.result()
                self.at += 1
            else:
                match = _DIRECTIVE.match(template, place)
                if match is None or not self.convert(match):
                    return self.result()
                place = match.end()
        return self.stored

    def result(self) -> int:
        """What a failed directive makes of the call."""
        return _EOF if self.at >= len(self.data) and not self.stored else self.stored

    def skip_space(self) -> None:
        """White space in the template matches any amount of it."""
        while self.at < len(self.data) and self.data[self.at] in _SPACE:
            self.at += 1

    def convert(self, match: re.Match[bytes]) -> bool:
        """One conversion; False when the input does not fit."""
        letter, length = match["letter"], match["length"] or b""
        width = int(match["width"] or 0)
        keep = match["skip"] is None
        if letter == b"n":
            if keep:
                self.store(self.at, _SIZES.get(length, 4))
            return True
        if letter[:1] not in (b"c", b"["):
            self.skip_space()
        if self.at >= len(self.data):
            return False
        if letter in _BASES:
            done = self.integer(
                _BASES[letter], width, 8 if letter == b"p" else _SIZES[length], keep
            )
        elif letter in b"aAeEfFgG":
            done = self.floating(width, length, keep)
        else:
            done = self.text(letter, width, keep)
        self.stored += done and keep
        return done

    def store(self, value: int, size: int) -> None:
        """Store an integer through the next pointer."""
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        self.memory.write(self.arguments.u64(), data)

    def field(self, width: int) -> bytes:
        """The bytes that a number may take."""
        match = _NUMBER.match(self.data, self.at)
        found = match.group() if match else b""
        return found[:width] if width else found

    def integer(self, base: int, width: int, size: int, keep: bool) -> bool:
        value, used = parse_integer(self.field(width), base)
        if not used:
            return False
        self.at += used
        if keep:
            self.store(value, size)
        return True

    def floating(self, width: int, length: bytes, keep: bool) -> bool:
        value, used = parse_float(self.field(width))
        if not used:
            return False
        self.at += used
        if keep:
            layout = "<d" if length in (b"l", b"L") else "<f"
            self.memory.write(self.arguments.u64(), struct.pack(layout, value))
        return True

    def text(self, letter: bytes, width: int, keep: bool) -> bool:
        """%c, %s and %[...]."""
        start = self.at
        if letter == b"c":
            self.at += width or 1
            if self.at > len(self.data):
                return False
        else:
            wanted, inside = _members(letter)
            end = min(len(self.data), start + width) if width else len(self.data)
            while self.at < end and (self.data[self.at] in wanted) == inside:
                self.at += 1
            if self.at == start:
                return False
        if keep:
            end_mark = b"" if letter == b"c" else b"\0"
            self.memory.write(self.arguments.u64(), self.data[start : self.at] + end_mark)
        return True


def _members(letter: bytes) -> tuple[bytes, bool]:
    """The set of a conversion, and whether bytes must be inside of it."""
    if letter == b"s":
        return _SPACE, False
    inside = not letter.startswith(b"[^")
    body = letter[1 if inside else 2 : -1]
    found, place = bytearray(), 0
    while place < len(body):
        if body[place + 1 : place + 2] == b"-" and place + 2 < len(body):
            found += bytes(range(body[place], body[place + 2] + 1))
            place += 3
        else:
            found.append(body[place])
            place += 1
    return bytes(found), inside


@libsystem("int sscanf(const char *, const char *, ...)")
def sscanf(proc: Process, text: int, template: int, rest: Variadic) -> int:
    return _Scanner(proc, proc.memory.string(text), rest).run(proc.memory.string(template))


@libsystem("int vsscanf(const char *, const char *, va_list)")
def vsscanf(proc: Process, text: int, template: int, rest: Variadic) -> int:
    return sscanf(proc, text, template, rest)


@libsystem("int sscanf_l(const char *, void *, const char *, ...)")
def sscanf_l(proc: Process, text: int, locale: int, template: int, rest: Variadic) -> int:
    return sscanf(proc, text, template, rest)


@libsystem("int vsscanf_l(const char *, void *, const char *, va_list)")
def vsscanf_l(proc: Process, text: int, locale: int, template: int, rest: Variadic) -> int:
    return sscanf(proc, text, template, rest)


def _from_stream(proc: Process, stream: Stream, template: int, rest: Variadic) -> Work:
    """Scan what the stream holds; read on while the scan uses all of it."""
    text = proc.memory.string(template)
    pointers = [rest.u64() for _ in range(text.count(b"%"))]
    while True:
        if not stream.input:
            yield from fill(proc, stream)
        scanner = _Scanner(proc, bytes(stream.input), Variadic(proc, list(pointers), [], 0))
        result = scanner.run(text)
        if scanner.at < len(stream.input) or stream.end:
            break
        more = yield from fill(proc, stream)
        if not more:
            break
    del stream.input[: scanner.at]
    return result


@libsystem("int fscanf(void *, const char *, ...)")
def fscanf(proc: Process, handle: int, template: int, rest: Variadic) -> Work:
    return _from_stream(proc, proc.state(Streams).get(handle), template, rest)


@libsystem("int vfscanf(void *, const char *, va_list)")
def vfscanf(proc: Process, handle: int, template: int, rest: Variadic) -> Work:
    return fscanf(proc, handle, template, rest)


@libsystem("int scanf(const char *, ...)")
def scanf(proc: Process, template: int, rest: Variadic) -> Work:
    return _from_stream(proc, standard_input(proc), template, rest)


@libsystem("int vscanf(const char *, va_list)")
def vscanf(proc: Process, template: int, rest: Variadic) -> Work:
    return scanf(proc, template, rest)
