"""Rules of LC_DYLD_CHAINED_FIXUPS and the chains in the segments."""

from __future__ import annotations

import numpy as np

from pielink.check.header import platform
from pielink.check.opcodes import check_ordinals, check_targets
from pielink.check.rule import Image, Rule, parse_version, show_version
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect import chains
from pielink.inspect.columns import BindRows, Columns, StreamError

VALID = "dyld mach_o/ChainedFixups.cpp validLinkedit"
BINDS = "dyld mach_o/ChainedFixups.cpp forEachBindTarget"
CHAIN = "dyld mach_o/ChainedFixups.cpp forEachFixupLocationInChain"
POLICY = "dyld mach_o/Policy.cpp"

RULES = (
    Rule(
        "chained-header",
        "the payload starts with a version 0 header whose tables are inside it",
        "encode the payload again",
        VALID,
    ),
    Rule(
        "chained-imports",
        "import and symbol format are known and the imports end before the names",
        "use DYLD_CHAINED_IMPORT, _ADDEND or _ADDEND64 and uncompressed names",
        VALID,
    ),
    Rule(
        "chained-import-name",
        "each import has a name that is not empty",
        "write the name into the symbols of the payload",
        BINDS,
    ),
    Rule(
        "chained-import-count",
        "there are fewer imports than the pointer format can number",
        "use a pointer format with more bits, or opcodes",
        VALID,
    ),
    Rule(
        "chained-ordinal",
        "each import names a linked library by its ordinal, or is 0, -1, -2, -3",
        "write the ordinal of the library",
        f"{BINDS}; dyld dyld/Loader.cpp resolveSymbol (unknown library ordinal)",
    ),
    Rule(
        "chained-starts",
        "the table of starts has an entry for every segment, and each entry lies inside the table",
        "count every segment, __PAGEZERO and __LINKEDIT included",
        VALID,
    ),
    Rule(
        "chained-format",
        "all segments have the same pointer format, one that dyld knows for 64-bit images",
        "use DYLD_CHAINED_PTR_64_OFFSET (minimum OS 12) or DYLD_CHAINED_PTR_64",
        VALID,
    ),
    Rule(
        "chained-segment-offset",
        "segment_offset is the distance of the segment from the mach header",
        "write vmaddr minus the address of the mach header",
        "dyld common/MachOAnalyzer.cpp validChainedFixupsInfo",
    ),
    Rule(
        "chained-max-pointer",
        "max_valid_pointer is 0, or the same everywhere and behind the last segment",
        "write 0",
        VALID,
    ),
    Rule(
        "chained-page",
        "the page size is 4 or 16 KiB, and each page has one chain that starts inside it",
        "write the offset in the page, or 0xFFFF if the page has no fixups",
        VALID,
    ),
    Rule(
        "chained-chain",
        "a chain stays in its page and in the segment's contents",
        "end the chain at the last fixup of the page",
        CHAIN,
    ),
    Rule(
        "chained-count",
        "there are no more fixups than the file could hold",
        "encode the chains again",
        CHAIN,
    ),
    Rule(
        "chained-import-index",
        "a bind names an import that exists",
        "correct the import's index",
        "dyld dyld/Loader.cpp targetValue (out of range bind ordinal)",
    ),
    Rule(
        "chained-target",
        "a rebase points into a segment of the image",
        "drop the rebase, or relocate the pointer",
        "dyld dyld/Loader.cpp targetValue (mach header + offset in the image)",
    ),
    Rule(
        "chained-overlap",
        "no two fixups share a byte",
        "keep pointers 8 bytes apart",
        CHAIN,
    ),
    Rule(
        "chained-writable",
        "chains are in writable segments that are not executable",
        "move what needs fixing up to __DATA_CONST or __DATA",
        "dyld mach_o/RebaseOpcodes.cpp valid; Policy.cpp enforceFixupsInWritableSegments",
        "10.15",
    ),
    Rule(
        "chained-minimum-os",
        "the minimum OS is 12 or later, from which on Apple's linker may use chained fixups",
        "raise the minimum OS, or use opcodes",
        f"{POLICY} useChainedFixups (chainedFixupsEpoch)",
    ),
    Rule(
        "chained-offset-format",
        "DYLD_CHAINED_PTR_64_OFFSET is used from minimum OS 12 on",
        "use DYLD_CHAINED_PTR_64, or raise the minimum OS",
        f"{POLICY} chainedFixupsFormat",
    ),
)


def check(image: Image) -> None:
    """Every rule of this file; nothing if the image has no chained fixups."""
    file = image.file
    command = file.first(macho.LINKEDIT_DATA_COMMAND, macho.LC_DYLD_CHAINED_FIXUPS)
    if command is None:
        return
    _check_minimum_os(image)
    at, size = command["dataoff"], command["datasize"]
    payload = image.readable(lambda: file.range(at, size, "chained fixups"), "chained fixups")
    if payload is None:
        return
    try:
        header = chains.read_header(payload)
        _check_header(image, header, len(payload))
        imports = chains.read_imports(payload, header)
        _check_imports(image, imports)
        starts = chains.read_starts(payload, header, len(file.segments))
        _check_starts(image, payload, header, starts)
        _check_chains(image, starts, imports)
    except StreamError as error:
        place = f"chained fixups at {error.offset:#x}"
        image.report.fail(f"chained-{error.kind}", place, error.message)
    except FormatError as error:
        image.report.fail("range-in-file", "chained fixups", error.message)


