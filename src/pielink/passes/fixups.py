"""References that cannot be resolved statically: GOT, stubs, and the words that dyld must change.

What a relocation becomes depends on its type and on whether its target comes from a dylib:

| relocation | target in the image | target in a dylib |
|---|---|---|
| CALL | resolved | goes to a stub, which jumps through a GOT entry |
| PCREL of a LEA instruction | resolved | the LEA becomes a load of the GOT entry |
| GOTPCREL (host objects) | goes to a GOT entry | the same |
| ADDR, 8 bytes | rebase, in a PIE | bind |
| anything else | resolved, if that needs no base address | error |

Definitions that dyld may replace by another image's (weak ones, see hostweak.py) are called through
a stub, too. Pointers to them, and to those of dylibs, are bound weakly besides.

GOT entries and stubs are numbered in the order of first use, with the functions in the order of
the image, then data by kind and row, as in cmd/link/internal/ld/data.go (dynreloc) and
amd64/asm.go (adddynrel) of Go, since that order is visible in the bytes of the image.
"""

from __future__ import annotations

import numpy as np

from pielink.arch import amd64
from pielink.arrays import append, classes
from pielink.errors import Problems
from pielink.formats import macho
from pielink.passes.stubs import Stubs, stubs_at_first_call, stubs_at_load
from pielink.record import Record
from pielink.rows import NewReloc, extend, with_columns
from pielink.tables import (
    I4,
    I8,
    NO_TARGET,
    U1,
    Bool,
    Fixups,
    Kind,
    Layout,
    Memory,
    Objects,
    Reloc,
    Relocs,
    Symbols,
)

_NONE = np.zeros(0, np.int32)


class Patches(Record):
    """Single bytes of contents to replace: instructions that changed with their relocation."""

    symbol: I4  # row in Symbols
    offset: I4  # bytes from the start of the symbol
    value: U1


class Pointers(Record):
    """Words that dyld must change, by symbol and offset: `Fixups` before the layout is known."""

    rebase_symbol: I4  # row in Symbols that holds the word
    rebase_offset: I4  # bytes from the start of that symbol
    bind_symbol: I4
    bind_offset: I4
    bind_target: I4  # row in Symbols, of kind DYNIMPORT
    bind_addend: I8
    weak_symbol: I4  # of those words the ones that are bound weakly, too
    weak_offset: I4
    weak_target: I4
    weak_addend: I8


class Dynamic(Record):
    """What the pass makes: the tables with GOT and stubs added, and what dyld is to be told."""

    symbols: Symbols
    relocs: Relocs
    patches: Patches
    pointers: Pointers
    stubs: Stubs


def fixups(
    memory: Memory,
    objects: Objects,
    symbols: Symbols,
    relocs: Relocs,
    text: I4,
    pie: bool,
    lazy: bool = False,
    shared: I4 = _NONE,
) -> Dynamic:
    """Make GOT and stubs for references to dylibs and note rebases and binds.

    `text` lists the rows of all functions in the order of the image. Without `pie` the image has
    no rebases, and its GOT is bound by way of the indirect symbol table. With `lazy` stubs bind at
    the first call. `shared` are the rows of weak definitions, of this image and of dylibs, that
    dyld keeps once for all images. LinkError lists every reference that cannot be expressed.
    """
    weak = np.zeros(len(symbols), np.bool_)
    weak[shared] = True
    used = _uses(symbols, relocs, text, weak)
    _check_uses(memory, objects, symbols, relocs, used, pie)
    _check_width(memory, objects, symbols, relocs, pie)
    code = used[relocs.type[used] != Reloc.ADDR]
    calls = relocs.type[code] == Reloc.CALL
    made = _make_stubs(relocs.target[code], calls, len(symbols), pie, weak if lazy else None)
    _fill_got(symbols, made)
    new_symbols, new_relocs = extend(
        symbols, _through_stubs(relocs, code, calls, made), memory, made.made
    )
    loads = code[relocs.type[code] == Reloc.PCREL]
    patches = Patches(
        relocs.owner[loads],
        relocs.offset[loads] - amd64.OPCODE_BEFORE_DISPLACEMENT,
        np.full(len(loads), amd64.OPCODE_MOV_LOAD, np.uint8),
    )
    pointers = _pointers(new_symbols, new_relocs, used, made, pie, weak)
    return Dynamic(new_symbols, new_relocs, patches, pointers, made)


def _make_stubs(target: I4, calls: Bool, first: int, pie: bool, weak: Bool | None) -> Stubs:
    """GOT and stubs for references from code, in their order; `calls` says which need a stub.

    `weak` is given if stubs bind at the first call: those of the weak symbols do not.
    """
    stubs = _first_uses(target[calls])
    if weak is not None and not weak[stubs].all():
        early = calls & weak[target]
        lazy, got = stubs[~weak[stubs]], _first_uses(target[~calls | early])
        return stubs_at_first_call(got, lazy, stubs[weak[stubs]], first)
    return stubs_at_load(_first_uses(target), stubs, first, pie)


