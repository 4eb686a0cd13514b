"""What says how a program was built: its build ID and its build info.

go:buildid is the first symbol of text; `go build` looks for it near the start of the file.
go:buildinfo is a section of its own, which `go version` reads (see package debug/buildinfo):

     0: "\xff Go buildinf:"   14: pointer size   15: flags; 2: strings follow   32: two strings,

the Go version and the module info, each with a varint length in front; zeros up to a multiple of
16 bytes.

Source: textbuildid, buildinfo in cmd/link/internal/ld/data.go; strconv.Quote.
"""

from __future__ import annotations

from pielink.hints import TYPE_CHECKING
from pielink.rows import NewReloc
from pielink.tables import Kind

if TYPE_CHECKING:
    from pielink.builder import SymbolBuilder

ALIGN = 16
_HEADER = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16)
_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r",
            34: '\\"', 92: "\\\\"}  # fmt: skip


def define_build_id(builder: SymbolBuilder, identity: str) -> int:
    """Make go:buildid and return its row; it must come before all other text."""
    content = (
        b"\xff Go build ID: " + quote(identity).encode("utf-8", "surrogateescape") + b"\n \xff"
    )
    return builder.define("go:buildid", Kind.TEXT, content)


def define_build_info(builder: SymbolBuilder, version: str, modinfo: str) -> int:
    """Make go:buildinfo, and go:buildinfo.ref, which refers to it; return the row of the former.

    `version` and `modinfo` are the values of runtime.buildVersion and runtime.modinfo.
    """
    content = _HEADER + _string(version) + _string(modinfo)
    content += bytes(-len(content) % ALIGN)
    row = builder.define("go:buildinfo", Kind.BUILD_INFO, content, align=ALIGN)
    relocs = [NewReloc(0, row)]
    builder.define("go:buildinfo.ref", Kind.RODATA, bytes(8), align=8, relocs=relocs)
    return row


def _string(text: str) -> bytes:
    octets = text.encode("utf-8", "surrogateescape")
    size, length = len(octets), bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*length, size]) + octets


def quote(text: str) -> str:
    """A Go string literal, as strconv.Quote writes it."""
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(character: str) -> str:
    code = ord(character)
    if escape := _ESCAPES.get(code):
        return escape
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
