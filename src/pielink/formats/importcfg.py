"""The import configuration that cmd/go hands to the linker: one directive a line.

    packagefile IMPORTPATH=FILE     where the archive of a package is
    modinfo "..."                   module information, a quoted Go string
    # comment

Source: cmd/link/internal/ld/ld.go and cmd/go/internal/work/exec.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from pielink.errors import FormatError
from pielink.record import NamedTuple


class ImportConfig(NamedTuple):
    """What an import configuration says."""

    packages: dict[str, str]  # import path -> archive
    modinfo: str | None  # as Go text: one character per byte, see `unquote`


def read_importcfg(path: str) -> ImportConfig:
    """Read the file at `path`. Raises FormatError naming the line, or why it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return _parse(file, path)
    except OSError as error:
        raise FormatError(f"-importcfg: cannot open file: {error.strerror}", path) from None


def _parse(lines: Iterable[str], path: str) -> ImportConfig:
    packages: dict[str, str] = {}
    modinfo = None
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        verb, _, rest = line.partition(" ")
        key, equals, value = rest.strip().partition("=")
        if verb == "packagefile" and key and equals and value and "\0" not in value:
            packages[key] = value
        elif verb == "packagefile":
            raise FormatError(
                'invalid packagefile: syntax is "packagefile path=filename"', f"{path}:{number}"
            )
        elif verb == "packageshlib":
            raise FormatError(
                "packageshlib: Go shared libraries do not exist on macOS", f"{path}:{number}"
            )
        elif verb == "modinfo":
            modinfo = unquote(rest.strip(), f"{path}:{number}")
        else:
            raise FormatError(f'unknown directive "{verb}"', f"{path}:{number}")
    return ImportConfig(packages, modinfo)


_SIMPLE = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))
_DIGITS = {"x": 2, "u": 4, "U": 8}  # hexadecimal; without a letter three octal ones
_HEX, _OCTAL = frozenset("0123456789abcdefABCDEF"), frozenset("01234567")


def unquote(text: str, where: str) -> str:
    """The value of a quoted Go string, as text whose bytes come by `str.encode("utf-8",
    "surrogateescape")`: a byte escape above 0x7f becomes a surrogate. Raises FormatError.
    """
    if len(text) < 2 or text[0] not in '"`' or text[-1] != text[0]:
        raise FormatError("invalid modinfo: invalid syntax", where)
    body = text[1:-1]
    if text[0] == "`":
        return body
    parts, at = [], 0
    while (escape := body.find("\\", at)) >= 0:
        value, end = _escaped(body, escape + 1)
        parts += [plain := body[at:escape], value]
        if '"' in plain or not value:
            raise FormatError("invalid modinfo: invalid syntax", where)
        at = end
    if '"' in body[at:]:
        raise FormatError("invalid modinfo: invalid syntax", where)
    return "".join([*parts, body[at:]])


def _escaped(body: str, at: int) -> tuple[str, int]:
    """The character that the escape at `at` stands for ("": it is none), and where it ends."""
    letter = body[at : at + 1]
    if letter in _SIMPLE:
        return _SIMPLE[letter], at + 1
    start, count = (at + 1, _DIGITS[letter]) if letter in _DIGITS else (at, 3)
    end = start + count
    digits = body[start:end]
    if len(digits) < count or set(digits) - (_HEX if start > at else _OCTAL):
        return "", end
    number = int(digits, 16 if start > at else 8)
    if count < 4:  # a byte
        return ("" if number > 0xFF else chr(number if number < 0x80 else 0xDC00 + number)), end
    return ("" if number > 0x10FFFF or 0xD800 <= number < 0xE000 else chr(number)), end
