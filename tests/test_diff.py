"""pielink diff: equal files, each kind of difference, deliberate ones, hostile files."""

from __future__ import annotations

import json
import random
import re
import zlib
from pathlib import Path

import lief
import numpy as np
import pytest
from chained_program import chained
from macho_inputs import c_program, go_program

from pielink.cli import main
from pielink.cli.diff import first_of_each
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.inspect import MachOFile, compare, read_macho
from pielink.inspect.columns import WEAK_IMPORT
from pielink.inspect.compare_tables import _only
from pielink.inspect.deliberate import DELIBERATE

ROOT = Path(__file__).resolve().parent.parent


def changed(file: MachOFile, at: int, new: bytes) -> MachOFile:
    """A copy of the image with `new` at file offset `at`."""
    return MachOFile(file.data[:at] + new + file.data[at + len(new) :], file.path)


def command_at(file: MachOFile, cmd: int) -> int:
    """The file offset of the first load command with this number."""
    return file.of(cmd)[0].offset


@pytest.fixture(scope="module")
def go() -> MachOFile:
    return read_macho(go_program())


@pytest.fixture(scope="module")
def c() -> MachOFile:
    return read_macho(c_program())


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
@pytest.mark.parametrize("program", [go_program, c_program])
def test_fixups_are_those_that_lief_reads(program, arch):
    file, other = read_macho(program(arch)), lief.MachO.parse(str(program(arch))).at(0)
    rebased = {r.address for r in other.relocations if r.origin.name == "DYLDINFO"}
    assert {int(a) for a in file.rebases["address"]} == rebased
    bound, names = file.binds.rows, file.binds.names
    bound = bound[bound["kind"] != 1]
    places = zip(bound["address"], map(file.library, bound["ordinal"].tolist()), strict=True)
    targets = zip((names[n].decode() for n in bound["name"]), bound["addend"], strict=True)
    weak_import = (bound["flags"] & WEAK_IMPORT).astype(bool)
    ours = {(*p, *t, w) for p, t, w in zip(places, targets, weak_import, strict=True)}
    theirs = {
        (b.address, b.library.name, b.symbol.name, b.addend, b.weak_import)
        for b in other.dyld_info.bindings
        if b.binding_class.name != "WEAK"
    }
    assert ours == theirs
    weak = {b.address for b in other.dyld_info.bindings if b.binding_class.name == "WEAK"}
    weak_rows = file.binds.rows[file.binds.rows["kind"] == 1]
    assert set(weak_rows["address"].tolist()) == weak


def test_symbols_and_exports_are_those_that_lief_reads(c):
    other = lief.MachO.parse(c.path).at(0)
    listed = [s for s in other.symbols if s.origin.name == "SYMTAB"]
    assert [n.decode() for n in c.symbol_names] == [s.name for s in listed]
    assert c.symbols["n_value"].tolist() == [s.value for s in listed]
    assert {e.name.decode(): e.address + c.base for e in c.exports} == {
        e.symbol.name: e.address + other.imagebase for e in other.dyld_info.exports
    }


def test_a_file_equals_itself(go, c):
    assert compare(go, go) == []
    assert compare(c, c) == []


def test_changed_byte_is_shown_with_section_symbol_and_both_words(go):
    index = go.section_names.index("__TEXT,__text")
    at = int(go.sections["offset"][index]) + 0x1234
    other = changed(go, at, bytes([go.data[at] ^ 0xFF]))
    (found,) = compare(go, other)
    assert (found.part, found.place, found.what) == ("section", "__TEXT,__text", "bytes")
    assert "__TEXT,__text+0x1234" in found.context
    address = int(go.sections["addr"][index]) + 0x1234
    assert go.nearest_symbol(address) in found.context
    assert found.a == go.data[at & ~7 : (at & ~7) + 8].hex() != found.b
    assert found.count == 1
    assert not found.deliberate


def test_ignored_section_is_left_out(go):
    at = int(go.sections["offset"][go.section_names.index("__TEXT,__text")])
    other = changed(go, at, b"\xcc\xcc\xcc")
    for name in ("__TEXT,__text", "__text", "__TEXT"):
        assert compare(go, other, [name]) == []
    assert compare(go, other, ["__rodata"])


def test_header_flag(go):
    flags = int(go.header["flags"]) | macho.MH_TWOLEVEL
    (found,) = compare(go, changed(go, 24, flags.to_bytes(4, "little")))
    assert (found.part, found.what, found.b) == ("header", "flags", hex(flags))


