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
from pielink.record import Record
from pielink.rows import take
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
_WIDTHS = isin(np.arange(256), (1, 2, 4, 8))  # bytes that a relocation may store


class Inputs(Record):
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

    def stored() -> tuple[Applied, I8]:
        made = applied(inputs)
        value = _values(inputs, made, slide)
        _check_range(inputs, made, value)
        return made, value

    (made, value), image = together(stored, lambda: _contents(inputs))
    for width in (8, 4, 2, 1):
        chosen = np.flatnonzero(made.relocs.size == width)
        _store(image, made.position.take(chosen), value.take(chosen), width)
    return image


def file_offset(layout: Layout, rows: I4) -> I8:
    """Position in the file of symbols that are in the image and not zero-fill."""
    distance = append(0, layout.sections.address - layout.sections.offset)
    position: I8 = layout.address.take(rows) - distance.take(layout.section.take(rows))
    return position


def _contents(inputs: Inputs) -> U1:
    """The image before relocation."""
    symbols, layout = inputs.symbols, inputs.layout
    segments, sections = layout.segments, layout.sections
    ends = segments.fileoff + segments.filesize
    image = np.empty(int(ends[segments.filesize > 0].max(initial=0)), np.uint8)
    image.fill(0)
    for code in np.flatnonzero(sections.flags & macho.S_ATTR_PURE_INSTRUCTIONS).tolist():
        if sections.flags[code] & macho.SECTION_TYPE == macho.S_REGULAR:
            start = int(sections.offset[code])
            image[start : start + int(sections.size[code])] = amd64.CODE_PADDING
    rows = np.flatnonzero((layout.section > 0) & (symbols.data_size > 0)).astype(np.int32)
    in_file = append(False, sections.offset > 0).take(layout.section.take(rows))
    rows = rows.compress(in_file)
    copy_ranges(
        image,
        file_offset(layout, rows),
        inputs.memory.bytes,
        symbols.data_offset.take(rows),
        symbols.data_size.take(rows),
    )
    patches = inputs.patches
    image[file_offset(layout, patches.symbol) + patches.offset] = patches.value
    return image


class Applied(Record):
    """Relocations to apply. Columns (n,)."""

    rows: I8  # rows in Inputs.relocs
    relocs: Relocs  # those rows
    formula: U1
    position: I8  # in the file


def applied(inputs: Inputs) -> Applied:
    """The relocations to apply: markers, and those of symbols outside the image, are left out.

    LinkError lists what no relocation may be: see `relocate`.
    """
    symbols, relocs, layout = inputs.symbols, inputs.relocs, inputs.layout
    present = layout.section > 0
    kept = present.take(relocs.owner) & (relocs.size > 0)
    kept &= ~((relocs.target == UNREACHED) & (relocs.type == Reloc.ADDROFF))
    rows = np.flatnonzero(kept)
    chosen = take(relocs, rows)
    formula = FORMULAS.take(np.minimum(chosen.type, len(FORMULAS) - 1))
    problems = Problems()
    _check_undefined(inputs, chosen, problems)
    end = chosen.offset + chosen.size.astype(np.int64)
    outside = (chosen.offset < 0) | (end > symbols.data_size.take(chosen.owner))
    unknown = formula == Formula.NONE
    own = np.flatnonzero(chosen.type >= Reloc.DELTA)
    unknown[own] |= symbols.slot[chosen.owner[own]] != 0  # Go objects have none of these
    odd = ~_WIDTHS.take(chosen.size)
    for wrong, reason in (
        (outside, "it reaches outside its symbol"),
        (unknown, "internal linking knows no relocation of this type"),
        (odd, "{size} is not a width that can be relocated"),
    ):
        for row in rows[wrong].tolist():
            _report(inputs, problems, row, reason.format(size=relocs.size[row]))
    problems.raise_if_any()
    base = np.zeros(len(symbols), np.int64)
    inside = np.flatnonzero(present).astype(np.int32)
    base[inside] = file_offset(layout, inside)
    return Applied(rows, chosen, formula, base.take(chosen.owner) + chosen.offset)


