"""Import paths inside symbol names."""

from __future__ import annotations

_PLAIN = frozenset(map(chr, range(0x21, 0x7F))) - frozenset('%"')


def path_to_prefix(path: str) -> str:
    """An import path as symbol names spell it: control, space, '%', '"', non-ASCII bytes and the
    dots of the last element are written %xx (cmd/internal/objabi/path.go).
    """
    head, slash, tail = path.rpartition("/")

    def escape(part: str, dots: bool) -> str:
        if _PLAIN.issuperset(part) and not (dots and "." in part):
            return part
        return "".join(
            f"%{byte:02x}"
            if byte <= 0x20 or byte >= 0x7F or byte in b'%"' or (dots and byte == 0x2E)
            else chr(byte)
            for byte in part.encode("utf-8", "surrogateescape")
        )

    return escape(head, False) + slash + escape(tail, True)
