"""The tables of the native passes: columns, dtypes, units, and what indexes what.

A table is a record of NumPy columns of equal length. A reference to a row is its index;
NONE (-1) stands for a missing one. Passes take tables and return new ones. In the order in which
they are made:

`HostSections`, `HostSymbols`, `HostRelocs`   all object files of the link joined (gather.py)
`Atoms`     the pieces of sections that are kept, moved or dropped as one (atoms.py). Atoms of a
            section are contiguous and ascend; sections follow each other in file order.
`Names`     one row per external name, with the definition that won (symbols.py). Names that no
            object defines are for the caller to look up: in Go objects, then in dylibs.
`Relocs`    one uniform row per relocation (relocs.py, ehframe.py), sorted by (atom, offset)
`UnwindEntries`   one row per function with unwind information (unwind.py)

A place in the image is (atom, offset): `address[atom] + offset` once the layout is known. A target
is an atom, or a name until `symbols.settle` has replaced the names that an atom defines.
"""

from __future__ import annotations

import numpy as np

from pielink.arraytypes import NDArray
from pielink.formats.machobj import MachObject
from pielink.record import IntEnum, Record
from pielink.tables import I4, I8, U1, U2, U4, Bool

NONE = -1
Names16 = NDArray[np.bytes_]  # 16 bytes, NUL-padded: segment and section names


class HostSections(Record):
    """One row per section of every object file, in load order; the last row is the linker's own.

    That row is `__DATA,__common`, zero fill, and holds the common symbols (file NONE).
    """

    file: I4  # row in Host.files
    segment: Names16
    name: Names16
    address: I8  # in the object's own address space
    size: I8  # bytes
    data: I8  # offset in Host.contents; NONE for zero fill
    align: U1  # log2
    flags: U4  # type and attributes, as in section_64


class HostSymbols(Record):
    """One row per symbol of every object file, debug symbols (stabs) among them."""

    file: I4
    name: I8  # offset in Host.contents
    name_size: U4
    type: U1  # N_EXT, N_PEXT, N_TYPE, N_STAB bits
    desc: U2
    section: I4  # row in HostSections; NONE unless N_SECT
    value: I8  # N_SECT: address in the object; common: size in bytes; N_ABS: value
    alias: I8  # N_INDR: offset in Host.contents of the name that it stands for
    alias_size: U4


class HostRelocs(Record):
    """One row per relocation of every object file, as in the files, debug sections left out."""

    section: I4  # row in HostSections: what is patched
    offset: I8  # bytes in the section
    type: U1  # X86_64_RELOC_*
    length: U1  # log2 of the field's size
    pcrel: Bool
    symbol: I4  # row in HostSymbols, or NONE
    target_section: I4  # row in HostSections, or NONE


class Host(Record):
    """Everything read from the object files of one link.

    `contents` is one flat uint8 array that holds all files; file i starts at `base[i]`.
    """

    files: tuple[MachObject, ...]
    contents: U1
    base: I8
    sections: HostSections
    symbols: HostSymbols
    relocs: HostRelocs

    def title(self, section: int) -> str:
        """Return `segment,section` for messages."""
        names = (self.sections.segment[section], self.sections.name[section])
        return ",".join(name.decode("latin-1") for name in names)

    def file_name(self, section: int) -> str:
        """Return what messages call the file of a section."""
        file = int(self.sections.file[section])
        return self.files[file].name if file != NONE else "(linker)"

    def symbol_name(self, symbol: int) -> bytes:
        """Return the name of one symbol."""
        start = int(self.symbols.name[symbol])
        return self.contents[start : start + int(self.symbols.name_size[symbol])].tobytes()


class AtomFlag(IntEnum):
    """What keeps an atom although nothing refers to it."""

    NO_DEAD_STRIP = 1
    LIVE_SUPPORT = 2  # kept if something that it refers to is kept


class Atoms(Record):
    """The units of dead stripping and layout.

    `first[s] : first[s + 1]` are the atoms of section s. `symbol` is a symbol that is defined at
    the atom's start (an external one if there is one), or NONE.
    """

    section: I4  # row in HostSections
    offset: I8  # of its first byte in the section
    size: I8  # bytes
    align: U1  # log2 of the alignment that the atom needs
    symbol: I4
    flags: U1  # AtomFlag
    first: I8  # one longer than HostSections

    def __len__(self) -> int:
        return len(self.section)


