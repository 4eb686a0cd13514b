"""`__eh_frame`: DWARF call frame information, record by record.

A record is a length, an id, and contents. Id 0 is a CIE, which says how its FDEs are written:
version, augmentation string, code and data alignment (ULEB, SLEB), return register, and by letter
of the augmentation: z its length, P personality (encoding and pointer), L encoding of LSDA
pointers, R encoding of function pointers. An FDE's id is the distance back to its CIE; then come
the function's address, its length, and (z) the length of the augmentation and the LSDA's address.

Compilers for macOS write these addresses as pc-relative numbers without relocations, `ld -r` as
SUBTRACTOR pairs. Here each becomes one PCREL row, and the distance to the CIE a DELTA row, so that
records can be dropped and moved. Source: DWARF 5, section 6.4; the Linux Standard Base's chapter
on eh_frame; LLVM's lld/MachO/InputFiles.cpp (registerEhFrames).
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import isin
from pielink.errors import FormatError
from pielink.hints import Any
from pielink.native import atoms as atoms_pass
from pielink.native.tables import NONE, Atoms, Host, RelocKind, Relocs
from pielink.record import Record, fields
from pielink.tables import I4, I8, Bool

ID_FIELD, BODY = 4, 8  # offsets in a record
PCREL = 0x10
POINTER_SIZES = {0x0: 8, 0x3: 4, 0x4: 8, 0xB: 4, 0xC: 8}  # by the format in the low four bits
OMIT = 0xFF


class Frames(Record):
    """One row per FDE: the function that it describes, and the LSDA (NONE: has none)."""

    fde: I4  # row in Atoms
    function: I4  # row in Atoms
    offset: I8  # of the function in its atom
    length: I8  # bytes
    lsda: I4  # row in Atoms
    lsda_offset: I8


class _Layout(Record):
    """What a CIE says of its FDEs: sizes of pointers in bytes, 0 for those they lack."""

    pointer: int
    lsda: int
    augmented: bool


def parse(host: Host, atoms: Atoms, relocs: Relocs) -> tuple[Frames, Relocs]:
    """Return all FDEs, and the relocations with one row for each pointer in them.

    `relocs` are settled. Raises FormatError naming file and offset for a record that is cut off
    or uses an encoding that no compiler for macOS writes.
    """
    in_frames = atoms_pass.is_named(host, atoms_pass.EH_FRAME)[atoms.section]
    records = np.flatnonzero(in_frames)
    if not len(records):
        none, zero = np.zeros(0, np.int32), np.zeros(0, np.int64)
        return Frames(none, none, zero, zero, none, zero), relocs
    reader = _Reader(host, atoms, relocs)
    identity = reader.numbers(records, np.int64(ID_FIELD), 4, signed=False)
    known = reader.row_at(records, np.int64(ID_FIELD))
    is_cie = (identity == 0) & (known == NONE)
    fde = records[~is_cie]
    cie = reader.cies(fde, identity[~is_cie], known[~is_cie])
    cies = records[is_cie]
    layouts = [reader.layout(row) for row in cies.tolist()]
    reader.refuse(fde[~isin(cie, cies)], "has no CIE")
    of_fde = np.searchsorted(cies, cie)
    pointer, lsda_size, augmented = (
        np.array([getattr(layout, column) for layout in layouts], np.int64).take(of_fde)
        for column in ("pointer", "lsda", "augmented")
    )
    body = np.full(len(fde), BODY, np.int64)
    function, offset, _ = reader.places(fde, body, pointer)
    reader.refuse(fde[function == NONE], "describes no function")
    length = reader.numbers(fde, body + pointer, pointer, signed=False)
    lsda_field, has_lsda = reader.lsda_field(fde, body + 2 * pointer, lsda_size, augmented)
    lsda = np.full(len(fde), NONE, np.int32)
    lsda_offset = np.zeros(len(fde), np.int64)
    with_lsda = np.flatnonzero(has_lsda)
    found, inside, null = reader.places(fde[with_lsda], lsda_field[with_lsda], lsda_size[with_lsda])
    lsda[with_lsda] = np.where(null, NONE, found)
    lsda_offset[with_lsda] = np.where(null, 0, inside)
    rows = _rows(fde, cie, function, offset, pointer, lsda, lsda_offset, lsda_field, lsda_size)
    frames = Frames(fde.astype(np.int32), function, offset, length, lsda, lsda_offset)
    return frames, _replace_rows(relocs, fde, rows)


def _rows(
    fde: I8,
    cie: I8,
    function: I4,
    offset: I8,
    pointer: I8,
    lsda: I4,
    lsda_offset: I8,
    lsda_field: I8,
    lsda_size: I8,
) -> Relocs:
    """Return the relocations of all FDEs: CIE, function, and LSDA where there is one."""
    has = np.flatnonzero(lsda != NONE)
    count, total = len(fde), 2 * len(fde) + len(has)
    kind = np.full(total, RelocKind.PCREL, np.uint8)
    kind[:count] = RelocKind.DELTA
    none = np.full(total, NONE, np.int32)
    minus = none.copy()
    minus[:count] = cie
    at = [np.full(count, ID_FIELD), np.full(count, BODY), lsda_field[has]]
    size = [np.full(count, 4), pointer, lsda_size[has]]
    inside = [np.full(count, ID_FIELD), offset, lsda_offset[has]]
    return Relocs(
        atom=np.concatenate([fde, fde, fde[has]]).astype(np.int32),
        offset=np.concatenate(at).astype(np.int64),
        kind=kind,
        size=np.concatenate(size).astype(np.uint8),
        bias=np.zeros(total, np.uint8),
        target=np.concatenate([fde, function, lsda[has]]).astype(np.int32),
        target_offset=np.concatenate(inside).astype(np.int64),
        name=none,
        addend=np.zeros(total, np.int64),
        minus=minus,
        minus_name=none,
        position=np.zeros(total, np.int32),
        named=none,
    )


def _replace_rows(relocs: Relocs, fde: I8, rows: Relocs) -> Relocs:
    """Return `relocs` with those of the FDEs replaced by `rows`, sorted by (atom, offset)."""
    kept = ~isin(relocs.atom, fde)
    columns = [
        np.concatenate([getattr(relocs, column)[kept], getattr(rows, column)])
        for column in fields(relocs)
    ]
    order = np.lexsort((columns[1], columns[0]))
    return Relocs(*(column[order] for column in columns))


class _Reader:
    """Reads fields of eh_frame records; rows are atoms, offsets count in the record."""

    def __init__(self, host: Host, atoms: Atoms, relocs: Relocs) -> None:
        self.host, self.atoms, self.relocs = host, atoms, relocs
        self.start = host.sections.data[atoms.section] + atoms.offset
        self.keys = relocs.atom.astype(np.int64) << atoms_pass.OFFSET_BITS | relocs.offset
        order = np.lexsort((host.sections.size, host.sections.address, host.sections.file))
        self.by_address = order[host.sections.file[order] != NONE]

    def refuse(self, rows: Any, why: str) -> None:
        """Raise FormatError for the first of `rows`, if there are any."""
        if len(rows):
            raise self.error(int(rows[0]), why)

    def error(self, row: int, why: str) -> FormatError:
        """Return the error that names the file and place of a record."""
        section, offset = int(self.atoms.section[row]), int(self.atoms.offset[row])
        what = f"record at {self.host.title(section)}+{offset:#x} {why}"
        return FormatError(what, self.host.file_name(section))

    def numbers(self, rows: I8, offset: Any, size: Any, *, signed: bool = True) -> I8:
        """Return the little-endian number of `size` (4 or 8) bytes at `offset` of each record."""
        zeros = np.zeros(rows.shape, np.int64)
        offset, size = zeros + offset, zeros + size
        self.refuse(rows[offset + size > self.atoms.size[rows]], "is cut off")
        values = np.zeros(len(rows), np.int64)
        for width, dtype in ((4, np.int32 if signed else np.uint32), (8, np.int64)):
            of_width = np.flatnonzero(size == width)
            place = self.start[rows[of_width]] + offset[of_width]
            gathered = self.host.contents[place[:, None] + np.arange(width)]
            values[of_width] = gathered.view(dtype).reshape(len(of_width))
        return values

    def row_at(self, rows: I8, offset: Any) -> I8:
        """Return the relocation row that patches `offset` of each record, or NONE."""
        key = rows << atoms_pass.OFFSET_BITS | offset
        if not len(self.keys):
            return np.full(len(rows), NONE, np.int64)
        at = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.where(self.keys[at] == key, at, NONE)

    def cies(self, fde: I8, identity: I8, known: I8) -> I8:
        """Return the CIE (atom row) of each FDE; a place where no record starts gives NONE."""
        atoms = self.atoms
        place = atoms.offset[fde] + ID_FIELD - identity
        found = atoms_pass.find(atoms, atoms.section[fde], place).astype(np.int64)
        exact = np.where(atoms.offset[found] == place, found, NONE)
        if not len(self.relocs):
            return exact
        return np.where(known == NONE, exact, self.relocs.minus[known])

    def layout(self, cie: int) -> _Layout:
        """Return what one CIE says. A file has one or two, so this reads bytes one by one."""
        start, size = int(self.start[cie]), int(self.atoms.size[cie])
        data = self.host.contents[start : start + size].tobytes()
        try:
            return self._layout(data)
        except IndexError:
            raise self.error(cie, "is cut off") from None
        except ValueError as error:
            raise self.error(cie, str(error)) from None

    @staticmethod
    def _layout(data: bytes) -> _Layout:
        version, at = data[BODY], data.find(b"\0", BODY + 1)
        if at < 0:
            raise IndexError
        if version not in (1, 3):
            raise ValueError(f"is a CIE of unknown version {version}")
        letters = data[BODY + 1 : at].decode("latin-1")
        at = _skip_leb(data, _skip_leb(data, at + 1))
        at = at + 1 if version == 1 else _skip_leb(data, at)
        if letters.startswith("z"):
            at = _skip_leb(data, at)
        pointer = lsda = 0
        for letter in letters.removeprefix("z"):
            if letter in "PLR":
                size = _pointer_size(data[at], letter)
                at += 1
                pointer = size if letter == "R" else pointer
                lsda = size if letter == "L" else lsda
                at += size if letter == "P" else 0
            elif letter not in "SB":
                raise ValueError(f"is a CIE with unknown augmentation {letters!r}")
        if not pointer:
            raise ValueError("is a CIE whose function pointers are not pc-relative")
        return _Layout(pointer, lsda, letters.startswith("z"))

    def places(self, rows: I8, field: I8, size: I8) -> tuple[I4, I8, Bool]:
        """Return what each pc-relative pointer points at: atom, offset in it, and which are null.

        A pointer that is relocated says so by its row; else the number itself tells.
        """
        atoms, sections = self.atoms, self.host.sections
        content = self.numbers(rows, field, size)
        place = atoms.offset[rows] + field  # of the pointer, in its section
        address = sections.address[atoms.section[rows]] + place + content
        file = sections.file[atoms.section[rows]].astype(np.int64)
        home = self._section_at(file, address)
        inside = address - sections.address[home]
        known = self.row_at(rows, field)
        outside = (sections.file[home] != file) | (inside < 0) | (inside >= sections.size[home])
        found = np.where(outside, NONE, atoms_pass.find(atoms, home, inside))
        offset = np.where(found == NONE, 0, inside - atoms.offset[found])
        related = np.flatnonzero(known != NONE)
        row = known[related]
        label = self.relocs.minus[row] if len(row) else np.zeros(0, np.int32)
        found[related] = self.relocs.target[row]
        distance = place[related] - atoms.offset[label]
        offset[related] = self.relocs.target_offset[row] + self.relocs.addend[row] + distance
        return found.astype(np.int32), offset, (content == 0) & (known == NONE)

    def _section_at(self, file: I8, address: I8) -> I4:
        """Return the last section of each file that begins at or before an address."""
        sections, order = self.host.sections, self.by_address
        limit = int(sections.address.max()) + 1
        keys = sections.file[order].astype(np.int64) * limit + sections.address[order]
        known = np.minimum(np.maximum(address, 0), limit - 1)
        at = np.searchsorted(keys, file * limit + known, "right") - 1
        found: I4 = order[np.maximum(at, 0)].astype(np.int32)
        return found

    def lsda_field(self, fde: I8, at: I8, size: I8, augmented: I8) -> tuple[I8, Bool]:
        """Return where each FDE's LSDA pointer is, and which FDEs have one."""
        has: Bool = (augmented != 0) & (size > 0)
        rows = np.flatnonzero(has)
        self.refuse(fde[rows[at[rows] >= self.atoms.size[fde[rows]]]], "is cut off")
        length = np.zeros(len(fde), np.int64)
        length[rows] = self.host.contents[self.start[fde[rows]] + at[rows]]
        self.refuse(fde[length >= 0x80], "has an augmentation of more than 127 bytes")
        has &= length >= size
        return at + 1, has


def _skip_leb(data: bytes, at: int) -> int:
    """Return the offset after the LEB128 number at `at`; IndexError past the end."""
    while data[at] >= 0x80:
        at += 1
    return at + 1


def _pointer_size(encoding: int, letter: str) -> int:
    """Return the bytes that a pointer of this DW_EH_PE_* encoding takes."""
    if encoding == OMIT and letter == "L":
        return 0
    size = POINTER_SIZES.get(encoding & 0xF)
    if size is None or (encoding & 0x70) != PCREL:
        raise ValueError(f"is a CIE with an unknown encoding {encoding:#x} of its pointers")
    return size
