"""Reading chained fixups: the payload's tables, then all chains, one link of each at a time.

`chained` explains the payload. Words of the arm64e formats, from the low bits up:

    rebase                 target 43, high8 8, next 11, bind 1 = 0, auth 1 = 0
    bind                   import 16 or 24, zero to bit 32, addend 19 signed, next 11, 1, 0
    authenticated rebase   target 32, diversity 16, address diversity 1, key 2, next 11, 0, 1
    authenticated bind     import 16 or 24, zero to bit 32, then as an authenticated rebase, 1, 1

An authenticated target always counts from the mach header. Source: as in `chained`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arraytypes import I8, U8, Bool
from pielink.dyld.columns import BIND, POINTER_SIZE, REBASE, Rows
from pielink.dyld.stream import fail
from pielink.dyld.strings import split
from pielink.formats import macho
from pielink.hints import Any
from pielink.record import Record

# Where a segment is: its address without slide, and bytes in memory.
SEGMENT = np.dtype([("address", "<u8"), ("size", "<u8")])

# How arm64e signs a pointer. auth: whether it does; key: 0 IA, 1 IB, 2 DA, 3 DB;
# address_diversity: the pointer's own address is mixed in; diversity: what else is.
AUTH = np.dtype([("auth", "?"), ("key", "u1"), ("address_diversity", "?"), ("diversity", "<u2")])

# A row of the imports table: ordinal and name as in BIND, weak: whether the symbol may be absent,
# addend: to be added to that of the word.
IMPORT = np.dtype([("ordinal", "<i4"), ("weak", "?"), ("name", "<u4"), ("addend", "<i8")])


class PointerFormat(Record):
    """What tells the pointer formats apart. stride: bytes that a unit of `next` counts."""

    name: str
    stride: int
    arm64e: bool
    import_bits: int
    target_is_address: bool


FORMATS = {
    macho.DYLD_CHAINED_PTR_ARM64E: PointerFormat("DYLD_CHAINED_PTR_ARM64E", 8, True, 16, True),
    macho.DYLD_CHAINED_PTR_64: PointerFormat("DYLD_CHAINED_PTR_64", 4, False, 24, True),
    macho.DYLD_CHAINED_PTR_64_OFFSET: PointerFormat(
        "DYLD_CHAINED_PTR_64_OFFSET", 4, False, 24, False
    ),
    macho.DYLD_CHAINED_PTR_ARM64E_KERNEL: PointerFormat(
        "DYLD_CHAINED_PTR_ARM64E_KERNEL", 4, True, 16, False
    ),
    macho.DYLD_CHAINED_PTR_ARM64E_USERLAND: PointerFormat(
        "DYLD_CHAINED_PTR_ARM64E_USERLAND", 8, True, 16, False
    ),
    macho.DYLD_CHAINED_PTR_ARM64E_FIRMWARE: PointerFormat(
        "DYLD_CHAINED_PTR_ARM64E_FIRMWARE", 4, True, 16, True
    ),
    macho.DYLD_CHAINED_PTR_ARM64E_USERLAND24: PointerFormat(
        "DYLD_CHAINED_PTR_ARM64E_USERLAND24", 8, True, 24, False
    ),
}

# Imports format -> bytes of a row, bits of the library ordinal, where the name's offset starts.
IMPORT_FORMATS = {
    macho.DYLD_CHAINED_IMPORT: (4, 8, 9),
    macho.DYLD_CHAINED_IMPORT_ADDEND: (8, 8, 9),
    macho.DYLD_CHAINED_IMPORT_ADDEND64: (16, 16, 32),
}
NEXT_SHIFT = 51  # where `next` starts in the words of all formats
SPECIAL_ORDINALS = 15  # the largest values of the field stand for -15..-1


class Chains(Record):
    """Decoded chained fixups.

    rebases: (n,) REBASE by location; targets: (n,) uint64, the address without slide that each
    pointer holds, its top byte included; rebase_auth: (n,) AUTH. binds: (m,) BIND by location, the
    addend that of import and word together; names: what their `name` indexes; bind_auth: (m,) AUTH.
    imports: the table, (k,) IMPORT; its `name` indexes names, too. pointer_format (0: no chain),
    page_size, imports_format: as in the payload.
    """

    rebases: Rows
    targets: U8
    rebase_auth: Rows
    binds: Rows
    bind_auth: Rows
    names: list[bytes]
    imports: Rows
    pointer_format: int
    page_size: int
    imports_format: int


class _Starts(Record):
    """Where chains start: (n,) columns. blame: payload offset of the page's entry."""

    segment: I8
    page: I8
    offset: I8
    blame: I8


