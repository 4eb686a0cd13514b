"""amd64: what each Go relocation puts into the image, stub bytes, page and alignment figures.

Source: cmd/link/internal/amd64 (l.go, obj.go, asm.go), ld/macho.go and ld/sym.go of Go 1.26 and
1.27; the instruction encodings are those of the Intel manual, volume 2.
"""

from __future__ import annotations

import numpy as np

from pielink.formats import macho
from pielink.record import IntEnum
from pielink.tables import U1, Reloc

CPU_TYPE = macho.CPU_TYPE_X86_64
CPU_SUBTYPE = macho.CPU_SUBTYPE_X86_64_ALL

POINTER_SIZE = 8
PAGE_SIZE = 4096
HEADER_ROOM = 4096  # bytes kept at the start of __TEXT for the header and the load commands
BASE_ADDRESS = 0x1000000  # of __TEXT, and so the size of __PAGEZERO, unless -T says otherwise
FUNCTION_ALIGN = 32  # bytes
CODE_PADDING = 0xCC  # INT3: falling into the gap between two functions traps
TLS_OFFSET = 0x30  # of Go's g from the thread's GS base: a pthread key that the runtime reserves

ENTRY_SYMBOL = "_rt0_amd64_darwin"

LIBSYSTEM = "/usr/lib/libSystem.B.dylib"
# libSystem has two forms of these functions for amd64; "$INODE64" is that with 64-bit inodes.
INODE64_NAMES = frozenset((b"_fdopendir", b"_readdir_r", b"_getfsstat"))

# jmpq *disp32(%rip): the displacement of the pointer, from the end of the instruction.
STUB = b"\xff\x25\x00\x00\x00\x00"
STUB_SIZE, STUB_DISPLACEMENT = 6, 2

# The stub helper, which stubs lead to until dyld_stub_binder has bound them. Header:
# lea private(%rip), %r11; push %r11; jmpq *binder(%rip); nop. Entry: push $imm32; jmp header.
HELPER_HEADER = b"\x4c\x8d\x1d\0\0\0\0\x41\x53\xff\x25\0\0\0\0\x90"
HELPER_HEADER_SIZE, HELPER_PRIVATE_AT, HELPER_BINDER_AT = 16, 3, 11
HELPER_ENTRY = b"\x68\0\0\0\0\xe9\0\0\0\0"
HELPER_ENTRY_SIZE, HELPER_PUSH_AT, HELPER_JUMP_AT = 10, 1, 6

# lea disp32(%rip), reg and mov disp32(%rip), reg differ in the opcode, two bytes before disp32.
OPCODE_BEFORE_DISPLACEMENT = 2
OPCODE_LEA, OPCODE_MOV_LOAD = 0x8D, 0x8B


class Formula(IntEnum):
    """What a relocation stores, with S the target's address, A the addend, P the place."""

    NONE = 0  # not a relocation of this architecture, or one that internal linking cannot do
    ABSOLUTE = 1  # S + A
    PC_RELATIVE = 2  # S + A - (P + size): the CPU counts from the end of the instruction
    SECTION_OFFSET = 3  # S + A - address of the target's section
    TARGET_SIZE = 4  # size of the target + A
    CONSTANT = 5  # A
    TLS = 6  # TLS_OFFSET + A
    DIFFERENCE = 7  # S + A - the target of the relocation that follows
    TLV_OFFSET = 8  # S + A - start of the thread-local template


FORMULAS = {
    Reloc.ADDR: Formula.ABSOLUTE,
    Reloc.ADDROFF: Formula.SECTION_OFFSET,
    Reloc.METHODOFF: Formula.SECTION_OFFSET,
    Reloc.DWARFSECREF: Formula.SECTION_OFFSET,
    Reloc.SIZE: Formula.TARGET_SIZE,
    Reloc.CALL: Formula.PC_RELATIVE,
    Reloc.PCREL: Formula.PC_RELATIVE,
    Reloc.GOTPCREL: Formula.PC_RELATIVE,
    Reloc.CONST: Formula.CONSTANT,
    Reloc.TLS_LE: Formula.TLS,
    Reloc.DELTA: Formula.DIFFERENCE,
    Reloc.TLV_OFFSET: Formula.TLV_OFFSET,
}


def formula_table(size: int = 256) -> U1:
    """Formula of each relocation type, as an array indexed by the type."""
    table = np.zeros(size, np.uint8)
    table[[int(t) for t in FORMULAS]] = [int(f) for f in FORMULAS.values()]
    return table
