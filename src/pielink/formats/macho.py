"""Mach-O: the constants and on-disk structures, with the names of Apple's headers.

A 64-bit Mach-O file is a `mach_header_64`, then `ncmds` load commands back to back (each starts
with cmd and cmdsize, a multiple of 8), then the contents that the commands point at. A segment
command is followed by its `section_64` records. Everything is little-endian here.

Source: <mach-o/loader.h>, <mach-o/nlist.h>, <mach-o/reloc.h>, <mach-o/x86_64/reloc.h>,
<mach-o/arm64/reloc.h>, <mach-o/fixup-chains.h>, <mach/machine.h>, and xnu's cs_blobs.h.
"""

from __future__ import annotations

import numpy as np

MH_MAGIC_64 = 0xFEEDFACF
FAT_MAGIC = 0xCAFEBABE  # big-endian on disk
FAT_MAGIC_64 = 0xCAFEBABF

CPU_ARCH_ABI64 = 0x01000000
CPU_TYPE_X86_64 = 7 | CPU_ARCH_ABI64
CPU_TYPE_ARM64 = 12 | CPU_ARCH_ABI64
CPU_SUBTYPE_X86_64_ALL = 3
CPU_SUBTYPE_ARM64_ALL = 0
CPU_SUBTYPE_ARM64E = 2

MH_OBJECT, MH_EXECUTE, MH_DYLIB, MH_DYLINKER, MH_BUNDLE, MH_DYLIB_STUB = 1, 2, 6, 7, 8, 9

MH_NOUNDEFS = 0x1
MH_DYLDLINK = 0x4
MH_TWOLEVEL = 0x80
MH_FORCE_FLAT = 0x100
MH_SUBSECTIONS_VIA_SYMBOLS = 0x2000
MH_WEAK_DEFINES = 0x8000
MH_BINDS_TO_WEAK = 0x10000
MH_NO_REEXPORTED_DYLIBS = 0x100000
MH_PIE = 0x200000
MH_HAS_TLV_DESCRIPTORS = 0x800000

LC_REQ_DYLD = 0x80000000
LC_SEGMENT_64 = 0x19
LC_SYMTAB = 0x2
LC_UNIXTHREAD = 0x5
LC_DYSYMTAB = 0xB
LC_LOAD_DYLIB = 0xC
LC_ID_DYLIB = 0xD
LC_LOAD_DYLINKER = 0xE
LC_SUB_FRAMEWORK = 0x12
LC_LOAD_WEAK_DYLIB = 0x18 | LC_REQ_DYLD
LC_UUID = 0x1B
LC_RPATH = 0x1C | LC_REQ_DYLD
LC_CODE_SIGNATURE = 0x1D
LC_SEGMENT_SPLIT_INFO = 0x1E
LC_REEXPORT_DYLIB = 0x1F | LC_REQ_DYLD
LC_LAZY_LOAD_DYLIB = 0x20
LC_DYLD_INFO = 0x22
LC_DYLD_INFO_ONLY = 0x22 | LC_REQ_DYLD
LC_LOAD_UPWARD_DYLIB = 0x23 | LC_REQ_DYLD
LC_VERSION_MIN_MACOSX = 0x24
LC_FUNCTION_STARTS = 0x26
LC_DYLD_ENVIRONMENT = 0x27
LC_MAIN = 0x28 | LC_REQ_DYLD
LC_DATA_IN_CODE = 0x29
LC_SOURCE_VERSION = 0x2A
LC_LINKER_OPTION = 0x2D
LC_BUILD_VERSION = 0x32
LC_DYLD_EXPORTS_TRIE = 0x33 | LC_REQ_DYLD
LC_DYLD_CHAINED_FIXUPS = 0x34 | LC_REQ_DYLD

PLATFORM_MACOS = 1

VM_PROT_READ, VM_PROT_WRITE, VM_PROT_EXECUTE = 1, 2, 4
SG_READ_ONLY = 0x10

