"""Damages of the entry point, initializers, thread-locals, the code signature and fat headers."""

from __future__ import annotations

import struct

from chained_program import append
from damages import Damage
from macho_edit import Edit

from pielink.formats import macho as m

INITIALIZERS, VARIABLES = "__DATA_CONST,__mod_init_func", "__DATA,__thread_vars"


def thread_state(edit: Edit, at: int, value: int, form: str = "<I") -> None:
    """Write a field at offset `at` of LC_UNIXTHREAD."""
    edit.write(edit.command_at(m.LC_UNIXTHREAD) + at, struct.pack(form, value))


def address(edit: Edit, section: str) -> int:
    """The address of a section."""
    return int(edit.section_row(section)["addr"])


def unix_thread(flavor: int, words: int) -> bytes:
    """An LC_UNIXTHREAD of zeros."""
    return struct.pack("<4I", m.LC_UNIXTHREAD, 16 + 4 * words, flavor, words) + bytes(4 * words)


ENTRY = [
    Damage("entry-once", "go", lambda e: e.remove(m.LC_UNIXTHREAD)),
    Damage("entry-once", "go", lambda e: e.repeat(m.LC_UNIXTHREAD)),
    Damage("entry-once", "c", lambda e: e.insert(unix_thread(4, 42))),
    Damage("entry-thread-state", "go", lambda e: thread_state(e, 8, 1)),
    Damage("entry-thread-state", "go", lambda e: thread_state(e, 12, 40)),
    Damage("entry-main-arm64", "c-arm64", lambda e: e.insert(unix_thread(6, 68))),
    Damage("entry-range", "go", lambda e: thread_state(e, 16 + 8 * 16, 0, "<Q")),
    Damage(
        "entry-range",
        "go",
        lambda e: thread_state(e, 16 + 8 * 16, address(e, "__DATA,__data"), "<Q"),
    ),
    Damage("entry-range", "c", lambda e: e.command(m.LC_MAIN, entryoff=1 << 40)),
    Damage("entry-range", "c", lambda e: e.command(m.LC_MAIN, entryoff=0x81000)),
    Damage("entry-stack-size", "c", lambda e: e.command(m.LC_MAIN, stacksize=(1 << 64) - 1)),
]


def drop_rebases(edit: Edit) -> None:
    """Leave the rebase stream without any rebase."""
    edit.stream("rebase", b"\x11\0")


INITIALIZER = [
    Damage("initializer-section", "c", lambda e: e.section(INITIALIZERS, size=7)),
    Damage("initializer-section", "c", lambda e: e.section(INITIALIZERS, addr=lambda o: o - 4)),
    Damage(
        "initializer-target",
        "c",
        lambda e: e.word(address(e, INITIALIZERS), address(e, "__DATA,__data")),
    ),
    Damage("initializer-fixup", "c", drop_rebases),
    Damage(
        "initializer-fixup",
        "c",
        lambda e: e.section("__DATA,__bss", flags=m.S_MOD_TERM_FUNC_POINTERS),
    ),
    Damage(
        "init-offsets-section",
        "c",
        lambda e: e.section("__DATA,__const", flags=m.S_INIT_FUNC_OFFSETS),
    ),
    Damage(
        "init-offsets-section",
        "c",
        lambda e: e.section("__TEXT,__unwind_info", flags=m.S_INIT_FUNC_OFFSETS, size=6),
    ),
    Damage(
        "init-offsets-target",
        "c",
        lambda e: [
            e.section("__TEXT,__unwind_info", flags=m.S_INIT_FUNC_OFFSETS, size=4),
            e.word(address(e, "__TEXT,__unwind_info"), 0x90000, 4),
        ],
    ),
]

THREAD_LOCAL = [
    Damage("thread-local-size", "c", lambda e: e.section(VARIABLES, size=100)),
    Damage("thread-local-offset", "c", lambda e: e.word(address(e, VARIABLES) + 24 + 16, 0x50000)),
    Damage(
        "thread-local-template",
        "c",
        lambda e: e.section("__DATA,__const", flags=m.S_THREAD_LOCAL_REGULAR),
    ),
    Damage("thread-local-thunk", "c", lambda e: e.stream("bind", b"\x11\0")),
    Damage(
        "thread-local-flag",
        "c",
        lambda e: e.header(flags=lambda old: old & ~m.MH_HAS_TLV_DESCRIPTORS),
    ),
]


def sign(edit: Edit, at: int, value: int, form: str = ">I") -> None:
    """Write a big-endian field at offset `at` of the code signature."""
    start, _ = edit.linkedit(m.LC_CODE_SIGNATURE)
    edit.write(start + at, struct.pack(form, value))


def directory(edit: Edit, at: int, value: int, form: str = ">I") -> None:
    """Write a field at offset `at` of the first blob of the signature, the code directory."""
    start, _ = edit.linkedit(m.LC_CODE_SIGNATURE)
    sign(edit, struct.unpack_from(">I", edit.data, start + 16)[0] + at, value, form)


