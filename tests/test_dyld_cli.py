"""pielink dyldinfo: what it prints for people and as JSON, on files of several linkers."""

from __future__ import annotations

import json
import random
import struct

import pytest
from dyld_inputs import linked
from dyld_readers import by_pielink
from macho_inputs import c_program, go_program

from pielink.cli import main
from pielink.cli.dyldinfo import TABLES


def run(capsys, *argv):
    status = main(["dyldinfo", *map(str, argv)])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out


def rows_of(capsys, path, table, *more):
    (found,) = json.loads(run(capsys, "--json", f"--{table}", *more, path))
    return found[table.replace("-", "_")]


def test_summary_says_what_is_there(capsys):
    path = go_program()
    lines = run(capsys, path).splitlines()
    info = by_pielink(path)
    assert lines[0] == f"{path} (x86_64):"
    table = {line.split()[0]: line.split() for line in lines[1:]}
    assert table["rebase"][3] == str(len(info.rebases))
    assert table["bind"][3] == str(len(info.binds))
    assert "library 1: /usr/lib/libSystem.B.dylib" in lines


def test_rebase_table_holds_address_and_target(capsys):
    path = go_program()
    rows = rows_of(capsys, path, "rebase")
    assert sorted(row["address"] for row in rows) == by_pielink(path).rebases
    assert {row["type"] for row in rows} == {"pointer"}
    assert {"__DATA_CONST", "__DATA"} >= {row["segment"] for row in rows}
    base = min(row["address"] for row in rows) & ~0xFFFFFF
    assert all(base <= row["target"] < base + (1 << 32) for row in rows)
    (first, *_) = [line.split() for line in run(capsys, "--rebase", path).splitlines()[4:]]
    assert first[2:] == [hex(rows[0]["address"]), "pointer", hex(rows[0]["target"])]


def test_bind_table_names_symbols_and_libraries(capsys):
    rows = rows_of(capsys, go_program(), "bind")
    exit_row = next(row for row in rows if row["symbol"] == "__exit")
    assert exit_row["library"] == "/usr/lib/libSystem.B.dylib"
    assert (exit_row["segment"], exit_row["section"]) == ("__DATA_CONST", "__got")
    assert (exit_row["addend"], exit_row["weak import"]) == (0, False)


def test_lazy_weak_and_exports_of_a_cxx_program(capsys):
    path = linked("program.cc")
    lazy = rows_of(capsys, path, "lazy-bind")
    assert {row["section"] for row in lazy} == {"__la_symbol_ptr"}
    assert lazy[0]["offset"] == 0
    weak = rows_of(capsys, path, "weak-bind")
    strong = [row for row in weak if row["strong definition"]]
    assert all(row["address"] is None for row in strong)
    assert any(row["symbol"] == "__ZTI5Error" for row in weak)
    exports = {row["symbol"]: row for row in rows_of(capsys, path, "exports")}
    assert exports["_main"]["kind"] == "regular"
    assert exports["__ZTI5Error"]["details"] == "weak definition"
    text = run(capsys, "--weak-bind", "--exports", path)
    assert "weak bind:" in text
    assert "exports:" in text


@pytest.mark.parametrize("form", ["opcodes", "chained"])
def test_fixups_are_the_same_in_either_form(capsys, form):
    """By section and symbol: layouts differ, since chains do without lazy pointers."""
    rows = rows_of(capsys, linked("program.cc", "x86_64", form), "fixups")
    addresses = [row["address"] for row in rows]
    assert addresses == sorted(addresses)
    addends = {row["details"] for row in rows if row["details"].startswith("_table")}
    assert addends == {
        "_table + 0x1000 from /usr/lib/libSystem.B.dylib",
        "_table - 0x8 from /usr/lib/libSystem.B.dylib",
    }
    words = [row for row in rows if row["kind"] == "rebase" and row["section"] == "__data"]
    assert len(words) == 5  # four words and the pointer inside


def test_summary_of_chained_fixups(capsys):
    text = run(capsys, linked("program.cc", "arm64", "chained"))
    assert "chains: DYLD_CHAINED_PTR_64, " in text
    assert "(arm64):" in text


