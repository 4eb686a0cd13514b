"""Every table of the linker, declared once: columns, dtypes, units, and what indexes what.

A table is a record of NumPy arrays of equal length (columns). A row is named by its
index; row 0 of the symbol tables means "none", so that 0 can stand for a missing reference.
Passes take tables and return new ones; a column is never edited after its table is built.

`Memory`   all input bytes in one flat uint8 array, plus an append-only tail for bytes that the
           linker itself makes. Names and contents everywhere are (offset, size) into it.
`Objects`  one row per Go object file, in load order.
`Slots`    one row per symbol entry of every Go object: definitions and references alike. Many
           slots can stand for one symbol: `canon` leads to the slot that defines it.
`Symbols`  one row per live symbol (reached from the entry), in the order in which Go's linker
           numbers its symbols, then the symbols that the linker makes. Everything after the
           reach pass speaks of rows of this table.
`Relocs`   relocations of the live symbols, grouped by symbol.
`Auxes`    auxiliary symbols (pc tables, funcdata, ...) of the live functions, grouped by function.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arraytypes import I4 as I4
from pielink.arraytypes import I8 as I8
from pielink.arraytypes import U1 as U1
from pielink.arraytypes import U2 as U2
from pielink.arraytypes import U4 as U4
from pielink.arraytypes import U8 as U8
from pielink.arraytypes import Bool as Bool
from pielink.record import IntEnum, Record

ABI0, ABI_INTERNAL, STATIC = 0, 1, 0xFFFF  # Symbols.version; STATIC names are never looked up
NO_TARGET, UNREACHED = 0, -1  # Relocs.target


class Kind(IntEnum):
    """What a symbol is. The order is the order of layout: text, read-only, writable, zero-fill."""

    UNDEFINED = 0
    TEXT = 1
    TEXT_FIPS_START = 2
    TEXT_FIPS = 3
    TEXT_FIPS_END = 4
    TEXT_END = 5
    STUBS = 6
    STUB_HELPER = 7  # where a stub goes before its function is bound
    GO_STRING = 8
    FUNC_START = 9  # of releases with type links: the marker of read-only func values
    GC_BITS = 10
    RODATA = 11
    RODATA_FIPS_START = 12
    RODATA_FIPS = 13
    RODATA_FIPS_END = 14
    RODATA_END = 15
    TYPELINK = 16
    ITABLINK = 17
    PCLNTAB = 18
    RODATA_RELRO = 19
    TYPE = 20
    GO_FUNC = 21
    GOT_RELRO = 22
    FIRST_WRITABLE = 23
    BUILD_INFO = 24
    FIPS_INFO = 25
    MODULE_DATA = 26
    GOT = 27
    LAZY_POINTERS = 28  # where stubs jump to if they are bound at the first call
    NOPTR_DATA = 29
    NOPTR_DATA_FIPS_START = 30
    NOPTR_DATA_FIPS = 31
    NOPTR_DATA_FIPS_END = 32
    NOPTR_DATA_END = 33
    DATA = 34
    DATA_FIPS_START = 35
    DATA_FIPS = 36
    DATA_FIPS_END = 37
    DATA_END = 38
    BSS = 39
    NOPTR_BSS = 40
    GC_MASK = 41
    FUZZ_COUNTER = 42
    COVERAGE_COUNTER = 43
    COVERAGE_AUXVAR = 44
    TLS_BSS = 45
    FIRST_HOST_SECTION = 46  # from here on: sections that host objects name (hostsections.py)
    LAST_HOST_SECTION = 173
    FIRST_UNALLOCATED = 174
    DYNIMPORT = 175  # defined by a dylib
    HOST_OBJECT = 176  # declared by cgo, to be defined by a host object
    DWARF = 177


class Reloc(IntEnum):
    """Relocation types of Go objects for amd64 (cmd/internal/objabi/reloctype.go, Go 1.26/1.27)."""

    ADDR = 1
    ADDROFF = 5
    SIZE = 6
    CALL = 7
    CALLIND = 10
    CONST = 13
    PCREL = 14
    TLS_LE = 15
    TLS_IE = 16
    USEFIELD = 21
    USETYPE = 22
    USEIFACE = 23
    USEIFACEMETHOD = 24
    USENAMEDMETHOD = 25
    METHODOFF = 26
    KEEP = 27
    GOTPCREL = 29
    DWARFSECREF = 31
    DELTA = 240  # of host objects: target minus the target of the MINUS that follows
    MINUS = 241  # a marker
    TLV_OFFSET = 242  # of host objects: distance from the start of the thread-local template
    WEAK = 0x8000  # a flag or'ed to the type in objects; Relocs keeps it in a column of its own


class Aux(IntEnum):
    """Kinds of auxiliary symbols (cmd/internal/goobj/objfile.go)."""

    GOTYPE = 0
    FUNCINFO = 1
    FUNCDATA = 2
    DWARF_INFO = 3
    DWARF_LOC = 4
    DWARF_RANGES = 5
    DWARF_LINES = 6
    PCSP = 7
    PCFILE = 8
    PCLINE = 9
    PCINLINE = 10
    PCDATA = 11


# Symbol flags of Go objects (cmd/internal/goobj/objfile.go).
FLAG_DUPOK, FLAG_LOCAL, FLAG_TYPELINK, FLAG_LEAF = 1, 2, 4, 8
FLAG_NOSPLIT, FLAG_REFLECT_METHOD, FLAG_GO_TYPE = 16, 32, 64
FLAG2_USED_IN_IFACE, FLAG2_ITAB, FLAG2_DICT, FLAG2_PKG_INIT = 1, 2, 4, 8
FLAG2_LINKNAME = 16  # the flags above it differ between releases: see golang/release.py

# Blocks of a Go object that hold symbol entries, in file order: Slots.block.
BLOCK_DEF, BLOCK_HASHED64, BLOCK_HASHED, BLOCK_NONPKG_DEF, BLOCK_NONPKG_REF = range(5)


class Memory:
    """All bytes that the link can refer to, as one flat array.

    `bytes` is uint8 and has room at its end for what `add` appends; offsets stay valid for the
    life of the link. Reads past `used` give zeros, so that wide reads near the end are safe; so do
    the first eight bytes.
    """

    def __init__(self, flat: U1, used: int) -> None:
        self.bytes = flat
        self.used = used

    def add(self, content: bytes | U1, align: int = 8) -> int:
        """Append bytes made by the linker; return their offset, a multiple of `align`."""
        data = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content
        start = -(-self.used // align) * align
        if start + len(data) + 64 > len(self.bytes):
            raise MemoryError("the linker's own tables outgrew their reservation")
        self.bytes[start : start + len(data)] = data
        self.used = start + len(data)
        return start

    def add_names(self, names: Sequence[bytes]) -> I8:
        """Append names, one behind the other; return the offset of each."""
        start = self.add(b"".join(names), 1)
        ends = np.cumsum([start, *map(len, names)])
        return ends[:-1]

    def get(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`."""
        return self.bytes[offset : offset + size].tobytes()


