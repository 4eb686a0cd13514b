"""Rules of segments and sections: where they lie in the file and in memory, and who may do what."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

from pielink.check.header import LOADER, UNSAFE_HEADER
from pielink.check.rule import Image, Rule
from pielink.formats import macho
from pielink.inspect.columns import Columns
from pielink.inspect.macho import text

MACHO_FILE = "dyld common/MachOFile.cpp"
LOADER_H = "xnu EXTERNAL_HEADERS/mach-o/loader.h"
SEGMENTS = f"{UNSAFE_HEADER} validSemanticsSegments"
SEGMENT = f"{UNSAFE_HEADER} validSegment"
READ, WRITE, EXECUTE = macho.VM_PROT_READ, macho.VM_PROT_WRITE, macho.VM_PROT_EXECUTE

RULES = (
    Rule(
        "segment-in-file",
        "the contents of each segment end inside the file",
        "the file is cut off or fileoff/filesize is wrong: link again",
        SEGMENT,
    ),
    Rule(
        "segment-file-size",
        "no segment has more bytes in the file than in memory (unless it is not mapped at all)",
        "make vmsize at least filesize",
        SEGMENT,
    ),
    Rule(
        "segment-protection-bits",
        "initprot has no bits but read, write and execute",
        "clear the other bits of initprot",
        SEGMENT,
    ),
    Rule(
        "segment-max-protection",
        "initprot asks for nothing that maxprot forbids",
        "widen maxprot or narrow initprot",
        "xnu osfmk/vm/vm_sanitize.c vm_sanitize_cur_and_max_prots",
    ),
    Rule(
        "text-protection",
        "__TEXT is read and execute, not write",
        "set initprot of __TEXT to 5",
        f"{SEGMENT}; Policy.cpp enforceTextSegmentPermissions",
        "10.15",
    ),
    Rule(
        "linkedit-protection",
        "__LINKEDIT is read only",
        "set initprot of __LINKEDIT to 1",
        f"{SEGMENT}; Policy.cpp enforceReadOnlyLinkedit",
        "26.0",
        "10.11",
    ),
    Rule(
        "data-protection",
        "__DATA and __DATA_CONST are read and write, not execute",
        "set initprot of the segment to 3",
        f"{SEGMENT}; Policy.cpp enforceDataSegmentPermissions",
        "26.0",
    ),
    Rule(
        "data-const-read-only",
        "__DATA_CONST has SG_READ_ONLY",
        "set flag 0x10 of the segment",
        f"{SEGMENT}; Policy.cpp enforceDataConstSegmentPermissions",
        "26.0",
    ),
    Rule(
        "read-only-once",
        "at most one segment has SG_READ_ONLY",
        "keep the flag on __DATA_CONST alone",
        f"{LOADER} load_segment (ro_vm_start)",
    ),
    Rule(
        "segment-wraps",
        "vmaddr + vmsize does not overflow",
        "vmaddr or vmsize is wrong: link again",
        SEGMENT,
    ),
    Rule(
        "segment-page-aligned",
        "file offset and (if it is mapped) address of a segment are multiples of the page size",
        "align the segment to 4 KiB (x86_64) or 16 KiB (arm64)",
        f"{LOADER} load_segment, map_segment",
    ),
    Rule(
        "page-zero",
        "nothing is mapped in the first 4 KiB (arm64: 4 GiB): __PAGEZERO covers them",
        "make __PAGEZERO larger",
        f"{LOADER} load_machfile (vm_map_has_hard_pagezero)",
    ),
    Rule(
        "header-mapped",
        "just one segment maps file offset 0, and it is readable and executable",
        "let __TEXT alone start at file offset 0, with protection r-x",
        f"{LOADER} parse_machfile (found_header_segment)",
    ),
    Rule("text-present", "there is a __TEXT segment", "link again", SEGMENTS),
    Rule(
        "text-at-start",
        "__TEXT starts at file offset 0",
        "let __TEXT begin with the mach header",
        SEGMENTS,
    ),
    Rule(
        "commands-in-text",
        "header and load commands fit in __TEXT, in the file and in memory",
        "leave more room before the first section",
        SEGMENTS,
    ),
    Rule(
        "segment-vm-overlap",
        "no two segments share an address",
        "give each segment addresses of its own",
        SEGMENTS,
    ),
    Rule(
        "segment-file-overlap",
        "no two segments share a byte of the file",
        "give each segment a file range of its own",
        SEGMENTS,
    ),
    Rule(
        "segment-name-duplicate",
        "no two segments have the same name",
        "rename one of them",
        f"{SEGMENTS}; Policy.cpp enforceUniqueSegmentNames",
        "26.0",
    ),
    Rule(
        "segment-file-order",
        "file offsets ascend in load command order",
        "order the load commands by file offset",
        f"{SEGMENTS}; Policy.cpp enforceSegmentOrderMatchesLoadCmds",
        "26.0",
        "10.15",
    ),
    Rule(
        "segment-vm-order",
        "addresses ascend in load command order",
        "order the load commands by address",
        f"{SEGMENTS}; Policy.cpp enforceSegmentOrderMatchesLoadCmds",
        "26.0",
        "10.15",
    ),
    Rule(
        "linkedit-last",
        "__LINKEDIT is behind all other segments, in the file and (but for __DWARF) in memory",
        "put __LINKEDIT last",
        f"{MACHO_FILE} validSegments (Malformed::segmentOrder)",
        "26.0",
        "10.15",
    ),
    Rule(
        "section-size",
        "no section is larger than 2^63 bytes",
        "the size is wrong: link again",
        SEGMENT,
    ),
    Rule(
        "section-before-segment",
        "no section starts before its segment",
        "move the section into its segment",
        SEGMENT,
    ),
    Rule(
        "section-in-segment",
        "no section ends behind its segment",
        "make the segment's vmsize large enough for its sections",
        f"{SEGMENT}; Policy.cpp enforceSectionsInSegment",
        "11.0",
    ),
    Rule(
        "section-segment-name",
        "a section carries the name of the segment command that holds it",
        "write the segment's name into segname of the section",
        f"{LOADER_H} struct section_64",
    ),
    Rule(
        "section-file-offset",
        "a section lies as far into its segment's file range as into its addresses",
        "write offset = fileoff + (addr - vmaddr)",
        f"{LOADER_H} struct section_64",
    ),
    Rule(
        "section-alignment",
        "a section's address is a multiple of its alignment, which is at most 2^15",
        "align the section, or lower its align field",
        f"{LOADER_H} struct section_64",
    ),
    Rule(
        "section-overlap",
        "no two sections share an address",
        "give each section addresses of its own",
        f"{LOADER_H} struct section_64",
    ),
)


def check(image: Image) -> None:
    """Every rule of this file."""
    for index, row in enumerate(image.file.segments):
        _check_segment(image, index, row)
    _check_text(image)
    _check_pairs(image)
    _check_order(image)
    _check_page_zero(image)
    _check_sections(image)


def _check_segment(image: Image, index: int, row: Columns) -> None:
    report, place = image.report, f"segment {image.segment_names[index]}"
    vm_end, file_end = (
        int(row["vmaddr"]) + int(row["vmsize"]),
        int(row["fileoff"]) + int(row["filesize"]),
    )
    size, unmapped = len(image.file.data), not row["vmsize"] and not row["initprot"]
    report.require(
        file_end <= size, "segment-in-file", place, f"ends at {file_end:#x} of {size:#x} bytes"
    )
    report.require(
        bool(row["filesize"] <= row["vmsize"]) or unmapped,
        "segment-file-size",
        place,
        f"filesize {int(row['filesize']):#x}, vmsize {int(row['vmsize']):#x}",
    )
    report.require(vm_end < 1 << 64, "segment-wraps", place, f"ends at {vm_end:#x}")
    _check_protection(image, image.segment_names[index], row)
    page = image.page_size
    aligned = not row["fileoff"] % page and not (row["vmsize"] and row["vmaddr"] % page)
    message = f"file offset {int(row['fileoff']):#x}, address {int(row['vmaddr']):#x}"
    report.require(aligned, "segment-page-aligned", place, message)


def _check_protection(image: Image, name: str, row: Columns) -> None:
    report, place = image.report, f"segment {name}"
    initial, most = int(row["initprot"]), int(row["maxprot"])
    message = f"initprot is {initial:#x}"
    report.require(initial & ~7 == 0, "segment-protection-bits", place, message)
    message = f"initprot {initial}, maxprot {most}"
    report.require(initial & ~most & 7 == 0, "segment-max-protection", place, message)
    wanted = {
        "__TEXT": ("text-protection", READ | EXECUTE),
        "__LINKEDIT": ("linkedit-protection", READ),
        "__DATA": ("data-protection", READ | WRITE),
        "__DATA_CONST": ("data-protection", READ | WRITE),
    }.get(name)
    if wanted:
        message = f"initprot is {initial}, must be {wanted[1]}"
        report.require(initial == wanted[1], wanted[0], place, message)
    if name == "__DATA_CONST":
        flags = int(row["flags"])
        set_ = bool(flags & macho.SG_READ_ONLY)
        report.require(set_, "data-const-read-only", place, f"flags are {flags:#x}")


def _check_text(image: Image) -> None:
    report, rows = image.report, image.file.segments
    at_zero = rows[(rows["fileoff"] == 0) & (rows["filesize"] > 0)]
    protected = bool((at_zero["initprot"] & (READ | EXECUTE) == READ | EXECUTE).all())
    message = f"{len(at_zero)} segments map the header: " + ", ".join(
        f"{text(r['segname'])} with initprot {int(r['initprot'])}" for r in at_zero
    )
    report.require(len(at_zero) == 1 and protected, "header-mapped", "mach_header_64", message)
    read_only = int(np.count_nonzero(rows["flags"] & macho.SG_READ_ONLY))
    report.require(read_only < 2, "read-only-once", "segments", f"{read_only} segments have it")
    index = image.segment_index("__TEXT")
    if not report.require(index is not None, "text-present", "segments", "there is none"):
        return
    row, need = rows[index], 32 + int(image.file.header["sizeofcmds"])
    message = f"file offset is {int(row['fileoff']):#x}"
    report.require(row["fileoff"] == 0, "text-at-start", "segment __TEXT", message)
    message = f"they take {need:#x} bytes, __TEXT {int(row['filesize']):#x} in the file"
    fits = need <= int(row["filesize"]) and need <= int(row["vmsize"])
    report.require(fits, "commands-in-text", "segment __TEXT", message)


def _check_pairs(image: Image) -> None:
    """Overlaps, found between neighbours in sorted order."""
    rows, names = image.file.segments, image.segment_names
    for rule, start, size in (
        ("segment-vm-overlap", "vmaddr", "vmsize"),
        ("segment-file-overlap", "fileoff", "filesize"),
    ):
        used = [i for i in range(len(rows)) if rows[size][i]]
        used.sort(key=lambda i: int(rows[start][i]))
        for a, b in pairwise(used):
            end, begin = int(rows[start][a]) + int(rows[size][a]), int(rows[start][b])
            place, message = (
                f"segment {names[a]}",
                f"ends at {end:#x}, {names[b]} starts at {begin:#x}",
            )
            image.report.require(end <= begin, rule, place, message)
    for name, count in Counter(names).items():
        place, message = f"segment {name}", f"there are {count}"
        image.report.require(count == 1, "segment-name-duplicate", place, message)


def _check_order(image: Image) -> None:
    rows, names, report = image.file.segments, image.segment_names, image.report
    # dyld leaves the last segment out of this; linkedit-last covers it.
    for a, b in zip(range(len(rows) - 2), range(1, len(rows) - 1), strict=True):
        place = f"segment {names[b]}"
        before, after = int(rows["fileoff"][a]), int(rows["fileoff"][b])
        message = f"file offset {after:#x}, that of {names[a]} is {before:#x}"
        ordered = after >= before or not rows["filesize"][b]
        report.require(ordered, "segment-file-order", place, message)
        before, after = int(rows["vmaddr"][a]), int(rows["vmaddr"][b])
        message = f"address {after:#x}, that of {names[a]} is {before:#x}"
        report.require(after >= before, "segment-vm-order", place, message)
    index = image.segment_index("__LINKEDIT")
    if index is None:
        return
    others = [i for i in range(len(rows)) if i != index]
    behind = [
        names[i]
        for i in others
        if (rows["filesize"][i] and rows["fileoff"][i] > rows["fileoff"][index])
        or (rows["vmaddr"][i] > rows["vmaddr"][index] and names[i] != "__DWARF")
    ]
    message = f"behind it: {', '.join(behind)}"
    report.require(not behind, "linkedit-last", "segment __LINKEDIT", message)


def _check_page_zero(image: Image) -> None:
    if not image.is_executable:
        return
    rows, need = image.file.segments, 1 << 32 if image.is_arm64 else 0x1000
    zero = rows[(rows["vmaddr"] == 0) & (rows["filesize"] == 0) & (rows["initprot"] == 0)]
    size = int(zero["vmsize"].max()) if len(zero) else 0
    message = f"covers {size:#x} bytes of {need:#x}"
    image.report.require(size >= need, "page-zero", "segment __PAGEZERO", message)


def _check_sections(image: Image) -> None:
    file, report = image.file, image.report
    for index, row in enumerate(file.sections):
        segment, name = file.segments[file.section_segment[index]], file.section_names[index]
        address, size = int(row["addr"]), int(row["size"])
        if not report.require(size < 1 << 63, "section-size", name, f"size is {size:#x}"):
            continue
        start, end = int(segment["vmaddr"]), int(segment["vmaddr"]) + int(segment["vmsize"])
        message = f"starts at {address:#x}, the segment at {start:#x}"
        report.require(address >= start, "section-before-segment", name, message)
        unmapped = not segment["vmsize"] and not segment["initprot"]
        message = f"ends at {address + size:#x}, the segment at {end:#x}"
        report.require(address + size <= end or unmapped, "section-in-segment", name, message)
        message = f"is in segment {text(segment['segname'])}"
        same = row["segname"] == segment["segname"]
        report.require(same, "section-segment-name", name, message)
        _check_place(image, index, row, segment)
    _check_section_overlap(image)


def _check_place(image: Image, index: int, row: Columns, segment: Columns) -> None:
    name, report = image.file.section_names[index], image.report
    align, address, size = int(row["align"]), int(row["addr"]), int(row["size"])
    message = f"address {address:#x}, alignment 2^{align}"
    aligned = align <= 15 and address % (1 << align) == 0
    report.require(aligned, "section-alignment", name, message)
    if image.file.is_zero_fill(index) or not size:
        return
    offset, wanted = int(row["offset"]), int(segment["fileoff"]) + address - int(segment["vmaddr"])
    end = int(segment["fileoff"]) + int(segment["filesize"])
    message = f"offset is {offset:#x}, must be {wanted:#x} and end by {end:#x}"
    holds = offset == wanted and offset + size <= end
    report.require(holds, "section-file-offset", name, message)


def _check_section_overlap(image: Image) -> None:
    rows, names = image.file.sections, image.file.section_names
    used = [i for i in np.argsort(rows["addr"], kind="stable").tolist() if rows["size"][i]]
    for a, b in pairwise(used):
        end, begin = int(rows["addr"][a]) + int(rows["size"][a]), int(rows["addr"][b])
        message = f"ends at {end:#x}, {names[b]} starts at {begin:#x}"
        image.report.require(end <= begin, "section-overlap", names[a], message)