def test_chained_files_say_where_their_fixups_are_to_be_seen(capsys):
    path = linked("program.cc", "arm64", "chained")
    for option in ("--rebase", "--opcodes"):
        assert "chained: --fixups shows them" in run(capsys, option, path)
    assert "--fixups shows them" not in run(capsys, "--fixups", path)


def test_opcodes_have_stream_offsets(capsys):
    path = go_program()
    lines = run(capsys, "--opcodes", "--rebase", path).splitlines()
    assert lines[2:5] == [
        "rebase opcodes:",
        "offset  opcode",
        "0x0     REBASE_OPCODE_SET_TYPE_IMM(1)",
    ]
    (found,) = json.loads(run(capsys, "--opcodes", "--json", path))
    assert {"rebase_opcodes", "bind_opcodes"} <= set(found)
    assert found["bind_opcodes"][0]["offset"] == 0


def test_json_without_a_table_holds_all_tables(capsys):
    (found,) = json.loads(run(capsys, "--json", linked("program.cc")))
    assert set(TABLES) - {"fixups"} <= set(found)
    assert found["libraries"][0] == "/usr/lib/libSystem.B.dylib"


def fat(*paths):
    """A fat file of thin ones."""
    header, at = struct.pack(">2I", 0xCAFEBABE, len(paths)), 0x4000
    body = b""
    for path in paths:
        data = path.read_bytes()
        data += bytes(-len(data) % 0x4000)
        cputype, cpusubtype = struct.unpack_from("<2I", data, 4)
        header += struct.pack(">5I", cputype, cpusubtype, at + len(body), len(data), 14)
        body += data
    return header.ljust(at, b"\0") + body


def test_fat_files_are_read_image_by_image(capsys, tmp_path):
    path = tmp_path / "fat"
    path.write_bytes(fat(c_program("x86_64"), c_program("arm64")))
    heads = [line for line in run(capsys, path).splitlines() if line.endswith("):")]
    assert heads == [f"{path} (x86_64):", f"{path} (arm64):"]
    (found,) = json.loads(run(capsys, "--json", "--arch", "arm64", path))
    assert found["arch"] == "arm64"
    assert main(["dyldinfo", "--arch", "arm64e", str(path)]) == 1
    assert "no image for arm64e; it has x86_64, arm64" in capsys.readouterr().err


def test_what_is_no_macho_file_is_refused(capsys, tmp_path):
    path = tmp_path / "text"
    path.write_text("hello")
    assert main(["dyldinfo", str(path)]) == 1
    assert str(path) in capsys.readouterr().err
    assert main(["dyldinfo", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_opcodes_of_what_has_none_are_a_usage_error(capsys):
    assert main(["dyldinfo", "--opcodes", "--exports", str(go_program())]) == 2
    assert "--exports is not made of opcodes" in capsys.readouterr().err


def test_a_damaged_stream_is_named_with_file_and_offset(capsys, tmp_path):
    data = bytearray(go_program().read_bytes())
    path = tmp_path / "damaged"
    (found,) = json.loads(run(capsys, "--json", "--bind", go_program()))
    data[found["parts"]["bind"]["offset"]] = 0xF0
    path.write_bytes(data)
    assert main(["dyldinfo", "--bind", str(path)]) == 1
    assert f"{path}: bind: unknown bind opcode at offset 0x0" in capsys.readouterr().err


def test_random_damage_ends_in_an_error_or_a_table(capsys, tmp_path):
    rng = random.Random(11)
    good = [
        linked("program.cc").read_bytes(),
        linked("program.cc", "arm64", "chained").read_bytes(),
    ]
    path = tmp_path / "damaged"
    for _ in range(60):
        data = bytearray(rng.choice(good))
        start = rng.choice([0, len(data) - 6000])
        for _ in range(rng.randint(1, 6)):
            data[start + rng.randrange(2000 if start == 0 else 6000)] = rng.randrange(256)
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        assert main(["dyldinfo", "--json", str(path)]) in (0, 1)
        capsys.readouterr()