def test_section_field(go):
    at = command_at(go, macho.LC_SEGMENT_64) + 72 + 72  # first section of the second segment
    align = at + 52
    (found,) = compare(go, changed(go, align, (12).to_bytes(4, "little")))
    assert (found.part, found.place, found.what) == ("section", "__TEXT,__text", "align")


def test_symbol_name_and_value(go):
    table = go.first(macho.SYMTAB_COMMAND, macho.LC_SYMTAB)
    row = next(i for i, n in enumerate(go.symbol_names) if n == b"_main.main")
    value = table["symoff"] + 16 * row + 8
    (found,) = compare(go, changed(go, value, bytes(8)))
    assert (found.part, found.place, found.what) == ("symbol", "_main.main", "value")
    name = table["stroff"] + int(go.symbols["n_strx"][row])
    found = compare(go, changed(go, name + 1, b"X"))
    assert {(d.place, d.what) for d in found} == {
        ("_main.main", "present"),
        ("_Xain.main", "present"),
    }


def test_dropped_rebase(go):
    start = go.dyld_info["rebase_off"]
    row = go.rebase_rows[100]
    at = start + int(row["at"])
    assert go.data[at] == 0x51  # one rebase; ADD_ADDR_IMM_SCALED 1 skips it
    (found,) = compare(go, changed(go, at, b"\x41"))
    address = int(go.addresses(go.rebase_rows[100:101], "rebase")[0])
    assert (found.part, found.what, found.b) == ("rebase", "present", "absent")
    assert found.place == go.section_at(address)


def test_bind_library_symbol_and_weakness(go):
    stream = go.dyld_info["bind_off"]
    raw = go.info_stream("bind")
    at = re.search(rb"[\x40-\x4f]_[a-z]", raw).start()
    (found,) = compare(go, changed(go, stream + at, b"\x41"))
    assert found.part == "bind"
    assert "weak import" in found.b
    (found,) = compare(go, changed(go, stream + at + 2, b"Q"))
    assert (found.part, found.what) == ("bind", "value")
    rows = compare(go, changed(go, stream + raw.index(b"\x11"), b"\x12"))
    assert rows
    assert {d.part for d in rows} == {"bind"}
    assert go.libraries[1] in rows[0].b


def test_export(c):
    start = c.dyld_info["export_off"]
    raw = bytearray(c.export_stream)
    node = next(e.node for e in c.exports if e.name == b"_exported")
    assert raw[node + 1] == 0  # flags
    raw[node + 1] = 4
    (found,) = compare(c, changed(c, start, bytes(raw)))
    assert (found.part, found.place) == ("export", "_exported")
    assert "flags 0x4" in found.b


def test_missing_and_reordered_commands(go):
    uuid, dylinker = go.of(macho.LC_UUID)[0], go.of(macho.LC_LOAD_DYLINKER)[0]
    other = changed(go, uuid.offset, macho.LC_SOURCE_VERSION.to_bytes(4, "little"))
    assert {(d.place, d.what, d.b) for d in compare(go, other)} == {
        ("LC_UUID", "present", "no"),
        ("LC_SOURCE_VERSION", "present", "yes"),
    }
    libraries = go.of(macho.LC_LOAD_DYLIB)
    middle = b"".join(command.data for command in libraries)
    moved = changed(go, dylinker.offset, middle + dylinker.data)
    found = [d for d in compare(go, moved) if d.part == "command"]
    assert [d.place for d in found] == ["order"]


def test_uuid_and_linkedit_layout_are_deliberate(go):
    uuid = go.of(macho.LC_UUID)[0]
    (found,) = compare(go, changed(go, uuid.offset + 8, bytes(16)))
    assert found.deliberate == "uuid"
    assert main(["diff", go.path, go.path]) == 0


def test_each_deliberate_id_is_explained():
    page = (ROOT / "docs" / "differences.md").read_text()
    for row in DELIBERATE:
        assert f"## {row.id}\n" in page, row.id


def test_compressed_dwarf_is_compared_by_contents(go, tmp_path):
    index = next(i for i, n in enumerate(go.section_names) if "__zdebug_" in n)
    raw = go.section_bytes(index)
    plain = zlib.decompress(raw[12:])
    at = int(go.sections["offset"][index])
    again = raw[:12] + zlib.compress(plain, 9)
    assert len(again) <= len(raw)
    assert again != raw
    assert compare(go, changed(go, at, again)) == []
    wrong = raw[:12] + zlib.compress(plain[:-1] + bytes([plain[-1] ^ 1]), 9)
    (found,) = compare(go, changed(go, at, wrong))
    assert f"+{len(plain) - 1:#x} after decompression" in found.context