SECTION_TYPE = 0xFF
S_REGULAR = 0x0
S_ZEROFILL = 0x1
S_CSTRING_LITERALS = 0x2
S_4BYTE_LITERALS = 0x3
S_8BYTE_LITERALS = 0x4
S_LITERAL_POINTERS = 0x5
S_NON_LAZY_SYMBOL_POINTERS = 0x6
S_LAZY_SYMBOL_POINTERS = 0x7
S_SYMBOL_STUBS = 0x8
S_MOD_INIT_FUNC_POINTERS = 0x9
S_MOD_TERM_FUNC_POINTERS = 0xA
S_COALESCED = 0xB
S_GB_ZEROFILL = 0xC
S_16BYTE_LITERALS = 0xE
S_THREAD_LOCAL_REGULAR = 0x11
S_THREAD_LOCAL_ZEROFILL = 0x12
S_THREAD_LOCAL_VARIABLES = 0x13
S_THREAD_LOCAL_VARIABLE_POINTERS = 0x14
S_THREAD_LOCAL_INIT_FUNCTION_POINTERS = 0x15
S_INIT_FUNC_OFFSETS = 0x16
S_ATTR_PURE_INSTRUCTIONS = 0x80000000
S_ATTR_NO_DEAD_STRIP = 0x10000000
S_ATTR_LIVE_SUPPORT = 0x08000000
S_ATTR_DEBUG = 0x02000000
S_ATTR_SOME_INSTRUCTIONS = 0x00000400
S_ATTR_EXT_RELOC = 0x00000200
S_ATTR_LOC_RELOC = 0x00000100

N_STAB, N_PEXT, N_TYPE, N_EXT = 0xE0, 0x10, 0x0E, 0x01
N_UNDF, N_ABS, N_INDR, N_SECT = 0x0, 0x2, 0xA, 0xE
NO_SECT, MAX_SECT = 0, 255
REFERENCE_FLAG_UNDEFINED_NON_LAZY, REFERENCE_FLAG_UNDEFINED_LAZY = 0, 1
N_NO_DEAD_STRIP = 0x20
N_WEAK_REF = 0x40
N_WEAK_DEF = 0x80
N_ALT_ENTRY = 0x200
SELF_LIBRARY_ORDINAL, EXECUTABLE_ORDINAL, DYNAMIC_LOOKUP_ORDINAL = 0x00, 0xFF, 0xFE

INDIRECT_SYMBOL_LOCAL, INDIRECT_SYMBOL_ABS = 0x80000000, 0x40000000

BIND_SPECIAL_DYLIB_SELF = 0
BIND_SPECIAL_DYLIB_MAIN_EXECUTABLE = -1
BIND_SPECIAL_DYLIB_FLAT_LOOKUP = -2
BIND_SPECIAL_DYLIB_WEAK_LOOKUP = -3

# Rebase opcodes: the high nibble is the opcode, the low one its immediate.
REBASE_TYPE_POINTER = 1
REBASE_TYPE_TEXT_ABSOLUTE32 = 2
REBASE_TYPE_TEXT_PCREL32 = 3
REBASE_OPCODE_DONE = 0x00
REBASE_OPCODE_SET_TYPE_IMM = 0x10
REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB = 0x20
REBASE_OPCODE_ADD_ADDR_ULEB = 0x30
REBASE_OPCODE_ADD_ADDR_IMM_SCALED = 0x40
REBASE_OPCODE_DO_REBASE_IMM_TIMES = 0x50
REBASE_OPCODE_DO_REBASE_ULEB_TIMES = 0x60
REBASE_OPCODE_DO_REBASE_ADD_ADDR_ULEB = 0x70
REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB = 0x80

BIND_TYPE_POINTER = 1
BIND_TYPE_TEXT_ABSOLUTE32 = 2
BIND_TYPE_TEXT_PCREL32 = 3
BIND_SYMBOL_FLAGS_WEAK_IMPORT = 0x1
BIND_SYMBOL_FLAGS_NON_WEAK_DEFINITION = 0x8
BIND_OPCODE_DONE = 0x00
BIND_OPCODE_SET_DYLIB_ORDINAL_IMM = 0x10
BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB = 0x20
BIND_OPCODE_SET_DYLIB_SPECIAL_IMM = 0x30
BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM = 0x40
BIND_OPCODE_SET_TYPE_IMM = 0x50
BIND_OPCODE_SET_ADDEND_SLEB = 0x60
BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB = 0x70
BIND_OPCODE_ADD_ADDR_ULEB = 0x80
BIND_OPCODE_DO_BIND = 0x90
BIND_OPCODE_DO_BIND_ADD_ADDR_ULEB = 0xA0
BIND_OPCODE_DO_BIND_ADD_ADDR_IMM_SCALED = 0xB0
BIND_OPCODE_DO_BIND_ULEB_TIMES_SKIPPING_ULEB = 0xC0
BIND_OPCODE_THREADED = 0xD0  # the immediate is a sub-opcode
BIND_SUBOPCODE_THREADED_SET_BIND_ORDINAL_TABLE_SIZE_ULEB = 0x00
BIND_SUBOPCODE_THREADED_APPLY = 0x01

