"""Rules of `__LINKEDIT`: the place, order, alignment and overlap of what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pielink.check.rule import Image, Rule
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect.opcodes import Reader

IMAGE = "dyld mach_o/Image.cpp validStructureLinkedit"
POLICY = "Policy.cpp"
MAX_ENTRIES = 0x10000000

RULES = (
    Rule(
        "range-in-file",
        "every table that a load command points to lies inside the file",
        "the file is cut off or the offset is wrong: link again",
        "dyld mach_o/Image.cpp validStructureLinkedit",
    ),
    Rule(
        "linkedit-present",
        "there is a __LINKEDIT segment with a file range",
        "add __LINKEDIT",
        IMAGE,
    ),
    Rule(
        "linkedit-ends-file",
        "__LINKEDIT ends where the file ends (codesign takes the file for damaged otherwise)",
        "cut the file off there, or correct filesize of __LINKEDIT",
        "Security OSX/libsecurity_utilities/lib/macho++.cpp validateStructure",
    ),
    Rule(
        "linkedit-content",
        "at least one load command points into __LINKEDIT",
        "add LC_SYMTAB or LC_DYLD_INFO_ONLY",
        IMAGE,
    ),
    Rule(
        "linkedit-inside",
        "all that load commands point to lies inside __LINKEDIT",
        "make filesize of __LINKEDIT large enough, or correct the offset",
        IMAGE,
    ),
    Rule(
        "linkedit-overlap",
        "no two tables in __LINKEDIT share a byte",
        "lay the tables out one behind the other",
        IMAGE,
    ),
    Rule(
        "linkedit-alignment",
        "tables in __LINKEDIT are 8-byte aligned (indirect symbols: 4, strings: 1)",
        "pad the table before it",
        f"{IMAGE}; {POLICY} enforceLinkeditContentAlignment",
        "10.14",
    ),
    Rule(
        "signature-alignment",
        "the code signature is 8-byte aligned",
        "pad the string table",
        f"{IMAGE}; {POLICY} enforceCodeSignatureAligned",
        "10.15",
    ),
    Rule(
        "symbol-table-size",
        "symbol and indirect symbol table have at most 2^28 entries",
        "the count is wrong: link again",
        IMAGE,
    ),
    Rule(
        "dysymtab-order",
        "local, external and undefined symbols are contiguous and in this order, from index 0 on",
        "sort the symbol table and write LC_DYSYMTAB accordingly",
        IMAGE,
    ),
    Rule(
        "dysymtab-count",
        "LC_DYSYMTAB covers just the symbols of LC_SYMTAB",
        "make iundefsym + nundefsym equal nsyms",
        IMAGE,
    ),
    Rule(
        "fixups-one-form",
        "a file with chained fixups has no LC_DYLD_INFO",
        "keep one of the two",
        IMAGE,
    ),
    Rule(
        "no-relocations",
        "a file with dyld info or chained fixups has no local or external relocations",
        "set nlocrel and nextrel of LC_DYSYMTAB to 0",
        f"{IMAGE}; {POLICY} enforceOneFixupEncoding",
        "10.14",
    ),
    Rule(
        "dyld-info-present",
        "there is LC_DYLD_INFO, LC_DYLD_CHAINED_FIXUPS or LC_DYSYMTAB",
        "add LC_DYSYMTAB",
        "dyld common/MachOLayout.cpp isValidLinkeditLayout",
    ),
    Rule(
        "function-starts",
        "function starts are ULEB128 distances that stay in __TEXT and end with zeros",
        "end the table with a zero byte; count from the mach header",
        "dyld mach_o/FunctionStarts.cpp valid",
    ),
    Rule(
        "data-in-code",
        "data-in-code entries are whole, of a known kind, and lie in __TEXT",
        "write offset and length inside __TEXT, kind 1 to 5",
        "dyld mach_o/DataInCode.cpp valid",
    ),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A range of the file that a load command points to."""

    name: str
    alignment: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


