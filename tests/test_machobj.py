"""Object files: every column equals that of a plain reader and of LIEF; damaged ones are named."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import lief
import numpy as np
import pytest
from host_inputs import compile_object
from invalid import host_objects
from invalid.host_objects import refusal
from reference import native_machobj

from pielink.errors import FormatError
from pielink.formats import macho, machobj

CASES = Path(__file__).parent / "cases" / "host"
OBJDUMP = shutil.which("llvm-objdump")
RELOCATION_NAMES = (
    *("UNSIGNED", "SIGNED", "BRANCH", "GOT_LOAD", "GOT", "SUBTRACTOR"),
    *("SIGNED1", "SIGNED2", "SIGNED4", "TLV"),
)
SOURCES = ("features.c", "exceptions.cc", "classes.m")


def object_bytes(source: str, *flags: str) -> bytes:
    path = CASES / source
    return compile_object(path.read_text(), path.suffix, *flags).read_bytes()


@pytest.mark.parametrize("flags", [(), ("-O2", "-g")], ids=["O0", "O2g"])
@pytest.mark.parametrize("source", SOURCES)
def test_columns_equal_those_of_a_plain_reader(source: str, flags: tuple[str, ...]) -> None:
    data = object_bytes(source, *flags)
    found = machobj.read(data, source)
    symbols = [
        (found.symbol_name(i), int(s["type"]), int(s["section"]), int(s["desc"]), int(s["value"]))
        for i, s in enumerate(found.symbols)
    ]
    assert symbols == native_machobj.symbols(data)
    fields = ("section", "type", "length", "pcrel", "extern", "symbol", "address")
    assert found.relocations[list(fields)].tolist() == native_machobj.relocations(data)
    for row, expected in zip(found.sections, native_machobj.sections(data), strict=True):
        assert {key: row[key] for key in expected} == expected


@pytest.mark.parametrize("source", SOURCES)
def test_sections_and_symbols_equal_those_of_lief(source: str) -> None:
    data = object_bytes(source)
    found = machobj.read(data, source)
    fat = lief.MachO.parse(list(data))
    assert fat is not None
    other = fat.at(0)
    assert [s.name for s in other.sections] == [s["sectname"].decode() for s in found.sections]
    assert [str(s.name) for s in other.symbols] == [
        found.symbol_name(i).decode() for i in range(len(found.symbols))
    ]
    counts = [section.numberof_relocations for section in other.sections]
    per_section = np.bincount(found.relocations["section"], minlength=len(found.sections))
    assert per_section.tolist() == counts


@pytest.mark.skipif(not OBJDUMP, reason="llvm-objdump is not installed")
@pytest.mark.parametrize("source", ["features.c", "classes.m"])
def test_relocations_equal_those_of_objdump(source: str) -> None:
    data = object_bytes(source)
    found = machobj.read(data, source)
    path = compile_object((CASES / source).read_text(), Path(source).suffix)
    dump = subprocess.run([OBJDUMP, "-r", path], capture_output=True, text=True, check=True)
    # A SUBTRACTOR is shown on one line with the UNSIGNED that follows it, under no name.
    theirs = re.findall(r"^([0-9a-f]{16}) X86_64_RELOC_(\w+) ", dump.stdout, re.MULTILINE)
    subtractor = found.relocations["type"] == macho.X86_64_RELOC_SUBTRACTOR
    single = ~(subtractor | np.roll(subtractor, 1))
    ours = [
        (f"{int(row['address']):016x}", RELOCATION_NAMES[int(row["type"])])
        for row in found.relocations[single]
    ]
    assert sorted(ours) == sorted(theirs)


def test_build_version_is_read() -> None:
    data = compile_object("int x;", ".c", "-target", "x86_64-macos.11.3").read_bytes()
    found = machobj.read(data, "x.o")
    assert (found.platform, found.minos >> 16) == (macho.PLATFORM_MACOS, 11)
    assert found.flags & macho.MH_SUBSECTIONS_VIA_SYMBOLS


def test_linker_options_are_read() -> None:
    source = '.linker_option "-lz"\n.linker_option "-framework", "Foundation"\n'
    found = machobj.read(compile_object(source, ".s").read_bytes(), "x.o")
    assert found.linker_options == ((b"-lz",), (b"-framework", b"Foundation"))


def test_data_in_code_is_read() -> None:
    source = "_f: nop\n.data_region jt32\n.long 1, 2\n.end_data_region\nret\n"
    found = machobj.read(compile_object(source, ".s").read_bytes(), "x.o")
    assert found.data_in_code.tolist() == [(1, 8, 4)]


def test_alias_names_are_read() -> None:
    found = machobj.read(host_objects.with_alias(b"_alias", b"_target"), "x.o")
    row = found.symbols[0]
    start = int(row["alias"])
    assert found.data[start : start + int(row["alias_length"])].tobytes() == b"_target"


@pytest.mark.parametrize("case", host_objects.CASES, ids=lambda case: case.title)
def test_a_malformed_object_is_refused_by_name(case: host_objects.Case) -> None:
    data = case.damage(bytearray(object_bytes("features.c")))
    with pytest.raises(FormatError, match=case.message) as caught:
        machobj.read(bytes(data), "dir/bad.o")
    assert str(caught.value).startswith("dir/bad.o: ")


@pytest.mark.parametrize("seed", range(8))
def test_a_mutated_object_is_read_or_refused_by_name(seed: int) -> None:
    data = object_bytes(SOURCES[seed % 3])
    rng = random.Random(seed)
    errors = [refusal(machobj.read, host_objects.mutate(data, rng), "bad.o") for _ in range(60)]
    assert all(error.startswith("bad.o: ") for error in errors if error)
    assert sum(map(bool, errors)) > 10
