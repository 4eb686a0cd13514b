"""Archives of every form give their members and index; fat files their slices."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from host_inputs import archive as make_archive
from host_inputs import compile_object
from invalid.host_archives import CASES, Case, bsd_archive
from invalid.host_objects import mutate, refusal

from pielink.errors import FormatError
from pielink.formats import archive, fat, macho, machobj

LONG = "a_member_with_a_name_that_is_longer_than_sixteen.o"
NAMES = ("one.o", LONG, "with space.o", "sixteen_chars_.o")


def objects() -> list[Path]:
    return [compile_object(f"int symbol_{i}(void) {{ return {i}; }}") for i in range(len(NAMES))]


@pytest.mark.parametrize("index", [True, False], ids=["indexed", "plain"])
@pytest.mark.parametrize("form", ["bsd", "darwin", "gnu"])
def test_members_and_index(form: str, index: bool) -> None:
    paths = objects()
    file = make_archive(form, *paths, names=NAMES, index=index)
    found = archive.read(file.read_bytes(), "lib.a")
    assert tuple(member.name for member in found.members) == NAMES
    for row, path in enumerate(paths):
        # Darwin archives pad members to 8 bytes; the object itself says where it ends.
        assert found.contents(row).tobytes().startswith(path.read_bytes())
        assert machobj.read(found.contents(row), found.title(row)).symbol_name(0)
    assert found.title(1) == f"lib.a({LONG})"
    expected = {b"_symbol_%d" % row: [row] for row in range(len(paths))}
    assert found.index == (expected if index else None)


@pytest.mark.parametrize("title", ["__.SYMDEF", "__.SYMDEF SORTED", "__.SYMDEF_64"])
def test_bsd_index_forms(title: str) -> None:
    data = bsd_archive(title, {b"_f": 0, b"_g": 1, b"_h": 0}, [b"first!", b"second"])
    found = archive.read(data, "lib.a")
    assert found.index == {b"_f": [0], b"_g": [1], b"_h": [0]}
    assert [found.contents(row).tobytes() for row in range(2)] == [b"first!", b"second"]


def test_a_gnu_index_with_64_bit_words() -> None:
    path = objects()[0]
    size = path.stat().st_size
    data = archive.MAGIC
    index = struct.pack(">QQ", 1, 8 + 60 + 26) + b"_symbol_0\0"
    for name, content in ((b"/SYM64/", index), (b"one.o/", path.read_bytes())):
        data += name.ljust(48) + str(len(content)).encode().ljust(10) + b"`\n" + content
        data += b"\n" * (len(data) % 2)
    assert archive.read(data, "lib.a").index == {b"_symbol_0": [0]}
    assert archive.read(data, "lib.a").members[0].size == size


def test_an_empty_archive_has_no_members() -> None:
    assert archive.read(archive.MAGIC, "lib.a").members == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_malformed_archive_is_refused_by_name(case: Case) -> None:
    good = make_archive("bsd", *objects(), names=NAMES).read_bytes()
    with pytest.raises(FormatError, match=case.message) as caught:
        archive.read(bytes(case.damage(bytearray(good))), "dir/lib.a")
    assert str(caught.value).startswith("dir/lib.a: ")


@pytest.mark.parametrize("form", ["bsd", "darwin", "gnu"])
def test_a_mutated_archive_is_read_or_refused_by_name(form: str) -> None:
    data = make_archive(form, *objects(), names=NAMES).read_bytes()
    rng = random.Random(form)

    def read_all(damaged: bytes) -> None:
        found = archive.read(damaged, "lib.a")
        for row in range(len(found.members)):
            machobj.read(found.contents(row), found.title(row))

    errors = [refusal(read_all, mutate(data, rng)) for _ in range(150)]
    assert all(error.startswith("lib.a") for error in errors if error)
    assert sum(map(bool, errors)) > 40


def fat_file(*slices: tuple[int, bytes], wide: bool = False) -> bytes:
    """Return a fat file; each slice is (cputype, contents)."""
    form = ">IIQQII" if wide else ">IIIII"
    offset = 8 + len(slices) * struct.calcsize(form)
    table, body = b"", b""
    for cputype, content in slices:
        fields = (cputype, 3, offset + len(body), len(content), 0)
        table += struct.pack(form, *fields, *((0,) if wide else ()))
        body += content
    magic = macho.FAT_MAGIC_64 if wide else macho.FAT_MAGIC
    return struct.pack(">II", magic, len(slices)) + table + body


@pytest.mark.parametrize("wide", [False, True])
def test_a_slice_is_selected_by_processor(wide: bool) -> None:
    content = objects()[0].read_bytes()
    slices = ((macho.CPU_TYPE_ARM64, b"other"), (macho.CPU_TYPE_X86_64, content))
    data = fat_file(*slices, wide=wide)
    assert fat.select(data, "f.o").tobytes() == content
    assert fat.select(data, "f.o", macho.CPU_TYPE_ARM64).tobytes() == b"other"
    assert fat.select(content, "f.o").tobytes() == content


def test_a_fat_file_without_the_processor_says_what_it_has() -> None:
    data = fat_file((macho.CPU_TYPE_ARM64, b"other"))
    with pytest.raises(FormatError, match=r"f\.o: has no slice for x86_64 \(only for arm64\)"):
        fat.select(data, "f.o")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xca\xfe\xba\xbe", "fat header"),
        (b"\xca\xfe\xba\xbe\0\0\0\x37" + bytes(64), "fat file of 55 slices"),
        (b"\xca\xfe\xba\xbe\0\0\0\x02" + bytes(20), "fat slices"),
        (fat_file((macho.CPU_TYPE_X86_64, b"abc"))[:-1], "fat slice"),
    ],
)
def test_a_malformed_fat_file_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"f.o: .*{message}"):
        fat.select(data, "f.o")