def _fill_got(symbols: Symbols, made: Stubs) -> None:
    """Let GOT entries of symbols in the image hold their addresses."""
    entries = np.flatnonzero(made.got < len(symbols))
    entries = entries[symbols.kind[made.got[entries]] != Kind.DYNIMPORT]
    relocs = [NewReloc(i * amd64.POINTER_SIZE, int(made.got[i])) for i in entries.tolist()]
    made.made[0] = made.made[0]._replace(relocs=relocs)


def _through_stubs(relocs: Relocs, code: I4, calls: Bool, made: Stubs) -> Relocs:
    """Direct the relocations in the rows `code` to the stub, or else the GOT entry, they need."""
    target, addend = relocs.target.copy(), relocs.addend.copy()
    for rows, entries, symbol, size in (
        (code[calls], made.stubs, made.stub_symbol, amd64.STUB_SIZE),
        (code[~calls], made.got, made.got_symbol, amd64.POINTER_SIZE),
    ):
        order = np.argsort(entries, kind="stable")
        place = order[np.searchsorted(entries[order], relocs.target[rows])] if len(rows) else rows
        target[rows] = symbol
        addend[rows] += place * size
    return with_columns(relocs, target=target, addend=addend)


def _uses(symbols: Symbols, relocs: Relocs, text: I4, weak: Bool) -> I4:
    """Rows of the relocations that go to dylib symbols or a GOT entry, in Go's order of visits.

    Calls of `weak` symbols are among them, but not those of an address inside of one.
    """
    imported = (symbols.kind == Kind.DYNIMPORT).take(relocs.target)
    imported |= relocs.type == Reloc.GOTPCREL
    if weak.any():
        imported |= weak[relocs.target] & (relocs.type == Reloc.CALL) & (relocs.addend == 0)
    rows = np.flatnonzero(imported & (relocs.target > 0) & (relocs.size > 0))
    owner = relocs.owner[rows]
    rank = symbols.kind[owner].astype(np.int64) << 32 | owner
    position = np.zeros(len(symbols), np.int64)
    position[text] = np.arange(len(text))
    code = is_text(symbols.kind[owner])
    rank[code] = position[owner[code]]
    return rows[np.argsort(rank, kind="stable")].astype(np.int32)


def is_text(kind: U1) -> Bool:
    """Which kinds are machine code."""
    return (kind >= Kind.TEXT) & (kind <= Kind.TEXT_END)


def _first_uses(targets: I4) -> I4:
    """The distinct targets, in the order of their first occurrence."""
    distinct, first, _ = classes(targets)
    return distinct[np.argsort(first, kind="stable")]


def _check_uses(
    memory: Memory, objects: Objects, symbols: Symbols, relocs: Relocs, used: I4, pie: bool
) -> None:
    """LinkError if a reference to a dylib symbol has no form in the table above."""
    owner, kind = relocs.owner[used], relocs.type[used]
    code = is_text(symbols.kind[owner])
    call, load, pointer = (kind == t for t in (Reloc.CALL, Reloc.PCREL, Reloc.ADDR))
    entry = kind == Reloc.GOTPCREL
    opcode_offset = relocs.offset[used] - amd64.OPCODE_BEFORE_DISPLACEMENT
    inside = (opcode_offset >= 0) & (opcode_offset < symbols.data_size[owner])
    place = np.where(inside, symbols.data_offset[owner] + opcode_offset, 0)
    lea = inside & (memory.bytes[place] == amd64.OPCODE_LEA)
    whole = relocs.size[used] == amd64.POINTER_SIZE
    shifted = relocs.addend[used] != 0
    reasons = (
        (~(call | load | pointer | entry), "this type of relocation cannot reach into a dylib"),
        ((call | load) & shifted, "code cannot refer to an address inside a dylib's symbol"),
        ((call | load) & ~code, "data cannot hold a distance to a dylib's symbol"),
        (load & code & ~lea, "only LEA can take the address of a dylib's symbol"),
        (pointer & ~whole, "a pointer to a dylib's symbol takes 8 bytes"),
        (pointer & (not pie), "only a position-independent executable can bind a pointer in data"),
    )
    problems = Problems()
    for wrong, reason in reasons:
        for row in used[wrong].tolist():
            describe(problems, memory, objects, symbols, relocs, row, reason)
    problems.raise_if_any()


def _check_width(
    memory: Memory, objects: Objects, symbols: Symbols, relocs: Relocs, pie: bool
) -> None:
    """LinkError if an absolute address is narrower than the pointer that dyld would slide."""
    narrow = (relocs.type == Reloc.ADDR) & (relocs.size > 0) & (relocs.size != amd64.POINTER_SIZE)
    rows = np.flatnonzero(narrow & (relocs.target > NO_TARGET) & pie)
    rows = rows[symbols.kind[relocs.owner[rows]] < Kind.FIRST_UNALLOCATED]
    problems = Problems()
    for row in rows.tolist():
        reason = f"a {int(relocs.size[row])}-byte absolute address cannot be position-independent"
        describe(problems, memory, objects, symbols, relocs, row, reason)
    problems.raise_if_any()


