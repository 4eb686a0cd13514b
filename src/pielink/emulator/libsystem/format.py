"""printf: the conversions of the C standard and of Darwin, with exact digits.

A conversion is `%[position$][flags][width][.precision][length]letter`. Width and precision may be
`*` or `*position$`. Floating-point digits are exact for any precision: doubles are formatted by
Python, which rounds correctly; long doubles are taken as exact integers times a power of two.

Source: ISO C 7.23.6.1, Darwin's printf(3).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from pielink.emulator.abi import Variadic, signed32, signed64
from pielink.emulator.libsystem.host import message

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_CONVERSION = re.compile(
    rb"%(?:(?P<position>\d+)\$)?(?P<flags>[-+ #0']*)"
    rb"(?P<width>\*(?:\d+\$)?|\d+)?(?:\.(?P<precision>\*(?:\d+\$)?|-?\d*))?"
    rb"(?P<length>hh|h|ll|l|q|j|z|t|L)?(?P<letter>.)",
    re.DOTALL,
)
_BITS = {b"hh": 8, b"h": 16, b"": 32, b"l": 64, b"ll": 64, b"q": 64, b"j": 64, b"z": 64, b"t": 64}
_UNSIGNED = {b"u": "d", b"o": "o", b"x": "x", b"X": "X", b"b": "b"}
_WIDEST = 1 << 20


@dataclass
class _Spec:
    """One conversion, with its width and precision resolved."""

    flags: bytes
    width: int
    precision: int  # -1: none given
    length: bytes
    letter: bytes

    def pad(self, sign: str, prefix: str, digits: str, zeros: bool) -> bytes:
        """Put sign, prefix and digits into the field."""
        room = self.width - len(sign) - len(prefix) - len(digits)
        if room > 0 and b"-" not in self.flags and zeros:
            digits = "0" * room + digits
        text = sign + prefix + digits
        pad = " " * (self.width - len(text))
        return (text + pad if b"-" in self.flags else pad + text).encode()

    def sign(self, negative: bool) -> str:
        """The sign that a signed conversion shows."""
        return "-" if negative else "+" if b"+" in self.flags else " " if b" " in self.flags else ""

    @property
    def zero(self) -> bool:
        """Whether the field is filled with zeros."""
        return b"0" in self.flags and b"-" not in self.flags


class _Arguments:
    """The variadic arguments, in order or by position."""

    def __init__(self, source: Variadic, kinds: list[str] | None) -> None:
        self.source = source
        self.values = None if kinds is None else [self._take(kind) for kind in kinds]

    def _take(self, kind: str) -> int | float | bytes:
        if kind == "f64":
            return self.source.f64()
        return self.source.f80() if kind == "f80" else self.source.u64()

    def get(self, kind: str, position: bytes | None) -> int | float | bytes:
        """The next argument, or the one at `position` (counted from 1)."""
        if self.values is not None and position is not None:
            return self.values[int(position) - 1]
        return self._take(kind)

    def integer(self, position: bytes | None) -> int:
        """The next int, for a `*`."""
        value = self.get("u64", position)
        assert isinstance(value, int)
        return signed32(value)


def _kind(letter: bytes, length: bytes) -> str:
    if letter in b"fFeEgGaA":
        return "f80" if length == b"L" else "f64"
    return "u64"


def _positional_kinds(template: bytes) -> list[str] | None:
    """The kinds of all arguments when the format uses positions, else None."""
    kinds: dict[int, str] = {}
    for match in _CONVERSION.finditer(template):
        for star in (match["width"], match["precision"]):
            if star and star.startswith(b"*") and star.endswith(b"$"):
                kinds[int(star[1:-1])] = "u64"
        if match["position"]:
            kinds[int(match["position"])] = _kind(match["letter"], match["length"] or b"")
    if not kinds or max(kinds) > 256:
        return None
    return [kinds.get(index, "u64") for index in range(1, max(kinds) + 1)]


def _star(text: bytes | None, arguments: _Arguments, default: int) -> int:
    """A width or precision: a number, `*`, `*position$`, or nothing."""
    if text is None:
        return default
    if text.startswith(b"*"):
        return arguments.integer(text[1:-1] or None)
    return int(text or b"0")


def _spec(match: re.Match[bytes], arguments: _Arguments) -> _Spec:
    flags, width = match["flags"], _star(match["width"], arguments, 0)
    if width < 0:
        flags, width = flags + b"-", -width
    precision = _star(match["precision"], arguments, -1)
    length, letter = match["length"] or b"", match["letter"]
    if letter in b"DOU":  # Darwin's old names for ld, lo, lu
        letter, length = letter.lower(), b"l"
    if letter in b"CS":
        letter, length = letter.lower(), b"l"
    return _Spec(flags, min(width, _WIDEST), min(max(precision, -1), _WIDEST), length, letter)


def format_printf(proc: Process, template: bytes, source: Variadic) -> bytes:
    """The bytes that printf writes for `template` and the arguments."""
    arguments = _Arguments(source, _positional_kinds(template))
    out, end = bytearray(), 0
    for match in _CONVERSION.finditer(template):
        out += template[end : match.start()]
        end = match.end()
        spec = _spec(match, arguments)
        if spec.letter == b"%":
            out += b"%"
        elif spec.letter == b"n":
            _store_count(proc, arguments, match["position"], spec, len(out))
        elif spec.letter == b"m":
            out += _text(spec, message(proc.memory.u32(proc.thread.errno_address)).encode())
        else:
            value = arguments.get(_kind(spec.letter, spec.length), match["position"])
            out += _convert(proc, spec, value)
    return bytes(out + template[end:])


def _store_count(
    proc: Process, arguments: _Arguments, position: bytes | None, spec: _Spec, count: int
) -> None:
    address = arguments.get("u64", position)
    assert isinstance(address, int)
    size = _BITS.get(spec.length, 32) // 8
    proc.memory.write(address, count.to_bytes(8, "little")[:size])


def _convert(proc: Process, spec: _Spec, value: int | float | bytes) -> bytes:
    if isinstance(value, bytes):
        return _floating(spec, *_split_f80(value))
    if isinstance(value, float):
        return _floating(spec, value, None)
    letter = spec.letter
    if letter in b"di":
        bits = _BITS.get(spec.length, 32)
        value = signed64(value << (64 - bits)) >> (64 - bits)
        return _digits(spec, spec.sign(value < 0), "", str(abs(value)))
    if letter in _UNSIGNED:
        return _unsigned(spec, value & (1 << _BITS.get(spec.length, 32)) - 1)
    if letter == b"p":
        return spec.pad("", "0x", f"{value:x}", spec.zero)
    if letter == b"c":
        return _text(spec, _character(spec, value), -1)
    if letter == b"s":
        return _text(spec, _string(proc, spec, value))
    return letter


def _digits(spec: _Spec, sign: str, prefix: str, digits: str) -> bytes:
    if spec.precision == 0 and digits == "0":
        digits = ""
    digits = digits.rjust(spec.precision, "0")
    return spec.pad(sign, prefix, digits, spec.zero and spec.precision < 0)


def _unsigned(spec: _Spec, value: int) -> bytes:
    code = _UNSIGNED[spec.letter]
    digits, prefix = format(value, code), ""
    if b"#" in spec.flags:
        if code in "xX" and value:
            prefix = "0" + code
        elif code == "o" and max(spec.precision, 0) <= len(digits) and value:
            digits = "0" + digits
        elif code == "o" and spec.precision == 0:
            return spec.pad("", "", "0", False)
    return _digits(spec, "", prefix, digits)


def _character(spec: _Spec, value: int) -> bytes:
    if spec.length == b"l":
        return chr(value & 0x1FFFFF).encode("utf-8", "replace") if value else b"\0"
    return bytes([value & 0xFF])


def _string(proc: Process, spec: _Spec, address: int) -> bytes:
    if not address:
        return b"(null)"
    if spec.length != b"l":
        return proc.memory.string(address, spec.precision)
    text = bytearray()
    while character := proc.memory.u32(address):
        encoded = chr(character & 0x1FFFFF).encode("utf-8", "replace")
        if 0 <= spec.precision < len(text) + len(encoded):
            break
        text += encoded
        address += 4
    return bytes(text)


def _text(spec: _Spec, text: bytes, precision: int | None = None) -> bytes:
    limit = spec.precision if precision is None else precision
    if limit >= 0:
        text = text[:limit]
    pad = (b"0" if spec.zero else b" ") * (spec.width - len(text))
    return text + b" " * len(pad) if b"-" in spec.flags else pad + text


# -- floating point


def _split_f80(data: bytes) -> tuple[float, Fraction | None]:
    """A long double as a special float, or as its exact value."""
    significand, head = struct.unpack("<QH", data)
    exponent, negative = head & 0x7FFF, head >> 15
    sign = -1.0 if negative else 1.0
    if exponent == 0x7FFF:
        return sign * (
            float("inf") if significand << 1 & (1 << 64) - 1 == 0 else float("nan")
        ), None
    scale = exponent - 16383 - 63
    exact = Fraction(significand) * Fraction(2) ** scale
    return sign, exact


def _floating(spec: _Spec, value: float, exact: Fraction | None) -> bytes:
    """A floating-point conversion; with `exact`, `value` is only the sign."""
    letter = spec.letter.decode()
    negative = struct.pack("<d", value)[7] >> 7 == 1
    sign = spec.sign(negative)
    if value != value or abs(value) == float("inf"):
        text = "nan" if value != value else "inf"
        text = text.upper() if letter.isupper() else text
        sign = "" if value != value else sign
        return spec.pad(sign, "", text, False)
    if letter in "aA":
        digits = _hexadecimal(abs(value) if exact is None else float(exact), spec)
        digits = digits.upper() if letter == "A" else digits
        return spec.pad(sign, digits[:2], digits[2:], spec.zero)
    precision = 6 if spec.precision < 0 else spec.precision
    alternate = "#" if b"#" in spec.flags else ""
    if exact is None:
        digits = f"%{alternate}.{precision}{letter}" % abs(value)
    else:
        digits = _exact_digits(exact, precision, letter, alternate)
    return spec.pad(sign, "", digits, spec.zero)


def _exact_digits(value: Fraction, precision: int, letter: str, alternate: str) -> str:
    """Like Python's % operator, for an exact value that is not negative."""
    if letter in "fF":
        scaled = round(value * 10**precision)  # to even, like C
        text = str(scaled).rjust(precision + 1, "0")
        whole, part = text[: len(text) - precision], text[len(text) - precision :]
        return f"{whole}.{part}" if precision or alternate else whole
    if letter in "gG":
        return _general(value, precision or 1, letter, alternate)
    exponent, digits = _scientific(value, precision)
    mark = "e" if letter == "e" else "E"
    dot = "." if precision or alternate else ""
    return f"{digits[0]}{dot}{digits[1:]}{mark}{exponent:+03d}"


