"""Programs linked by pielink run under the emulator as their natively built twins run here.

Each at three slides, picked by a seeded generator.
"""

from __future__ import annotations

import functools
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from go_inputs import CACHE, EXAMPLES, GoInputs, go_environment, go_inputs, goroot, locked

SLIDES = [random.Random(seed).randrange(1, 0x40000) << 12 for seed in range(3)]
TRACEBACK_LINE = re.compile(r"^\s+(\S+\.go:\d+)", re.MULTILINE)
LARGE_SOURCE = goroot() / "src" / "go" / "printer" / "nodes.go"


@functools.cache
def linked(program: str) -> tuple[GoInputs, Path]:
    """The inputs of a program, and what pielink makes of them with -verify."""
    inputs = go_inputs(program)
    return inputs, inputs.link_with_pielink(("-verify",))


@functools.cache
def native(program: str) -> Path:
    """The same program built for this machine; kept in .cache."""
    path = CACHE / "native" / program.replace("/", "-")
    folder = EXAMPLES / program
    package = "." if folder.is_dir() else program
    environment = go_environment()
    del environment["GOOS"], environment["GOARCH"]
    with locked(path):
        subprocess.run(
            [goroot() / "bin" / "go", "build", "-buildvcs=false", "-o", path, package],
            cwd=folder if folder.is_dir() else EXAMPLES,
            env=environment,
            check=True,
        )
    return path


def run(argv: list[str], text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        input=text,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def emulated(
    program: str, slide: int, *arguments: str, text: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pielink", "run", "--slide", hex(slide), "--seed", "1"]
    return run([*command, str(linked(program)[1]), *arguments], text, **environ)


@pytest.mark.parametrize("slide", SLIDES, ids=hex)
@pytest.mark.parametrize("program", ["hello", "kitchen-sink", "http"])
def test_the_program_prints_what_it_prints_natively(program: str, slide: int) -> None:
    done, expected = emulated(program, slide), run([str(native(program))])
    assert done.stdout.replace("darwin/", "linux/") == expected.stdout
    assert (done.returncode, done.stderr) == (expected.returncode, expected.stderr)


@pytest.mark.parametrize("slide", SLIDES, ids=hex)
@pytest.mark.parametrize("way", ["index", "nil", "divide", "error", "goroutine", "deadlock"])
def test_a_fault_ends_with_status_2_and_the_right_lines(way: str, slide: int) -> None:
    done, expected = emulated("panics", slide, way), run([str(native("panics")), way])
    assert done.returncode == expected.returncode == 2
    ours, theirs = (
        [line for line in TRACEBACK_LINE.findall(text) if "/panics/" in line]
        for text in (done.stderr, expected.stderr)
    )
    assert ours == theirs
    assert len(ours) > 0
    assert done.stderr.splitlines()[0] == expected.stderr.splitlines()[0]


@pytest.mark.parametrize("status", [0, 7, 255])
def test_exit_status(status: int) -> None:
    assert emulated("panics", SLIDES[0], str(status)).returncode == status


@pytest.mark.parametrize("slide", SLIDES, ids=hex)
def test_arguments_environment_streams_and_files(slide: int, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first\nsecond\n")
    arguments = (str(tmp_path / "a.txt"), str(tmp_path / "missing"))
    done = emulated("files", slide, *arguments, text="typed\n", GREETING="hi")
    expected = run([str(native("files")), *arguments], "typed\n", GREETING="hi")
    assert (done.returncode, done.stdout) == (3, expected.stdout)
    assert done.stderr == expected.stderr


@pytest.mark.parametrize("slide", SLIDES, ids=hex)
def test_gofmt_formats_a_large_file_as_natively(slide: int, tmp_path: Path) -> None:
    squeezed = re.sub(r"^\t+", " ", LARGE_SOURCE.read_text(), flags=re.MULTILINE)
    source = tmp_path / "nodes.go"
    source.write_text(squeezed)
    done = emulated("cmd/gofmt", slide, str(source))
    expected = run([str(native("cmd/gofmt")), str(source)])
    assert expected.stdout.count("\n\t\t") > 500  # it had something to do
    assert (done.returncode, done.stdout) == (0, expected.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["sort", "strings", "strconv", "container/heap"])
def test_the_standard_librarys_own_tests_pass(package: str) -> None:
    done = emulated(f"test:{package}", SLIDES[0], "-test.short")
    assert done.stdout.endswith("PASS\n"), done.stdout + done.stderr
    assert done.returncode == 0