class _Links(Record):
    """Words of chains: (n,) columns. blame: as in _Starts."""

    segment: I8
    offset: I8
    word: U8
    blame: I8


_EMPTY = np.zeros(0, np.int64)
_NO_LINKS = _Links(_EMPTY, _EMPTY, _EMPTY.view(np.uint64), _EMPTY)
_ANY_FORMAT = macho.DYLD_CHAINED_PTR_64  # to take apart no words at all


def decode(payload: bytes, segments: Rows, contents: Sequence[bytes], base: int) -> Chains:
    """Decode the payload and follow its chains.

    segments: (s,) SEGMENT in the order of the load commands; contents: the bytes of each in the
    file; base: the address of the mach header without slide.
    Raises DyldInfoError with the offset in the payload of the table entry at fault; for a chain
    that is the entry of its page.
    """
    header = _struct(payload, 0, macho.DYLD_CHAINED_FIXUPS_HEADER)
    if int(header["fixups_version"]) != 0:
        raise fail("unknown version of chained fixups", 0)
    if int(header["symbols_format"]) != 0:
        raise fail("compressed symbol names are not supported", 24)
    imports, names = _imports(payload, header)
    pointer_format, page_size, starts = _starts(payload, header, segments, base)
    links = (
        _walk(starts, contents, page_size, FORMATS[pointer_format]) if pointer_format else _NO_LINKS
    )
    parts = _parts(links.word, FORMATS.get(pointer_format, FORMATS[_ANY_FORMAT]), base)
    lost = np.flatnonzero(parts.bind & (parts.index >= len(imports)))
    if len(lost):
        raise fail("a bind names an import that is not there", links.blame[lost[0]])
    binds, rebases = np.flatnonzero(parts.bind), np.flatnonzero(~parts.bind)
    return Chains(
        _rebases(links, rebases),
        parts.target[rebases],
        parts.auth[rebases],
        _binds(links, binds, imports[parts.index[binds]], parts.addend[binds]),
        parts.auth[binds],
        names,
        imports,
        pointer_format,
        page_size,
        int(header["imports_format"]),
    )


def _rebases(links: _Links, which: I8) -> Rows:
    rows = np.zeros(len(which), REBASE)
    rows["segment"], rows["offset"] = links.segment[which], links.offset[which]
    rows["type"] = macho.REBASE_TYPE_POINTER
    return rows


def _binds(links: _Links, which: I8, imports: Rows, addend: I8) -> Rows:
    """BIND rows. imports: the import of each; addend: that of each word."""
    rows = np.zeros(len(which), BIND)
    rows["segment"], rows["offset"] = links.segment[which], links.offset[which]
    rows["type"], rows["flags"] = macho.BIND_TYPE_POINTER, imports["weak"]
    rows["ordinal"], rows["name"] = imports["ordinal"], imports["name"]
    rows["addend"] = imports["addend"] + addend
    return rows


def _struct(payload: bytes, at: int, dtype: np.dtype[Any]) -> Any:
    if at + dtype.itemsize > len(payload):
        raise fail("the payload ends in the middle of a structure", min(at, len(payload)))
    return np.frombuffer(payload, dtype, 1, at)[0]


def _column(payload: bytes, at: int, count: int, dtype: str) -> I8:
    if at + count * np.dtype(dtype).itemsize > len(payload):
        raise fail("the payload ends in the middle of a table", min(at, len(payload)))
    return np.frombuffer(payload, dtype, count, at).astype(np.int64)


