"""`__unwind_info`: one table for the functions of all host objects.

Its size follows from the addresses of the functions, so it gets its place with the other data; the
rest of what it says, where language data and frames are, is filled in when all addresses are known.
The GOT entries of the personality functions are asked for by relocations.
"""

from __future__ import annotations

import numpy as np

from pielink.builder import SymbolBuilder
from pielink.errors import LinkError, Problem
from pielink.native import unwind
from pielink.native.atoms import EH_FRAME, is_named
from pielink.native.tables import NONE
from pielink.passes.host import HostCode
from pielink.passes.hostsections import UNWIND_INFO
from pielink.passes.hosttables import HostRows
from pielink.passes.layout import header_address
from pielink.passes.text import place
from pielink.record import Record
from pielink.rows import NewReloc, NewSymbol
from pielink.tables import I4, I8, NO_TARGET, Layout, Memory, Reloc, Relocs, Symbols

_WORD = 4  # bytes of a personality's field


class UnwindInfo(Record):
    """The table in the making."""

    row: int  # its row in Symbols
    personality: I4  # of each function: index from 1, 0 for none
    slots: int  # how many personality functions there are


def add_unwind_info(
    builder: SymbolBuilder, code: HostCode, host: HostRows, address: I8, header: int
) -> UnwindInfo | None:
    """Make the table, with nothing but zeros in it; None if no function has an entry.

    `address` has the addresses of functions, `header` is that of the image. Raises LinkError if
    there are more personality functions than the format has room for, or if functions overlap.
    """
    entries = code.prepared.unwind_entries
    if not len(entries):
        return None
    index, functions = unwind.personalities(entries)
    rows = _personality_rows(code, host, functions)
    atom_address = _of_atoms(host, address)
    ranges = unwind.place(
        entries, atom_address, index, _frame_offsets(builder.symbols, code, host), header
    )
    content = unwind.encode(ranges, np.zeros(len(rows), np.int64))
    fields = _personality_fields(content, len(rows))
    relocs = [
        NewReloc(field, row, Reloc.GOTPCREL, _WORD) for field, row in zip(fields, rows, strict=True)
    ]
    new = NewSymbol(
        "", host.kind(UNWIND_INFO), bytes(len(content)), align=4, local=True, relocs=relocs
    )
    return UnwindInfo(builder.append([new])[0], index, len(rows))


def fill_unwind_info(
    memory: Memory,
    symbols: Symbols,
    relocs: Relocs,
    layout: Layout,
    info: UnwindInfo,
    code: HostCode,
    host: HostRows,
) -> None:
    """Write the table and let its relocations count from the image's header."""
    header = header_address(layout.segments)
    offsets = _frame_offsets(symbols, code, host)
    atom_address = _of_atoms(host, layout.address)
    entries = code.prepared.unwind_entries
    ranges = unwind.place(entries, atom_address, info.personality, offsets, header)
    content = unwind.encode(ranges, np.zeros(info.slots, np.int64))
    start, size = int(symbols.data_offset[info.row]), int(symbols.data_size[info.row])
    if len(content) != size:
        raise AssertionError(f"unwind table changed its size from {size} to {len(content)}")
    memory.bytes[start : start + size] = np.frombuffer(content, np.uint8)
    own = np.flatnonzero((relocs.owner == info.row) & (relocs.size > 0))
    # The field counts from the header; the formula of the relocation, from the field's end.
    end = layout.address[info.row] + relocs.offset[own] + relocs.size[own]
    relocs.addend[own] += end - header


def _personality_rows(code: HostCode, host: HostRows, functions: I8) -> list[int]:
    """The row of each personality function (atom, name, offset); LinkError if it has none."""
    atom, name, offset = functions.T
    inside = host.interior.row_at(host.carriers[atom], offset)
    rows = np.where(atom != NONE, inside, host.row_of_name[name])
    lost = np.flatnonzero(rows == NO_TARGET)
    if len(lost):
        atoms, row = code.prepared.atoms, lost[0]
        section, place = int(atoms.section[atom[row]]), int(atoms.offset[atom[row]] + offset[row])
        title = code.prepared.host.title(section)
        why = f"personality function at {title}+{place:#x} has no symbol; give it a label"
        raise LinkError([Problem(why, code.prepared.host.file_name(section))])
    found: list[int] = rows.tolist()
    return found


def _of_atoms(host: HostRows, column: I8) -> I8:
    """A column of Symbols by atom."""
    result: I8 = np.where(host.carriers > 0, column[host.carriers], 0)
    return result


def _personality_fields(content: bytes, count: int) -> list[int]:
    """Where the personalities are in the table."""
    first = int.from_bytes(content[12:16], "little")
    return [first + _WORD * i for i in range(count)]


def _frame_offsets(symbols: Symbols, code: HostCode, host: HostRows) -> I8:
    """Where each atom of `__eh_frame` starts in its section; 0 for other atoms."""
    prepared = code.prepared
    frames = is_named(prepared.host, EH_FRAME)[prepared.atoms.section] & (host.carriers > 0)
    atoms = np.flatnonzero(frames)
    rows = host.carriers[atoms]
    offset = np.zeros(len(prepared.atoms), np.int64)
    align = np.maximum(symbols.align[rows], 1).astype(np.int64)
    offset[atoms] = place(symbols.size[rows], align, 0)[0]
    return offset
