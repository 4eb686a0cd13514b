r"""Static archives (`ar`): the BSD form that macOS tools write and the GNU form of other tools.

An archive is `!<arch>\n`, then members at even offsets, each a 60-byte text header (name 16, date
12, uid 6, gid 6, mode 8, size 10, and the two bytes "`\n") and its contents. Long names:

- BSD: the name field says `#1/N`, and the first N bytes of the contents are the name, NUL-padded;
- GNU: the name field says `/N`, an offset into the member `//`, where names end with `/\n`.

An index, if there is one, comes first and maps symbol names to the header offsets of members:
BSD `__.SYMDEF` or `__.SYMDEF SORTED` (little-endian ranlib pairs, byte counts before pairs and
strings), `__.SYMDEF_64` (the same with 64-bit words), GNU `/` (big-endian count, offsets, strings)
and `/SYM64/` (the same with 64-bit words).
Sources: <ar.h>, <mach-o/ranlib.h>, the System V ABI's chapter on archives, LLVM's Archive.h.
"""

from __future__ import annotations

import numpy as np

from pielink.arraytypes import NDArray
from pielink.errors import FormatError
from pielink.formats.bounds import Bytes, as_bytes, c_strings, check_range, records
from pielink.hints import Any
from pielink.record import NamedTuple, Record

MAGIC = b"!<arch>\n"
THIN_MAGIC = b"!<thin>\n"
HEADER_SIZE = 60
BSD_INDEXES = {
    b"__.SYMDEF": "<u4",
    b"__.SYMDEF SORTED": "<u4",
    b"__.SYMDEF_64": "<u8",
    b"__.SYMDEF_64 SORTED": "<u8",
}
GNU_INDEXES = {b"/": ">u4", b"/SYM64/": ">u8"}
GNU_NAMES = b"//"


class Member(NamedTuple):
    """One file in an archive: its name, where its header and its contents start, its size."""

    name: str
    header: int
    start: int
    size: int


class Archive(Record):
    """`members` in file order, without the index and the table of long names.

    `index` maps each symbol name to rows of `members` that define it, in index order; None when
    the archive has no index.
    """

    name: str
    data: Bytes
    members: tuple[Member, ...]
    index: dict[bytes, list[int]] | None

    def contents(self, row: int) -> Bytes:
        """Return the bytes of one member, as a view."""
        member = self.members[row]
        return self.data[member.start : member.start + member.size]

    def title(self, row: int) -> str:
        """Return `archive(member)`, the way messages name it."""
        return f"{self.name}({self.members[row].name})"


def is_archive(data: Any) -> bool:
    """Return whether `data` (bytes-like) begins like an archive, regular or thin."""
    return bytes(memoryview(data)[: len(MAGIC)]) in (MAGIC, THIN_MAGIC)


def read(data: Any, name: str) -> Archive:
    """Read the table of contents of the archive in `data`; `name` is how messages call it.

    Raises FormatError when it is malformed, or thin (its members are files elsewhere).
    """
    contents = as_bytes(data)
    magic = contents[: len(MAGIC)].tobytes()
    if magic == THIN_MAGIC:
        raise FormatError(
            "is a thin archive, which holds no objects itself; make a regular one "
            "(ar without the T modifier)",
            name,
        )
    if magic != MAGIC:
        raise FormatError("is not an archive", name)
    raw, long_names = _walk(contents, name)
    members: list[Member] = []
    index_at: tuple[Member, str] | None = None
    for each in raw:
        field, start, size = _bsd_name(contents, each, name)
        kind = BSD_INDEXES.get(field) or GNU_INDEXES.get(field)
        if kind:
            index_at = index_at or (Member(field.decode(), each.header, start, size), kind)
        elif field != GNU_NAMES:
            title = _plain_name(field, long_names, each.header, name)
            members.append(Member(title, each.header, start, size))
    index = _read_index(contents, *index_at, members, name) if index_at else None
    return Archive(name, contents, tuple(members), index)


class _RawMember(NamedTuple):
    field: bytes
    header: int
    start: int
    size: int


