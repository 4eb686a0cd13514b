"""Whole builds: `pielink build` and -toolexec from source to a program that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from go_inputs import EXAMPLES, RELEASE, ROOT, goroot
from test_build import TOOLEXEC, pielink, run

from pielink.formats import macho
from pielink.inspect import read_macho

GO = str(goroot() / "bin" / "go")


def host_go(*arguments: str) -> str:
    done = subprocess.run([GO, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/hello, built by `pielink build`."""
    output = tmp_path_factory.mktemp("build") / "hello"
    done = pielink("build", "-buildvcs=false", "-o", str(output), "./hello")
    assert done.returncode == 0, done.stderr
    return output


def test_the_built_program_is_a_pie_and_runs(hello: Path) -> None:
    assert read_macho(hello).header["flags"] & macho.MH_PIE
    done = pielink("run", str(hello))
    assert (done.returncode, done.stdout) == (0, "Hello from Go on darwin/amd64\n")


def test_the_go_command_reads_the_build_info(hello: Path) -> None:
    lines = host_go("version", "-m", str(hello)).splitlines()
    assert lines[0] == f"{hello}: go{RELEASE}"
    assert "\tpath\tpielink.example/hello" in lines
    assert "\tbuild\tGOOS=darwin" in lines


def test_the_build_id_is_rewritten(hello: Path, tmp_path: Path) -> None:
    action, *_, content = host_go("tool", "buildid", str(hello)).strip().split("/")
    # The linker is told to repeat the action ID; the go command puts the content's hash there.
    assert content != action
    copy = tmp_path / "hello"
    copy.write_bytes(hello.read_bytes())
    host_go("tool", "buildid", "-w", str(copy))
    assert copy.read_bytes() == hello.read_bytes()


def test_an_up_to_date_program_is_not_linked_again(hello: Path) -> None:
    done = pielink("build", "-x", "-buildvcs=false", "-o", str(hello), "./hello")
    assert "toolexec" not in done.stderr
    assert "link -o" not in done.stderr


def test_compile_steps_stay_cached_and_links_are_not_shared(tmp_path: Path) -> None:
    output = str(tmp_path / "hello")
    build = ("build", "-x", "-buildvcs=false", "-o", output, "./hello")
    assert run(GO, *build).returncode == 0
    theirs = Path(output).read_bytes()
    done = pielink(*build)
    assert done.returncode == 0, done.stderr
    assert "compile -o" not in done.stderr
    assert "link -o" in done.stderr
    ours = Path(output).read_bytes()
    assert ours != theirs
    assert "link -o" in run(GO, *build).stderr
    assert Path(output).read_bytes() == theirs


def test_toolexec_by_hand_makes_the_same_file(hello: Path, tmp_path: Path) -> None:
    output = tmp_path / "hello"
    done = run(GO, "build", TOOLEXEC, "-buildvcs=false", "-o", str(output), "./hello")
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == hello.read_bytes()


def test_flags_of_go_build_reach_the_link(tmp_path: Path) -> None:
    output = tmp_path / "sink"
    ldflags = "-s -w -X 'main.version=one two'"
    done = pielink(
        *("build", "-C", str(EXAMPLES), "-buildvcs=false", "-trimpath", f"-ldflags={ldflags}"),
        *("-o", str(output), "./kitchen-sink"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert str(ROOT).encode() not in output.read_bytes()
    assert [s for s in read_macho(output).section_names if s.startswith("__DWARF")] == []
    ran = pielink("run", str(output), "-only", "maps")
    assert ran.stdout.startswith("version one two\n-- maps\n")


def test_an_undefined_symbol_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module broken\n\ngo 1.26\n")
    (tmp_path / "main.go").write_text(
        "package main\n\nfunc missing()\n\nfunc main() { missing() }\n"
    )
    (tmp_path / "empty.s").write_text("")
    output = tmp_path / "broken"
    done = pielink("build", "-C", str(tmp_path), "-o", str(output))
    assert done.returncode == 1
    assert "main.main: relocation target main.missing not defined" in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()


def test_a_refused_build_mode_fails_the_build(tmp_path: Path) -> None:
    output = tmp_path / "hello.so"
    done = pielink("build", "-buildmode=plugin", "-o", str(output), "./hello")
    assert done.returncode == 1
    assert not output.exists()


def test_a_test_binary_is_linked_by_toolexec(tmp_path: Path) -> None:
    output = tmp_path / "heap.test"
    done = run(GO, "test", "-c", TOOLEXEC, "-o", str(output), "container/heap")
    assert done.returncode == 0, done.stderr
    ran = pielink("run", str(output))
    assert (ran.returncode, ran.stdout) == (0, "PASS\n")
