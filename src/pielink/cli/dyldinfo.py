"""`pielink dyldinfo FILE`: what a Mach-O file tells dyld."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pielink.arraytypes import U8, NDArray
from pielink.dyld import image
from pielink.dyld.chained_reader import FORMATS as POINTER_FORMATS
from pielink.dyld.columns import Rows
from pielink.dyld.exports import NO_NAME
from pielink.dyld.image import OPCODE_STREAMS, Image
from pielink.errors import FormatError, UsageError
from pielink.formats import macho
from pielink.hints import Any

EPILOG = """\
Without a table to print, a summary is printed (with --json: every table).

examples:
  pielink dyldinfo hello                    what is there, and how large
  pielink dyldinfo --bind --exports hello   symbols taken from libraries, symbols offered
  pielink dyldinfo --opcodes --rebase hello each opcode with its offset
"""

FIXUP_TYPES = {1: "pointer", 2: "text_absolute32", 3: "text_pcrel32"}
LIBRARIES = {
    macho.BIND_SPECIAL_DYLIB_SELF: "this image",
    macho.BIND_SPECIAL_DYLIB_MAIN_EXECUTABLE: "main executable",
    macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP: "flat look-up",
    macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP: "weak look-up",
}
EXPORT_KINDS = {0: "regular", 1: "thread-local", 2: "absolute", 3: "kind 3"}
EXPORT_FLAGS = {
    macho.EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION: "weak definition",
    macho.EXPORT_SYMBOL_FLAGS_REEXPORT: "re-export",
    macho.EXPORT_SYMBOL_FLAGS_STUB_AND_RESOLVER: "resolver",
    macho.EXPORT_SYMBOL_FLAGS_FUNCTION_VARIANT: "function variant",
}
KEYS = ("IA", "IB", "DA", "DB")


@dataclass(frozen=True)
class Table:
    """Columns of equal length, by name; those in `hexadecimal` are shown so."""

    columns: dict[str, list[Any]]
    hexadecimal: tuple[str, ...] = ("address", "target", "offset")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as a dict, for JSON."""
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, values, strict=True))

    def text(self) -> Iterator[str]:
        """A heading and a line for each row, in columns."""
        shown = {name: list(map(self._cell(name), cells)) for name, cells in self.columns.items()}
        widths = [max(map(len, (name, *cells))) for name, cells in shown.items()]
        for cells in (tuple(shown), *zip(*shown.values(), strict=True)):
            padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
            yield "  ".join(padded).rstrip()

    def _cell(self, name: str) -> Callable[[Any], str]:
        def shown(value: Any) -> str:
            if value is None or value is False:
                return ""
            if value is True:
                return name
            return f"{value:#x}" if name in self.hexadecimal else str(value)

        return shown


def _text(names: list[bytes], index: NDArray[Any]) -> list[str]:
    spelled = [name.decode("utf-8", "backslashreplace") for name in names]
    return [spelled[i] for i in index.tolist()]


def _places(file: Image, rows: Rows) -> dict[str, list[Any]]:
    """Segment, section and address of each location; a section of "" is none."""
    address = file.addresses(rows)
    sections = sorted(file.sections, key=lambda section: section.address)
    starts = np.array([section.address for section in sections], np.uint64)
    ends = np.array([section.address + section.size for section in sections], np.uint64)
    found = np.searchsorted(starts, address, "right") - 1
    inside = (found >= 0) & (address < np.append(ends, 0)[found])
    named = np.where(inside, found, len(sections)).tolist()
    section_names = [section.name for section in sections] + [""]
    return {
        "segment": [file.segments[i].name for i in rows["segment"].tolist()],
        "section": [section_names[i] for i in named],
        "address": address.tolist(),
    }


def _types(rows: Rows) -> list[str]:
    return [FIXUP_TYPES[kind] for kind in rows["type"].tolist()]


