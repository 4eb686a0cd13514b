"""The image: contents of all symbols at their places, with every relocation applied.

What a relocation stores is a row of `amd64.FORMULAS`; this pass evaluates each formula for all
its relocations at once and scatters the results by width. References to code that was not
reached are special, as the runtime expects them: a METHODOFF holds -1, a weak ADDR the unslid
address of runtime.unreachableMethod, a weak ADDROFF keeps what the compiler wrote.

Source: relocsym and writeBlock in cmd/link/internal/ld/data.go of Go 1.26 and 1.27.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pielink.arch import amd64
from pielink.arch.amd64 import Formula
from pielink.arrays import append, isin
from pielink.blocks import copy_ranges, windows
from pielink.errors import Problems
from pielink.formats import macho
from pielink.passes.fixups import Patches, symbol_name, type_name
from pielink.record import record
from pielink.tables import (
    ABI0,
    ABI_INTERNAL,
    I4,
    I8,
    NO_TARGET,
    U1,
    UNREACHED,
    Bool,
    Kind,
    Layout,
    Memory,
    Objects,
    Reloc,
    Relocs,
    Symbols,
)
from pielink.together import together

Lookup = Callable[[Sequence[tuple[bytes, int]]], I4]  # (name, version) -> slots; 0: not defined

ABI_NAMES = {ABI0: "ABI0", ABI_INTERNAL: "ABIInternal"}
FORMULAS = amd64.formula_table()


@record
class Inputs:
    """What the pass reads; one record, so that the image can be made at several bases."""

    memory: Memory
    objects: Objects
    symbols: Symbols
    relocs: Relocs
    patches: Patches
    layout: Layout
    unreachable_method: int  # row of runtime.unreachableMethod; 0 if the program has none
    lookup: Lookup


def relocate(inputs: Inputs, slide: int = 0) -> U1:
    """The file's bytes from its start to the end of the last segment that holds symbols.

    The header's room is left zero, gaps between functions hold CODE_PADDING, all others zeros.
    `slide` bytes are added to every address. LinkError lists undefined targets, values that do
    not fit, and relocations that leave their symbol or have an unknown type.
    """

    def stored() -> tuple[I8, U1, I8]:
        rows, offset, size = applied(inputs)
        value = _values(inputs, rows, slide)
        _check_range(inputs, rows, value)
        return offset, size, value

    (offset, size, value), image = together(stored, lambda: _contents(inputs))
    for width in (8, 4, 2, 1):
        chosen = size == width
        _store(image, offset[chosen], value[chosen], width)
    return image


def file_offset(layout: Layout, rows: I4) -> I8:
    """Position in the file of symbols that are in the image and not zero-fill."""
    section = layout.section[rows].astype(np.int64) - 1
    return layout.address[rows] - (layout.sections.address - layout.sections.offset)[section]


def _contents(inputs: Inputs) -> U1:
    """The image before relocation."""
    symbols, layout = inputs.symbols, inputs.layout
    segments, sections = layout.segments, layout.sections
    ends = segments.fileoff + segments.filesize
    image = np.zeros(int(ends[segments.filesize > 0].max(initial=0)), np.uint8)
    for code in np.flatnonzero(sections.flags & macho.S_ATTR_PURE_INSTRUCTIONS).tolist():
        if sections.flags[code] & macho.SECTION_TYPE == macho.S_REGULAR:
            start = int(sections.offset[code])
            image[start : start + int(sections.size[code])] = amd64.CODE_PADDING
    rows = np.flatnonzero((layout.section > 0) & (symbols.data_size > 0)).astype(np.int32)
    rows = rows[sections.offset[layout.section[rows] - 1] > 0]
    copy_ranges(
        image,
        file_offset(layout, rows),
        inputs.memory.bytes,
        symbols.data_offset[rows],
        symbols.data_size[rows],
    )
    patches = inputs.patches
    image[file_offset(layout, patches.symbol) + patches.offset] = patches.value
    return image


def applied(inputs: Inputs) -> tuple[I4, I8, U1]:
    """The relocations to apply: rows in Relocs, positions in the file, widths in bytes.

    Left out are markers, and relocations of symbols that are not in the image.
    """
    symbols, relocs, layout = inputs.symbols, inputs.relocs, inputs.layout
    kept = (layout.section > 0)[relocs.owner] & (relocs.size > 0)
    kept &= ~((relocs.target == UNREACHED) & (relocs.type == Reloc.ADDROFF))
    rows = np.flatnonzero(kept).astype(np.int32)
    owner, start, size = relocs.owner[rows], relocs.offset[rows], relocs.size[rows]
    problems = Problems()
    _check_undefined(inputs, rows, problems)
    end = start.astype(np.int64) + size
    for i in np.flatnonzero((start < 0) | (end > symbols.data_size[owner])).tolist():
        _report(inputs, problems, int(rows[i]), "it reaches outside its symbol")
    known = FORMULAS[np.minimum(relocs.type[rows], len(FORMULAS) - 1)] != Formula.NONE
    known &= (relocs.type[rows] < Reloc.DELTA) | (symbols.slot[owner] == 0)  # not from Go objects
    for i in np.flatnonzero(~known).tolist():
        _report(inputs, problems, int(rows[i]), "internal linking knows no relocation of this type")
    for i in np.flatnonzero(~isin(size, (1, 2, 4, 8))).tolist():
        _report(inputs, problems, int(rows[i]), f"{size[i]} is not a width that can be relocated")
    problems.raise_if_any()
    base = np.zeros(len(symbols), np.int64)
    present = np.flatnonzero(layout.section > 0).astype(np.int32)
    base[present] = file_offset(layout, present)
    return rows, base[owner] + start, size


def _values(inputs: Inputs, rows: I4, slide: int) -> I8:
    """What each relocation stores, before it is cut to its width."""
    symbols, relocs, layout = inputs.symbols, inputs.relocs, inputs.layout
    target, addend = relocs.target[rows], relocs.addend[rows]
    formula = FORMULAS[relocs.type[rows]]
    unreached = np.flatnonzero(target == UNREACHED)
    target[unreached] = inputs.unreachable_method
    address = layout.address + slide * (layout.section > 0) if slide else layout.address

    value = addend + address.take(target)
    at = np.flatnonzero(formula == Formula.PC_RELATIVE)
    place = address.take(relocs.owner[rows[at]]) + relocs.offset[rows[at]]
    value[at] -= place + relocs.size[rows[at]]
    at = np.flatnonzero(formula == Formula.SECTION_OFFSET)
    value[at] -= append(0, layout.sections.address + slide)[layout.section[target[at]]]
    at = np.flatnonzero(formula == Formula.TARGET_SIZE)
    value[at] = addend[at] + symbols.size[target[at]]
    at = np.flatnonzero(formula == Formula.CONSTANT)
    value[at] = addend[at]
    at = np.flatnonzero(formula == Formula.TLS)
    value[at] = addend[at] + amd64.TLS_OFFSET
    at = np.flatnonzero(formula == Formula.DIFFERENCE)
    value[at] -= address.take(relocs.target[rows[at] + 1])
    at = np.flatnonzero(formula == Formula.TLV_OFFSET)
    value[at] -= _tlv_template(layout) + slide
    # dyld is not told of these, so they do not slide: nobody calls what was not reached.
    value[unreached] -= slide
    value[unreached[relocs.type[rows[unreached]] == Reloc.METHODOFF]] = -1
    return value


def _tlv_template(layout: Layout) -> int:
    """The address at which the initial values of thread-locals begin."""
    kinds = layout.sections.flags & macho.SECTION_TYPE
    template = isin(kinds, (macho.S_THREAD_LOCAL_REGULAR, macho.S_THREAD_LOCAL_ZEROFILL))
    return int(layout.sections.address[template].min(initial=1 << 62))


def _store(image: U1, offset: I8, value: I8, width: int) -> None:
    """Write the low `width` bytes of each value at its offset."""
    whole = image[: len(image) // width * width].view(f"<i{width}")
    aligned = offset % width == 0
    if aligned.all():
        whole[offset // width] = value.astype(f"<i{width}")
        return
    block = f"V{width}"
    windows(image, block)[offset] = value.astype(f"<i{width}").view(block)


def _check_range(inputs: Inputs, rows: I4, value: I8) -> None:
    """LinkError for each value that its width cannot hold."""
    relocs = inputs.relocs
    wrong = _missing_section(inputs, rows)
    for width in (2, 4):
        half = 1 << (8 * width - 1)
        wide = (relocs.size[rows] == width) & ((value < -half) | (value >= half))
        at = np.flatnonzero(wide)
        # Distances and addresses are sign-extended by the CPU; other values may use all the bits.
        signed = isin(relocs.type[rows[at]], (Reloc.CALL, Reloc.PCREL, Reloc.ADDR))
        wrong[at[signed | (value[at] < 0) | (value[at] >= 2 * half)]] = True
    problems = Problems()
    for i in np.flatnonzero(wrong).tolist():
        message = _misfit(inputs, int(rows[i]), int(value[i]))
        problems.add(message, symbol=_owner_name(inputs, int(rows[i])))
    problems.raise_if_any()


def _misfit(inputs: Inputs, row: int, value: int) -> str:
    """Why the relocation in `row` cannot store its value."""
    relocs = inputs.relocs
    target, kind = int(relocs.target[row]), int(relocs.type[row])
    name = symbol_name(inputs.memory, inputs.symbols, target)
    if FORMULAS[kind] == Formula.SECTION_OFFSET and inputs.layout.section[target] == 0:
        return f"{type_name(kind)}: {name} is in no section, so there is no offset to it"
    relative = "pc-relative" if FORMULAS[kind] == Formula.PC_RELATIVE else "non-pc-relative"
    return f"{relative} relocation address for {name} is too big: {value:#x}"


def _missing_section(inputs: Inputs, rows: I4) -> Bool:
    """Which relocations want an offset into a section for a symbol that has none."""
    relocs = inputs.relocs
    target = relocs.target[rows]
    offsets = FORMULAS[relocs.type[rows]] == Formula.SECTION_OFFSET
    nowhere: Bool = offsets & (target != UNREACHED) & (inputs.layout.section[target] == 0)
    return nowhere


def _check_undefined(inputs: Inputs, rows: I4, problems: Problems) -> None:
    """Report each pair of a symbol and an undefined symbol that it refers to, once."""
    symbols, relocs = inputs.symbols, inputs.relocs
    missing = (symbols.kind == Kind.UNDEFINED) | (symbols.kind == Kind.HOST_OBJECT)
    missing[NO_TARGET] = False
    bad = rows[missing[relocs.target[rows]] & (relocs.target[rows] > NO_TARGET)]
    for row in bad.tolist():
        target = int(relocs.target[row])
        problems.add(undefined_message(inputs, target), symbol=_owner_name(inputs, row))


def undefined_message(inputs: Inputs, target: int) -> str:
    """Why there is no such symbol, as users of Go's linker know it."""
    memory, symbols = inputs.memory, inputs.symbols
    name = memory.get(int(symbols.name_offset[target]), int(symbols.name_size[target]))
    shown, version = symbol_name(memory, symbols, target), int(symbols.version[target])
    if name == b"main.main":
        return "function main is undeclared in the main package"
    others = [v for v in ABI_NAMES if v != version]
    defined = inputs.lookup([(name, v) for v in others])
    for other, slot in zip(others, defined.tolist(), strict=True):
        if slot and version in ABI_NAMES:
            return (
                f"relocation target {shown} not defined for {ABI_NAMES[version]}"
                f" (but is defined for {ABI_NAMES[other]})"
            )
    return f"relocation target {shown} not defined"


def _owner_name(inputs: Inputs, row: int) -> str:
    return symbol_name(inputs.memory, inputs.symbols, int(inputs.relocs.owner[row]))


def _report(inputs: Inputs, problems: Problems, row: int, reason: str) -> None:
    """Note a malformed relocation, with the object that holds it."""
    relocs = inputs.relocs
    owner = int(relocs.owner[row])
    problems.add(
        f"{type_name(int(relocs.type[row]))} relocation at offset {int(relocs.offset[row]):#x}"
        f" to {symbol_name(inputs.memory, inputs.symbols, int(relocs.target[row]))}: {reason}",
        file=inputs.objects.file[int(inputs.symbols.object[owner])],
        symbol=_owner_name(inputs, row),
    )