def two_directories(edit: Edit) -> None:
    """Put the same code directory into an alternate slot as well."""
    start, size = edit.linkedit(m.LC_CODE_SIGNATURE)
    raw = bytes(edit.data[start : start + size])
    at = struct.unpack_from(">I", raw, 16)[0]
    blob = raw[at : at + struct.unpack_from(">I", raw, at + 4)[0]]
    index = struct.pack(">4I", 0, 28, 0x1000, 28)
    made = struct.pack(">3I", 0xFADE0CC0, 28 + len(blob), 2) + index + blob
    offset = append(edit, made)
    edit.command(m.LC_CODE_SIGNATURE, dataoff=offset, datasize=len(made))


def flip(edit: Edit, at: int) -> None:
    """Invert a byte."""
    edit.data[at] ^= 0xFF


SIGNATURE = [
    Damage("signature-present", "go-arm64", lambda e: e.remove(m.LC_CODE_SIGNATURE)),
    Damage("signature-blob", "go-arm64", lambda e: sign(e, 0, 0xFADE0CC1)),
    Damage("signature-blob", "go-arm64", lambda e: sign(e, 4, 1 << 30)),
    Damage("signature-blob", "go-arm64", lambda e: sign(e, 8, 1 << 30)),
    Damage("signature-blob", "go-arm64", lambda e: sign(e, 16, 1 << 30)),
    Damage("signature-blob", "go-arm64", lambda e: directory(e, 4, 1 << 30)),
    Damage("signature-directory", "go-arm64", lambda e: sign(e, 12, 5)),
    Damage("signature-directory", "c-arm64", two_directories),
    Damage("signature-directory-magic", "go-arm64", lambda e: directory(e, 0, 0xFADE0C01)),
    Damage("signature-directory-magic", "go-arm64", lambda e: directory(e, 4, 20)),
    Damage("signature-page-size", "go-arm64", lambda e: directory(e, 39, 13, ">B")),
    Damage("signature-hash-type", "go-arm64", lambda e: directory(e, 37, 9, ">B")),
    Damage("signature-hash-type", "c-arm64", lambda e: directory(e, 36, 20, ">B")),
    Damage("signature-slots", "go-arm64", lambda e: directory(e, 28, 1 << 20)),
    Damage("signature-slots", "go-arm64", lambda e: directory(e, 24, 1 << 20)),
    Damage("signature-slots", "go-arm64", lambda e: directory(e, 16, 1 << 30)),
    Damage("signature-identifier", "go-arm64", lambda e: directory(e, 20, 1 << 30)),
    Damage("signature-limit", "go-arm64", lambda e: directory(e, 32, 0x1000)),
    Damage("signature-limit", "c-arm64", lambda e: directory(e, 28, 3)),
    Damage("signature-page-hash", "go-arm64", lambda e: flip(e, 0x3000)),
    Damage(
        "signature-page-hash", "c-arm64", lambda e: flip(e, e.linkedit(m.LC_CODE_SIGNATURE)[0] - 1)
    ),
    Damage("signature-page-hash", "c-arm64", lambda e: flip(e, len(e.data) - 40)),
    Damage("signature-exec-segment", "go-arm64", lambda e: directory(e, 72, 0x1234, ">Q")),
    Damage("signature-exec-segment", "c-arm64", lambda e: directory(e, 80, 0, ">Q")),
    Damage("signature-last", "go-arm64", lambda e: e.data.extend(bytes(8))),
]


def slice_field(edit: Edit, index: int, field: int, value: int) -> None:
    """Write a field of a fat_arch: cputype, cpusubtype, offset, size, align."""
    edit.write(8 + 20 * index + 4 * field, struct.pack(">I", value))


FAT = [
    Damage("fat-header", "fat", lambda e: e.write(4, struct.pack(">I", 1 << 30))),
    Damage("fat-header", "fat", lambda e: slice_field(e, 1, 3, 1 << 30)),
    Damage("fat-header", "fat", lambda e: slice_field(e, 0, 2, 0xFFFFFF00)),
    Damage("fat-architecture", "fat", lambda e: slice_field(e, 0, 0, m.CPU_TYPE_ARM64)),
    Damage("fat-alignment", "fat", lambda e: slice_field(e, 1, 2, 0x5000)),
    Damage("fat-duplicate", "fat", lambda e: slice_field(e, 1, 0, m.CPU_TYPE_X86_64)),
    Damage("fat-overlap", "fat", lambda e: slice_field(e, 1, 2, 0x4000)),
    Damage("signature-page-hash", "fat", lambda e: flip(e, len(e.data) - 0x4000)),
]

DAMAGES = ENTRY + INITIALIZER + THREAD_LOCAL + SIGNATURE + FAT