EXPORT_SYMBOL_FLAGS_KIND_MASK = 0x03
EXPORT_SYMBOL_FLAGS_KIND_REGULAR = 0x00
EXPORT_SYMBOL_FLAGS_KIND_THREAD_LOCAL = 0x01
EXPORT_SYMBOL_FLAGS_KIND_ABSOLUTE = 0x02
EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION = 0x04
EXPORT_SYMBOL_FLAGS_REEXPORT = 0x08
EXPORT_SYMBOL_FLAGS_STUB_AND_RESOLVER = 0x10
EXPORT_SYMBOL_FLAGS_FUNCTION_VARIANT = 0x20

DYLD_CHAINED_PTR_START_NONE = 0xFFFF  # a page without fixups
DYLD_CHAINED_PTR_START_MULTI = 0x8000
DYLD_CHAINED_PTR_ARM64E = 1
DYLD_CHAINED_PTR_64 = 2
DYLD_CHAINED_PTR_64_OFFSET = 6
DYLD_CHAINED_PTR_ARM64E_KERNEL = 7
DYLD_CHAINED_PTR_ARM64E_USERLAND = 9
DYLD_CHAINED_PTR_ARM64E_FIRMWARE = 10
DYLD_CHAINED_PTR_ARM64E_USERLAND24 = 12
DYLD_CHAINED_IMPORT = 1
DYLD_CHAINED_IMPORT_ADDEND = 2
DYLD_CHAINED_IMPORT_ADDEND64 = 3

X86_64_RELOC_UNSIGNED = 0
X86_64_RELOC_SIGNED = 1
X86_64_RELOC_BRANCH = 2
X86_64_RELOC_GOT_LOAD = 3
X86_64_RELOC_GOT = 4
X86_64_RELOC_SUBTRACTOR = 5
X86_64_RELOC_SIGNED_1 = 6
X86_64_RELOC_SIGNED_2 = 7
X86_64_RELOC_SIGNED_4 = 8
X86_64_RELOC_TLV = 9

