"""Plain-Python twin of the export trie codec: a trie of dictionaries, laid out depth first as
other linkers do, and a reader that recurses."""

from __future__ import annotations

from reference.dyld_opcodes import read_uleb, uleb

REEXPORT, TWO_NUMBERS = 0x08, 0x30

# (name, flags, address, other, import name)
Export = tuple[bytes, int, int, int, bytes]


class Node:
    def __init__(self) -> None:
        self.export = b""
        self.children: list[tuple[bytes, Node]] = []
        self.offset = 0

    def all(self) -> list[Node]:
        return [self, *(node for _, child in self.children for node in child.all())]

    def encoded(self) -> bytes:
        out = uleb(len(self.export)) + self.export + bytes([len(self.children)])
        return out + b"".join(edge + b"\0" + uleb(child.offset) for edge, child in self.children)


def payload(export: Export) -> bytes:
    _, flags, address, other, there = export
    if flags & REEXPORT:
        return uleb(flags) + uleb(other) + there + b"\0"
    return uleb(flags) + uleb(address) + (uleb(other) if flags & TWO_NUMBERS else b"")


def build(exports: list[Export]) -> Node:
    """The trie of exports whose names are sorted and distinct."""

    def below(rows: list[Export], depth: int) -> Node:
        node = Node()
        if rows and len(rows[0][0]) == depth:
            node.export, rows = payload(rows[0]), rows[1:]
        while rows:
            same = [row for row in rows if row[0][depth] == rows[0][0][depth]]
            end = depth + 1
            while all(len(row[0]) > end and row[0][end] == same[0][0][end] for row in same):
                end += 1
            node.children.append((same[0][0][depth:end], below(same, end)))
            rows = rows[len(same) :]
        return node

    return below(exports, 0)


def encode_depth_first(exports: list[Export]) -> bytes:
    nodes = build(sorted(exports)).all()
    while True:
        at = 0
        moved = False
        for node in nodes:
            moved |= node.offset != at
            node.offset = at
            at += len(node.encoded())
        if not moved:
            return b"".join(node.encoded() for node in nodes)


def decode(data: bytes) -> list[Export]:
    rows: list[Export] = []

    def read(at: int, name: bytes) -> None:
        size, at = read_uleb(data, at)
        if size:
            flags, here = read_uleb(data, at)
            number, here = read_uleb(data, here)
            if flags & REEXPORT:
                end = data.index(b"\0", here)
                rows.append((name, flags, 0, number, data[here:end]))
            else:
                other = read_uleb(data, here)[0] if flags & TWO_NUMBERS else 0
                rows.append((name, flags, number, other, b""))
        at += size
        count, at = data[at], at + 1
        for _ in range(count):
            end = data.index(b"\0", at)
            edge = data[at:end]
            child, at = read_uleb(data, end + 1)
            read(child, name + edge)

    if data:
        read(0, b"")
    return sorted(rows)
