"""Dyld info of a file as sets, read by pielink, by LIEF and by llvm-objdump, all in one shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lief
from dyld_inputs import objdump

from pielink.dyld import image

lief.logging.disable()


class Bind(NamedTuple):
    """addend and ordinal are 0 where the form has none (weak and lazy binds)."""

    kind: str
    address: int
    symbol: str
    addend: int
    ordinal: int
    weak_import: bool


class Info(NamedTuple):
    rebases: list[int]
    binds: list[Bind]
    exports: list[tuple[str, int]]  # address, or 0 for a re-export


def by_pielink(path: Path) -> Info:
    (file,) = image.read(path.read_bytes(), str(path))
    chains = file.chains
    if chains is None:
        rebases = file.addresses(file.rebases).tolist()
        lazy, lazy_names, _ = file.lazy_binds
        streams = [("bind", *file.binds), ("weak", *file.weak_binds), ("lazy", lazy, lazy_names)]
    else:
        rebases = file.addresses(chains.rebases).tolist()
        streams = [("bind", chains.binds, chains.names)]
    binds = []
    for kind, rows, names in streams:
        for address, row in zip(file.addresses(rows).tolist(), rows.tolist(), strict=True):
            _, fixup_type, flags, ordinal, name, addend, _ = row
            if fixup_type:
                number = 0 if kind == "weak" else ordinal
                weak = kind != "weak" and bool(flags & 1)
                binds.append(Bind(kind, address, names[name].decode(), addend, number, weak))
    rows, names = file.exports
    exports = [
        (names[name].decode(), 0 if flags & 8 else address + (0 if flags & 3 == 2 else file.base))
        for name, flags, address, _, _ in rows.tolist()
    ]
    return Info(sorted(rebases), sorted(binds), sorted(exports))


def by_lief(path: Path) -> Info:
    binary = lief.MachO.parse(str(path)).at(0)
    kinds = {"STANDARD": "bind", "WEAK": "weak", "LAZY": "lazy"}
    binds = []
    for found in binary.bindings:
        if isinstance(found, lief.MachO.DyldBindingInfo):
            kind = kinds[found.binding_class.name]
            addend, ordinal = found.addend, found.library_ordinal
        else:
            # That of the import and that of the word: dyld adds them up.
            addend = found.addend + found.sign_extended_addend
            kind, ordinal = "bind", found.library_ordinal
        weak = kind != "weak" and found.weak_import
        ordinal = 0 if kind == "weak" else ordinal
        binds.append(Bind(kind, found.address, found.symbol.name, addend, ordinal, weak))
    rebases = {
        relocation.address
        for relocation in binary.relocations
        if relocation.origin != lief.MachO.Relocation.ORIGIN.RELOC_TABLE
    }
    base = binary.imagebase
    source = binary.dyld_info if binary.has_dyld_info else binary.dyld_exports_trie
    exports = [(e.symbol.name, e.address + base) for e in source.exports] if source else []
    return Info(sorted(rebases), sorted(binds), sorted(exports))


def by_objdump(path: Path, libraries: list[str]) -> Info:
    """libraries: install names, to turn objdump's short names into ordinals."""
    short = [re.sub(r"^lib|\.dylib$", "", Path(name).name) for name in libraries]
    ordinals = {f"lib{name}": number for number, name in enumerate(short, 1)}
    ordinals |= {f"lib{name.split('.')[0]}": number for number, name in enumerate(short, 1)}
    ordinals |= {"flat-namespace": -2, "main-executable": -1, "this-image": 0, "weak": -3}
    rebases = [int(row[2], 16) for row in _rows(objdump("--rebase", str(path)))]
    binds = []
    for row in _rows(objdump("--bind", str(path))):
        _, _, address, _, addend, library, symbol, *weak = row
        number = ordinals[library]
        binds.append(Bind("bind", int(address, 16), symbol, int(addend), number, bool(weak)))
    for row in _rows(objdump("--weak-bind", str(path))):
        if row[0] != "strong":
            _, _, address, _, addend, symbol, *_ = row
            binds.append(Bind("weak", int(address, 16), symbol, int(addend), 0, False))
    for row in _rows(objdump("--lazy-bind", str(path))):
        _, _, address, library, symbol, *weak = row
        binds.append(Bind("lazy", int(address, 16), symbol, 0, ordinals[library], bool(weak)))
    exports = [(row[1], int(row[0], 16)) for row in _rows(objdump("--exports-trie", str(path)))]
    return Info(sorted(rebases), sorted(binds), sorted(exports))


def _rows(text: str) -> Iterator[list[str]]:
    """The rows of a table, words split: those with an address."""
    for line in text.splitlines():
        if re.search(r"\b0x[0-9a-fA-F]+\b", line):
            yield line.split()
