"""The import configuration that cmd/go hands to the linker: one directive a line.

    packagefile IMPORTPATH=FILE     where the archive of a package is
    modinfo "..."                   module information, a quoted Go string
    # comment

Source: cmd/link/internal/ld/ld.go and cmd/go/internal/work/exec.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from pielink.errors import FormatError


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
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))"
)


def unquote(text: str, where: str) -> str:
    """The value of a quoted Go string, as text whose bytes come by `str.encode("utf-8",
    "surrogateescape")`: a byte escape above 0x7f becomes a surrogate. Raises FormatError.
    """
    if len(text) < 2 or text[0] not in '"`' or text[-1] != text[0]:
        raise FormatError("invalid modinfo: invalid syntax", where)
    body = text[1:-1]
    if text[0] == "`":
        return body
    if '"' in _ESCAPE.sub("", body) or "\\" in _ESCAPE.sub("", body):
        raise FormatError("invalid modinfo: invalid syntax", where)

    def value(match: re.Match[str]) -> str:
        simple, octal, byte, short, long = match.groups()
        if simple:
            return _SIMPLE[simple]
        number = int(octal, 8) if octal else int(byte or short or long, 16)
        if (octal or byte) and number < 0x100:
            return chr(number) if number < 0x80 else chr(0xDC00 + number)
        if octal or number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise FormatError("invalid modinfo: invalid syntax", where)
        return chr(number)

    return _ESCAPE.sub(value, body)