class Objects(Record):
    """One row per Go object, in load order; row 0 stands for the linker itself."""

    base: I8  # offset in Memory of the object's header (its magic)
    flags: U4  # OBJ_* of formats.goobj
    blocks: I8  # shape (n, 19): offsets in Memory of the blocks, the last is the end
    package: list[str]  # import path
    file: list[str]  # "archive(member)", for messages
    library: I4  # row in the list of libraries (one archive each)
    first: I4  # slot of the object's first symbol entry

    def of(self, slots: I4) -> I8:
        """The row of the object that has these very entries."""
        row: I8 = np.searchsorted(self.first, slots, side="right") - 1
        return row


class Slots(Record):
    """One row per symbol entry of every Go object; row 0 is none.

    Slots of one object are contiguous, block after block. `canon[s]` is the slot that stands for
    the symbol (the first seen; its other columns are those of the definition that won), 0 for a
    builtin that nobody defines. The columns of slots that are not canonical are as in the file.
    What a slot refers to and contains, `Program` tells.
    """

    canon: I4
    object: I4  # row in Objects of the definition
    block: U1  # BLOCK_*
    name_offset: I8
    name_size: U4
    version: U2  # ABI0, ABI_INTERNAL, STATIC
    kind: U1  # Kind
    own_kind: U1  # Kind that this very entry gives, whoever won
    definition: I4  # the slot whose entry won, if not canonical the slot itself; 0: not defined
    flags: U1
    flags2: U1
    size: I8
    align: U4  # bytes, 0: by size
    order: I4  # Go's linker numbers symbols in this order; unique among canonical slots
    local: Bool  # of canonical slots: some entry has FLAG_LOCAL
    used_in_iface: Bool  # of canonical slots: some entry or reference has FLAG2_USED_IN_IFACE

    def lookable(self) -> Bool:
        """Which entries have a name that others can refer to."""
        found: Bool = (self.name_size > 0) & (self.version != STATIC)
        return found