# Load command -> (name, alignment, offset field, size field, bytes per unit of size).
_DATA = ("dataoff", "datasize", 1)
POINTERS: dict[int, tuple[tuple[str, int, str, str, int], ...]] = {
    macho.LC_SYMTAB: (
        ("symbol table", 8, "symoff", "nsyms", 16),
        ("string table", 1, "stroff", "strsize", 1),
    ),
    macho.LC_DYSYMTAB: (
        ("local relocations", 8, "locreloff", "nlocrel", 8),
        ("external relocations", 8, "extreloff", "nextrel", 8),
        ("indirect symbol table", 4, "indirectsymoff", "nindirectsyms", 4),
    ),
    macho.LC_SEGMENT_SPLIT_INFO: (("segment split info", 8, *_DATA),),
    macho.LC_FUNCTION_STARTS: (("function starts", 8, *_DATA),),
    macho.LC_DATA_IN_CODE: (("data in code", 8, *_DATA),),
    macho.LC_CODE_SIGNATURE: (("code signature", 8, *_DATA),),
    macho.LC_DYLD_EXPORTS_TRIE: (("export trie", 8, *_DATA),),
    macho.LC_DYLD_CHAINED_FIXUPS: (("chained fixups", 8, *_DATA),),
    **dict.fromkeys(
        (macho.LC_DYLD_INFO, macho.LC_DYLD_INFO_ONLY),
        tuple(
            (f"{name} stream", 8, f"{name}_off", f"{name}_size", 1)
            for name in ("rebase", "bind", "weak_bind", "lazy_bind", "export")
        ),
    ),
}
STRUCTURES = {
    macho.LC_SYMTAB: macho.SYMTAB_COMMAND,
    macho.LC_DYSYMTAB: macho.DYSYMTAB_COMMAND,
    macho.LC_DYLD_INFO: macho.DYLD_INFO_COMMAND,
    macho.LC_DYLD_INFO_ONLY: macho.DYLD_INFO_COMMAND,
}


def tables(image: Image) -> list[Table]:
    """All non-empty tables, in file order."""
    found = []
    for command in image.file.commands:
        dtype = STRUCTURES.get(command.cmd, macho.LINKEDIT_DATA_COMMAND)
        for name, alignment, offset, count, unit in POINTERS.get(command.cmd, ()):
            fields = command.fields(dtype)
            if fields[count]:
                found.append(Table(name, alignment, fields[offset], fields[count] * unit))
    return sorted(found, key=lambda table: table.offset)


def check(image: Image) -> None:
    """Every rule of this file (range-in-file is reported by whoever reads the range)."""
    report, found = image.report, tables(image)
    _check_commands(image)
    report.require(bool(found), "linkedit-content", "load commands", "there is none")
    index = image.segment_index("__LINKEDIT")
    row = None if index is None else image.file.segments[index]
    start, size = (int(row["fileoff"]), int(row["filesize"])) if row is not None else (0, 0)
    message = "there is none" if row is None else f"file range {start:#x}, {size:#x} bytes"
    if report.require(start > 0 and size > 0, "linkedit-present", "segment __LINKEDIT", message):
        _check_layout(image, found, start, start + size)
        whole = len(image.file.data)
        message = f"ends at {start + size:#x}, the file has {whole:#x} bytes"
        ends = start + size == whole
        report.require(ends, "linkedit-ends-file", "segment __LINKEDIT", message)
    _check_function_starts(image)
    _check_data_in_code(image)


def _check_layout(image: Image, found: list[Table], start: int, end: int) -> None:
    report = image.report
    for table in found:
        place = f"{table.name} at {table.offset:#x}"
        message = f"ends at {table.end:#x}, __LINKEDIT is {start:#x} to {end:#x}"
        inside = start <= table.offset and table.end <= end
        report.require(inside, "linkedit-inside", place, message)
        rule = "signature-alignment" if table.name == "code signature" else "linkedit-alignment"
        aligned = table.offset % table.alignment == 0
        report.require(aligned, rule, place, f"must be a multiple of {table.alignment}")
    for a, b in pairwise(found):
        message = f"ends at {a.end:#x}, the {b.name} starts at {b.offset:#x}"
        report.require(a.end <= b.offset, "linkedit-overlap", a.name, message)