def _walk(data: Bytes, file: str) -> tuple[list[_RawMember], bytes]:
    """Return the member headers in file order, and the GNU table of long names, or b""."""
    found: list[_RawMember] = []
    long_names = b""
    offset = len(MAGIC)
    while offset < len(data):
        check_range(data, offset, HEADER_SIZE, "archive member header", file)
        header = data[offset : offset + HEADER_SIZE].tobytes()
        digits = header[48:58].strip()
        if header[58:] != b"`\n" or not digits.isdigit():
            raise FormatError("archive member header is damaged", file, offset)
        start, size = offset + HEADER_SIZE, int(digits)
        check_range(data, start, size, "archive member", file)
        member = _RawMember(header[:16].rstrip(b" "), offset, start, size)
        if member.field == GNU_NAMES:
            long_names = data[start : start + size].tobytes()
        found.append(member)
        offset = start + size + (size & 1)
    return found, long_names


def _bsd_name(data: Bytes, raw: _RawMember, file: str) -> tuple[bytes, int, int]:
    """Return name, start and size of a member, its BSD long name taken off the contents."""
    if not raw.field.startswith(b"#1/"):
        return raw.field, raw.start, raw.size
    digits = raw.field[3:]
    if not digits.isdigit() or int(digits) > raw.size:
        raise FormatError("archive member has a wrong length of its name", file, raw.header)
    length = int(digits)
    name = data[raw.start : raw.start + length].tobytes().rstrip(b"\0")
    return name, raw.start + length, raw.size - length


def _plain_name(field: bytes, long_names: bytes, header: int, file: str) -> str:
    """Return the name of a member, looked up in the GNU table where the field points there."""
    if field.startswith(b"/") and field[1:].isdigit():
        at = int(field[1:])
        if at >= len(long_names):
            raise FormatError("archive member's long name is not in the name table", file, header)
        end = long_names.find(b"\n", at)
        field = long_names[at:] if end < 0 else long_names[at:end]
    return field.removesuffix(b"/").decode("utf-8", "replace")


def _read_index(
    data: Bytes, at: Member, word: str, members: list[Member], file: str
) -> dict[bytes, list[int]]:
    size = np.dtype(word).itemsize
    bsd = word.startswith("<")
    offsets, starts, end = (_bsd_index if bsd else _gnu_index)(data, at, word, size, file)
    lengths = c_strings(data, starts, end, "symbol name in the archive's index", file)
    headers = np.array([member.header for member in members], np.int64)
    rows = np.searchsorted(headers, offsets)
    inside = rows < len(headers)
    if not inside.all() or (headers[rows] != offsets).any():
        raise FormatError("archive's index points at no member", file, at.header)
    index: dict[bytes, list[int]] = {}
    for start, length, row in zip(starts.tolist(), lengths.tolist(), rows.tolist(), strict=True):
        index.setdefault(data[start : start + length].tobytes(), []).append(row)
    return index


_Index = tuple[NDArray[np.int64], NDArray[np.int64], int]


def _bsd_index(data: Bytes, at: Member, word: str, size: int, file: str) -> _Index:
    """Return (member header offsets, string offsets in the file, end of strings)."""
    limit = at.start + at.size
    pair = np.dtype([("strx", word), ("offset", word)])
    table = int(records(data[:limit], at.start, 1, np.dtype(word), "archive index", file)[0])
    if table % pair.itemsize:
        raise FormatError("archive index is not a whole number of entries", file, at.start)
    first = at.start + size
    rows = records(data[:limit], first, table // pair.itemsize, pair, "archive index", file)
    length = records(data[:limit], first + table, 1, np.dtype(word), "archive index", file)
    strings = first + table + size
    check_range(data[:limit], strings, int(length[0]), "strings of the archive index", file)
    starts = np.minimum(rows["strx"], len(data)).astype(np.int64) + strings
    offsets = np.minimum(rows["offset"], len(data)).astype(np.int64)
    return offsets, starts, strings + int(length[0])


def _gnu_index(data: Bytes, at: Member, word: str, size: int, file: str) -> _Index:
    """Like _bsd_index; the strings follow each other in the order of the offsets."""
    limit = at.start + at.size
    count = int(records(data[:limit], at.start, 1, np.dtype(word), "archive index", file)[0])
    offsets = records(data[:limit], at.start + size, count, np.dtype(word), "archive index", file)
    strings = at.start + size + count * size
    ends = np.flatnonzero(data[strings:limit] == 0)[:count] + strings
    if len(ends) < count:
        raise FormatError("archive index has fewer names than entries", file, at.start)
    starts = np.concatenate([[strings], ends[:-1] + 1])[:count].astype(np.int64)
    return np.minimum(offsets, len(data)).astype(np.int64), starts, limit
