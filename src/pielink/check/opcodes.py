"""Rules of the rebase and bind opcode streams of LC_DYLD_INFO."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from pielink.arraytypes import NDArray
from pielink.check.rule import Image, Rule
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect.columns import NO_NAME, NO_ORDINAL, NO_SEGMENT, BindRows, Columns, StreamError

REBASE_SOURCE = "dyld mach_o/RebaseOpcodes.cpp"
BIND_SOURCE = "dyld mach_o/BindOpcodes.cpp"
WRITABLE = "Policy.cpp enforceFixupsInWritableSegments"


def _stream_rules(stream: str, source: str, walk: str) -> tuple[Rule, ...]:
    """The rules that rebase and bind streams have in common."""
    again = "encode the stream again"
    return (
        Rule(f"{stream}-opcode", "every opcode is known", again, f"{source} {walk}"),
        Rule(
            f"{stream}-uleb",
            "every LEB128 number ends inside the stream",
            again,
            f"{source} {walk}",
        ),
        Rule(
            f"{stream}-count",
            "the stream has no more fixups than the file could hold",
            again,
            f"{source} {walk} (each place is checked against its segment)",
        ),
        Rule(
            f"{stream}-segment",
            "a segment is set before the first fixup, and it exists",
            "start with SET_SEGMENT_AND_OFFSET_ULEB; count segments from __PAGEZERO on",
            f"{source} valid",
        ),
        Rule(
            f"{stream}-offset",
            "the 8 bytes of each fixup lie in the segment",
            "correct the offsets",
            f"{source} valid",
        ),
        Rule(
            f"{stream}-type",
            "a type is set before the first fixup, and it is pointer (text types: 32-bit only)",
            "start with SET_TYPE_IMM 1",
            f"{source} valid",
        ),
        Rule(
            f"{stream}-writable",
            "fixups are in writable segments only",
            "move what needs fixing up to __DATA_CONST or __DATA",
            f"{source} valid; {WRITABLE}",
            "10.15",
        ),
        Rule(
            f"{stream}-executable",
            "no fixup is in an executable segment",
            "move what needs fixing up to __DATA_CONST or __DATA",
            f"{source} valid; {WRITABLE}",
            "10.15",
        ),
    )


RULES = (
    *_stream_rules("rebase", REBASE_SOURCE, "forEachRebase"),
    Rule(
        "rebase-end",
        "at most 15 bytes follow the DONE of the rebase stream",
        "let rebase_size end behind DONE, padded to 8 bytes",
        f"{REBASE_SOURCE} forEachRebase",
    ),
    Rule(
        "rebase-duplicate",
        "no byte is rebased twice (it would slide twice)",
        "list each place once",
        f"{REBASE_SOURCE} forEachRebaseLocation (each row slides its place)",
    ),
    Rule(
        "rebase-target",
        "a rebased pointer points into a segment of the image",
        "drop the rebase, or relocate the pointer",
        "dyld dyld/Loader.cpp targetValue (mach header + offset in the image)",
    ),
    *_stream_rules("bind", BIND_SOURCE, "forEachBind"),
    Rule(
        "bind-name",
        "a symbol name is set before the first bind, is terminated and not empty",
        "write SET_SYMBOL_TRAILING_FLAGS_IMM with a zero-terminated name",
        f"{BIND_SOURCE} valid, forEachBind",
    ),
    Rule(
        "bind-ordinal",
        "a library ordinal is set first, and names a linked library or is 0, -1, -2, -3",
        "write the ordinal of the library (above 15 in the ULEB form)",
        f"{BIND_SOURCE} valid",
    ),
    Rule(
        "bind-conflict",
        "no place is both rebased and bound at start (lazy and weak binds may be)",
        "drop one of the two",
        f"{BIND_SOURCE} forEachBindLocation; dyld dyld/JustInTimeLoader.cpp applyFixups",
    ),
    Rule(
        "weak-bind-flag",
        "a file with weak binds has MH_BINDS_TO_WEAK, one with weak definitions MH_WEAK_DEFINES",
        "set the header flag 0x10000 (0x8000)",
        "dyld mach_o/UnsafeHeader.cpp usesWeakDefs, hasWeakDefs; dyld/Loader.cpp resolveSymbol",
    ),
)

Decoded = TypeVar("Decoded")
STREAMS = ("bind", "weak_bind", "lazy_bind")


def check(image: Image) -> None:
    """Every rule of this file; nothing if the image has no LC_DYLD_INFO."""
    if not image.file.of(macho.LC_DYLD_INFO, macho.LC_DYLD_INFO_ONLY):
        return
    rebased = _decoded(image, lambda: image.file.rebase_rows, "rebase")
    places = None if rebased is None else _check_rebases(image, rebased)
    for stream in STREAMS:
        found = _decoded(image, partial(image.file.bind_rows, stream), "bind")
        if found is not None:
            _check_binds(image, found, stream, places)


def _decoded(image: Image, read: Callable[[], Decoded], group: str) -> Decoded | None:
    """What `read` gives; None, with the rule that the stream breaks reported, if it cannot."""
    try:
        return read()
    except StreamError as error:
        place = f"{error.stream} stream at {error.offset:#x}"
        image.report.fail(f"{group}-{error.kind}", place, error.message)
    except FormatError as error:
        image.report.fail("range-in-file", f"{group} stream", error.message)
    return None


def _check_places(image: Image, rows: Columns, stream: str, group: str) -> NDArray[np.bool_]:
    """Rules of the place of each fixup; True for rows whose place is inside its segment."""
    segments, report = image.file.segments, image.report
    exists = rows["segment"] < len(segments)

    def tell(index: int) -> tuple[str, str]:
        row = rows[index]
        where = image.segment_place(int(row["segment"]), int(row["offset"]))
        unset = " (never set)" if row["segment"] == NO_SEGMENT else ""
        return f"{stream} stream at {int(row['at']):#x}", f"{where}{unset}, type {int(row['type'])}"

    report.each(f"{group}-segment", np.flatnonzero(~exists).tolist(), tell)
    own = segments[np.where(exists, rows["segment"], 0)]
    fits = (own["vmsize"] >= 8) & (rows["offset"] <= own["vmsize"] - np.minimum(own["vmsize"], 8))
    report.each(f"{group}-offset", np.flatnonzero(exists & ~fits).tolist(), tell)
    report.each(f"{group}-type", np.flatnonzero(rows["type"] != 1).tolist(), tell)
    protection = own["initprot"]
    fixed = exists & (protection & macho.VM_PROT_WRITE == 0)
    report.each(f"{group}-writable", np.flatnonzero(fixed).tolist(), tell)
    code = exists & (protection & macho.VM_PROT_EXECUTE != 0)
    report.each(f"{group}-executable", np.flatnonzero(code).tolist(), tell)
    return np.asarray(exists & fits)


def _check_rebases(image: Image, rows: Columns) -> NDArray[np.uint64]:
    """Rules of the rebases; the addresses of those whose place is good, ascending."""
    good = rows[_check_places(image, rows, "rebase", "rebase")]
    addresses = image.file.addresses(good, "rebase")
    order = np.argsort(addresses, kind="stable")
    ordered = addresses[order]
    again = np.flatnonzero(np.diff(ordered) < np.uint64(8)) + 1

    def tell(index: int) -> tuple[str, str]:
        row = good[order[index]]
        place = image.segment_place(int(row["segment"]), int(row["offset"]))
        return place, f"overlaps the rebase at {int(ordered[index - 1]):#x}"

    image.report.each("rebase-duplicate", again.tolist(), tell)
    targets = image.readable(lambda: image.file.words(good), "rebased words")
    if targets is not None:
        check_targets(image, good, targets, "rebase-target")
    return np.asarray(ordered)


def check_targets(image: Image, rows: Columns, targets: NDArray[np.uint64], rule: str) -> None:
    """Does each target lie in a mapped segment (its end included)?"""
    segments = image.file.segments
    mapped = segments[(segments["initprot"] != 0) & (segments["vmsize"] > 0)]
    inside = np.zeros(len(rows), bool)
    for segment in mapped:
        low, size = segment["vmaddr"], segment["vmsize"]
        inside |= (targets >= low) & (targets - low <= size)

    def tell(index: int) -> tuple[str, str]:
        row = rows[index]
        place = image.segment_place(int(row["segment"]), int(row["offset"]))
        return place, f"points to {int(targets[index]):#x}, outside the image"

    image.report.each(rule, np.flatnonzero(~inside).tolist(), tell)


def check_ordinals(image: Image, binds: BindRows, stream: str, rule: str) -> None:
    """Does each bind name a linked library, or a special one?"""
    count, ordinal = len(image.file.libraries), binds.rows["ordinal"]
    wrong = (ordinal > count) | (ordinal < macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP)

    def tell(index: int) -> tuple[str, str]:
        number, at = int(ordinal[index]), int(binds.rows["at"][index])
        shown = "no ordinal is set" if number == NO_ORDINAL else f"ordinal {number}"
        return f"{stream} at {at:#x}", f"{shown}, {count} libraries are linked"

    image.report.each(rule, np.flatnonzero(wrong).tolist(), tell)


def _check_binds(
    image: Image, binds: BindRows, stream: str, rebased: NDArray[np.uint64] | None
) -> None:
    rows = binds.rows
    good = rows[_check_places(image, rows, stream, "bind")]
    check_ordinals(image, binds, f"{stream} stream", "bind-ordinal")
    empty = np.array([not name for name in binds.names] or [False])
    named = rows["name"] != NO_NAME
    wrong = ~named | empty[np.where(named, rows["name"], 0)]
    image.report.each(
        "bind-name",
        np.flatnonzero(wrong).tolist(),
        lambda i: (f"{stream} stream at {int(rows['at'][i]):#x}", "the symbol has no name"),
    )
    flags = int(image.file.header["flags"])
    if stream == "weak_bind" and len(rows):
        message = f"{len(rows)} weak binds, header flags {flags:#x}"
        set_ = bool(flags & (macho.MH_BINDS_TO_WEAK | macho.MH_WEAK_DEFINES))
        image.report.require(set_, "weak-bind-flag", "mach_header_64", message)
    if binds.strong:
        message = f"{len(binds.strong)} strong definitions of weak symbols, flags {flags:#x}"
        set_ = bool(flags & macho.MH_WEAK_DEFINES)
        image.report.require(set_, "weak-bind-flag", "mach_header_64", message)
    if stream == "bind" and rebased is not None and len(rebased):
        _check_conflicts(image, good, rebased)


def _check_conflicts(image: Image, rows: Columns, rebased: NDArray[np.uint64]) -> None:
    addresses = image.file.addresses(rows, "bind")
    # The first rebase that ends behind the start of the bind.
    next_at = np.searchsorted(rebased + np.uint64(7), addresses)
    next_ = rebased[np.minimum(next_at, len(rebased) - 1)]
    hit = (next_at < len(rebased)) & (next_ < addresses + np.uint64(8))
    image.report.each(
        "bind-conflict",
        np.flatnonzero(hit).tolist(),
        lambda i: (f"address {int(addresses[i]):#x}", "is rebased as well"),
    )
