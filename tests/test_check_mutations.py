"""One wrong fixup never goes unnoticed: drop, add, shift or retarget any single one.

The linked program is mutated 500 times, and each time the comparison with what Go's linker makes
of the same inputs must see it. Streams are written anew in the longest and simplest form.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from chained_program import append
from damages_fixups import NEXT, uleb
from go_inputs import go_inputs
from macho_edit import Edit

from pielink.check import check_bytes
from pielink.formats import macho
from pielink.inspect import MachOFile, compare_sections, compare_tables, read_macho

MUTATIONS = 500
Rows = list[dict]


@pytest.fixture(scope="module")
def inputs():
    return go_inputs("hello")


@pytest.fixture(scope="module")
def theirs(inputs) -> MachOFile:
    return read_macho(inputs.reference())


def linked(inputs, folder: Path, *flags: str) -> bytes:
    return inputs.link_with_pielink(flags, folder / "linked").read_bytes()


@pytest.fixture(scope="module")
def ours(inputs, tmp_path_factory) -> bytes:
    return linked(inputs, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def chained(inputs, tmp_path_factory) -> bytes:
    flags = ("-dyldinfo=chained", "-macos=13.0")
    return linked(inputs, tmp_path_factory.mktemp("chained"), *flags)


def differs(theirs: MachOFile, data: bytes) -> bool:
    """Do contents, rebases or binds of the image differ from those of Go's linker?"""
    other = MachOFile(data, "mutated")
    parts = (
        compare_tables.rebases(theirs, other),
        compare_tables.binds(theirs, other),
        (d for d in compare_sections.sections(theirs, other, frozenset()) if d.what == "bytes"),
    )
    return any(next(part, None) is not None for part in parts)


def rows_of(file: MachOFile) -> tuple[Rows, Rows]:
    """Rebases and binds as lists of dicts."""
    fields = ("segment", "offset")
    rebases = [{f: int(row[f]) for f in fields} for row in file.rebase_rows]
    found = file.bind_rows("bind")
    more = (*fields, "ordinal", "addend", "flags")
    binds = [
        {f: int(row[f]) for f in more} | {"name": found.names[row["name"]]} for row in found.rows
    ]
    return rebases, binds


def place(row: dict, opcode: int) -> bytes:
    return bytes([opcode | row["segment"]]) + uleb(row["offset"])


def write_streams(data: bytes, rebases: Rows, binds: Rows) -> bytes:
    """The image with these fixups, in streams at its end."""
    edit = Edit(data)
    first = b"\x11" + b"".join(place(row, 0x20) + b"\x51" for row in rebases) + b"\0"
    second = b"\x51" + b"".join(
        bytes([0x10 | row["ordinal"], 0x40 | row["flags"]])
        + row["name"]
        + b"\0\x60"
        + bytes([row["addend"] & 0x7F])
        + place(row, 0x70)
        + b"\x90"
        for row in binds
    )
    for name, raw in (("rebase", first), ("bind", second + b"\0")):
        at = append(edit, raw.ljust(-(-len(raw) // 8) * 8, b"\0"))
        fields = {f"{name}_off": at, f"{name}_size": len(edit.data) - at}
        edit.command(macho.LC_DYLD_INFO_ONLY, **fields)
    return bytes(edit.data)


def mutate(rng: random.Random, rows: Rows, free: list[dict]) -> str:
    """Drop, add or shift one row."""
    index = rng.randrange(len(rows))
    kind = rng.choice(("drop", "add", "shift"))
    if kind == "drop":
        del rows[index]
    elif kind == "add":
        rows.insert(index, rows[index] | rng.choice(free))
    else:
        rows[index] = rows[index] | {"offset": rows[index]["offset"] + rng.choice((-8, -4, 4, 8))}
    return kind


def retarget_bind(rng: random.Random, binds: Rows) -> str:
    """Let one bind name another library, symbol or addend, or be weak."""
    row = binds[rng.randrange(len(binds))]
    field = rng.choice(("ordinal", "name", "addend", "flags"))
    if field == "name":
        row["name"] = rng.choice([b["name"] for b in binds if b["name"] != row["name"]])
    else:
        row[field] = {"ordinal": 3 - row["ordinal"], "addend": rng.randint(1, 60), "flags": 1}[
            field
        ]
    return field


def free_places(file: MachOFile, rebases: Rows) -> list[dict]:
    """Pointer-sized places in writable segments that have no fixup."""
    used = {(row["segment"], row["offset"]) for row in rebases}
    sizes = file.segments["filesize"].tolist()
    places = [(s, o) for s in (2, 3) for o in range(0, sizes[s] - 8, 8)]
    return [{"segment": s, "offset": o} for s, o in places if (s, o) not in used]


def test_rewritten_streams_mean_the_same(theirs, ours):
    data = write_streams(ours, *rows_of(MachOFile(ours)))
    assert not differs(theirs, data)
    assert check_bytes(data, "rewritten", "26.0") == []


def test_every_mutation_of_one_fixup_is_seen(theirs, ours):
    rng, file = random.Random(4029), MachOFile(ours)
    rebases, binds = rows_of(file)
    free = free_places(file, rebases)
    seen: dict[str, int] = {}
    for number in range(MUTATIONS):
        new_rebases, new_binds = [*rebases], [dict(row) for row in binds]
        data = ours
        what = ("rebase", "bind", "bind target", "rebase target")[number % 4]
        if what == "rebase":
            what += f" {mutate(rng, new_rebases, free)}"
        elif what == "bind":
            what += f" {mutate(rng, new_binds, free)}"
        elif what == "bind target":
            what += f" {retarget_bind(rng, new_binds)}"
        else:
            edit = Edit(ours)
            row = file.rebases[rng.randrange(len(file.rebases))]
            edit.word(int(row["address"]), int(row["target"]) + rng.choice((-8, 8, 4096)))
            data = bytes(edit.data)
        assert differs(theirs, write_streams(data, new_rebases, new_binds)), (number, what)
        seen[what] = seen.get(what, 0) + 1
    assert len(seen) == 11
    assert min(seen.values()) > 10


def test_every_mutation_of_one_chained_fixup_is_seen(theirs, chained):
    """Unlink one fixup from its chain, or change what it points to."""
    rng, file = random.Random(4030), MachOFile(chained)
    assert file.chained is not None
    assert not differs(theirs, chained)
    edit = Edit(chained)
    places = sorted(file.rebases["address"].tolist() + file.binds.rows["address"].tolist())
    offsets = [edit.file_offset(at) for at in places]
    words = [int.from_bytes(chained[at : at + 8], "little") for at in offsets]
    linked_on = [i for i in range(1, len(places)) if words[i - 1] & NEXT]
    assert len(linked_on) > 1000
    for number in range(100):
        edit, index = Edit(chained), rng.choice(linked_on)
        if number % 2:
            edit.word(places[index], words[index] ^ 1 << rng.randrange(20))
        else:
            before, following = words[index - 1], words[index] & NEXT
            skip = (before & NEXT) + following if following else 0
            edit.word(places[index - 1], before & ~NEXT | skip & NEXT)
        assert not_same(theirs, bytes(edit.data)), (number, hex(places[index]))


def not_same(theirs: MachOFile, data: bytes) -> bool:
    """Is the damage seen, by the rules or by the comparison?"""
    return bool(check_bytes(data, "mutated", "26.0")) or differs(theirs, data)