class Symbols(Record):
    """One row per live symbol; row 0 is none. Rows ascend in Go's order of numbering."""

    slot: I4  # row in Slots; 0: made by the linker
    object: I4  # row in Objects; 0: made by the linker
    name_offset: I8
    name_size: U4
    version: U2  # ABI0, ABI_INTERNAL, STATIC
    kind: U1  # Kind
    flags: U1
    flags2: U1
    local: Bool
    size: I8  # bytes in the image; at least data_size
    align: U4  # bytes, 0: by size
    data_offset: I8
    data_size: I8
    reloc_start: I8  # row in Relocs; rows of one symbol are contiguous, offsets as in the object
    reloc_count: I8
    aux_start: I8  # row in Auxes
    aux_count: I8

    def __len__(self) -> int:
        return len(self.slot)


class Relocs(Record):
    """Relocations of live symbols. Markers (size 0) are gone, except CALLIND."""

    owner: I4  # row in Symbols
    offset: I4  # bytes from the start of the owner
    size: U1  # bytes
    type: U2  # Reloc
    weak: Bool
    addend: I8
    target: I4  # row in Symbols; NO_TARGET, or UNREACHED for a weak or METHODOFF reference

    def __len__(self) -> int:
        return len(self.owner)


class Auxes(Record):
    """Auxiliary symbols of live functions (GOTYPE and DWARF entries are left out)."""

    owner: I4  # row in Symbols
    type: U1  # Aux
    target: I4  # row in Symbols; 0: an empty entry, which still counts (funcdata)


class Segments(Record):
    """The segments of the image, in file order, as LC_SEGMENT_64 has them."""

    name: list[str]
    vmaddr: I8
    vmsize: I8
    fileoff: I8
    filesize: I8
    maxprot: U1
    initprot: U1
    flags: U4


class Sections(Record):
    """The sections, in the order of their ordinals (row 0 is section 1 of nlist's n_sect)."""

    segment: I4  # row in Segments
    name: list[str]
    address: I8
    size: I8
    offset: I8  # in the file; 0 for zero-fill
    align: I8  # bytes, a power of two
    flags: U4
    reserved1: U4  # index of the first entry in the indirect symbol table
    reserved2: U4  # size of a stub


class Layout(Record):
    """Where everything is. Addresses are unslid."""

    segments: Segments
    sections: Sections
    address: I8  # of each row of Symbols; 0 if it is not in the image
    section: U1  # ordinal (1-based) of each row of Symbols; 0 if it is not in the image


class Fixups(Record):
    """Words that dyld must change: rebase rows and bind rows, sorted by address."""

    rebase_address: I8
    bind_address: I8
    bind_symbol: I4  # row in Symbols, of kind DYNIMPORT
    bind_addend: I8
    weak_address: I8  # of those words the ones that are bound weakly, too
    weak_symbol: I4  # row in Symbols
    weak_addend: I8


class Imports(Record):
    """What comes from dylibs: one row per symbol of kind DYNIMPORT."""

    symbol: I4  # row in Symbols, ascending
    name: list[bytes]  # as dyld knows it, with the leading underscore
    ordinal: I4  # 1-based row of `dylibs`; or a BIND_SPECIAL_DYLIB_*
    weak: Bool  # may be missing at run time
    dylibs: list[str]  # install names, in load order
