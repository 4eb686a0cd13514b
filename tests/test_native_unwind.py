"""Unwind information says for each function what its object says, and what ld64.lld says."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import native_oracle
import numpy as np
import pytest
from host_inputs import compile_object, link, lld
from reference import native_unwind

from pielink.errors import LinkError
from pielink.native import unwind
from pielink.native.tables import NONE, UnwindEntries
from pielink.native.unwind import FunctionRanges

CASES = Path(__file__).parent / "cases" / "host"
OBJDUMP = shutil.which("llvm-objdump")
MODE_MASK = 0x0F000000
needs_lld = pytest.mark.skipif(not lld(), reason="ld64.lld is not installed")


def random_functions(rng: random.Random, count: int, kinds: int, spread: int) -> FunctionRanges:
    """Return functions with gaps between some, of `kinds` distinct encodings."""
    start, end, at = [], [], rng.randrange(0x1000)
    for _ in range(count):
        at += rng.choice((0, 0, 0, 16 * rng.randrange(1, spread)))
        start.append(at)
        at += rng.randrange(1, 200)
        end.append(at)
    modes = [0x01000000 | 16 * n for n in range(kinds)] + [0x03000020, 0x04000040]
    lsda = [rng.randrange(1 << 24) if rng.random() < 0.2 else NONE for _ in range(count)]
    encoding = [rng.choice(modes) | (0x50000000 if where != NONE else 0) for where in lsda]
    return FunctionRanges(
        np.array(start), np.array(end), np.array(encoding, np.uint32), np.array(lsda)
    )


SHAPES = (
    (1, 1, 2),
    (40, 3, 4),
    (3000, 5, 4),
    (3000, 2000, 4),  # more encodings than a compressed page can have: regular pages
    (3000, 150, 4),  # a few own encodings a page
    (600, 3, 200_000),  # further apart than a compressed page can say
    (1021, 1, 2),
    (1022, 1, 2),
)


@pytest.mark.parametrize(("count", "kinds", "spread"), SHAPES)
def test_every_address_finds_its_function(count: int, kinds: int, spread: int) -> None:
    rng = random.Random(count * kinds)
    functions = random_functions(rng, count, kinds, spread)
    shuffled = rng.sample(range(count), count)
    columns = (functions.start, functions.end, functions.encoding, functions.lsda)
    data = unwind.encode(
        FunctionRanges(*(c[shuffled] for c in columns)), np.array([0x4000, 0x4008])
    )
    found = native_unwind.decode(data)
    assert found.personalities == [0x4000, 0x4008]
    rows = range(count) if count < 100 else rng.sample(range(count), 100)
    for row in rows:
        start, end = int(functions.start[row]), int(functions.end[row])
        lsda = int(functions.lsda[row])
        for address in (start, end - 1):
            entry, encoding, where = native_unwind.lookup(found, address)
            assert encoding == functions.encoding[row]
            assert where == (None if lsda == NONE else lsda)
            assert entry == start or (lsda == NONE and encoding & MODE_MASK == 0x01000000)
        if row + 1 < count and end < functions.start[row + 1]:
            assert native_unwind.lookup(found, end)[1:] == (0, None)
    assert native_unwind.lookup(found, int(functions.end.max()))[1] == 0
    assert native_unwind.lookup(found, int(functions.start.min()) - 1)[1] == 0


def test_pages_are_of_the_kind_that_holds_more() -> None:
    rng = random.Random(1)
    few = native_unwind.decode(unwind.encode(random_functions(rng, 3000, 5, 2), np.zeros(0)))
    many = native_unwind.decode(unwind.encode(random_functions(rng, 3000, 4000, 2), np.zeros(0)))
    assert set(few.page_kinds) == {3}
    assert 2 in many.page_kinds


def test_equal_neighbours_share_an_entry() -> None:
    start = np.arange(0, 1600, 16)
    encoding = np.full(100, 0x01000000, np.uint32)
    data = unwind.encode(
        FunctionRanges(start, start + 16, encoding, np.full(100, NONE)), np.zeros(0, np.uint32)
    )
    assert native_unwind.decode(data).entries == [(0, 0x01000000)]
    assert (
        unwind.encode(FunctionRanges(*(c[:0] for c in (start, start, encoding, start))), []) == b""
    )  # type: ignore[arg-type]


def test_overlapping_functions_are_an_error() -> None:
    start = np.array([0x100, 0x110])
    encoding = np.full(2, 0x01000000, np.uint32)
    functions = FunctionRanges(start, start + 32, encoding, np.full(2, NONE))
    with pytest.raises(LinkError, match="functions at 0x100 and 0x110 overlaps"):
        unwind.encode(functions, np.zeros(0, np.uint32))


def test_a_fourth_personality_is_an_error() -> None:
    number = np.arange(4, dtype=np.int32)
    none = np.full(4, NONE, np.int32)
    zero = np.zeros(4, np.int64)
    u4 = np.zeros(4, np.uint32)
    entries = UnwindEntries(number, zero, u4, u4, none, number, zero, none, zero, none)
    with pytest.raises(LinkError, match="4 personality functions"):
        unwind.personalities(entries)


FLAGS = (
    *("-undefined", "dynamic_lookup", "-dead_strip", "-no_fixup_chains"),
    *("-exported_symbol", "_main"),  # so that weak definitions stay inside, as ours do
)
PROGRAMS = (
    ("exceptions.cc", ("-O1",)),
    ("exceptions.cc", ("-O2", "-fomit-frame-pointer", "-fasynchronous-unwind-tables")),
    ("features.c", ("-O2",)),
    ("frames.c", ("-O2", "-fomit-frame-pointer")),
)


@needs_lld
@pytest.mark.parametrize(("source", "flags"), PROGRAMS, ids=["O1", "frameless", "c", "dwarf"])
def test_functions_unwind_as_lld_says(source: str, flags: tuple[str, ...]) -> None:
    path = CASES / source
    made = compile_object(path.read_text(), path.suffix, *flags)
    linker = lld()
    assert linker
    linked = native_oracle.read(link(linker, made, flags=FLAGS))
    theirs = native_unwind.decode(bytes(linked.section("__unwind_info").content))
    found, planned = native_oracle.prepared(made)
    at = native_oracle.addresses(found, planned, linked)
    entries, none = found.unwind_entries, np.zeros(len(found.atoms), np.int64)
    functions = unwind.place(entries, at.atom, planned.personality, none, linked.header)
    slots = at.got[planned.personality_slots] - linked.header
    ours = native_unwind.decode(unwind.encode(functions, slots))
    assert sorted(ours.personalities) == sorted(theirs.personalities)
    assert len(entries) > 3
    assert (entries.fde != NONE).any() == ("-fomit-frame-pointer" in flags)
    for start, end in zip(functions.start.tolist(), functions.end.tolist(), strict=True):
        for address in (start, end - 1):
            mine, other = (native_unwind.lookup(each, address) for each in (ours, theirs))
            dwarf = mine[1] & MODE_MASK == 0x04000000
            assert (mine[1] ^ other[1]) & (MODE_MASK if dwarf else 0xCFFFFFFF) == 0
            if not dwarf:
                assert mine[2] == other[2]
                assert personality(ours, mine[1]) == personality(theirs, other[1])


def personality(info: native_unwind.Unwind, encoding: int) -> int | None:
    number = encoding >> 28 & 3
    return info.personalities[number - 1] if number else None


@needs_lld
@pytest.mark.skipif(not OBJDUMP, reason="llvm-objdump is not installed")
def test_objdump_reads_what_we_write(tmp_path: Path) -> None:
    """Put our section in place of lld's, and let a third reader list both."""
    path = CASES / "exceptions.cc"
    made = compile_object(path.read_text(), path.suffix, "-O1")
    linker = lld()
    assert linker
    original = link(linker, made, flags=FLAGS)
    linked = native_oracle.read(original)
    found, planned = native_oracle.prepared(made)
    at = native_oracle.addresses(found, planned, linked)
    entries, none = found.unwind_entries, np.zeros(len(found.atoms), np.int64)
    functions = unwind.place(entries, at.atom, planned.personality, none, linked.header)
    slots = at.got[planned.personality_slots] - linked.header
    ours = unwind.encode(functions, slots)
    section = linked.section("__unwind_info")
    assert len(ours) <= section.size
    image = bytearray(original.read_bytes())
    image[section.offset : section.offset + section.size] = ours.ljust(section.size, b"\0")
    copy = tmp_path / "copy"
    copy.write_bytes(image)

    def listed(file: Path) -> set[tuple[str, ...]]:
        assert OBJDUMP
        dump = subprocess.run([OBJDUMP, "--unwind-info", file], capture_output=True, text=True)
        assert not dump.stderr
        return set(re.findall(r"LSDA=0x(\w+)|function offset=0x(\w+), .*LSDA", dump.stdout)) | set(
            re.findall(r"function offset=0x(\w+),\s+encoding\[\d+\]=0x(\w+)", dump.stdout)
        )

    ours_listed, theirs_listed = listed(copy), listed(original)
    assert len(ours_listed) >= len(entries) // 2
    starts = {f"{start:08x}" for start in functions.start.tolist()}
    assert {row for row in theirs_listed if row[0] in starts} <= ours_listed
