"""Rules of the export trie."""

from __future__ import annotations

from pielink.check.rule import Image, Rule
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect.columns import StreamError
from pielink.inspect.macho import text
from pielink.inspect.trie import Export

TRIE = "dyld mach_o/ExportsTrie.cpp"
KNOWN_FLAGS = 0x3F
KIND = macho.EXPORT_SYMBOL_FLAGS_KIND_MASK  # 3, all bits set, is no kind

RULES = (
    Rule(
        "export-uleb",
        "every ULEB128 number of the trie ends inside it",
        "encode the trie again",
        f"{TRIE} recurseTrie",
    ),
    Rule(
        "export-name",
        "the characters of every edge end inside the trie, and no exported name is empty",
        "encode the trie again",
        f"{TRIE} recurseTrie",
    ),
    Rule(
        "export-node",
        "every node and its terminal information lie inside the trie",
        "encode the trie again: a child's offset or a terminal size is wrong",
        f"{TRIE} recurseTrie",
    ),
    Rule(
        "export-cycle",
        "no node is reached twice",
        "encode the trie again: a child's offset leads back",
        f"{TRIE} hasEntry (visitedNodeOffsets)",
    ),
    Rule(
        "export-terminal",
        "the terminal information is complete",
        "encode the trie again",
        f"{TRIE} terminalPayloadToSymbol",
    ),
    Rule(
        "export-flags",
        "the flags of an export are known, and so is its kind",
        "use the EXPORT_SYMBOL_FLAGS of loader.h",
        f"{TRIE} terminalPayloadToSymbol",
    ),
    Rule(
        "export-address",
        "an export's address lies in the image, before __LINKEDIT ends it",
        "write the distance of the symbol from the mach header",
        f"{TRIE} valid",
    ),
    Rule(
        "export-ordinal",
        "a re-export names a linked library by its ordinal",
        "write the ordinal of the library",
        "dyld dyld/Loader.cpp hasExportedSymbol (re-export ordinal)",
    ),
)


def check(image: Image) -> None:
    """Every rule of this file."""
    report = image.report
    if image.readable(lambda: image.file.export_stream, "export trie") is None:
        return
    try:
        exports = image.file.exports
    except StreamError as error:
        report.fail(f"export-{error.kind}", f"export trie at {error.offset:#x}", error.message)
        return
    except FormatError as error:
        report.fail("range-in-file", "export trie", error.message)
        return
    _check_each(image, exports)


def _last_offset(image: Image) -> int:
    """The largest distance from the mach header that an export may have."""
    ends = (
        int(row["vmaddr"]) + int(row["vmsize"]) - image.file.base
        for row, name in zip(image.file.segments, image.segment_names, strict=True)
        if name != "__LINKEDIT"
    )
    return max([0x4000, *ends])


def _tell(export: Export) -> tuple[str, str]:
    other = f", other {export.other:#x}" if export.other else ""
    place = f"export {text(export.name)!r}"
    return place, f"flags {export.flags:#x}, address {export.address:#x}{other}"


def _check_each(image: Image, exports: list[Export]) -> None:
    report, most, libraries = image.report, _last_offset(image), len(image.file.libraries)
    re_exports = [e for e in exports if e.flags & macho.EXPORT_SYMBOL_FLAGS_REEXPORT]
    relative = [
        e
        for e in exports
        if not e.flags & macho.EXPORT_SYMBOL_FLAGS_REEXPORT
        and e.flags & KIND != macho.EXPORT_SYMBOL_FLAGS_KIND_ABSOLUTE
    ]
    report.each("export-name", [e for e in exports if not e.name], _tell)
    strange = [e for e in exports if e.flags & ~KNOWN_FLAGS or e.flags & KIND == KIND]
    report.each("export-flags", strange, _tell)
    report.each("export-address", [e for e in relative if e.address > most], _tell)
    nowhere = [e for e in re_exports if not 0 < e.other <= libraries]
    report.each("export-ordinal", nowhere, _tell)
