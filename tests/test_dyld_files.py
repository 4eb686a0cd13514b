"""Dyld info of whole files: pielink reads what others wrote, and others read what it wrote.

Files come from Go's linker, from zig and from ld64.lld; LIEF and llvm-objdump are the other
readers. Each file is also written anew: its fixups are decoded, encoded, put back in place.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from dyld_inputs import forty_libraries, linked
from dyld_readers import by_lief, by_objdump, by_pielink
from macho_inputs import c_program, go_program

from pielink.dyld import bind, chained, exports, image, lazy_bind, rebase, weak_bind
from pielink.formats import macho

OPCODE_FILES = {
    "go": lambda: go_program("x86_64"),
    "go arm64": lambda: go_program("arm64"),
    "zig C": lambda: c_program("x86_64"),
    "zig C arm64": lambda: c_program("arm64"),
    "lld C++": lambda: linked("program.cc", "x86_64", "opcodes"),
    "lld C++ arm64": lambda: linked("program.cc", "arm64", "opcodes"),
    "lld C++ dylib": lambda: linked(
        "program.cc", flags=("-dylib", "-undefined", "dynamic_lookup", "-install_name", "/x")
    ),
    "lld 40 libraries": lambda: forty("opcodes"),
}
CHAINED_FILES = {
    "lld C++": lambda: linked("program.cc", "x86_64", "chained"),
    "lld C++ arm64": lambda: linked("program.cc", "arm64", "chained"),
    "lld 40 libraries": lambda: forty("chained"),
}


def forty(form):
    source, libraries = forty_libraries()
    return linked(source, "x86_64", form, libraries, ())


def images(path):
    (file,) = image.read(path.read_bytes(), str(path))
    return file


def libraries(path):
    return [name for name, _ in images(path).dylibs]


def reencoded(file):
    """Each stream of the image written anew by pielink."""
    streams = {
        "rebase": rebase.encode(file.rebases),
        "bind": bind.encode(*file.binds),
        "weak_bind": weak_bind.encode(*file.weak_binds),
        "lazy_bind": lazy_bind.encode(*file.lazy_binds[:2])[0],
        "export": exports.encode(*file.exports),
    }
    return {name: data for name, data in streams.items() if name in file.parts}


def command_at(data, *commands):
    at = macho.MACH_HEADER_64.itemsize
    (count,) = struct.unpack_from("<I", data, 16)
    for _ in range(count):
        cmd, size = struct.unpack_from("<II", data, at)
        if cmd in commands:
            return at
        at += size
    raise LookupError(commands)


def with_streams(path: Path, streams: dict[str, bytes], out: Path) -> Path:
    """A copy of the file with streams put where the old ones are; all are no larger."""
    data = bytearray(path.read_bytes())
    file = images(path)
    at = command_at(data, macho.LC_DYLD_INFO, macho.LC_DYLD_INFO_ONLY)
    for name, stream in streams.items():
        offset, old = file.parts[name]
        padded = stream + bytes(-len(stream) % 8)
        assert len(padded) <= len(old)
        data[offset : offset + len(old)] = padded + bytes(len(old) - len(padded))
        field = macho.DYLD_INFO_COMMAND.fields[f"{name}_size"][1]
        struct.pack_into("<I", data, at + field, len(padded))
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("name", OPCODE_FILES)
def test_opcodes_of_others_are_read_as_lief_and_objdump_read_them(name):
    path = OPCODE_FILES[name]()
    ours = by_pielink(path)
    assert ours.rebases or ours.binds
    assert ours == by_lief(path)
    assert ours == by_objdump(path, libraries(path))


@pytest.mark.parametrize("name", CHAINED_FILES)
def test_chains_of_others_are_read_as_lief_reads_them(name):
    path = CHAINED_FILES[name]()
    ours = by_pielink(path)
    assert ours.binds
    assert ours == by_lief(path)


@pytest.mark.parametrize("name", OPCODE_FILES)
def test_opcodes_of_pielink_are_read_by_lief_and_objdump(name, tmp_path):
    path = OPCODE_FILES[name]()
    copy = with_streams(path, reencoded(images(path)), tmp_path / "copy")
    expected = by_pielink(path)
    assert by_pielink(copy) == expected
    assert by_lief(copy) == expected
    assert by_objdump(copy, libraries(path)) == expected


@pytest.mark.parametrize("name", CHAINED_FILES)
@pytest.mark.parametrize("pointer_format", chained.FORMATS)
def test_chains_of_pielink_are_read_by_lief(name, pointer_format, tmp_path):
    path = CHAINED_FILES[name]()
    file, data = images(path), bytearray(path.read_bytes())
    at = command_at(data, macho.LC_DYLD_CHAINED_FIXUPS)
    encoded = encode_chains(file, pointer_format)
    offset, old = file.parts["chained"]
    assert len(encoded.payload) <= len(old)
    data[offset : offset + len(old)] = encoded.payload.ljust(len(old), b"\0")
    struct.pack_into("<I", data, at + 12, len(encoded.payload))
    starts = file_offsets(data)
    for segment, place, word in zip(
        encoded.segment.tolist(), encoded.offset.tolist(), encoded.word.tolist(), strict=True
    ):
        struct.pack_into("<Q", data, starts[segment] + place, word)
    copy = tmp_path / "copy"
    copy.write_bytes(data)
    expected = by_pielink(path)
    assert by_pielink(copy) == expected
    assert by_lief(copy) == expected


def encode_chains(file, pointer_format):
    chains = file.chains
    segments = chained_segments(file)
    return chained.encode(
        chains.rebases,
        chains.targets,
        chains.binds,
        chains.names,
        segments,
        file.base,
        pointer_format,
        chains.page_size,
    )


def chained_segments(file):
    return np.array([(s.address, s.size) for s in file.segments], chained.SEGMENT)


def file_offsets(data):
    """Where the contents of each segment are in the file."""
    found, at = [], macho.MACH_HEADER_64.itemsize
    (count,) = struct.unpack_from("<I", data, 16)
    for _ in range(count):
        cmd, size = struct.unpack_from("<II", data, at)
        if cmd == macho.LC_SEGMENT_64:
            found.append(struct.unpack_from("<Q", data, at + 40)[0])
        at += size
    return found


@pytest.mark.parametrize("form", ["opcodes", "chained"])
def test_a_file_with_forty_libraries_binds_through_the_right_ordinals(form):
    path = forty(form)
    from_libraries = [b for b in by_pielink(path).binds if b.symbol.startswith("_from_")]
    assert len(from_libraries) == 40
    for found in from_libraries:
        assert libraries(path)[found.ordinal - 1] == f"/usr/lib/lib{found.symbol[6:]}.dylib"
