"""The export trie: which symbols an image offers, and where.

A node is a ULEB128 size of its terminal information (0: no symbol ends here), that information,
a count of children, and for each child a NUL-terminated edge label and the ULEB128 offset of the
child from the start of the trie. A symbol's name is the labels on the way to its node.

Source: <mach-o/loader.h> (EXPORT_SYMBOL_FLAGS_*), dyld's mach_o/ExportsTrie.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pielink.emulator.machofile import Image
from pielink.formats import macho


@dataclass(frozen=True, slots=True)
class Export:
    """`value` is an offset from the header, an absolute value, or (re-export) a library ordinal.

    `other` is the name in that library for a re-export ("" when the same), else "".
    """

    name: str
    flags: int
    value: int
    other: str = ""

    @property
    def absolute(self) -> bool:
        """Whether `value` does not move with the image."""
        kind = self.flags & macho.EXPORT_SYMBOL_FLAGS_KIND_MASK
        return kind == macho.EXPORT_SYMBOL_FLAGS_KIND_ABSOLUTE

    @property
    def reexport(self) -> bool:
        """Whether the symbol lives in another library."""
        return bool(self.flags & macho.EXPORT_SYMBOL_FLAGS_REEXPORT)

    @property
    def weak(self) -> bool:
        """Whether all images coalesce this definition."""
        return bool(self.flags & macho.EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION)


class ExportTrie:
    """Look-up in, and listing of, one image's trie."""

    def __init__(self, image: Image) -> None:
        self.image, self.data = image, image.bytes_of(image.exports)

    def _error(self, message: str, at: int) -> Exception:
        return self.image.error(f"export trie: {message}", self.image.exports.offset + at)

    def _uleb(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while at < len(self.data) and shift <= 63:
            byte = self.data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
        raise self._error("bad ULEB128", min(at, len(self.data)))

    def _string(self, at: int) -> tuple[bytes, int]:
        nul = self.data.find(b"\0", at)
        if nul < 0:
            raise self._error("string has no end", at)
        return self.data[at:nul], nul + 1

    def _node(self, at: int) -> tuple[int, int, list[tuple[bytes, int]]]:
        """Where the terminal information begins, its size, and the children."""
        size, info = self._uleb(at)
        if info + size >= len(self.data):
            raise self._error("node past the end", at)
        position = info + size + 1
        children = []
        for _ in range(self.data[info + size]):
            label, position = self._string(position)
            child, position = self._uleb(position)
            if child >= len(self.data) or not label:
                raise self._error("bad edge", at)
            children.append((label, child))
        return info, size, children

    def _export(self, name: bytes, at: int) -> Export:
        """The terminal information at `at`."""
        flags, at = self._uleb(at)
        value, at = self._uleb(at)
        other = b""
        if flags & macho.EXPORT_SYMBOL_FLAGS_REEXPORT:
            other, at = self._string(at)
        return Export(
            name.decode("utf-8", "surrogateescape"),
            flags,
            value,
            other.decode("utf-8", "surrogateescape"),
        )

    def find(self, name: str) -> Export | None:
        """The export called `name` (with its leading underscore)."""
        if not self.data:
            return None
        rest, at = name.encode("utf-8", "surrogateescape"), 0
        whole = rest
        while True:
            info, size, children = self._node(at)
            if not rest:
                return self._export(whole, info) if size else None
            for label, child in children:
                if rest.startswith(label):
                    rest, at = rest[len(label) :], child
                    break
            else:
                return None

    def __iter__(self) -> Iterator[Export]:
        """All exports; a node that is reached twice is an error (the trie is a tree)."""
        if not self.data:
            return
        pending, seen = [(0, b"")], set()
        while pending:
            at, name = pending.pop()
            if at in seen:
                raise self._error("a node is reached twice", at)
            seen.add(at)
            info, size, children = self._node(at)
            if size:
                yield self._export(name, info)
            pending.extend((child, name + label) for label, child in reversed(children))