MACH_HEADER_64 = np.dtype(
    [
        ("magic", "<u4"),
        ("cputype", "<u4"),
        ("cpusubtype", "<u4"),
        ("filetype", "<u4"),
        ("ncmds", "<u4"),
        ("sizeofcmds", "<u4"),
        ("flags", "<u4"),
        ("reserved", "<u4"),
    ]
)
LOAD_COMMAND = np.dtype([("cmd", "<u4"), ("cmdsize", "<u4")])
SEGMENT_COMMAND_64 = np.dtype(
    [
        ("cmd", "<u4"),
        ("cmdsize", "<u4"),
        ("segname", "S16"),
        ("vmaddr", "<u8"),
        ("vmsize", "<u8"),
        ("fileoff", "<u8"),
        ("filesize", "<u8"),
        ("maxprot", "<i4"),
        ("initprot", "<i4"),
        ("nsects", "<u4"),
        ("flags", "<u4"),
    ]
)
SECTION_64 = np.dtype(
    [
        ("sectname", "S16"),
        ("segname", "S16"),
        ("addr", "<u8"),
        ("size", "<u8"),
        ("offset", "<u4"),
        ("align", "<u4"),  # a power of two: 4 means 16 bytes
        ("reloff", "<u4"),
        ("nreloc", "<u4"),
        ("flags", "<u4"),
        ("reserved1", "<u4"),  # indirect symbol index
        ("reserved2", "<u4"),  # stub size
        ("reserved3", "<u4"),
    ]
)
SYMTAB_COMMAND = np.dtype(
    [(n, "<u4") for n in ("cmd", "cmdsize", "symoff", "nsyms", "stroff", "strsize")]
)
DYSYMTAB_COMMAND = np.dtype(
    [
        (n, "<u4")
        for n in (
            *("cmd", "cmdsize", "ilocalsym", "nlocalsym", "iextdefsym", "nextdefsym"),
            *("iundefsym", "nundefsym", "tocoff", "ntoc", "modtaboff", "nmodtab"),
            *("extrefsymoff", "nextrefsyms", "indirectsymoff", "nindirectsyms"),
            *("extreloff", "nextrel", "locreloff", "nlocrel"),
        )
    ]
)
DYLD_INFO_COMMAND = np.dtype(
    [
        (n, "<u4")
        for n in (
            *("cmd", "cmdsize", "rebase_off", "rebase_size", "bind_off", "bind_size"),
            *("weak_bind_off", "weak_bind_size", "lazy_bind_off", "lazy_bind_size"),
            *("export_off", "export_size"),
        )
    ]
)
LINKEDIT_DATA_COMMAND = np.dtype([(n, "<u4") for n in ("cmd", "cmdsize", "dataoff", "datasize")])
ENTRY_POINT_COMMAND = np.dtype(
    [("cmd", "<u4"), ("cmdsize", "<u4"), ("entryoff", "<u8"), ("stacksize", "<u8")]
)
BUILD_VERSION_COMMAND = np.dtype(
    [(n, "<u4") for n in ("cmd", "cmdsize", "platform", "minos", "sdk", "ntools")]
)
DYLIB_COMMAND = np.dtype(
    [
        (n, "<u4")
        for n in (
            *("cmd", "cmdsize", "name", "timestamp"),
            *("current_version", "compatibility_version"),
        )
    ]
)
DYLD_CHAINED_FIXUPS_HEADER = np.dtype(
    [
        (n, "<u4")
        for n in (
            *("fixups_version", "starts_offset", "imports_offset", "symbols_offset"),
            *("imports_count", "imports_format", "symbols_format"),
        )
    ]
)
# Followed by page_count times u2 page_start; `size` counts both.
DYLD_CHAINED_STARTS_IN_SEGMENT = np.dtype(
    [
        ("size", "<u4"),
        ("page_size", "<u2"),
        ("pointer_format", "<u2"),
        ("segment_offset", "<u8"),
        ("max_valid_pointer", "<u4"),
        ("page_count", "<u2"),
    ]
)
UUID_COMMAND = np.dtype([("cmd", "<u4"), ("cmdsize", "<u4"), ("uuid", "V16")])
SOURCE_VERSION_COMMAND = np.dtype([("cmd", "<u4"), ("cmdsize", "<u4"), ("version", "<u8")])
NLIST_64 = np.dtype(
    [("n_strx", "<u4"), ("n_type", "u1"), ("n_sect", "u1"), ("n_desc", "<u2"), ("n_value", "<u8")]
)
# r_info packs symbolnum:24, pcrel:1, length:2, extern:1, type:4 from the low bits up.
RELOCATION_INFO = np.dtype([("r_address", "<i4"), ("r_info", "<u4")])
FAT_HEADER = np.dtype([("magic", ">u4"), ("nfat_arch", ">u4")])
FAT_ARCH = np.dtype([(n, ">u4") for n in ("cputype", "cpusubtype", "offset", "size", "align")])
FAT_ARCH_64 = np.dtype(
    [
        ("cputype", ">u4"),
        ("cpusubtype", ">u4"),
        ("offset", ">u8"),
        ("size", ">u8"),
        ("align", ">u4"),
        ("reserved", ">u4"),
    ]
)
LINKER_OPTION_COMMAND = np.dtype([(n, "<u4") for n in ("cmd", "cmdsize", "count")])
VERSION_MIN_COMMAND = np.dtype([(n, "<u4") for n in ("cmd", "cmdsize", "version", "sdk")])
DATA_IN_CODE_ENTRY = np.dtype([("offset", "<u4"), ("length", "<u2"), ("kind", "<u2")])
DYLINKER_COMMAND = np.dtype([(n, "<u4") for n in ("cmd", "cmdsize", "name")])
X86_THREAD_STATE64 = 4
X86_THREAD_STATE64_REGISTERS = (
    *("rax", "rbx", "rcx", "rdx", "rdi", "rsi", "rbp", "rsp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
    *("rip", "rflags", "cs", "fs", "gs"),
)
UNIXTHREAD_COMMAND_X86_64 = np.dtype(
    [
        *((n, "<u4") for n in ("cmd", "cmdsize", "flavor", "count")),  # count: 32-bit words
        *((n, "<u8") for n in X86_THREAD_STATE64_REGISTERS),
    ]
)