def _library(file: Image, ordinal: int) -> str:
    if ordinal in LIBRARIES:
        return LIBRARIES[ordinal]
    if 0 < ordinal <= len(file.dylibs):
        return file.dylibs[ordinal - 1][0]
    return f"no library {ordinal}"


def _libraries(file: Image, rows: Rows) -> list[str]:
    return [_library(file, ordinal) for ordinal in rows["ordinal"].tolist()]


def _weak_imports(rows: Rows) -> list[bool]:
    flags: list[bool] = (rows["flags"] & macho.BIND_SYMBOL_FLAGS_WEAK_IMPORT > 0).tolist()
    return flags


def rebase_table(file: Image) -> Table:
    rows = file.rebases
    columns = _places(file, rows) | {"type": _types(rows), "target": file.words(rows).tolist()}
    return Table(columns)


def bind_table(file: Image) -> Table:
    rows, names = file.binds
    return Table(
        _places(file, rows)
        | {
            "type": _types(rows),
            "addend": rows["addend"].tolist(),
            "library": _libraries(file, rows),
            "symbol": _text(names, rows["name"]),
            "weak import": _weak_imports(rows),
        }
    )


def weak_bind_table(file: Image) -> Table:
    """A strong definition has no location."""
    rows, names = file.weak_binds
    located = np.flatnonzero(rows["type"])
    places = {}
    for name, cells in _places(file, rows[located]).items():
        at = dict(zip(located.tolist(), cells, strict=True))
        places[name] = [at.get(row) for row in range(len(rows))]
    strong = rows["flags"] & macho.BIND_SYMBOL_FLAGS_NON_WEAK_DEFINITION > 0
    return Table(
        places
        | {
            "addend": rows["addend"].tolist(),
            "symbol": _text(names, rows["name"]),
            "strong definition": strong.tolist(),
        }
    )


def lazy_bind_table(file: Image) -> Table:
    rows, names, offsets = file.lazy_binds
    return Table(
        _places(file, rows)
        | {
            "offset": offsets.tolist(),
            "library": _libraries(file, rows),
            "symbol": _text(names, rows["name"]),
            "weak import": _weak_imports(rows),
        }
    )


def export_table(file: Image) -> Table:
    rows, names = file.exports
    flags = rows["flags"].tolist()
    reexport = rows["flags"] & macho.EXPORT_SYMBOL_FLAGS_REEXPORT > 0
    kinds = [flag & macho.EXPORT_SYMBOL_FLAGS_KIND_MASK for flag in flags]
    absolute = np.array(kinds, np.int64) == macho.EXPORT_SYMBOL_FLAGS_KIND_ABSOLUTE
    address = rows["address"] + np.where(absolute, 0, file.base).astype(np.uint64)
    details = []
    for flag, other, there in zip(
        flags, rows["other"].tolist(), rows["import_name"].tolist(), strict=True
    ):
        words = [word for bit, word in EXPORT_FLAGS.items() if flag & bit]
        if flag & macho.EXPORT_SYMBOL_FLAGS_REEXPORT:
            words.append(f"from {_library(file, other)}")
        elif flag & macho.EXPORT_SYMBOL_FLAGS_STUB_AND_RESOLVER:
            words.append(f"at {file.base + other:#x}")
        elif flag & macho.EXPORT_SYMBOL_FLAGS_FUNCTION_VARIANT:
            words.append(f"table {other}")
        if there != NO_NAME:
            words.append("as " + names[there].decode("utf-8", "backslashreplace"))
        details.append(", ".join(words))
    return Table(
        {
            "address": [
                None if r else a for r, a in zip(reexport.tolist(), address.tolist(), strict=True)
            ],
            "kind": [EXPORT_KINDS[kind] for kind in kinds],
            "symbol": _text(names, rows["name"]),
            "details": details,
        }
    )


