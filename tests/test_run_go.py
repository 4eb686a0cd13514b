"""Go programs for macOS run here: their output, their exit status, their tracebacks.

Each runs at three slides: an address that should have been rebased and was not works at one slide
only by luck.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from emulator_programs import CASES, go_program, goroot_program, native_run, pielink_run
from go_inputs import PREVIOUS_RELEASE, go_environment, goroot

SLIDES = ("0", "0x1a4000", "0x7f5a1c0000")
SLID = pytest.mark.parametrize("slide", SLIDES)

GOROUTINES = """\
pipeline 2646700
trees [1024 2048 4096 8192]
timers 1 2 3
select context deadline exceeded after some ticks: true
spinner true
words [and bird cat dog the] map[and:2 bird:1 cat:1 dog:1 the:3]
collected true
"""


@SLID
def test_goroutines_timers_select_and_collector(slide: str) -> None:
    ran = pielink_run(go_program("run_goroutines"), options=["--slide", slide])
    assert (ran.status, ran.out, ran.err) == (0, GOROUTINES, "")


def test_the_previous_go_release() -> None:
    ran = pielink_run(go_program("run_goroutines", PREVIOUS_RELEASE))
    assert (ran.status, ran.out, ran.err) == (0, GOROUTINES, "")


def test_a_seed_makes_runs_the_same() -> None:
    program = go_program("run_goroutines")
    runs = [pielink_run(program, options=["--seed", "7", "--stats"]) for _ in range(2)]
    reports = [re.sub(r"\d+\.\d+ s", "", ran.err) for ran in runs]
    assert runs[0].out == runs[1].out == GOROUTINES
    assert reports[0] == reports[1]
    assert "slide 0x" in reports[0]


def line_of(mark: str) -> int:
    """The line of tests/cases/run_panics/main.go that ends with `// PANIC mark`."""
    lines = (CASES / "run_panics" / "main.go").read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.endswith(f"// PANIC {mark}"))


PANICS = {
    "index": "panic: runtime error: index out of range [5] with length 3",
    "nil": "[signal SIGSEGV: segmentation violation code=0x1 addr=0x8 pc=",
    "error": "panic: custom",
    "divide": "panic: runtime error: integer divide by zero",
}


@SLID
@pytest.mark.parametrize("kind", PANICS)
def test_panics_end_with_status_2_and_the_right_line(kind: str, slide: str) -> None:
    ran = pielink_run(go_program("run_panics"), kind, options=["--slide", slide])
    assert ran.status == 2
    assert PANICS[kind] in ran.err
    first = re.search(r"/main\.go:(\d+)", ran.err)
    assert first is not None
    assert int(first.group(1)) == line_of(kind)


def test_a_nil_dereference_can_be_recovered() -> None:
    ran = pielink_run(go_program("run_panics"), "recover")
    expected = "recovered: runtime error: invalid memory address or nil pointer dereference\n"
    assert (ran.status, ran.out) == (0, expected)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("deadlock", "fatal error: all goroutines are asleep - deadlock!"),
        ("stack", "fatal error: stack overflow"),
    ],
)
def test_fatal_errors_of_the_runtime(kind: str, message: str) -> None:
    ran = pielink_run(go_program("run_panics"), kind)
    assert ran.status == 2
    assert message in ran.err


@SLID
def test_arguments_environment_streams_files_and_exit_status(slide: str, tmp_path: Path) -> None:
    options = ["--slide", slide, "--env", "PIELINK_TEST=yes"]
    arguments = [str(tmp_path), "7", "two words"]
    ran = pielink_run(go_program("run_process"), *arguments, options=options, stdin="ab\ncd\n")
    expected = f"""\
args 3 {tmp_path}|7|two words
env yes true
stdin 4
read "one\\ntwo\\nthree 3\\n"
gone true
stat 16 -rw-r----- true
walk .:d--------- a/b/link:L--------- a/b/moved:---------- a/b:d--------- a:d---------
link text
end 3
closed true
left 0
pipe "through the pipe\\n"
signal user defined signal 1
"""
    assert (ran.status, ran.out, ran.err) == (7, expected, "to stderr\n")


@SLID
def test_http_server_and_clients_over_loopback(slide: str) -> None:
    ran = pielink_run(go_program("run_http"), options=["--slide", slide])
    sums = "".join(f'200 OK {{"sum":{3 + 11 * i}}}\n' for i in range(6))
    expected = (
        f"{sums}large 200000 <nil>\nbad 400 <nil>\n"
        "refused dial tcp 127.0.0.1:1: connect: connection refused\nshutdown <nil>\n"
    )
    assert (ran.status, ran.out, ran.err) == (0, expected, "")


@SLID
def test_gofmt_formats_like_the_native_one(slide: str) -> None:
    source = goroot() / "src" / "go" / "parser" / "parser.go"
    ran = pielink_run(goroot_program("cmd/gofmt"), "-s", str(source), options=["--slide", slide])
    native = native_run(goroot_program("cmd/gofmt", native=True), "-s", str(source))
    assert len(native.out) > 50_000
    assert (ran.status, ran.err) == (native.status, native.err)
    assert ran.out == native.out


CGO = """\
C says hello from Go
callback 90
errno no such file or directory
structure 4 6
thread 42
user true <nil>
recovered runtime error: invalid memory address or nil pointer dereference
"""


@SLID
def test_cgo_calls_both_ways(slide: str) -> None:
    ran = pielink_run(go_program("run_cgo", cgo=True), options=["--slide", slide])
    assert (ran.status, ran.out, ran.err) == (4, CGO, "")


@pytest.mark.slow
def test_the_go_compiler_writes_the_same_object(tmp_path: Path) -> None:
    source = tmp_path / "main.go"
    source.write_text("package main\n\nfunc main() { println(len([]int{1, 2, 3})) }\n")
    objects = [tmp_path / "emulated.a", tmp_path / "native.a"]
    arguments = ["-p", "main", "-o"]
    options = ["--env", "GOOS=darwin", "--env", "GOARCH=amd64"]
    compiler = goroot_program("cmd/compile")
    ran = pielink_run(compiler, *arguments, str(objects[0]), str(source), options=options)
    assert (ran.status, ran.err) == (0, "")
    environment = {**go_environment(), "GOOS": "darwin", "GOARCH": "amd64"}
    go = goroot() / "bin" / "go"
    command = [str(go), "tool", "compile", *arguments, str(objects[1]), str(source)]
    subprocess.run(command, check=True, env=environment)
    assert objects[0].read_bytes() == objects[1].read_bytes()
