"""Differences of the sections: those that one side lacks, their fields, their contents.

Compressed DWARF is compared by what it inflates to. When one file keeps its fixups as opcodes and
the other as chains, the words that hold pointers are first brought to one form: the unslid target
of a rebase, zero for a bind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pielink.formats import macho
from pielink.inspect import dwarf
from pielink.inspect.difference import Difference, show_value
from pielink.inspect.macho import MachOFile


def sections(a: MachOFile, b: MachOFile, ignore: frozenset[str]) -> Iterator[Difference]:
    """Sections, paired by name; `ignore` has section and segment names to leave out."""
    left, right = _section_keys(a, ignore), _section_keys(b, ignore)
    same_form = (a.chained is None) == (b.chained is None)
    read_a, read_b = (_plain(file) if same_form else _resolved(file) for file in (a, b))
    for key, x in left.items():
        if key not in right:
            yield Difference("section", key, "present", "yes", "no")
            continue
        y = right[key]
        for name in macho.SECTION_64.names or ():
            va, vb = a.sections[name][x].item(), b.sections[name][y].item()
            if va != vb:
                yield Difference("section", key, name, show_value(va), show_value(vb))
        if dwarf.is_compressed(a.section_names[x]) or dwarf.is_compressed(b.section_names[y]):
            yield from _inflated(a, x, b, y, key)
        else:
            yield from _contents(a, x, read_a(x), read_b(y), key)
    for key in right:
        if key not in left:
            yield Difference("section", key, "present", "no", "yes")


def _section_keys(file: MachOFile, ignore: frozenset[str]) -> dict[str, int]:
    """Section name (without DWARF's mark of compression) -> index; `#2` and so on if repeated."""
    keys: dict[str, int] = {}
    for index, name in enumerate(file.section_names):
        if ignore.isdisjoint((name, *name.split(",", 1))):
            key, serial = dwarf.plain_name(name), 1
            while key in keys:
                serial += 1
                key = f"{dwarf.plain_name(name)}#{serial}"
            keys[key] = index
    return keys


def _plain(file: MachOFile) -> Callable[[int], bytes]:
    return file.section_bytes


def _resolved(file: MachOFile) -> Callable[[int], bytes]:
    """Contents with rebased words as unslid targets and bound words as zero."""
    rebases, binds = file.rebases, file.binds.rows

    def read(index: int) -> bytes:
        raw = bytearray(file.section_bytes(index))
        if len(raw) < 8:
            return bytes(raw)
        start, array = int(file.sections["addr"][index]), np.frombuffer(raw, "u1")
        zeros = np.zeros(len(binds), np.uint64)
        for address, value in ((rebases["address"], rebases["target"]), (binds["address"], zeros)):
            at = (address - np.uint64(start)).astype(np.int64)
            mine = (at >= 0) & (at <= len(raw) - 8)
            array[at[mine][:, None] + np.arange(8)] = value[mine].copy().view("u1").reshape(-1, 8)
        return array.tobytes()

    return read


def _contents(
    a: MachOFile, index: int, left: bytes, right: bytes, key: str
) -> Iterator[Difference]:
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return
    wrong = np.frombuffer(left, "u1", size) != np.frombuffer(right, "u1", size)
    at = int(np.argmax(wrong))
    address = int(a.sections["addr"][index]) + at
    near = a.nearest_symbol(address)
    context = f"{key}+{at:#x}, address {address:#x}" + (f", {near}" if near else "")
    word = slice(at & ~7, (at & ~7) + 8)
    count = int(np.count_nonzero(wrong))
    yield Difference("section", key, "bytes", left[word].hex(), right[word].hex(), context, count)


def _inflated(a: MachOFile, x: int, b: MachOFile, y: int, key: str) -> Iterator[Difference]:
    first = dwarf.inflate(a.section_bytes(x), a.section_names[x], a.path)
    second = dwarf.inflate(b.section_bytes(y), b.section_names[y], b.path)
    at = 0
    for left, right in dwarf.chunks(first, second):
        if left != right:
            size = min(len(left), len(right))
            wrong = np.frombuffer(left, "u1", size) != np.frombuffer(right, "u1", size)
            inside = int(np.argmax(wrong)) if wrong.any() else size
            word = slice(inside & ~7, (inside & ~7) + 8)
            context = f"{key}+{at + inside:#x} after decompression"
            values = (left[word].hex() or "the end", right[word].hex() or "the end")
            yield Difference("section", key, "bytes", *values, context)
            return
        at += len(left)