def test_exit_status_json_and_text(go, tmp_path, capsys):
    other = tmp_path / "other"
    at = int(go.sections["offset"][go.section_names.index("__TEXT,__text")])
    other.write_bytes(changed(go, at, b"\xcc\xcc").data)
    assert main(["diff", go.path, str(other)]) == 1
    out = capsys.readouterr().out
    assert "section __TEXT,__text: bytes" in out
    assert out.endswith("1 differences, 0 deliberate\n")
    assert main(["diff", "--json", go.path, str(other)]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["same"] is False
    assert data["differences"][0]["part"] == "section"
    assert main(["diff", "--ignore", "__text", "--", go.path, str(other)]) == 0
    assert main(["diff", go.path, str(tmp_path / "absent")]) == 1
    assert "absent" in capsys.readouterr().err


def test_only_the_first_row_of_a_table_is_printed_without_all(go, c):
    found = compare(go, c)
    shown = first_of_each(found)
    assert sum(1 for d, _ in shown if d.part == "symbol") == 1
    assert sum(n for d, n in shown if d.part == "symbol") == sum(d.part == "symbol" for d in found)


@pytest.mark.parametrize("seed", range(20))
def test_surplus_rows_are_those_of_a_counting_loop(seed):
    rng = np.random.default_rng(seed)
    dtype = np.dtype([("x", "<u8"), ("y", "u1")])
    a, b = (np.zeros(rng.integers(0, 40), dtype) for _ in range(2))
    for rows in (a, b):
        rows["x"], rows["y"] = rng.integers(0, 4, len(rows)), rng.integers(0, 3, len(rows))

    def surplus(rows, other):
        left = [r.item() for r in other]
        out = []
        for row in rows:
            if row.item() in left:
                left.remove(row.item())
            else:
                out.append(row.item())
        return sorted(out)

    only_a, only_b = _only(a, b)
    assert sorted(r.item() for r in a[only_a]) == surplus(a, b)
    assert sorted(r.item() for r in b[only_b]) == surplus(b, a)


@pytest.mark.parametrize("program", [go_program, c_program])
def test_mutated_files_never_crash(program):
    """Random damage to headers, load commands and __LINKEDIT: a result or a FormatError."""
    file = read_macho(program())
    rng = random.Random(7)
    size = 32 + int(file.header["sizeofcmds"])
    info = file.dyld_info
    spots = [(0, size), (info["rebase_off"], 400), (info["bind_off"], info["bind_size"])]
    spots += [(info["export_off"], info["export_size"])] if info["export_size"] else []
    refused = 0
    for _ in range(150):
        data = bytearray(file.data)
        start, length = rng.choice(spots)
        for _ in range(rng.randint(1, 3)):
            data[start + rng.randrange(length)] = rng.choice(
                (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))
            )
        try:
            compare(file, MachOFile(bytes(data), "mutated"), ["__DWARF"])
        except FormatError:
            refused += 1
    assert refused > 10


def test_chained_copy_differs_in_form_only(c):
    """Same contents, binds and exports; only lazily bound pointers need rebases as well."""
    copy = MachOFile(chained(c_program()), "chained")
    assert copy.chained is not None
    found = [d for d in compare(c, copy) if d.part not in ("command", "header")]
    assert {(d.part, d.place.partition("+")[0], d.b) for d in found} == {
        ("rebase", "__DATA,__la_symbol_ptr", "absent")
    }
    index = c.section_names.index("__DATA,__la_symbol_ptr")
    assert len(found) == int(c.sections["size"][index]) // 8


def test_chained_fixups_are_those_that_lief_reads(tmp_path):
    path = tmp_path / "chained"
    path.write_bytes(chained(c_program()))
    file, other = read_macho(path), lief.MachO.parse(str(path)).at(0)
    fixed = [r for r in other.relocations if r.origin.name == "CHAINED_FIXUPS"]
    ours = zip(file.rebases["address"].tolist(), file.rebases["target"].tolist(), strict=True)
    assert set(ours) == {(r.address, r.target) for r in fixed}
    rows, names = file.binds.rows, file.binds.names
    assert sorted((int(r["address"]), names[r["name"]].decode()) for r in rows) == sorted(
        (b.address, b.symbol.name) for b in other.bindings
    )
