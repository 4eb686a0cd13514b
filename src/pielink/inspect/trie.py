"""Reads an export trie.

The trie is a tree of nodes over the characters of the exported names. A node is the ULEB128 size
of its terminal information (0: no name ends here), that information, a byte with the number of
children, and for each child the NUL-terminated characters of its edge and the ULEB128 offset of
its node. The information is the flags and then: an address from the mach header; or for a
re-export, a library ordinal and a name (empty: the same); or for a stub with resolver, two
addresses.

Source: <mach-o/loader.h> (EXPORT_SYMBOL_FLAGS_*); dyld mach_o/ExportsTrie.cpp, recurseTrie and
terminalPayloadToSymbol.
"""

from __future__ import annotations

from dataclasses import dataclass

from pielink.formats import macho
from pielink.inspect.columns import StreamError
from pielink.inspect.opcodes import Reader

MAX_NAMES_BYTES = 1 << 28  # of all names together; a deep trie could make it endless


@dataclass(frozen=True, slots=True)
class Export:
    """One exported symbol.

    `address` counts from the mach header (it is the value itself for absolute symbols); `other` is
    the resolver's address or the library ordinal; `import_name` the name in that library. `node`
    is the offset of the trie node.
    """

    name: bytes
    flags: int
    address: int
    other: int
    import_name: bytes
    node: int


def decode(data: bytes) -> list[Export]:
    """The exports in trie order. Raises StreamError if the trie is malformed or has a cycle."""
    found: list[Export] = []
    seen: set[int] = set()
    budget = MAX_NAMES_BYTES
    pending = [(0, b"")] if data else []
    reader = Reader(data, "export")
    while pending:
        node, prefix = pending.pop()
        if node >= len(data):
            raise reader.fail("node", f"a node is outside the trie of {len(data)} bytes", node)
        if node in seen:
            raise reader.fail("cycle", "a node is reached twice", node)
        seen.add(node)
        reader.at = node
        size = reader.uleb()
        children = reader.at + size
        if children >= len(data):
            raise reader.fail("node", "the terminal information runs off the end", node)
        if size:
            found.append(_terminal(data[reader.at : children], prefix, node))
        reader.at = children
        edges = list(_edges(reader, node, prefix))
        budget -= sum(len(name) for _, name in edges)
        if budget < 0:
            raise reader.fail("node", "the names add up to an unreasonable size", node)
        pending += reversed(edges)
    return found


def _edges(reader: Reader, node: int, prefix: bytes) -> list[tuple[int, bytes]]:
    """(child node, name so far) for each child; the cursor stands on the count of children."""
    count = reader.data[reader.at]
    reader.at += 1
    found = []
    for _ in range(count):
        name = prefix + reader.name()
        child = reader.uleb()
        if child == 0:
            raise reader.fail("cycle", "an edge leads back to the root", node)
        found.append((child, name))
    return found


def _terminal(info: bytes, name: bytes, node: int) -> Export:
    reader = Reader(info, "export")
    try:
        flags, address, other, import_name = reader.uleb(), 0, 0, b""
        if flags & macho.EXPORT_SYMBOL_FLAGS_REEXPORT:
            other, import_name = reader.uleb(), reader.name()
        else:
            address = reader.uleb()
            if flags & macho.EXPORT_SYMBOL_FLAGS_STUB_AND_RESOLVER:
                other = reader.uleb()
    except StreamError as error:
        shown = name.decode("utf-8", "backslashreplace")
        message = f"the terminal information of {shown!r} is too short"
        raise StreamError("export", "terminal", message, node) from error
    if reader.at != len(info):
        message = f"the terminal information is {len(info)} bytes, {reader.at} are used"
        raise StreamError("export", "terminal", message, node)
    return Export(name, flags, address, other, import_name, node)
