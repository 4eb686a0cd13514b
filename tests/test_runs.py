"""Oracle 3: what pielink links runs, at random slides, and does what Go's linker's output does."""

from __future__ import annotations

import functools
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from emulator_programs import Ran, goroot_program, native_run, pielink_run
from go_inputs import EXAMPLES, PREVIOUS_RELEASE, RELEASE, go_inputs, goroot
from linked_programs import case, linked
from test_run_go import GOROUTINES

PAGE = 4096
TOP = 1 << 45  # a slide is less than 2**46


def slides(program: str, count: int = 3) -> list[str]:
    """Random, and the same in every run."""
    chance = random.Random(program)
    return [hex(chance.randrange(TOP // PAGE) * PAGE) for _ in range(count)]


def at_slides(program: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("slide", slides(program))


def run(program: Path, slide: str, *arguments: str, stdin: str = "", env: str = "") -> Ran:
    options = ["--slide", slide, *(["--env", env] if env else [])]
    return pielink_run(program, *arguments, options=options, stdin=stdin)


HELLO = "Hello from Go on darwin/amd64\n"


@at_slides("hello")
@pytest.mark.parametrize(
    ("release", "flags"),
    [
        (RELEASE, ()),
        (PREVIOUS_RELEASE, ()),
        (RELEASE, ("-s",)),
        (RELEASE, ("-bind=lazy",)),
        (RELEASE, ("-dyldinfo=chained", "-macos=12.0")),
        (RELEASE, ("-randlayout=7",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_hello(release: str, flags: tuple[str, ...], slide: str) -> None:
    assert run(linked("hello", release, flags), slide) == Ran(0, HELLO, "")


@pytest.mark.parametrize("release", [RELEASE, PREVIOUS_RELEASE])
def test_hello_at_its_own_address(release: str) -> None:
    assert pielink_run(linked("hello", release, ("-buildmode=exe",))) == Ran(0, HELLO, "")


def test_a_program_that_is_not_position_independent_does_not_slide() -> None:
    ran = pielink_run(linked("hello", flags=("-buildmode=exe",)), options=["--slide", "0x4000"])
    assert (ran.status, ran.out) == (1, "")
    assert "is no position-independent executable" in ran.err


@functools.cache
def linked_by_go(program: str, release: str) -> Ran:
    """What the program prints when Go's own linker made it."""
    return pielink_run(go_inputs(program, release).reference())


@at_slides("kitchen-sink")
@pytest.mark.parametrize("release", [RELEASE, PREVIOUS_RELEASE])
def test_kitchen_sink_prints_what_it_prints_when_go_links_it(release: str, slide: str) -> None:
    ours = run(linked("kitchen-sink", release), slide)
    assert ours == linked_by_go("kitchen-sink", release)
    assert (ours.status, ours.err) == (0, "")
    assert ours.out.count("\n-- ") == 12


@at_slides("goroutines")
def test_goroutines_timers_select_and_collector(slide: str) -> None:
    assert run(linked(case("run_goroutines")), slide) == Ran(0, GOROUTINES, "")


def line_of(text: str) -> int:
    """The line of examples/panics/main.go that holds `text`."""
    lines = (EXAMPLES / "panics" / "main.go").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


PANICS = {
    "index": ("panic: runtime error: index out of range [5] with length 3", "func index("),
    "nil": ("[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x", "func dereference("),
    "divide": ("panic: runtime error: integer divide by zero", "func divide("),
    "error": ("panic: at the bottom", "panic(errors.New("),
    "goroutine": ("panic: runtime error: index out of range [3] with length 0", "func index("),
    "nested": ("panic: first\n\tpanic: second", 'panic("second")'),
    "deadlock": ("fatal error: all goroutines are asleep - deadlock!", "select {}"),
}


@at_slides("panics")
@pytest.mark.parametrize("way", PANICS)
def test_panics_end_with_status_2_and_the_right_line(way: str, slide: str) -> None:
    message, place = PANICS[way]
    ran = run(linked("panics"), slide, way)
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err
    first = re.search(r"/panics/main\.go:(\d+)", ran.err)
    assert first is not None
    assert int(first[1]) == line_of(place)


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_exit_status(status: int) -> None:
    assert run(linked("panics"), slides("status", 1)[0], str(status)).status == status


@at_slides("files")
def test_arguments_environment_and_files(slide: str, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("first\nsecond\n")
    (tmp_path / "two").write_text("third\n")
    names = [str(tmp_path / name) for name in ("one", "two")]
    ran = run(linked("files"), slide, *names, stdin="typed\n", env="GREETING=hello")
    assert ran.out == (
        '2 arguments, GREETING="hello"\nTYPED\none: 13 bytes: FIRST\nSECOND\ntwo: 6 bytes: THIRD\n'
    )
    assert (ran.status, ran.err) == (0, "one: 2 lines\ntwo: 1 lines\n")


def test_a_missing_file_is_the_programs_own_error() -> None:
    ran = run(linked("files"), "0x1000", "/no/such/file")
    assert (ran.status, ran.err) == (
        3,
        "files: open /no/such/file: no such file or directory\n",
    )


@at_slides("http")
def test_http_server_and_client_over_loopback(slide: str) -> None:
    numbered = "".join(f"200 OK hello, {i}\n" for i in range(10))
    answers = '200 OK hello, gopher\n404 Not Found 404 page not found\n200 OK {"bytes":120000}\n'
    assert run(linked("http"), slide) == Ran(0, answers + numbered, "")


@at_slides("gofmt")
def test_gofmt_formats_like_the_native_one(slide: str, tmp_path: Path) -> None:
    source = goroot() / "src" / "go" / "types" / "expr.go"
    untidy = tmp_path / "untidy.go"
    untidy.write_text(source.read_text().replace("\t", "  ").replace(" := ", ":="))
    ran = run(linked("cmd/gofmt"), slide, str(untidy))
    assert ran == native_run(goroot_program("cmd/gofmt", native=True), str(untidy))
    assert ran.status == 0
    assert len(ran.out) > 40_000


def names_of_tests(package: str) -> set[str]:
    """The names of the tests in a package of the standard library."""
    files = (goroot() / "src" / package).glob("*_test.go")
    return {
        name
        for file in files
        for name in re.findall(r"^func (Test\w+)\(t ", file.read_text(), re.M)
    }


@pytest.mark.slow
@pytest.mark.parametrize("package", ["sort", "strings", "strconv", "container/heap"])
def test_tests_of_the_standard_library_pass(package: str) -> None:
    program = linked(f"test:{package}")
    command = [sys.executable, "-m", "pielink", "run", "--seed", "1", str(program)]
    done = subprocess.run(
        [*command, "-test.short", "-test.v"],
        cwd=goroot() / "src" / package,
        capture_output=True,
        text=True,
        timeout=600,
    )
    found = re.findall(r"^--- (PASS|SKIP|FAIL): (Test\w+) ", done.stdout, re.M)
    results = {name: result for result, name in found}
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "FAIL" not in results.values()
    assert names_of_tests(package) <= set(results)
    assert done.stdout.endswith("PASS\n")