def describe(
    problems: Problems,
    memory: Memory,
    objects: Objects,
    symbols: Symbols,
    relocs: Relocs,
    row: int,
    reason: str,
) -> None:
    """Note that the relocation in `row` is wrong, with its object, symbol, offset and target."""
    owner, target = int(relocs.owner[row]), int(relocs.target[row])
    problems.add(
        f"{type_name(int(relocs.type[row]))} relocation at offset {int(relocs.offset[row]):#x}"
        f" to {symbol_name(memory, symbols, target)}: {reason}",
        file=objects.file[int(symbols.object[owner])],
        symbol=symbol_name(memory, symbols, owner),
    )


def symbol_name(memory: Memory, symbols: Symbols, row: int) -> str:
    """The name of a symbol, for people."""
    if row <= 0:
        return "(none)"
    name = memory.get(int(symbols.name_offset[row]), int(symbols.name_size[row]))
    return name.decode("utf-8", "backslashreplace")


def type_name(number: int) -> str:
    """The name of a relocation type, for people."""
    try:
        return "R_" + Reloc(number).name
    except ValueError:
        return f"type {number}"


def _pointers(
    symbols: Symbols, relocs: Relocs, used: I4, made: Stubs, pie: bool, weak: Bool
) -> Pointers:
    """The words that hold an absolute address of a PIE; `used` as from `_uses`."""
    got = made.got
    if not pie:
        used, got = used[:0], got[:0]
    absolute = (relocs.type == Reloc.ADDR) & (relocs.target > NO_TARGET) & (relocs.size > 0)
    rebase = np.flatnonzero(absolute & pie)
    inside = symbols.kind.take(relocs.target.take(rebase)) != Kind.DYNIMPORT
    inside &= symbols.kind.take(relocs.owner.take(rebase)) < Kind.FIRST_UNALLOCATED
    rebase = rebase.compress(inside)
    bind = used[relocs.type[used] == Reloc.ADDR]
    imported = np.flatnonzero(symbols.kind[got] == Kind.DYNIMPORT)
    got, entry_offset = got[imported], imported.astype(np.int32) * amd64.POINTER_SIZE
    bind_symbol = append(relocs.owner[bind], np.full(len(got), made.got_symbol, np.int32))
    bind_offset = append(relocs.offset[bind], entry_offset)
    bind_target = append(relocs.target[bind], got)
    bind_addend = append(relocs.addend[bind], np.zeros(len(got), np.int64))
    weak = append(weak, np.zeros(len(symbols) - len(weak), np.bool_))
    own = rebase.compress(weak.take(relocs.target.take(rebase)))
    other = np.flatnonzero(weak[bind_target])
    return Pointers(
        rebase_symbol=relocs.owner.take(rebase),
        rebase_offset=relocs.offset.take(rebase),
        bind_symbol=bind_symbol,
        bind_offset=bind_offset,
        bind_target=bind_target,
        bind_addend=bind_addend,
        weak_symbol=append(relocs.owner[own], bind_symbol[other]),
        weak_offset=append(relocs.offset[own], bind_offset[other]),
        weak_target=append(relocs.target[own], bind_target[other]),
        weak_addend=append(relocs.addend[own], bind_addend[other]),
    )


def place(memory: Memory, symbols: Symbols, pointers: Pointers, layout: Layout) -> Fixups:
    """The words that dyld must change, by address, ascending, now that the layout is known.

    LinkError names each one that lies in a segment that is not writable when dyld gets to it.
    """
    rebase = layout.address.take(pointers.rebase_symbol) + pointers.rebase_offset
    bind = layout.address[pointers.bind_symbol] + pointers.bind_offset
    _check_writable(memory, symbols, pointers.rebase_symbol, pointers.rebase_offset, layout)
    _check_writable(memory, symbols, pointers.bind_symbol, pointers.bind_offset, layout)
    weak = layout.address[pointers.weak_symbol] + pointers.weak_offset
    order, by_address = (np.argsort(address, kind="stable") for address in (bind, weak))
    return Fixups(
        rebase_address=np.sort(rebase, kind="stable"),
        bind_address=bind[order],
        bind_symbol=pointers.bind_target[order],
        bind_addend=pointers.bind_addend[order],
        weak_address=weak[by_address],
        weak_symbol=pointers.weak_target[by_address],
        weak_addend=pointers.weak_addend[by_address],
    )


def _check_writable(
    memory: Memory, symbols: Symbols, holder: I4, offset: I4, layout: Layout
) -> None:
    protection = layout.segments.initprot[layout.sections.segment]
    writable = append(False, protection & macho.VM_PROT_WRITE != 0)
    writable = writable.take(layout.section.take(holder))
    problems = Problems()
    for row in np.flatnonzero(~writable).tolist():
        problems.add(
            f"the absolute address at offset {int(offset[row]):#x} is in memory that dyld cannot"
            " write to: use a PC-relative address, or move it to writable data",
            symbol=symbol_name(memory, symbols, int(holder[row])),
        )
    problems.raise_if_any()
