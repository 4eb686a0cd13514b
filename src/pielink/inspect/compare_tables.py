"""Differences of symbols, rebases, binds and exports, compared as multisets of rows.

The order of these tables carries no meaning, so equal rows are matched one to one wherever they
stand, and the rest is paired by name or address where possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pielink.arraytypes import NDArray
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect.columns import WEAK_IMPORT, Columns
from pielink.inspect.difference import Difference
from pielink.inspect.macho import MachOFile, text

MAX_ROWS = 100_000  # differing rows told apart in one table; the rest is only counted


def _only(a: Columns, b: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of `a` that `b` lacks and rows of `b` that `a` lacks, as ascending indices.

    Equal rows are matched one to one, so a row that `a` has twice and `b` once counts.
    """
    both = np.concatenate([a, b])
    if not len(both):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    columns = [both[name] for name in reversed(both.dtype.names or ())]
    order = np.lexsort(columns)
    rows = both[order]
    first = np.concatenate([[True], rows[1:] != rows[:-1]])
    group = np.cumsum(first) - 1
    is_b = order >= len(a)
    groups = int(group[-1]) + 1
    count_a = np.bincount(group[~is_b], minlength=groups)
    count_b = np.bincount(group[is_b], minlength=groups)
    # The rank of a row among the equal rows of its own side; the surplus has no partner.
    return (
        _surplus(order[~is_b], group[~is_b], count_b),
        _surplus(order[is_b] - len(a), group[is_b], count_a),
    )


def _surplus(
    index: NDArray[np.int64], group: NDArray[np.int64], partners: NDArray[np.int64]
) -> NDArray[np.int64]:
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    return np.sort(index[rank >= partners[group]])


def _table(
    part: str,
    a: Columns,
    b: Columns,
    place: Callable[[int, bool], str],
    show: Callable[[int, bool], tuple[str, str]],
    field: Callable[[int, int], str] = lambda row, other: "value",
) -> Iterator[Difference]:
    """Differences of two tables: `place` pairs rows, `show` gives a row's value and context.

    Both take a row number and whether it is one of the second table. `field` says which field of
    the two rows of a pair differs.
    """
    only_a, only_b = _only(a, b)
    shown_a, shown_b = only_a[:MAX_ROWS].tolist(), only_b[:MAX_ROWS].tolist()
    partners: dict[str, list[int]] = {}
    for row in shown_b:
        partners.setdefault(place(row, True), []).append(row)
    for row in shown_a:
        name = place(row, False)
        value, context = show(row, False)
        if partners.get(name):
            partner = partners[name].pop(0)
            other, _ = show(partner, True)
            yield Difference(part, name, field(row, partner), value, other, context)
        else:
            yield Difference(part, name, "present", value, "absent", context)
    for name, rows in partners.items():
        for row in rows:
            value, context = show(row, True)
            yield Difference(part, name, "present", "absent", value, context)
    rest = len(only_a) + len(only_b) - len(shown_a) - len(shown_b)
    if rest:
        yield Difference(part, "further rows", "count", "", "", count=rest)


SYMBOL_KEY = np.dtype(
    [("name", "<u4"), ("value", "<u8"), ("section", "<u4"), ("type", "u1"), ("desc", "<u2")]
)


def _symbol_rows(file: MachOFile, ids: dict[bytes, int]) -> Columns:
    rows = file.symbols
    out = np.zeros(len(rows), SYMBOL_KEY)
    out["name"] = [ids.setdefault(name, len(ids)) for name in file.symbol_names]
    names = [b"", *(name.encode() for name in file.section_names)]
    section_ids = np.array([ids.setdefault(name, len(ids)) for name in names])
    if len(rows) and int(rows["n_sect"].max()) >= len(names):
        bad = int(np.argmax(rows["n_sect"] >= len(names)))
        message = f"symbol {bad} names section {int(rows['n_sect'][bad])} of {len(names) - 1}"
        raise FormatError(message, file.path)
    out["section"] = section_ids[rows["n_sect"]]
    out["value"], out["type"], out["desc"] = rows["n_value"], rows["n_type"], rows["n_desc"]
    return out


