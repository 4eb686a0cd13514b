"""The export trie: the names that an image offers to others, each with its address.

A trie of prefixes: names with a common beginning share the nodes of it. A node is

    uleb size of the export   0: no name ends here
    the export                flags (uleb), then
                              re-export:  library ordinal (uleb), name there (string; "": the same)
                              otherwise:  address (uleb), and with a resolver or function variant
                                          the resolver's address or the table index (uleb)
    u1 number of children
    per child                 the bytes that lead to it (string), offset of its node (uleb)

Strings end with NUL; offsets count from the start of the trie; the root is at offset 0. Addresses
count from the mach header, or are absolute if the kind says so. The payload is that of the export
part of LC_DYLD_INFO or of LC_DYLD_EXPORTS_TRIE.

Source: <mach-o/loader.h>; dyld's mach_o/ExportsTrie.cpp, `recurseTrie`, `terminalPayloadToSymbol`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import without
from pielink.arraytypes import I8
from pielink.dyld import leb128, trie_reader, trie_writer
from pielink.dyld.columns import Rows
from pielink.dyld.errors import DyldInfoError
from pielink.dyld.strings import join, split
from pielink.dyld.writer import Opcodes
from pielink.formats import macho

# One exported name. name, import_name: indices into a list of names, import_name NO_NAME unless
# the row is a re-export under another name. flags: EXPORT_SYMBOL_FLAGS_*. address: bytes from the
# mach header, or absolute; 0 for a re-export. other: library ordinal of a re-export, address of a
# resolver, index of a function variant table, else 0.
EXPORT = np.dtype(
    [
        ("name", "<u4"),
        ("flags", "u1"),
        ("address", "<u8"),
        ("other", "<u8"),
        ("import_name", "<u4"),
    ]
)
NO_NAME = 0xFFFFFFFF
MAX_FLAGS = 0x3F  # dyld refuses flags above
_REEXPORT = macho.EXPORT_SYMBOL_FLAGS_REEXPORT
_TWO_NUMBERS = (
    macho.EXPORT_SYMBOL_FLAGS_STUB_AND_RESOLVER | macho.EXPORT_SYMBOL_FLAGS_FUNCTION_VARIANT
)


def encode(rows: Rows, names: Sequence[bytes]) -> bytes:
    """Encode the rows.

    rows: (n,) EXPORT in any order; a row given twice counts once. names: what `name` and
    `import_name` index; they must not hold a NUL. The trie is not padded; no rows give no bytes.
    Raises DyldInfoError if two different rows have one name, or for a row that cannot be encoded.
    """
    if not len(rows):
        return b""
    _check(rows, len(names))
    spelled = list(map(names.__getitem__, rows["name"].tolist()))
    order = sorted(range(len(spelled)), key=spelled.__getitem__)
    spelled = list(map(spelled.__getitem__, order))
    ordered = trie_writer.Names.of(spelled)
    rows = rows[order]
    again = np.flatnonzero(ordered.repeated())
    if len(again):
        differ = np.flatnonzero(rows[again] != rows[again - 1])
        if len(differ):
            raise DyldInfoError(f"{spelled[again[differ[0]]]!r} is to be exported twice")
        ordered, rows = ordered.without(again), without(rows, again)
    return trie_writer.write(ordered, _payload(rows, names))


def _check(rows: Rows, names: int) -> None:
    reexport = rows["flags"] & _REEXPORT > 0
    renamed = rows["import_name"] != NO_NAME
    for bad, what in (
        (rows["name"] >= names, f"there are {names} names"),
        (renamed & (rows["import_name"] >= names), f"there are {names} names"),
        (renamed & ~reexport, "only a re-export has an import name"),
        (reexport & (rows["address"] != 0), "a re-export has no address"),
        (~(reexport | (rows["flags"] & _TWO_NUMBERS > 0)) & (rows["other"] != 0), "unused other"),
        (rows["flags"] > MAX_FLAGS, f"flags above {MAX_FLAGS:#x}"),
    ):
        if bad.any():
            raise DyldInfoError(f"row {np.flatnonzero(bad)[0]} cannot be encoded: {what}")


def _payload(rows: Rows, names: Sequence[bytes]) -> Opcodes:
    """What the trie says of each row: flags, one or two numbers, a re-export's name there."""
    reexport = rows["flags"] & _REEXPORT > 0
    number = np.where(reexport, rows["other"], rows["address"])
    two = ~reexport & (rows["flags"] & _TWO_NUMBERS > 0)
    other = rows["other"].astype(np.uint64)
    imports = rows["import_name"][reexport]
    joined, text_sizes = join([b"" if i == NO_NAME else names[i] for i in imports.tolist()])
    text = np.zeros(len(rows), np.int64)
    text[reexport] = text_sizes
    sizes = np.where(two, leb128.uleb_sizes(other), 0)
    return Opcodes(rows["flags"], number, leb128.uleb_sizes(number), other, sizes, joined, text)


def decode(data: bytes) -> tuple[Rows, list[bytes]]:
    """Decode a trie: ((n,) EXPORT in ascending order of names as bytes, names).

    names holds the exported names in that order, then those that re-exports have elsewhere. Bytes
    that no node covers are padding.
    Raises DyldInfoError with the offset in the trie of the number, string or node at fault.
    """
    if not data:
        return np.empty(0, EXPORT), []
    trie = trie_reader.Bytes(data)
    nodes = trie_reader.read(trie)
    ends = np.flatnonzero(nodes.export_size)
    names = trie_reader.spell(trie, nodes, ends)
    order = sorted(range(len(names)), key=names.__getitem__)
    names = list(map(names.__getitem__, order))
    if len(set(names)) < len(names):
        raise DyldInfoError("a name is exported twice", offset=0)
    rows, imports = _exports(trie, nodes.export_at[ends[order]], nodes.export_size[ends[order]])
    rows["name"] = np.arange(len(rows))
    renamed = np.flatnonzero(rows["import_name"] != NO_NAME)
    rows["import_name"][renamed] = len(names) + np.arange(len(renamed))
    return rows, [*names, *imports]


def _exports(trie: trie_reader.Bytes, at: I8, size: I8) -> tuple[Rows, list[bytes]]:
    """The exports at these offsets, and the names that re-exports have elsewhere if not the same.

    `name` is left 0; `import_name` is 0 where there is such a name.
    """
    rows = np.zeros(len(at), EXPORT)
    rows["import_name"] = NO_NAME
    stop = at + size
    flags, behind = trie.numbers(at)
    trie.refuse(flags > MAX_FLAGS, at, "unknown export flags")
    number, behind = trie.numbers(np.minimum(behind, stop))
    reexport = flags & np.uint64(_REEXPORT) > 0
    two = np.flatnonzero(~reexport & (flags & np.uint64(_TWO_NUMBERS) > 0))
    rows["flags"] = flags
    rows["address"], rows["other"] = np.where(reexport, 0, number), np.where(reexport, number, 0)
    rows["other"][two], behind[two] = trie.numbers(behind[two])
    elsewhere = np.flatnonzero(reexport)
    name_at = behind[elsewhere]
    nul = trie.strings(name_at)
    behind[elsewhere] = nul + 1
    trie.refuse(behind != stop, at, "an export is not as long as it says")
    renamed = nul > name_at
    rows["import_name"][elsewhere[renamed]] = 0
    return rows, split(trie.raw, name_at[renamed], (nul + 1 - name_at)[renamed])
