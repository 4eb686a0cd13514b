"""Flags of `pielink link`, given on the command line, do to real programs what Go's linker does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from emulator_programs import Ran, pielink_run
from go_compile import Workshop
from go_inputs import GoInputs, go_inputs
from goobj_edit import edit_text_header, edited, join
from invalid.go_case import MAIN
from invalid.go_programs import LINKNAME
from linked_programs import checked

from pielink.inspect import compare, read_macho

PIELINK = [sys.executable, "-m", "pielink", "link"]
Linked = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def hello() -> GoInputs:
    return go_inputs("hello")


@pytest.fixture
def work(hello: GoInputs, tmp_path: Path) -> Workshop:
    folder = tmp_path / "inputs"
    folder.mkdir()
    return Workshop(hello, folder)


def both(inputs: GoInputs, argv: list[str], **variables: str) -> tuple[Linked, Linked]:
    """Link with pielink, then with Go's linker; the outputs are argv's -o, and beside it .go."""
    environment = inputs.tool_environment() | variables
    out = argv.index("-o") + 1
    theirs = [*argv[:out], f"{argv[out]}.go", *argv[out + 1 :]]
    commands = (
        [*PIELINK, *argv],
        [str(inputs.go_linker()), *theirs],
    )
    ours, go = (
        subprocess.run(each, env=environment, capture_output=True, text=True) for each in commands
    )
    return ours, go


def same_program(output: Path) -> None:
    """pielink's output is Go's, but for what differs on purpose."""
    found = compare(read_macho(Path(f"{output}.go")), read_macho(checked(output)))
    assert [str(each) for each in found if not each.deliberate] == []


@pytest.mark.parametrize("flag", ["-c", "-debugnosplit", "-dumpdep"])
def test_what_is_printed_is_what_gos_linker_prints(
    flag: str, hello: GoInputs, tmp_path: Path
) -> None:
    ours, theirs = both(hello, hello.link_argv(tmp_path / "out", ("-w", flag)))
    assert (ours.returncode, ours.stderr) == (0, "")
    assert len(ours.stdout.splitlines()) > 1000
    assert ours.stdout == theirs.stdout
    same_program(tmp_path / "out")


def mismatches(text: str) -> set[tuple[str, str]]:
    """The symbols that -strictdups names, and why."""
    ours = r"go_\.o\): (.*): duplicate symbol, previous def in .*, with mismatched payload: (.*)"
    theirs = r"duplicate symbol '(.*)', previous def at '.*', with mismatched payload: (.*)"
    return {(name, why) for form in (ours, theirs) for name, why in re.findall(form, text)}


@pytest.mark.parametrize(("level", "fails"), [("0", False), ("1", False), ("2", True)])
def test_strictdups(level: str, fails: bool, hello: GoInputs, tmp_path: Path) -> None:
    argv = hello.link_argv(tmp_path / "out", ("-w", f"-strictdups={level}"))
    ours, theirs = both(hello, argv)
    assert (ours.returncode, theirs.returncode) == ((1, 2) if fails else (0, 0))
    assert mismatches(ours.stderr) == mismatches(theirs.stderr)
    assert len(mismatches(ours.stderr)) == (0 if level == "0" else 12)
    assert (tmp_path / "out").exists() is not fails


def test_strictdups_compares_sizes(work: Workshop, tmp_path: Path) -> None:
    for name, size in (("one", 8), ("two", 16)):
        data = (
            f"GLOBL shared(SB), 18, ${size}\nTEXT ·F(SB), 4, $0-0\n\tLEAQ shared(SB), AX\n\tRET\n"
        )
        work.compile(f"example/{name}", f"package {name}\n\nfunc F()\n", data)
    calls = 'import ("example/one"; "example/two")\n\nfunc main() { one.F(); two.F() }\n'
    work.compile("main", f"package main\n\n{calls}")
    ours, theirs = both(work.base, work.link_argv(tmp_path / "out", "-strictdups=1"))
    for stderr in (ours.stderr, theirs.stderr):
        assert "with mismatched payload: different sizes: new size 16 != old size 8" in stderr
    same_program(tmp_path / "out")


def test_checklinkname_can_be_turned_off(work: Workshop, tmp_path: Path) -> None:
    work.compile("main", LINKNAME, "// a body may be missing\n")
    argv = work.link_argv(tmp_path / "out", "-checklinkname=0")
    ours, theirs = both(work.base, argv)
    assert (ours.returncode, ours.stderr, theirs.returncode) == (0, "", 0)
    same_program(tmp_path / "out")
    ran = pielink_run(tmp_path / "out")
    assert (ran.status, ran.out) == (0, "")
    assert int(ran.err) > 0


def addresses(program: Path) -> dict[bytes, int]:
    """The functions of a program, by name."""
    table = read_macho(program)
    values = zip(table.symbols["n_sect"].tolist(), table.symbols["n_value"].tolist(), strict=True)
    named = zip(table.symbol_names, values, strict=True)
    return {name: value for name, (section, value) in named if section == 1}


def test_randlayout_shuffles_functions_by_its_seed(hello: GoInputs, tmp_path: Path) -> None:
    places = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("plain", 0)):
        program = hello.link_with_pielink((f"-randlayout={seed}", "-verify"), tmp_path / name)
        assert pielink_run(checked(program)) == Ran(0, "Hello from Go on darwin/amd64\n", "")
        places[name] = program.read_bytes()
    assert places["a"] == places["b"]
    assert len(set(places.values())) == 3
    shuffled, plain = (addresses(tmp_path / name) for name in ("a", "plain"))
    assert shuffled.keys() == plain.keys()
    moved = [name for name in plain if shuffled[name] != plain[name]]
    assert len(moved) > 0.9 * len(plain)


def library_folder(work: Workshop, folder: Path) -> Path:
    """The packages as files in a folder, named by import path."""
    for package, file in work.packages.items():
        place = folder / f"{package}.a"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return folder


def test_packages_are_found_in_library_folders(work: Workshop, tmp_path: Path) -> None:
    work.compile("main", MAIN)
    folder = library_folder(work, tmp_path / "packages")
    empty = tmp_path / "empty"
    empty.mkdir()
    argv = ["-o", str(tmp_path / "out"), "-L", str(empty), "-L", str(folder), "-w", str(work.main)]
    ours, theirs = both(work.base, ["-buildmode=pie", *argv])
    assert (ours.returncode, ours.stderr, theirs.returncode) == (0, "", 0)
    same_program(tmp_path / "out")


def test_installsuffix_names_the_folder_in_the_goroot(work: Workshop, tmp_path: Path) -> None:
    work.compile("main", MAIN)
    library_folder(work, tmp_path / "root" / "pkg" / "darwin_amd64_special")
    argv = ["-o", str(tmp_path / "out"), "-buildmode=pie", "-w", str(work.main)]
    suffix = ["-installsuffix", "special"]
    ours, theirs = both(work.base, [*suffix, *argv], GOROOT=str(tmp_path / "root"))
    assert (ours.returncode, ours.stderr, theirs.returncode) == (0, "", 0)
    same_program(tmp_path / "out")
    ours, theirs = both(work.base, argv, GOROOT=str(tmp_path / "root"))
    assert (ours.returncode, theirs.returncode) == (1, 2)
    assert "cannot find package runtime in" in ours.stderr
    assert str(tmp_path / "root" / "pkg" / "darwin_amd64") in ours.stderr


def test_fipso_writes_the_same_module(hello: GoInputs, tmp_path: Path) -> None:
    objects = {}
    for name in ("ours", "theirs"):
        argv = hello.link_argv(tmp_path / name, ("-w", f"-fipso={tmp_path / name}.o"))
        linker = [str(hello.go_linker())] if name == "theirs" else PIELINK
        subprocess.run([*linker, *argv], env=hello.tool_environment(), check=True)
        objects[name] = (tmp_path / f"{name}.o").read_bytes()
    assert objects["ours"].startswith(b"go fips object v1\n")
    assert objects["ours"] == objects["theirs"]


def test_f_links_objects_of_another_patch_release(work: Workshop, tmp_path: Path) -> None:
    work.compile("main", MAIN)
    members = edited(work.path("internal/abi"))
    edit_text_header(members, b"go1.27.3", b"go1.27.1")
    work.put("internal/abi", join(members))
    ours, theirs = both(work.base, work.link_argv(tmp_path / "out"))
    assert (ours.returncode, theirs.returncode) == (1, 2)
    ours, theirs = both(work.base, work.link_argv(tmp_path / "out", "-f"))
    assert (ours.returncode, ours.stderr, theirs.returncode) == (0, "", 0)
    same_program(tmp_path / "out")


def test_g_ignores_what_the_package_data_says(hello: GoInputs, tmp_path: Path) -> None:
    ours, theirs = both(hello, hello.link_argv(tmp_path / "out", ("-w", "-g")))
    assert (ours.returncode, theirs.returncode) == (1, 2)
    assert f"{hello.main_archive}: not package main" in ours.stderr
    assert f"{hello.main_archive}: not package main" in theirs.stderr


@pytest.mark.parametrize("flag", ["-a", "-n", "-e", "-h", "-bindnow", "-debugtextsize=1000000"])
def test_flags_without_a_meaning_change_nothing(flag: str, hello: GoInputs, tmp_path: Path) -> None:
    ours, theirs = both(hello, hello.link_argv(tmp_path / "out", ("-w", flag)))
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, "", "")
    assert theirs.returncode == 0
    same_program(tmp_path / "out")


def test_v_and_benchmark_do_not_change_the_program(hello: GoInputs, tmp_path: Path) -> None:
    ours, _ = both(hello, hello.link_argv(tmp_path / "out", ("-w", "-v", "-benchmark=cpu")))
    same_program(tmp_path / "out")
    table = read_macho(tmp_path / "out")
    binds = len(table.binds.rows)
    assert f"{len(table.rebases)} rebases, {binds} binds" in ours.stdout
    assert re.search(r"^BenchmarkTotalTime 1 \d+ ns/op$", ours.stdout, re.MULTILINE)


def test_version_lines(hello: GoInputs) -> None:
    environment = hello.tool_environment()
    for argv in (["-V"], ["-V=full"], ["-w", "-V", "main.a"]):
        done = subprocess.run(
            [*PIELINK, *argv], env=environment, capture_output=True, text=True, check=True
        )
        assert re.fullmatch(r"link version (go\S+ )?.*pielink\S*\n", done.stdout)