def _general(value: Fraction, precision: int, letter: str, alternate: str) -> str:
    exponent, _ = _scientific(value, precision - 1)
    if -4 <= exponent < precision:
        text = _exact_digits(value, precision - 1 - exponent, "f", alternate)
        return text if alternate or "." not in text else text.rstrip("0").rstrip(".")
    text = _exact_digits(value, precision - 1, "e" if letter == "g" else "E", alternate)
    if alternate:
        return text
    digits, mark, power = text.partition("e" if letter == "g" else "E")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits + mark + power


def _scientific(value: Fraction, precision: int) -> tuple[int, str]:
    """The decimal exponent and precision + 1 digits."""
    if not value:
        return 0, "0" * (precision + 1)
    exponent = len(str(value.numerator)) - len(str(value.denominator))
    if value < Fraction(10) ** exponent:
        exponent -= 1
    digits = str(round(value * Fraction(10) ** (precision - exponent)))
    if len(digits) > precision + 1:
        exponent, digits = exponent + 1, digits[:-1]
    return exponent, digits


def _hexadecimal(value: float, spec: _Spec) -> str:
    """%a: one digit before the point, as few after it as the value needs (or the precision)."""
    if not value:
        part = "0" * max(spec.precision, 0)
        return "0x0" + ("." + part if part else "") + "p+0"
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    exponent, fraction = (bits >> 52) - 1023, bits & (1 << 52) - 1
    lead = 1
    if exponent == -1023:
        shift = 53 - fraction.bit_length()
        fraction, exponent = fraction << shift & (1 << 52) - 1, -1022 - shift
    if spec.precision >= 0 and spec.precision < 13:
        kept = 4 * spec.precision
        rounded = round(Fraction(lead << 52 | fraction, 1 << 52 - kept))
        lead, digits = rounded >> kept, rounded & (1 << kept) - 1
        part = f"{digits:0{spec.precision}x}" if spec.precision else ""
    else:
        part = f"{fraction:013x}".rstrip("0") if spec.precision < 0 else f"{fraction:013x}"
        part = part.ljust(max(spec.precision, 0), "0")
    point = "." if part or b"#" in spec.flags else ""
    return f"0x{lead}{point}{part}p{exponent:+d}"
