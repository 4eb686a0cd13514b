"""Archives that are wrong in one way each, and the message that each must give."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple


class Case(NamedTuple):
    """What is damaged, how, and a pattern of the message."""

    title: str
    damage: Callable[[bytearray], bytes | bytearray]
    message: str


def _member(name: bytes, content: bytes) -> bytes:
    body = name.ljust(48) + str(len(content)).encode().ljust(10) + b"`\n" + content
    return body + b"\n" * (len(body) % 2)


def bsd_archive(title: str, symbols: dict[bytes, int], members: list[bytes]) -> bytes:
    """Return an archive whose BSD index `title` maps symbols to rows of `members`."""
    word = "<Q" if "64" in title else "<I"
    size = struct.calcsize(word)
    strings = b"".join(name + b"\0" for name in symbols)
    padded = strings + b"\0" * (-len(strings) % 8)
    place = 8 + 60 + 2 * size + 2 * size * len(symbols) + len(padded)
    headers = []
    for content in members:
        headers.append(place)
        place += 60 + len(content)
    pairs, at = b"", 0
    for name, row in symbols.items():
        pairs += struct.pack(word, at) + struct.pack(word, headers[row])
        at += len(name) + 1
    index = struct.pack(word, len(pairs)) + pairs + struct.pack(word, len(padded)) + padded
    rest = b"".join(_member(b"m%d.o" % row, content) for row, content in enumerate(members))
    return b"!<arch>\n" + _member(title.encode(), index) + rest


def _put(data: bytearray, at: int, value: bytes) -> bytearray:
    data[at : at + len(value)] = value
    return data


def _index(data: bytearray, field: int, value: int) -> bytearray:
    """Overwrite a word of the index; field 0 is the table's size, at the end of its long name."""
    name = int(data[8 + 3 : 8 + 16])
    return _put(data, 8 + 60 + name + field, struct.pack("<I", value))


def _gnu(content: bytes) -> bytes:
    return b"!<arch>\n" + _member(b"/", content) + _member(b"a.o/", b"....")


CASES = (
    Case("empty", lambda d: b"", "is not an archive"),
    Case("thin", lambda d: b"!<thin>\n" + d[8:], "is a thin archive.*make a regular one"),
    Case("magic", lambda d: b"!<arcx>\n" + d[8:], "is not an archive"),
    Case("header cut", lambda d: d[:40], "member header .* past the end"),
    Case("member cut", lambda d: d[:-100], "archive member .* past the end"),
    Case("terminator", lambda d: _put(d, 8 + 58, b"xx"), "member header is damaged"),
    Case("size text", lambda d: _put(d, 8 + 48, b"12ab"), "member header is damaged"),
    Case("size empty", lambda d: _put(d, 8 + 48, b" " * 10), "member header is damaged"),
    Case("size negative", lambda d: _put(d, 8 + 48, b"-1        "), "member header is damaged"),
    Case("size large", lambda d: _put(d, 8 + 48, b"9999999999"), "past the end"),
    Case("name length", lambda d: _put(d, 8, b"#1/99999999"), "wrong length of its name"),
    Case("name text", lambda d: _put(d, 8, b"#1/zz"), "wrong length of its name"),
    Case("name table", lambda d: _put(d, 8, b"/123".ljust(16)), "not in the name table"),
    Case("index size", lambda d: _index(d, 0, 1 << 30), "archive index"),
    Case("index odd", lambda d: _index(d, 0, 7), "not a whole number of entries"),
    Case("index string", lambda d: _index(d, 4, 1 << 30), "starts outside the string table"),
    Case("index member", lambda d: _index(d, 8, 12), "index points at no member"),
    Case("gnu count", lambda d: _gnu(struct.pack(">I", 1 << 30)), "archive index"),
    Case("gnu names", lambda d: _gnu(struct.pack(">II", 1, 72) + b"_f"), "fewer names"),
    Case("gnu member", lambda d: _gnu(struct.pack(">II", 1, 70) + b"_f\0"), "points at no member"),
)
