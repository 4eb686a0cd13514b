"""pielink check as a whole: sound files, SDK stamps, output, the page of rules, hostile files."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import damages_code
import damages_fixups
import damages_layout
import pytest
from damages import SDK, damaged, program
from macho_edit import Edit
from macho_inputs import CASES, c_program, go_program, zig_object

from pielink.check import RULES, check, check_bytes
from pielink.check.rule import parse_version
from pielink.cli import main
from pielink.cli.check import rule_list
from pielink.formats import macho

ROOT = Path(__file__).resolve().parent.parent
DAMAGES = damages_layout.DAMAGES + damages_fixups.DAMAGES + damages_code.DAMAGES
PROGRAMS = ("go", "go-arm64", "c", "c-arm64", "chained", "fat")


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("sdk", [None, "10.14", "26.0"])
def test_sound_programs_of_other_linkers_pass(name, sdk):
    assert check_bytes(program(name), name, sdk) == []


def test_go_program_with_dwarf_passes():
    assert check(go_program("x86_64"), "26.0") == []


@pytest.mark.parametrize("kind", ["-execute", "-dylib", "-bundle"])
@pytest.mark.parametrize("form", ["-fixup_chains", "-no_fixup_chains"])
@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_file_linked_by_lld_passes(arch, form, kind, tmp_path):
    linker = shutil.which("ld64.lld") or shutil.which("ld64.lld-19")
    if linker is None:
        pytest.skip("ld64.lld is not installed (Debian package lld-19)")
    output = tmp_path / "program"
    command = [linker, "-arch", arch, "-platform_version", "macos", "13.0", "26.0", form, kind]
    stub, made = CASES / "libSystem.tbd", zig_object("host.c", arch)
    subprocess.run([*command, made, stub, "-o", output], check=True)
    assert check(output, "26.0") == []
    chained = Edit(output.read_bytes()).file.chained is not None
    assert chained == (form == "-fixup_chains")


def test_every_rule_has_a_damage_that_it_catches():
    assert {damage.rule for damage in DAMAGES} == set(RULES)
    assert len(DAMAGES) >= 100


def test_rules_bind_from_their_sdk_on():
    """A rule with an SDK is silent one version below it, and speaks from it on."""
    tried = 0
    for damage in DAMAGES:
        rule = RULES[damage.rule]
        if not rule.sdk or damage.rule == "install-name":
            continue
        data = damaged(damage)
        major, _, minor = rule.sdk.partition(".")
        below = f"{major}.{int(minor) - 1}" if int(minor) else f"{int(major) - 1}.9"
        assert parse_version(below) < parse_version(rule.sdk)
        assert damage.rule not in {f.rule for f in check_bytes(data, "", below)}
        assert damage.rule in {f.rule for f in check_bytes(data, "", rule.sdk)}
        tried += 1
    assert tried >= 25


def test_the_stamp_of_the_file_counts_without_sdk():
    edit = Edit(program("go"))
    edit.remove(macho.LC_UUID)
    edit.command(macho.LC_BUILD_VERSION, sdk=parse_version("15.0"))
    assert check_bytes(bytes(edit.data)) == []
    edit.command(macho.LC_BUILD_VERSION, sdk=parse_version("26.0"))
    assert [f.rule for f in check_bytes(bytes(edit.data))] == ["uuid-present"]


def test_dylib_is_bound_by_its_own_sdk():
    """A dylib needs its UUID from SDK 12 on, an executable from 26 on."""
    edit = Edit(program("c"))
    edit.remove(macho.LC_UUID, macho.LC_MAIN)
    edit.header(filetype=macho.MH_DYLIB)
    rules = {f.rule for f in check_bytes(bytes(edit.data), "", "12.0")}
    assert {"uuid-present", "install-name"} <= rules
    assert "uuid-present" not in {f.rule for f in check_bytes(bytes(edit.data), "", "11.0")}


def test_many_places_are_summed_up():
    edit = Edit(program("go"))
    edit.segment("__DATA_CONST", initprot=1)
    found = [f for f in check_bytes(bytes(edit.data)) if f.rule == "rebase-writable"]
    assert len(found) == 6
    assert "further places" in found[-1].message


def test_lines_json_and_exit_status(tmp_path, capsys):
    good, bad = c_program(), tmp_path / "bad"
    edit = Edit(good.read_bytes())
    edit.remove(macho.LC_UUID)
    bad.write_bytes(edit.data)
    assert main(["check", str(good)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["check", "--sdk", SDK, str(good), str(bad)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    remedy = RULES["uuid-present"].remedy
    assert line == f"{bad} (x86_64): uuid-present: load commands: there is none; {remedy}"
    assert main(["check", "--sdk", SDK, "--json", str(bad)]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["rule"], row["arch"]) == ("uuid-present", "x86_64")
    assert main(["check", str(tmp_path / "absent")]) == 1
    assert "absent" in capsys.readouterr().err
    assert main(["check", "--sdk", "twenty", str(good)]) == 2


def test_slices_of_a_fat_file_are_judged_one_by_one():
    data = program("fat")
    at = data.index(program("c")[:4096])
    broken = data[: at + 16] + (10**6).to_bytes(4, "little") + data[at + 20 :]
    assert {(f.arch, f.rule) for f in check_bytes(broken)} == {("x86_64", "command-size")}


def test_page_of_rules_is_up_to_date():
    page = (ROOT / "docs" / "check.md").read_text()
    start, end = "<!-- rules -->\n", "\n<!-- end of rules -->"
    assert page[page.index(start) + len(start) : page.index(end)] == rule_list()


def test_list_prints_the_rules(capsys):
    assert main(["check", "--list"]) == 0
    assert capsys.readouterr().out == rule_list() + "\n"


def test_each_rule_says_what_to_do_and_where_it_is_written():
    for rule in RULES.values():
        assert rule.text
        assert rule.remedy
        assert rule.source.startswith(("dyld ", "xnu ", "Security "))
        if rule.sdk:
            assert parse_version(rule.sdk) > 0


def tables(name: str) -> list[tuple[int, int]]:
    """The ranges of a program that rules read: load commands and `__LINKEDIT`."""
    file = Edit(program(name)).file
    row = file.segments[-1]
    commands = 32 + int(file.header["sizeofcmds"])
    return [(0, commands), (int(row["fileoff"]), min(int(row["filesize"]), 4096))]


@pytest.mark.parametrize("name", ["go", "c", "chained", "go-arm64"])
def test_random_damage_never_crashes(name):
    rng, caught = random.Random(name), 0
    for _ in range(120):
        data = bytearray(program(name))
        start, size = rng.choice(tables(name))
        for _ in range(rng.randint(1, 4)):
            value = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
            data[start + rng.randrange(size)] = value
        caught += bool(check_bytes(bytes(data), name, SDK))
    assert caught > 60


@pytest.mark.parametrize("name", ["c", "fat"])
def test_cut_off_file_never_crashes(name):
    data, rng = program(name), random.Random(1)
    for _ in range(60):
        assert check_bytes(data[: rng.randrange(len(data))], name, SDK)