def _values(inputs: Inputs, made: Applied, slide: int) -> I8:
    """What each relocation stores, before it is cut to its width."""
    symbols, layout, relocs, formula = inputs.symbols, inputs.layout, made.relocs, made.formula
    target, addend = relocs.target, relocs.addend
    unreached = np.flatnonzero(target == UNREACHED)
    if len(unreached):
        target = target.copy()
        target[unreached] = inputs.unreachable_method
    address = layout.address + slide * (layout.section > 0) if slide else layout.address

    value = addend + address.take(target)
    at = np.flatnonzero(formula == Formula.PC_RELATIVE)
    end = (relocs.offset + relocs.size).take(at)
    value[at] -= address.take(relocs.owner.take(at)) + end
    at = np.flatnonzero(formula == Formula.SECTION_OFFSET)
    section = layout.section.take(target.take(at))
    value[at] -= append(0, layout.sections.address + slide).take(section)
    at = np.flatnonzero(formula == Formula.TARGET_SIZE)
    value[at] = addend[at] + symbols.size[target[at]]
    at = np.flatnonzero(formula == Formula.CONSTANT)
    value[at] = addend[at]
    at = np.flatnonzero(formula == Formula.TLS)
    value[at] = addend[at] + amd64.TLS_OFFSET
    at = np.flatnonzero(formula == Formula.DIFFERENCE)
    value[at] -= address.take(inputs.relocs.target[made.rows[at] + 1])
    at = np.flatnonzero(formula == Formula.TLV_OFFSET)
    value[at] -= _tlv_template(layout) + slide
    # dyld is not told of these, so they do not slide: nobody calls what was not reached.
    value[unreached] -= slide
    value[unreached[relocs.type[unreached] == Reloc.METHODOFF]] = -1
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


def _check_range(inputs: Inputs, made: Applied, value: I8) -> None:
    """LinkError for each value that its width cannot hold."""
    relocs = made.relocs
    wrong = _missing_section(inputs, made)
    for width in (2, 4):
        half = 1 << (8 * width - 1)
        wide = (relocs.size == width) & ((value < -half) | (value >= half))
        at = np.flatnonzero(wide)
        # Distances and addresses are sign-extended by the CPU; other values may use all the bits.
        signed = isin(relocs.type[at], (Reloc.CALL, Reloc.PCREL, Reloc.ADDR))
        wrong[at[signed | (value[at] < 0) | (value[at] >= 2 * half)]] = True
    problems = Problems()
    for i in np.flatnonzero(wrong).tolist():
        message = _misfit(inputs, int(made.rows[i]), int(value[i]))
        problems.add(message, symbol=_owner_name(inputs, int(made.rows[i])))
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


def _missing_section(inputs: Inputs, made: Applied) -> Bool:
    """Which relocations want an offset into a section for a symbol that has none."""
    nowhere: Bool = made.formula == Formula.SECTION_OFFSET
    at = np.flatnonzero(nowhere)
    target = made.relocs.target.take(at)
    nowhere[at] = (target != UNREACHED) & (inputs.layout.section.take(target) == 0)
    return nowhere


def _check_undefined(inputs: Inputs, relocs: Relocs, problems: Problems) -> None:
    """Report each pair of a symbol and an undefined symbol that it refers to, once."""
    symbols, target = inputs.symbols, relocs.target
    missing = (symbols.kind == Kind.UNDEFINED) | (symbols.kind == Kind.HOST_OBJECT)
    missing[NO_TARGET] = False
    for i in np.flatnonzero(missing.take(target) & (target > NO_TARGET)).tolist():
        message = undefined_message(inputs, int(target[i]))
        problems.add(message, symbol=symbol_name(inputs.memory, symbols, int(relocs.owner[i])))


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