def fixup_table(file: Image) -> Table:
    """All fixups by address, whichever form they have in the file."""
    pieces = list(_fixups(file))
    merged: dict[str, list[Any]] = {
        name: [cell for piece in pieces for cell in piece[name]]
        for name in ("segment", "section", "address", "kind", "target", "details")
    }
    order = sorted(range(len(merged["address"])), key=merged["address"].__getitem__)
    return Table({name: [cells[i] for i in order] for name, cells in merged.items()})


def _fixups(file: Image) -> Iterator[dict[str, list[Any]]]:
    chains = file.chains
    if chains is None:
        weak, weak_names = file.weak_binds
        lazy, lazy_names, _ = file.lazy_binds
        yield _rebase_fixups(file, file.rebases, file.words(file.rebases))
        yield _bind_fixups(file, "bind", *file.binds)
        yield _bind_fixups(file, "weak bind", weak[weak["type"] > 0], weak_names)
        yield _bind_fixups(file, "lazy bind", lazy, lazy_names)
        return
    for piece, auth in (
        (_rebase_fixups(file, chains.rebases, chains.targets), chains.rebase_auth),
        (_bind_fixups(file, "bind", chains.binds, chains.names), chains.bind_auth),
    ):
        for row in np.flatnonzero(auth["auth"]).tolist():
            _, key, by_address, diversity = auth[row].tolist()
            signed = f"key {KEYS[key]}, diversity {diversity:#x}"
            signed += ", address diversity" if by_address else ""
            piece["details"][row] = f"{piece['details'][row]} ({signed})".strip()
        yield piece


def _rebase_fixups(file: Image, rows: Rows, targets: U8) -> dict[str, Any]:
    count = len(rows)
    more = {"kind": ["rebase"] * count, "target": targets.tolist(), "details": [""] * count}
    return _places(file, rows) | more


def _bind_fixups(file: Image, kind: str, rows: Rows, names: list[bytes]) -> dict[str, Any]:
    details = []
    for library, symbol, addend, weak in zip(
        _libraries(file, rows),
        _text(names, rows["name"]),
        rows["addend"].tolist(),
        _weak_imports(rows),
        strict=True,
    ):
        plus = f" {'+' if addend > 0 else '-'} {abs(addend):#x}" if addend else ""
        details.append(f"{symbol}{plus} from {library}{' (weak import)' if weak else ''}")
    more = {"kind": [kind] * len(rows), "target": [None] * len(rows), "details": details}
    return _places(file, rows) | more


# Option -> the stream it shows (for --opcodes), the table.
TABLES: dict[str, tuple[str, Callable[[Image], Table]]] = {
    "rebase": ("rebase", rebase_table),
    "bind": ("bind", bind_table),
    "weak_bind": ("weak_bind", weak_bind_table),
    "lazy_bind": ("lazy_bind", lazy_bind_table),
    "exports": ("export", export_table),
    "fixups": ("chained", fixup_table),
}


def opcode_table(file: Image, stream: str) -> Table:
    listed = file.opcodes(stream)
    return Table({"offset": [o.offset for o in listed], "opcode": [o.text for o in listed]})


def summary(file: Image) -> Iterator[str]:
    """What dyld info the image has: where, how large, how many entries."""
    counts = {
        "rebase": lambda: len(file.rebases),
        "bind": lambda: len(file.binds[0]),
        "weak_bind": lambda: len(file.weak_binds[0]),
        "lazy_bind": lambda: len(file.lazy_binds[0]),
        "export": lambda: len(file.exports[0]),
        "chained": lambda: len(file.chains.rebases) + len(file.chains.binds) if file.chains else 0,
    }
    parts = [(name, file.parts[name]) for name in counts if name in file.parts]
    if not parts:
        yield "no dyld info"
    else:
        entries = [counts[name]() for name, _ in parts]
        columns: dict[str, list[Any]] = {
            "part": [name.replace("_", " ") for name, _ in parts],
            "offset": [part.offset for _, part in parts],
            "bytes": [len(part.data) for _, part in parts],
            "entries": entries,
            "bytes each": [
                f"{len(part.data) / count:.2f}" if count else ""
                for (_, part), count in zip(parts, entries, strict=True)
            ],
        }
        yield from Table(columns).text()
    if file.chains and file.chains.pointer_format:
        chains = file.chains
        name = POINTER_FORMATS[chains.pointer_format].name
        yield f"chains: {name}, {len(chains.rebases)} rebases, {len(chains.binds)} binds"
    for ordinal, (name, kind) in enumerate(file.dylibs, 1):
        yield f"library {ordinal}: {name}{f' ({kind})' if kind else ''}"