def _check_commands(image: Image) -> None:
    file, report = image.file, image.report
    info = file.of(macho.LC_DYLD_INFO, macho.LC_DYLD_INFO_ONLY)
    chained = file.of(macho.LC_DYLD_CHAINED_FIXUPS)
    both = bool(info) and bool(chained)
    report.require(not both, "fixups-one-form", "load commands", "there are both")
    symbols = file.first(macho.SYMTAB_COMMAND, macho.LC_SYMTAB)
    count = symbols["nsyms"] if symbols else 0
    message = f"{count} entries"
    report.require(count <= MAX_ENTRIES, "symbol-table-size", "LC_SYMTAB", message)
    dynamic = file.first(macho.DYSYMTAB_COMMAND, macho.LC_DYSYMTAB)
    some = bool(info or chained or dynamic)
    report.require(some, "dyld-info-present", "load commands", "there is none of them")
    if dynamic is not None:
        _check_dynamic(image, dynamic, count)
        relocations = dynamic["nlocrel"] + dynamic["nextrel"]
        allowed = not relocations or not (info or chained)
        message = f"{relocations} relocations"
        report.require(allowed, "no-relocations", "LC_DYSYMTAB", message)


def _check_dynamic(image: Image, dynamic: dict[str, int], symbols: int) -> None:
    """Rules of the parts of LC_DYSYMTAB; `symbols` is how many LC_SYMTAB has."""
    report, place, count = image.report, "LC_DYSYMTAB", dynamic["nindirectsyms"]
    report.require(count <= MAX_ENTRIES, "symbol-table-size", place, f"{count} entries")
    parts = [dynamic[name] for name in ("nlocalsym", "nextdefsym", "nundefsym")]
    starts = [dynamic[name] for name in ("ilocalsym", "iextdefsym", "iundefsym")]
    ordered = starts == [0, parts[0], parts[0] + parts[1]]
    message = f"start at {starts}, have {parts} entries"
    report.require(ordered, "dysymtab-order", place, message)
    message = f"covers {starts[2] + parts[2]} of {symbols} symbols"
    report.require(starts[2] + parts[2] == symbols, "dysymtab-count", place, message)


def _text_end(image: Image) -> int:
    """Bytes from the mach header to the end of __TEXT."""
    index = image.segment_index("__TEXT")
    return 0 if index is None else int(image.file.segments["vmsize"][index])


def _linkedit_data(image: Image, cmd: int, name: str) -> bytes | None:
    command = image.file.first(macho.LINKEDIT_DATA_COMMAND, cmd)
    if command is None:
        return None
    at, size = command["dataoff"], command["datasize"]
    raw: bytes | None = image.readable(lambda: image.file.range(at, size, name), name)
    return raw


def _check_function_starts(image: Image) -> None:
    raw = _linkedit_data(image, macho.LC_FUNCTION_STARTS, "function starts")
    if not raw:
        return
    reader, address, end = Reader(raw, "function starts"), 0, _text_end(image)
    place = "LC_FUNCTION_STARTS"
    while reader.at < len(raw):
        at = reader.at
        try:
            step = reader.uleb()
        except FormatError as error:
            image.report.fail("function-starts", place, str(error))
            return
        if step == 0:
            zeros = not raw[reader.at :].strip(b"\0")
            message = "there are bytes behind the end mark"
            image.report.require(zeros, "function-starts", place, message)
            return
        address += step
        if address > end:
            message = f"the entry at {at:#x} is {address:#x}, __TEXT ends at {end:#x}"
            image.report.fail("function-starts", place, message)
            return
    image.report.fail("function-starts", place, "there is no zero at the end")


def _check_data_in_code(image: Image) -> None:
    raw = _linkedit_data(image, macho.LC_DATA_IN_CODE, "data in code")
    if not raw:
        return
    report, place, each = image.report, "LC_DATA_IN_CODE", macho.DATA_IN_CODE_ENTRY
    message = f"{len(raw)} bytes are no whole number of {each.itemsize}-byte entries"
    if not report.require(len(raw) % each.itemsize == 0, "data-in-code", place, message):
        return
    rows, end = np.frombuffer(raw, each), _text_end(image)
    outside = rows["offset"].astype(np.int64) + rows["length"] > end
    wrong = np.flatnonzero(outside | (rows["kind"] == 0) | (rows["kind"] > 5))

    def tell(index: int) -> tuple[str, str]:
        offset, length, kind = rows[index].item()
        return f"{place} entry {index}", f"{offset:#x}, {length} bytes, kind {kind}"

    report.each("data-in-code", wrong.tolist(), tell)
