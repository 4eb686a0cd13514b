"""Resolve external names among object files: which definition of each name the link takes.

A strong definition beats weak ones, any definition beats common symbols, the first weak one and
the largest common one win. Two strong ones are an error. An alias (N_INDR) is what the name that
it stands for is. Names that stay UNDEFINED are for the caller: Go objects and dylibs may have
them. Source: ld64's SymbolTable.cpp, <mach-o/nlist.h>.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import append
from pielink.errors import Problems
from pielink.formats import macho
from pielink.native.tables import NONE, Atoms, Host, NameKind, Names, Placement, Relocs
from pielink.record import replace
from pielink.tables import I4, I8, Bool

# How strong a definition is; of equal weak or common ones the first stays (common: the largest).
UNDEFINED, COMMON, WEAK, STRONG = 0, 1, 2, 3


def resolve(host: Host, placement: Placement, problems: Problems) -> Names:
    """Return the table of external names; duplicate definitions go into `problems`.

    Common symbols have no atom yet: see allocate_commons.
    """
    symbols = host.symbols
    real = (symbols.type & macho.N_STAB) == 0
    rows = np.flatnonzero(real & ((symbols.type & macho.N_EXT) != 0))
    row, of_symbol, alias = _number(host, rows)
    count = len(row)
    rank = _rank(host)[rows]
    name = of_symbol[rows]
    winner = _winners(host, rows, name, rank, count)
    _report_duplicates(host, rows[rank == STRONG], name[rank == STRONG], winner, problems)
    defined = winner != NONE
    chosen = np.where(defined, winner, 0)
    best = np.where(defined, _rank(host)[chosen] if len(rows) else 0, UNDEFINED)
    kind = np.where(best == COMMON, NameKind.COMMON, NameKind.UNDEFINED)
    absolute = defined & (_kind(host)[chosen] == macho.N_ABS) if len(rows) else defined
    kind[best >= WEAK] = NameKind.DEFINED
    kind[absolute] = NameKind.ABSOLUTE
    placed = kind == NameKind.DEFINED
    value = symbols.value[chosen] if len(rows) else np.zeros(count, np.int64)
    table = Names(
        row=row,
        of_symbol=of_symbol,
        kind=kind.astype(np.uint8),
        symbol=winner,
        atom=np.where(placed, placement.atom[chosen], NONE).astype(np.int32),
        offset=np.where(placed, placement.offset[chosen], np.where(absolute, value, 0)),
        weak_definition=best == WEAK,
        private=_private(host, rows, name, rank, winner, count),
        weak_reference=_all_references(host, rows, name, macho.N_WEAK_REF, count),
        referenced=_any(name[rank == UNDEFINED], count),
        alias=alias,
    )
    return _follow_aliases(table, problems)


def _kind(host: Host) -> I4:
    return (host.symbols.type & macho.N_TYPE).astype(np.int32)


def _rank(host: Host) -> I4:
    """Return how strong a definition each symbol row is."""
    symbols, kind = host.symbols, _kind(host)
    weak = (symbols.desc & macho.N_WEAK_DEF) != 0
    rank = np.where(weak, WEAK, STRONG)
    rank[kind == macho.N_INDR] = UNDEFINED  # an alias defines nothing itself
    rank[kind == macho.N_UNDF] = UNDEFINED
    rank[(kind == macho.N_UNDF) & (symbols.value > 0)] = COMMON
    return rank.astype(np.int32)


def _number(host: Host, rows: I8) -> tuple[dict[bytes, int], I4, I4]:
    """Give each external name a row; return the rows of symbols, and aliases between names.

    The loop is over external symbols: making their names hashable is what a dictionary takes.
    """
    symbols = host.symbols
    data = host.contents.data
    row: dict[bytes, int] = {}
    starts = symbols.name[rows].tolist()
    ends = (symbols.name[rows] + symbols.name_size[rows]).tolist()
    numbers = [
        row.setdefault(bytes(data[start:end]), len(row))
        for start, end in zip(starts, ends, strict=True)
    ]
    of_symbol = np.full(len(symbols.type), NONE, np.int32)
    of_symbol[rows] = numbers
    indirect = rows[_kind(host)[rows] == macho.N_INDR]
    targets = [
        row.setdefault(bytes(data[start : start + size]), len(row))
        for start, size in zip(
            symbols.alias[indirect].tolist(), symbols.alias_size[indirect].tolist(), strict=True
        )
    ]
    alias = np.full(len(row), NONE, np.int32)
    alias[of_symbol[indirect]] = targets
    return row, of_symbol, alias


def _winners(host: Host, rows: I8, name: I4, rank: I4, count: int) -> I4:
    """Return the symbol row that defines each name, or NONE."""
    size = np.where(rank == COMMON, host.symbols.value[rows], 0)
    # Ascending by rank, then size, then latest first: the last one assigned to a name wins.
    order = np.lexsort((-np.arange(len(rows)), size, rank))
    order = order[rank[order] > UNDEFINED]
    winner = np.full(count, NONE, np.int32)
    winner[name[order]] = rows[order]
    return winner


def _report_duplicates(host: Host, rows: I8, name: I4, winner: I4, problems: Problems) -> None:
    first = winner[name]
    lost = first != rows
    for row, other in zip(rows[lost].tolist(), first[lost].tolist(), strict=True):
        symbol = host.symbol_name(row).decode("utf-8", "replace")
        file, earlier = (host.files[int(host.symbols.file[each])].name for each in (row, other))
        problems.add(f"duplicate definition; the first is in {earlier}", file, symbol)


def _any(names: I4, count: int) -> Bool:
    found = np.zeros(count, np.bool_)
    found[names] = True
    return found


def _all_references(host: Host, rows: I8, name: I4, flag: int, count: int) -> Bool:
    """Return which names are referred to, and with `flag` by every undefined symbol."""
    undefined = (_kind(host)[rows] == macho.N_UNDF) & (host.symbols.value[rows] == 0)
    flagged = (host.symbols.desc[rows] & flag) != 0
    return _any(name[undefined], count) & ~_any(name[undefined & ~flagged], count)


def _private(host: Host, rows: I8, name: I4, rank: I4, winner: I4, count: int) -> Bool:
    """Return which names are private; of weak definitions one global one is enough.

    Besides private externs these are weak definitions that may be hidden (both weak bits), which
    the compiler knows nobody compares the addresses of.
    """
    may_hide = macho.N_WEAK_DEF | macho.N_WEAK_REF
    private = (host.symbols.type[rows] & macho.N_PEXT) != 0
    private |= (rank == WEAK) & ((host.symbols.desc[rows] & may_hide) == may_hide)
    contributes = (rows == winner[name]) | (rank == WEAK)
    defined = rank > UNDEFINED
    hidden = _any(name[defined & contributes & private], count)
    return hidden & ~_any(name[defined & contributes & ~private], count)


def _follow_aliases(names: Names, problems: Problems) -> Names:
    """Copy to each alias what the name at the end of its chain is."""
    target = np.where(names.alias == NONE, np.arange(len(names), dtype=np.int32), names.alias)
    for _ in range(max(len(names), 1).bit_length()):  # each round doubles the steps
        target = target[target]
    stuck = (names.alias != NONE) & (names.alias[target] != NONE)
    if stuck.any():
        text = names.text()
        for row in np.flatnonzero(stuck).tolist():
            problems.add("is an alias of itself", symbol=text[row].decode("utf-8", "replace"))
    aliased = names.alias != NONE
    referenced = names.referenced.copy()
    referenced[target[aliased]] = True
    return replace(
        names,
        kind=names.kind[target],
        symbol=names.symbol[target],
        atom=names.atom[target],
        offset=names.offset[target],
        weak_definition=names.weak_definition[target],
        private=np.where(aliased, names.private | names.private[target], names.private),
        referenced=referenced,
        alias=np.where(aliased, target, NONE).astype(np.int32),
    )


def allocate_commons(host: Host, atoms: Atoms, names: Names) -> tuple[Atoms, Names]:
    """Give each common symbol an atom in the linker's own zero-fill section.

    Size is that of the largest definition; alignment is what desc says, or the size's own up to
    16 bytes. They lie at ascending offsets, so that a section holds them as it is.
    """
    rows = np.flatnonzero((names.kind == NameKind.COMMON) & (names.alias == NONE))
    symbol = names.symbol[rows]
    size = host.symbols.value[symbol]
    stated = (host.symbols.desc[symbol] >> 8) & 0xF
    natural = np.minimum(np.frexp(np.maximum(size, 1).astype(np.float64))[1] - 1, 4)
    align = np.where(stated > 0, stated, natural).astype(np.int64)
    largest = np.int64(1) << (align.max() if len(align) else np.int64(0))
    ends = np.cumsum(-(-size // largest) * largest)  # every start suits every alignment
    section = len(host.sections.file) - 1
    first = len(atoms)
    place = atoms.first.copy()
    place[section + 1] = first + len(rows)
    added = replace(
        atoms,
        section=append(atoms.section, np.full(len(rows), section, np.int32)),
        offset=append(atoms.offset, ends - (-(-size // largest) * largest)),
        size=append(atoms.size, size),
        align=append(atoms.align, align.astype(np.uint8)),
        symbol=append(atoms.symbol, symbol.astype(np.int32)),
        flags=append(atoms.flags, np.zeros(len(rows), np.uint8)),
        first=place,
    )
    atom = names.atom.copy()
    atom[rows] = first + np.arange(len(rows))
    aliases = np.flatnonzero((names.kind == NameKind.COMMON) & (names.alias != NONE))
    atom[aliases] = atom[names.alias[aliases]]
    return added, replace(names, atom=atom)


def settle(relocs: Relocs, names: Names) -> Relocs:
    """Replace names that an atom or a number defines by that atom or number.

    What stays a name is for the caller: a Go symbol, an import, or undefined.
    """

    def settled(target: I4, name: I4) -> tuple[I4, I4, I8]:
        row = np.where(name == NONE, 0, name)
        if not len(names):
            return target, name, np.zeros(len(name), np.int64)
        here = (name != NONE) & (names.kind[row] != NameKind.UNDEFINED)
        follow = np.where(names.alias[row] == NONE, row, names.alias[row])
        return (
            np.where(here, names.atom[row], target).astype(np.int32),
            np.where(here | (name == NONE), NONE, follow).astype(np.int32),
            np.where(here, names.offset[row], 0),
        )

    target, name, added = settled(relocs.target, relocs.name)
    minus, minus_name, taken = settled(relocs.minus, relocs.minus_name)
    return replace(
        relocs,
        target=target,
        target_offset=relocs.target_offset + added,
        name=name,
        addend=relocs.addend - taken,
        minus=minus,
        minus_name=minus_name,
    )