def parser() -> argparse.ArgumentParser:
    """The command line of `pielink dyldinfo`."""
    made = argparse.ArgumentParser(
        prog="pielink dyldinfo",
        description="Print what a Mach-O file tells dyld: thin or fat, of any linker.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("file", metavar="FILE")
    made.add_argument("--rebase", action="store_true", help="pointers that slide with the image")
    made.add_argument("--bind", action="store_true", help="pointers to symbols of libraries")
    made.add_argument("--weak-bind", action="store_true", help="pointers to coalesced symbols")
    made.add_argument("--lazy-bind", action="store_true", help="pointers bound at the first call")
    made.add_argument("--exports", action="store_true", help="symbols offered to others")
    made.add_argument(
        "--fixups", action="store_true", help="all of these pointers by address, chained ones too"
    )
    made.add_argument("--opcodes", action="store_true", help="opcodes with their stream offsets")
    made.add_argument("--arch", help="only this image of a fat file: x86_64, arm64, arm64e")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def _selected(file: Image, options: argparse.Namespace) -> Iterator[tuple[str, Table]]:
    """The tables asked for; with --opcodes or --json all there are if none was asked for."""
    chosen = [name for name in TABLES if getattr(options, name)]
    if options.opcodes:
        if wrong := [name for name in chosen if TABLES[name][0] not in OPCODE_STREAMS]:
            raise UsageError(f"--{wrong[0]} is not made of opcodes")
        for name in chosen or OPCODE_STREAMS:
            if name in file.parts:
                yield f"{name} opcodes", opcode_table(file, name)
        return
    for name, (stream, table) in TABLES.items():
        if name in chosen or (not chosen and stream in file.parts):
            yield name, table(file)


def _images(options: argparse.Namespace) -> list[Image]:
    try:
        data = Path(options.file).read_bytes()
    except OSError as error:
        raise FormatError(error.strerror or "cannot be read", options.file) from None
    images = image.read(data, options.file)
    if options.arch is None:
        return images
    if found := [each for each in images if each.arch == options.arch]:
        return found
    raise FormatError(
        f"no image for {options.arch}; it has {', '.join(each.arch for each in images)}",
        options.file,
    )


def main(argv: list[str]) -> int:
    """Run `pielink dyldinfo`."""
    options = parser().parse_args(argv)
    images = _images(options)
    if options.json:
        print(json.dumps([_as_json(file, options) for file in images], indent=1))
        return 0
    for file in images:
        print(f"{file.file} ({file.arch}):")
        asked = options.opcodes or any(getattr(options, name) for name in TABLES)
        if not asked:
            print("\n".join(summary(file)))
            continue
        for name, table in _selected(file, options):
            print(f"\n{name.replace('_', ' ')}:")
            print("\n".join(table.text()))
        if "chained" in file.parts and not options.fixups and not options.exports:
            print("\nthe fixups of this file are chained: --fixups shows them")
    return 0


def _as_json(file: Image, options: argparse.Namespace) -> dict[str, Any]:
    parts = {n: {"offset": p.offset, "size": len(p.data)} for n, p in file.parts.items()}
    tables = {
        name.replace(" ", "_"): list(table.rows()) for name, table in _selected(file, options)
    }
    return {
        "file": file.file,
        "arch": file.arch,
        "libraries": [name for name, _ in file.dylibs],
        "parts": parts,
    } | tables