def _imports(payload: bytes, header: Any) -> tuple[Rows, list[bytes]]:
    """The imports table, and the distinct names in order of first use."""
    kind, count = int(header["imports_format"]), int(header["imports_count"])
    at, symbols = int(header["imports_offset"]), int(header["symbols_offset"])
    if kind not in IMPORT_FORMATS:
        raise fail(f"unknown imports format {kind}", 20)
    row_size, ordinal_bits, name_shift = IMPORT_FORMATS[kind]
    if at + count * row_size > symbols or symbols > len(payload):
        raise fail("the imports do not end before the symbols, inside the payload", 8)
    raw = np.frombuffer(payload, np.uint8, count * row_size, at).reshape(count, row_size)
    head = 8 if kind == macho.DYLD_CHAINED_IMPORT_ADDEND64 else 4
    bits = np.ascontiguousarray(raw[:, :head]).view(f"<u{head}").reshape(count).astype(np.int64)
    imports = np.zeros(count, IMPORT)
    ordinal = bits & ((1 << ordinal_bits) - 1)
    special = ordinal > (1 << ordinal_bits) - 1 - SPECIAL_ORDINALS
    imports["ordinal"] = np.where(special, ordinal - (1 << ordinal_bits), ordinal)
    imports["weak"] = bits >> ordinal_bits & 1
    if row_size > head:
        addend = np.ascontiguousarray(raw[:, head:]).view(f"<i{row_size - head}")
        imports["addend"] = addend.reshape(count)
    name_at = symbols + (bits >> name_shift & ((1 << (8 * head - name_shift)) - 1))
    used, imports["name"] = _by_first_use(name_at)
    return imports, _strings(payload, used, at)


def _by_first_use(values: I8) -> tuple[I8, I8]:
    """Distinct values in order of first use, and the place of each value among them."""
    distinct, first, index = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return distinct[order], rank[index]


def _strings(payload: bytes, starts: I8, blame: int) -> list[bytes]:
    raw = np.frombuffer(payload, np.uint8)
    nul = np.flatnonzero(raw == 0)
    place = np.searchsorted(nul, starts)
    if (place >= len(nul)).any():
        raise fail("the name of an import runs past the end of the payload", blame)
    size = nul[place] + 1 - starts
    if int(size.sum()) > max(64 * len(payload), 1 << 20):
        raise fail("the names of the imports overlap too much", blame)
    return split(raw, starts, size)


def _starts(payload: bytes, header: Any, segments: Rows, base: int) -> tuple[int, int, _Starts]:
    """The pointer format and page size that all segments share, and where chains start."""
    image = int(header["starts_offset"])
    (count,) = _column(payload, image, 1, "<u4").tolist()
    if count > len(segments):
        raise fail(f"starts for {count} segments, but there are {len(segments)}", image)
    pointer_format, page_size = 0, 0
    found = []
    for index, offset in enumerate(_column(payload, image + 4, count, "<u4").tolist()):
        if offset == 0:
            continue
        at = image + offset
        starts = _struct(payload, at, macho.DYLD_CHAINED_STARTS_IN_SEGMENT)
        this = int(starts["pointer_format"]), int(starts["page_size"])
        if this[0] not in FORMATS:
            raise fail(f"pointer format {this[0]} is not supported", at + 6)
        if this[1] not in (0x1000, 0x4000):
            raise fail(f"a page size of {this[1]:#x}", at + 4)
        if (pointer_format, page_size) not in ((0, 0), this):
            raise fail("segments differ in pointer format or page size", at)
        pointer_format, page_size = this
        if int(segments["address"][index]) != base + int(starts["segment_offset"]):
            raise fail(f"the offset of segment {index} is not where the segment is", at + 8)
        found.append(_pages(payload, at, starts, index))
    none = _Starts(_EMPTY, _EMPTY, _EMPTY, _EMPTY)
    columns = [(s.segment, s.page, s.offset, s.blame) for s in (none, *found)]
    joined = _Starts(*(np.concatenate(column) for column in zip(*columns, strict=True)))
    return pointer_format, page_size, joined


