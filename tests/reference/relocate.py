"""Relocation one at a time: the plain twin of pielink.passes.relocate."""

from __future__ import annotations

from pielink.passes.relocate import Inputs
from pielink.tables import UNREACHED, Reloc


def relocate(inputs: Inputs, slide: int = 0) -> bytes:
    """The image, for inputs that have no errors."""
    symbols, relocs, layout = inputs.symbols, inputs.relocs, inputs.layout
    ranges = zip(layout.segments.fileoff, layout.segments.filesize, strict=True)
    image = bytearray(max(int(offset + size) for offset, size in ranges if size))
    for name, start, size in zip(
        layout.sections.name, layout.sections.offset, layout.sections.size, strict=True
    ):
        if name == "__text":
            image[start : start + size] = b"\xcc" * int(size)
    for row in range(1, len(symbols)):
        if (at := file_offset(inputs, row)) is not None:
            count = int(symbols.data_size[row])
            image[at : at + count] = inputs.memory.get(int(symbols.data_offset[row]), count)
    patches = inputs.patches
    for row, offset, value in zip(patches.symbol, patches.offset, patches.value, strict=True):
        start = file_offset(inputs, row)
        assert start is not None
        image[start + offset] = value
    for index in range(len(relocs)):
        apply(inputs, image, index, slide)
    return bytes(image)


def file_offset(inputs: Inputs, row: int) -> int | None:
    """Where in the file a symbol's bytes go, or None."""
    layout = inputs.layout
    ordinal = int(layout.section[row])
    if not ordinal or not layout.sections.offset[ordinal - 1]:
        return None
    in_section = int(layout.address[row]) - int(layout.sections.address[ordinal - 1])
    return in_section + int(layout.sections.offset[ordinal - 1])


def apply(inputs: Inputs, image: bytearray, index: int, slide: int) -> None:
    """One relocation."""
    symbols, relocs, layout = inputs.symbols, inputs.relocs, inputs.layout
    owner, target = int(relocs.owner[index]), int(relocs.target[index])
    kind, size, addend = (int(c[index]) for c in (relocs.type, relocs.size, relocs.addend))
    if size == 0 or not layout.section[owner]:
        return
    place = int(layout.address[owner]) + int(relocs.offset[index]) + slide
    if target == UNREACHED:
        if kind == Reloc.ADDROFF:
            return
        value = -1
        if kind == Reloc.ADDR:
            value = int(layout.address[inputs.unreachable_method]) + addend
    else:
        ordinal = int(layout.section[target])
        address = int(layout.address[target]) + slide if ordinal else 0
        section = int(layout.sections.address[ordinal - 1]) + slide
        value = (
            addend
            + {
                Reloc.ADDR: address,
                Reloc.CALL: address - (place + size),
                Reloc.PCREL: address - (place + size),
                Reloc.GOTPCREL: address - (place + size),
                Reloc.ADDROFF: address - section,
                Reloc.METHODOFF: address - section,
                Reloc.DWARFSECREF: address - section,
                Reloc.SIZE: int(symbols.size[target]),
                Reloc.CONST: 0,
                Reloc.TLS_LE: 0x30,
            }[Reloc(kind)]
        )
    at = file_offset(inputs, owner)
    assert at is not None
    at += int(relocs.offset[index])
    image[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
