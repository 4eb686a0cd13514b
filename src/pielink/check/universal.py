"""Rules of fat files: the slices behind a fat header."""

from __future__ import annotations

from itertools import pairwise

from pielink.check.rule import Report, Rule
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect.universal import Slice, architecture, slices

UNIVERSAL = "dyld mach_o/Universal.cpp"

RULES = (
    Rule(
        "fat-header",
        "the fat header lists slices that all lie inside the file",
        "the file is cut off or the header is wrong: join the slices again",
        f"{UNIVERSAL} valid",
    ),
    Rule(
        "fat-architecture",
        "the CPU type of a slice is the one that the fat header says",
        "correct the fat header",
        f"{UNIVERSAL} validSlice",
    ),
    Rule(
        "fat-alignment",
        "a slice starts at a multiple of the page size (arm64: 16 KiB)",
        "pad the slice before it",
        f"{UNIVERSAL} validSlice",
    ),
    Rule(
        "fat-duplicate",
        "no two slices are for the same architecture",
        "keep one slice for each architecture",
        f"{UNIVERSAL} valid",
    ),
    Rule(
        "fat-overlap",
        "no two slices share a byte",
        "join the slices again",
        f"{UNIVERSAL} valid",
    ),
)


def check(data: bytes, report: Report) -> list[Slice]:
    """Every rule of this file; the slices, one for a thin file, none if the header is malformed."""
    try:
        found = slices(data, report.path)
    except FormatError as error:
        report.fail("fat-header", "fat header", error.message)
        return []
    if found and found[0].offset == 0:
        return found
    for index, each in enumerate(found):
        place, head = f"slice {index} ({each.arch})", data[each.offset : each.offset + 12]
        inner = architecture(head)
        message = f"the slice itself is for {inner}"
        report.require(inner == each.arch, "fat-architecture", place, message)
        page = 0x1000 if int.from_bytes(head[4:8], "little") == macho.CPU_TYPE_X86_64 else 0x4000
        message = f"starts at {each.offset:#x}, must be a multiple of {page:#x}"
        report.require(each.offset % page == 0, "fat-alignment", place, message)
        same = sum(other.arch == each.arch for other in found[:index])
        report.require(not same, "fat-duplicate", place, "is there already")
    ordered = sorted(found, key=lambda each: each.offset)
    for a, b in pairwise(ordered):
        end = a.offset + a.size
        message = f"ends at {end:#x}, {b.arch} starts at {b.offset:#x}"
        report.require(end <= b.offset, "fat-overlap", a.arch, message)
    return found