def _pages(payload: bytes, at: int, starts: Any, segment: int) -> _Starts:
    table = at + macho.DYLD_CHAINED_STARTS_IN_SEGMENT.itemsize
    count = int(starts["page_count"])
    if macho.DYLD_CHAINED_STARTS_IN_SEGMENT.itemsize + 2 * count > int(starts["size"]):
        raise fail("the page starts do not fit into the size that is stated", at)
    offset = _column(payload, table, count, "<u2")
    page = np.flatnonzero(offset != macho.DYLD_CHAINED_PTR_START_NONE)
    offset, blame = offset[page], table + 2 * page
    outside = np.flatnonzero(offset >= int(starts["page_size"]))  # several starts among them
    if len(outside):
        raise fail("a page's first fixup is outside the page", blame[outside[0]])
    return _Starts(np.full(len(page), segment), page, offset, blame)


def _walk(
    starts: _Starts, contents: Sequence[bytes], page_size: int, rules: PointerFormat
) -> _Links:
    """Follow all chains together."""
    raw = np.frombuffer(b"".join(contents), np.uint8)
    sizes = np.array([len(content) for content in contents], np.int64)
    place = np.append(0, np.cumsum(sizes))
    next_mask = 0x7FF if rules.arm64e else 0xFFF
    chain = np.arange(len(starts.page))
    offset = starts.page * page_size + starts.offset
    stop = (starts.page + 1) * page_size
    found = []
    while len(chain):
        segment, blame = starts.segment[chain], starts.blame[chain]
        outside = np.flatnonzero((offset >= stop[chain]) | (offset + POINTER_SIZE > sizes[segment]))
        if len(outside):
            where = f"segment {segment[outside[0]]}, offset {offset[outside[0]]:#x}"
            raise fail(f"a chain leaves its page at {where}", blame[outside[0]])
        at = place[segment] + offset
        word = raw[at[:, None] + np.arange(POINTER_SIZE)].view("<u8").reshape(len(at))
        found.append(_Links(segment, offset, word, blame))
        step = (word >> np.uint64(NEXT_SHIFT)).astype(np.int64) & next_mask
        on = np.flatnonzero(step)
        chain, offset = chain[on], (offset + step * rules.stride)[on]
    return _by_location(found)


def _by_location(found: list[_Links]) -> _Links:
    columns = [(each.segment, each.offset, each.word, each.blame) for each in (_NO_LINKS, *found)]
    joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
    order = np.lexsort((joined[1], joined[0]))
    return _Links(*(column[order] for column in joined))


class _Parts(Record):
    """The fields of words: (n,) columns. target: an address without slide; index: of the import."""

    bind: Bool
    auth: Rows
    target: U8
    index: I8
    addend: I8


def _bits(word: U8, first: int, count: int) -> I8:
    return (word >> np.uint64(first)).astype(np.int64) & ((1 << count) - 1)


def _parts(word: U8, rules: PointerFormat, base: int) -> _Parts:
    auth = np.zeros(len(word), AUTH)
    index = _bits(word, 0, rules.import_bits)
    if not rules.arm64e:
        bind, addend = _bits(word, 63, 1) > 0, _bits(word, 24, 8)
        target, high8 = _bits(word, 0, 36), _bits(word, 36, 8)
        from_header = np.full(len(word), not rules.target_is_address)
    else:
        signed = _bits(word, 63, 1) > 0
        bind = _bits(word, 62, 1) > 0
        auth["auth"] = signed
        auth["diversity"] = np.where(signed, _bits(word, 32, 16), 0)
        auth["address_diversity"] = signed & (_bits(word, 48, 1) > 0)
        auth["key"] = np.where(signed, _bits(word, 49, 2), 0)
        value = _bits(word, 32, 19)
        addend = np.where(signed, 0, value - ((value >> 18) << 19))
        target = np.where(signed, _bits(word, 0, 32), _bits(word, 0, 43))
        high8 = np.where(signed, 0, _bits(word, 43, 8))
        from_header = signed | (not rules.target_is_address)
    address = (target + np.where(from_header, base, 0)).view(np.uint64)
    return _Parts(bind, auth, address | high8.view(np.uint64) << np.uint64(56), index, addend)
