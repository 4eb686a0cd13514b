"""-verify: a proof that the rebase table is complete, with no peer to compare to.

The image is made at two bases. A word that holds an absolute address differs between them by the
distance of the bases; nothing else differs. So the words that differ must be exactly those that
dyld is told to rebase.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import distinct
from pielink.errors import Problems
from pielink.passes.dyld_info import file_positions, words
from pielink.passes.fixups import symbol_name
from pielink.passes.relocate import Inputs, applied, relocate
from pielink.tables import I8, U1, Fixups, Layout

# A prime number of pages: no other figure in an image is likely to change by just this much.
SLIDE = 0x3FFD * 0x1000
POINTER_SIZE = 8


def verify(inputs: Inputs, image: U1, fixups: Fixups) -> None:
    """Check `fixups` against `image`, which `relocate` made of `inputs` at slide 0.

    LinkError names symbol and offset of each word that must be rebased and is not, that is to be
    rebased and must not, or that slides by anything but the slide.
    """
    moved = relocate(inputs, SLIDE)
    layout = inputs.layout
    position = file_positions(layout.segments, fixups.rebase_address)
    problems = Problems()
    outside = (position < 0) | (position > len(image) - POINTER_SIZE)
    for address in fixups.rebase_address[outside].tolist():
        note(problems, inputs, _symbol_at(layout, address), address, "is not in the file")
    rebased, position = fixups.rebase_address[~outside], position[~outside]
    still = words(moved, position) - words(image, position) != np.uint64(SLIDE)
    for address in rebased[still].tolist():
        row = _symbol_at(layout, address)
        note(problems, inputs, row, address, "is rebased but does not follow the base address")
    expected = np.zeros(len(image), np.bool_)
    expected[(position[:, None] + np.arange(POINTER_SIZE)).ravel()] = True
    stray = np.flatnonzero((image != moved) & ~expected)
    for row in changed_by(inputs, stray).tolist():
        owner, offset = int(inputs.relocs.owner[row]), int(inputs.relocs.offset[row])
        address = int(layout.address[owner]) + offset
        note(problems, inputs, owner, address, "follows the base address but is not rebased")
    problems.raise_if_any()


def changed_by(inputs: Inputs, position: I8) -> I8:
    """The relocations that wrote the bytes at these file positions."""
    made = applied(inputs)
    order = np.argsort(made.position, kind="stable")
    last = np.searchsorted(made.position[order], position, side="right") - 1
    return distinct(made.rows[order[last]])


def note(problems: Problems, inputs: Inputs, row: int, address: int, reason: str) -> None:
    """Note what is wrong with the word at an address in the symbol in `row`."""
    offset = address - int(inputs.layout.address[row])
    name = symbol_name(inputs.memory, inputs.symbols, row)
    problems.add(f"the word at offset {offset:#x} (address {address:#x}) {reason}", symbol=name)


def _symbol_at(layout: Layout, address: int) -> int:
    """The row of the last symbol that starts at or before an address; 0 if there is none."""
    start = np.where((layout.section > 0) & (layout.address <= address), layout.address, -1)
    row = int(np.argmax(start))
    return row if start[row] >= 0 else 0