def _check_minimum_os(image: Image) -> None:
    minos = platform(image.file)["minos"]
    wanted = parse_version("12")
    message = f"minimum OS is {show_version(minos)}, must be {show_version(wanted)}"
    image.report.require(minos >= wanted, "chained-minimum-os", "LC_BUILD_VERSION", message)


def _check_header(image: Image, header: dict[str, int], size: int) -> None:
    for name in ("starts_offset", "imports_offset", "symbols_offset"):
        message = f"{name} is {header[name]:#x} of {size:#x} bytes"
        image.report.require(header[name] <= size, "chained-header", "chained fixups", message)


def _check_imports(image: Image, imports: list[tuple[int, int, int, bytes]]) -> None:
    rows = np.zeros(len(imports), [("ordinal", "<i4"), ("at", "<u4")])
    rows["ordinal"], rows["at"] = [row[0] for row in imports], np.arange(len(imports))
    binds = BindRows(rows, [])
    check_ordinals(image, binds, "import", "chained-ordinal")
    empty = [index for index, row in enumerate(imports) if not row[3]]
    image.report.each("chained-import-name", empty, lambda i: (f"import {i}", "the name is empty"))


def _check_starts(
    image: Image, payload: bytes, header: dict[str, int], starts: list[chains.SegmentStarts]
) -> None:
    file, report = image.file, image.report
    at = header["starts_offset"]
    count = int.from_bytes(payload[at : at + 4], "little")
    message = f"{count} entries, the file has {len(file.segments)} segments"
    report.require(count == len(file.segments), "chained-starts", "chained fixups", message)
    formats = {each.header["pointer_format"] for each in starts}
    message = f"formats {sorted(formats)}"
    report.require(len(formats) < 2, "chained-format", "chained fixups", message)
    for number in formats & set(chains.FORMATS):
        most = (1 << chains.FORMATS[number].ordinal_bits) - 1
        message = f"{header['imports_count']} imports, at most {most - 1}"
        few = header["imports_count"] < most
        report.require(few, "chained-import-count", "chained fixups", message)
    minos = platform(file)["minos"]
    new = 6 not in formats or minos >= parse_version("12")
    message = f"minimum OS is {show_version(minos)}"
    report.require(new, "chained-offset-format", "LC_BUILD_VERSION", message)
    for each in starts:
        _check_segment_starts(image, header, each)


def _check_segment_starts(
    image: Image, header: dict[str, int], starts: chains.SegmentStarts
) -> None:
    segments, report = image.file.segments, image.report
    place, row = image.segment_place(starts.segment, 0), starts.header
    inside = starts.at + row["size"] <= header["imports_offset"]
    report.require(inside, "chained-starts", place, "its page table overruns the imports")
    wanted = int(segments["vmaddr"][starts.segment]) - image.file.base
    message = f"segment_offset is {row['segment_offset']:#x}, must be {wanted:#x}"
    same = row["segment_offset"] == wanted
    report.require(same, "chained-segment-offset", place, message)
    last = max((int(s["vmaddr"] + s["vmsize"]) for s in segments[:-1]), default=0)
    most = row["max_valid_pointer"]
    message = f"is {most:#x}, the image ends at {last:#x}"
    report.require(not most or most >= last, "chained-max-pointer", place, message)


def _check_chains(
    image: Image,
    starts: list[chains.SegmentStarts],
    imports: list[tuple[int, int, int, bytes]],
) -> None:
    file, limit = image.file, image.file.max_fixups
    writable = macho.VM_PROT_WRITE | macho.VM_PROT_EXECUTE
    for each in starts:
        place = image.segment_place(each.segment, 0)
        protection = int(file.segments["initprot"][each.segment])
        message = f"initprot is {protection}"
        only_writable = protection & writable == macho.VM_PROT_WRITE
        image.report.require(only_writable, "chained-writable", place, message)
        found = chains.follow(each, file.segment_bytes(each.segment), limit)
        limit -= len(found.offsets)
        near = np.flatnonzero(np.diff(found.offsets) < 8)
        image.report.each(
            "chained-overlap",
            near.tolist(),
            lambda i, f=found, s=each: (  # type: ignore[misc]
                image.segment_place(s.segment, int(f.offsets[i])),
                "the next fixup is less than 8 bytes behind",
            ),
        )
        rows, targets = chains.rebase_rows(each.segment, found, file.base)
        check_targets(image, rows, _without_tag(targets), "chained-target")
        chains.bind_rows(each.segment, found, imports)


def _without_tag(targets: Columns) -> Columns:
    """Targets without their top byte, which is the program's own."""
    return targets & np.uint64((1 << 56) - 1)
