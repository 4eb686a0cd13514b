"""A malformed program ends `pielink run` with one clear error, whatever is wrong with it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from chained_program import chained
from emulator_programs import c_program, go_program, pielink_run
from macho_edit import Edit

from pielink.emulator import run
from pielink.emulator.process import Process
from pielink.errors import FormatError, PielinkError
from pielink.formats import macho

MUTANTS = 250


def damaged(tmp_path: Path, change: Callable[[Edit], None], program: Path | None = None) -> Path:
    """A copy of a program after `change`."""
    edit = Edit((program or go_program("run_process")).read_bytes())
    change(edit)
    path = tmp_path / "damaged"
    path.write_bytes(bytes(edit.data))
    return path


def stream(name: str, code: bytes) -> Callable[[Edit], None]:
    """Put opcodes at the beginning of one of the streams of LC_DYLD_INFO."""

    def change(edit: Edit) -> None:
        command = edit.command_at(macho.LC_DYLD_INFO_ONLY)
        position = {"rebase": 8, "bind": 16, "lazy_bind": 32, "export": 40}[name]
        offset, size = struct.unpack_from("<II", edit.data, command + position)
        assert len(code) <= size
        edit.data[offset : offset + len(code)] = code

    return change


STREAMS = {
    "unknown opcode 0xf0": stream("rebase", b"\xf0"),
    "fixup before any segment": stream("rebase", b"\x11\x51"),
    "segment index 9": stream("rebase", b"\x11\x29\x00"),
    "which is not writable": stream("rebase", b"\x11\x21\x00\x51"),
    "fixup outside": stream("rebase", b"\x11\x23\xff\xff\xff\xff\x0f\x51"),
    "more than 64 bits": stream("rebase", b"\x11\x23" + b"\xff" * 11),
    "rebase type 2": stream("rebase", b"\x12\x23\x00\x51"),
    "rebase type 3": stream("rebase", b"\x13\x23\x00\x51"),
    "bind before any symbol": stream("bind", b"\x11\x51\x73\x00\x90"),
    "unknown opcode 0xd0": stream("bind", b"\xd0"),
    "bind type 2": stream("bind", b"\x11\x40x\0\x52\x73\x00\x90"),
    "names library ordinal 15": stream("bind", b"\x1f\x40x\0\x51\x73\x00\x90"),
}


@pytest.mark.parametrize("message", STREAMS)
def test_bad_opcodes(message: str, tmp_path: Path) -> None:
    with pytest.raises(PielinkError, match=message) as caught:
        run(damaged(tmp_path, STREAMS[message]))
    assert "damaged" in str(caught.value)


def put(at: int, layout: str, value: int) -> Callable[[Edit], None]:
    """Store a number at a file offset."""
    return lambda edit: struct.pack_into(layout, edit.data, at, value)


def in_command(cmd: int, at: int, layout: str, value: int) -> Callable[[Edit], None]:
    """Store a number at an offset in a load command."""
    return lambda edit: struct.pack_into(layout, edit.data, edit.command_at(cmd) + at, value)


HEADERS = {
    "magic 0xfeedface": put(0, "<I", 0xFEEDFACE),
    "arm64 programs": put(4, "<I", macho.CPU_TYPE_ARM64),
    "not an executable": put(12, "<I", macho.MH_DYLIB),
    "overrun sizeofcmds": put(16, "<I", 10_000),
    "past the end of the file": put(20, "<I", 1 << 30),
    "bad size 4": put(36, "<I", 4),
    "sections overrun": in_command(macho.LC_SEGMENT_64, 64, "<I", 1000),
    "string outside its load command": in_command(macho.LC_LOAD_DYLIB, 8, "<I", 4096),
    "symbol table lies past": in_command(macho.LC_SYMTAB, 12, "<I", 1 << 27),
    "rebase info lies past": in_command(macho.LC_DYLD_INFO_ONLY, 12, "<I", 1 << 31),
    "thread command too short": in_command(macho.LC_UNIXTHREAD, 12, "<I", 2),
    "no entry point": in_command(macho.LC_UNIXTHREAD, 0, "<I", macho.LC_SOURCE_VERSION),
}


@pytest.mark.parametrize("message", HEADERS)
def test_bad_headers(message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        run(damaged(tmp_path, HEADERS[message]))
    assert "damaged" in str(caught.value)


def test_a_truncated_program(tmp_path: Path) -> None:
    data = go_program("run_process").read_bytes()
    for size in (0, 3, 31, 100, 2000, len(data) // 2):
        path = tmp_path / f"short{size}"
        path.write_bytes(data[:size])
        ran = pielink_run(path)
        assert ran.status == 1
        assert path.name in ran.err
        assert "Traceback" not in ran.err


def mutants(data: bytes, seed: int, count: int) -> list[bytes]:
    """Copies with a few bytes changed in the header and in `__LINKEDIT`."""
    source = random.Random(seed)
    edit = Edit(data)
    linkedit = next(s for s in edit.file.segments if bytes(s["segname"]) == b"__LINKEDIT")
    start, end = int(linkedit["fileoff"]), len(data)
    header = 32 + struct.unpack_from("<I", data, 20)[0]
    made = []
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(source.randint(1, 4)):
            low, high = ((0, header), (start, end))[source.random() < 0.6]
            at = source.randrange(low, high)
            copy[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
        made.append(bytes(copy))
    return made


@pytest.mark.parametrize("form", ["opcodes", "chained"])
def test_mutated_programs_load_or_fail_with_one_error(form: str, tmp_path: Path) -> None:
    program = c_program("run_start")
    data = program.read_bytes() if form == "opcodes" else chained(program)
    path = tmp_path / "mutant"
    failed = 0
    for mutant in mutants(data, 1, MUTANTS):
        path.write_bytes(mutant)
        try:
            Process(str(path), [], {}, slide=0, seed=1)
        except PielinkError:
            failed += 1
    assert MUTANTS // 10 < failed < MUTANTS