class Placement(Record):
    """Where each row of HostSymbols is defined: an atom and an offset in it, or NONE."""

    atom: I4
    offset: I8


class NameKind(IntEnum):
    """What the objects say of an external name."""

    UNDEFINED = 0
    COMMON = 1
    DEFINED = 2  # in an atom
    ABSOLUTE = 3  # a number, which does not slide


class Names(Record):
    """One row per external name, in the order of first appearance.

    `row` maps the names to rows. `of_symbol` gives the row of each row of HostSymbols, NONE for
    local ones. The other columns belong to names; those of `alias` (N_INDR) are copied from the
    name that they stand for.
    """

    row: dict[bytes, int]
    of_symbol: I4
    kind: U1  # NameKind
    symbol: I4  # row in HostSymbols of the definition that won, or NONE
    atom: I4  # DEFINED and COMMON, else NONE
    offset: I8  # in the atom; ABSOLUTE: the value
    weak_definition: Bool  # other images may replace it
    private: Bool  # not to be exported
    weak_reference: Bool  # all references allow that it is missing when the program runs
    referenced: Bool  # some object has it undefined
    alias: I4  # row of the name that this one stands for, or NONE

    def __len__(self) -> int:
        return len(self.kind)

    def text(self) -> list[bytes]:
        """Return the names, in row order."""
        return list(self.row)


class RelocKind(IntEnum):
    """What is stored in the field: S target, A addend, P address of the field, B bias."""

    ABSOLUTE = 0  # S + A: a pointer; rebased or bound where it slides
    PCREL = 1  # S + A - (P + B)
    BRANCH = 2  # the same; may go through a stub
    GOT = 3  # address of S's GOT slot + A - (P + B)
    GOT_LOAD = 4  # the same; the instruction may load the address instead of the slot
    TLV = 5  # the same, for the slot of a thread-local's descriptor
    DELTA = 6  # S + A - address of the subtrahend
    TLV_OFFSET = 7  # S + A - start of the thread-local template


class Relocs(Record):
    """One row per relocation, sorted by (atom, offset).

    The target S is `target` (atom) and `target_offset`, or `name`. With both NONE it is the number
    `target_offset`. The offset of a DELTA's subtrahend in its atom is part of the addend.
    """

    atom: I4  # what is patched
    offset: I8  # bytes in the atom
    kind: U1  # RelocKind
    size: U1  # bytes of the field: 1, 4 or 8
    bias: U1  # bytes from the field to what a displacement counts from
    target: I4  # row in Atoms, or NONE
    target_offset: I8  # bytes in the target atom
    name: I4  # row in Names, or NONE
    addend: I8
    minus: I4  # DELTA: row in Atoms that is subtracted, or NONE
    minus_name: I4  # DELTA: row in Names that is subtracted, or NONE
    position: I4  # rank in the list of the object; 0 for those that are made here
    named: I4  # row in Names of the target that the object wrote, whoever defines it, or NONE

    def __len__(self) -> int:
        return len(self.atom)


class UnwindEntries(Record):
    """One row per function with unwind information; functions without have none.

    The personality is an atom and offset, or a name. `fde` is the atom of the DWARF description
    for functions that have no compact encoding, else NONE.
    """

    function: I4  # row in Atoms
    offset: I8  # of the function in the atom
    length: U4  # bytes
    encoding: U4  # compact_unwind_encoding_t, without personality index and LSDA bit
    personality: I4  # row in Atoms, or NONE
    personality_name: I4  # row in Names, or NONE
    personality_offset: I8
    lsda: I4  # row in Atoms, or NONE
    lsda_offset: I8
    fde: I4  # row in Atoms, or NONE

    @classmethod
    def none(cls) -> UnwindEntries:
        """Of no function."""
        row, offset, word = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.uint32)
        return cls(row, offset, word, word, row, row, offset, row, offset, row)

    def __len__(self) -> int:
        return len(self.function)