def symbols(a: MachOFile, b: MachOFile) -> Iterator[Difference]:
    """Symbols by name, address, section, type and description.

    The field is `weak-reference` if nothing differs but that the second file says N_WEAK_REF.
    """
    ids: dict[bytes, int] = {}
    rows = (_symbol_rows(a, ids), _symbol_rows(b, ids))
    names = list(ids)

    def place(row: int, second: bool) -> str:
        return text(names[rows[second]["name"][row]])

    def show(row: int, second: bool) -> tuple[str, str]:
        value, section, kind, desc = rows[second][["value", "section", "type", "desc"]][row].item()
        where = text(names[section]) or "no section"
        return f"{value:#x} {where} type {kind:#04x} desc {desc:#06x}", f"symbol {row}"

    def field(row: int, other: int) -> str:
        left, right = rows[0][row], rows[1][other]
        marked = left.copy()
        marked["desc"] |= macho.N_WEAK_REF
        return "weak-reference" if marked == right else "value"

    yield from _table("symbol", *rows, place, show, field)


REBASE_KEY = np.dtype([("address", "<u8"), ("type", "u1")])


def _rebase_rows(file: MachOFile) -> Columns:
    out = np.zeros(len(file.rebases), REBASE_KEY)
    out["address"], out["type"] = file.rebases["address"], file.rebases["type"]
    return out


def rebases(a: MachOFile, b: MachOFile) -> Iterator[Difference]:
    """Rebases by address and type."""
    rows, files = (_rebase_rows(a), _rebase_rows(b)), (a, b)

    def place(row: int, second: bool) -> str:
        return files[second].section_at(int(rows[second]["address"][row]))

    def show(row: int, second: bool) -> tuple[str, str]:
        address, kind = rows[second][row].item()
        target = int(files[second].rebases["target"][row])
        near = files[second].nearest_symbol(address)
        return f"{address:#x} type {kind}", f"in {near or '?'}, pointing to {target:#x}"

    yield from _table("rebase", *rows, place, show)


BIND_KEY = np.dtype(
    [("address", "<u8"), ("library", "<u4"), ("name", "<u4"), ("addend", "<i8"), ("weak", "u1")]
)


def _bind_key(file: MachOFile, ids: dict[bytes, int]) -> Columns:
    rows, names = file.binds.rows, file.binds.names
    out = np.zeros(len(rows), BIND_KEY)
    if (rows["name"] >= len(names)).any() and len(rows):
        raise FormatError("a bind has no symbol name", file.path)
    name_ids = np.array([ids.setdefault(name, len(ids)) for name in names] or [0])
    ordinals, inverse = np.unique(rows["ordinal"], return_inverse=True)
    libraries = [ids.setdefault(file.library(n).encode(), len(ids)) for n in ordinals.tolist()]
    out["address"], out["addend"] = rows["address"], rows["addend"]
    out["name"] = name_ids[rows["name"]]
    out["library"] = np.array(libraries or [0])[inverse]
    out["weak"] = rows["flags"] & WEAK_IMPORT
    return out


def binds(a: MachOFile, b: MachOFile) -> Iterator[Difference]:
    """Binds by address, library name, symbol, addend and weak import.

    The field is `flat-lookup` if nothing differs but that the first file leaves the library open.
    """
    ids: dict[bytes, int] = {}
    rows = (_bind_key(a, ids), _bind_key(b, ids))
    names, files = list(ids), (a, b)
    flat = ids.get(a.library(macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP).encode())
    others = [name for name in BIND_KEY.names or () if name != "library"]

    def place(row: int, second: bool) -> str:
        return files[second].section_at(int(rows[second]["address"][row]))

    def show(row: int, second: bool) -> tuple[str, str]:
        address, library, name, addend, weak = rows[second][row].item()
        near = files[second].nearest_symbol(address)
        tail = f"{f' addend {addend}' if addend else ''}{' weak import' if weak else ''}"
        return f"{text(names[name])} from {text(names[library])}{tail}", f"in {near or '?'}"

    def field(row: int, other: int) -> str:
        left, right = rows[0][row], rows[1][other]
        opened = left["library"] == flat and left[others] == right[others]
        return "flat-lookup" if opened else "value"

    yield from _table("bind", *rows, place, show, field)


def exports(a: MachOFile, b: MachOFile) -> Iterator[Difference]:
    """Exports by name, flags, address, and re-export; `added`: the first lacks it."""
    left = {e.name: (e.flags, e.address, e.other, e.import_name) for e in a.exports}
    right = {e.name: (e.flags, e.address, e.other, e.import_name) for e in b.exports}

    def show(row: tuple[int, int, int, bytes] | None) -> str:
        if row is None:
            return "absent"
        other = f" other {row[2]:#x}" if row[2] else ""
        return f"{row[1]:#x} flags {row[0]:#x}{other}{' ' if row[3] else ''}{text(row[3])}"

    for name in [*left, *(name for name in right if name not in left)]:
        x, y = left.get(name), right.get(name)
        if x != y:
            what = "value" if x and y else "present" if x else "added"
            yield Difference("export", text(name), what, show(x), show(y))
