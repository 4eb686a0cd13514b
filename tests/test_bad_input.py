"""What cannot be linked ends in clear errors, and nothing else: no traceback, no file.

Where Go's own linker sees the same fault, it links the same inputs here, and what is said about
the fault is what its users know.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from go_compile import Workshop
from go_inputs import GoInputs, go_inputs
from invalid import go_objects, go_programs
from invalid.go_case import MAIN, Case

from pielink.cli import main

OLD = b"what was there before"


@pytest.fixture(scope="module")
def hello() -> GoInputs:
    return go_inputs("hello")


@pytest.fixture
def work(hello: GoInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    for name, value in hello.environment.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "inputs"
    folder.mkdir()
    return Workshop(hello, folder)


def refused(argv: list[str], capsys: pytest.CaptureFixture[str], status: int = 1) -> str:
    """Link in this process; return the message of the failure."""
    assert main(["link", *argv]) == status
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("pielink link: ")
    assert streams.err.endswith("\n")
    return streams.err.removeprefix("pielink link: ").removesuffix("\n")


def pattern(message: str) -> str:
    return re.escape(message).replace("…", "[^\n]*")


def go_refuses(work: Workshop, argv: list[str]) -> str:
    command = [str(work.base.go_linker()), *argv]
    done = subprocess.run(command, env=work.base.tool_environment(), capture_output=True, text=True)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "case", [*go_objects.CASES, *go_programs.CASES], ids=lambda case: case.title
)
def test_what_cannot_be_linked(
    case: Case, work: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = case.prepare(work)
    output = tmp_path / "out" / "program"
    output.parent.mkdir()
    argv = work.link_argv(output, *flags)
    message = refused(argv, capsys)
    assert re.search(pattern(case.message) + r"\Z", message), message
    assert list(output.parent.iterdir()) == []
    output.write_bytes(OLD)
    assert refused(argv, capsys) == message
    assert [path.name for path in output.parent.iterdir()] == ["program"]
    assert output.read_bytes() == OLD
    if case.go_says:
        assert case.go_says in message
        assert case.go_says in go_refuses(work, work.link_argv(tmp_path / "go", *flags))


def test_all_problems_of_a_pass_are_reported_once(
    work: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work.compile("main", go_programs.UNDEFINED, "// nothing is defined here\n")
    lines = refused(work.link_argv(tmp_path / "out"), capsys).splitlines()
    expected = go_refuses(work, work.link_argv(tmp_path / "go")).splitlines()
    assert sorted(lines) == sorted(expected)
    assert len(set(lines)) == len(lines) == 3


def test_all_inputs_are_read_before_the_link_fails(
    work: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work.compile("main", MAIN)
    cut = work.put("internal/abi", work.path("internal/abi").read_bytes()[:-100])
    text = work.put("internal/bytealg", b"package bytealg\n")
    del work.packages["internal/cpu"]
    lines = refused(work.link_argv(tmp_path / "out"), capsys).splitlines()
    assert len(lines) == 3
    assert sum(line.startswith(f"{cut}: malformed archive: ") for line in lines) == 1
    assert sum(line.startswith(f"{text}: not an object file: ") for line in lines) == 1
    assert sum("cannot find package internal/cpu (using -importcfg)" in line for line in lines) == 1


def too_long(folder: Path) -> Path:
    return folder / ("n" * 300)


def missing_folder(folder: Path) -> Path:
    return folder / "no" / "folder" / "program"


def a_folder(folder: Path) -> Path:
    (folder / "program").mkdir()
    return folder / "program"


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(OLD)
    return folder / "file" / "program"


def a_full_device(folder: Path) -> Path:
    return Path("/dev/full")


OUTPUTS = {
    too_long: "cannot write the output: File name too long",
    missing_folder: "cannot write the output: No such file or directory",
    a_folder: "cannot write the output: Is a directory",
    below_a_file: "cannot write the output: Not a directory",
    a_full_device: "cannot write the output: No space left on device",
}


@pytest.mark.parametrize("place", OUTPUTS, ids=lambda place: place.__name__)
def test_an_output_that_cannot_be_written(
    place: object, work: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(place)
    folder = tmp_path / "out"
    folder.mkdir()
    output = place(folder)
    before = sorted(folder.rglob("*"))
    work.compile("main", MAIN)
    message = refused(work.link_argv(output), capsys)
    assert message == f"{output}: {OUTPUTS[place]}"
    assert sorted(folder.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_folder(
    work: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir(mode=0o555)
    work.compile("main", MAIN)
    message = refused(work.link_argv(folder / "program"), capsys)
    assert message == f"{folder / 'program'}: cannot write the output: Permission denied"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [("missing", "No such file or directory"), ("folder", "Is a directory")],
)
@pytest.mark.parametrize("which", ["main archive", "importcfg"])
def test_an_input_that_cannot_be_read(
    which: str,
    damage: str,
    reason: str,
    work: Workshop,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "input"
    if damage == "folder":
        place.mkdir()
    work.compile("main", MAIN)
    argv = work.link_argv(tmp_path / "out")
    argv[-1 if which == "main archive" else argv.index("-importcfg") + 1] = str(place)
    message = refused(argv, capsys)
    assert re.fullmatch(
        rf"{re.escape(str(place))}: (-importcfg: )?cannot open file: {reason}", message
    )


def test_too_little_address_space(work: Workshop, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20))

    work.compile("main", MAIN)
    done = subprocess.run(
        [sys.executable, "-m", "pielink", "link", *work.link_argv(tmp_path / "out")],
        env=work.base.tool_environment() | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert (done.returncode, done.stdout) == (1, "")
    message = r"pielink link: out of memory: no \d+ MiB of address space are to be had .*\n"
    assert re.fullmatch(message, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]


def test_too_little_memory(
    work: Workshop,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    work.compile("main", MAIN)
    monkeypatch.setattr("pielink.pipeline.link", exhausted)
    assert refused(work.link_argv(tmp_path / "out"), capsys) == "out of memory: give it more"


BAD_FLAGS = {
    "-X=nothing": "-X flag requires argument of the form importpath.name=value",
    "-X=name=value": "-X flag requires argument of the form importpath.name=value",
    "-nosuch": "flag provided but not defined: -nosuch",
    "-R=5": "invalid -R value 0x5: want a power of two from 0x1000",
    "-R=0x40000000": "invalid -R value 0x40000000: want a power of two from 0x1000 to 0x1000000",
    "-funcalign=3": "invalid -funcalign value 3: want a power of two up to 4096",
    "-funcalign=8192": "invalid -funcalign value 8192: want a power of two up to 4096",
    "-T=0x7ffffffffffff000": "invalid -T value 0x7ffffffffffff000: not below 0x400000000000",
    "-D=0x400000000000": "invalid -D value 0x400000000000: not below 0x400000000000",
}


@pytest.mark.parametrize("flag", BAD_FLAGS)
def test_a_bad_flag_is_a_usage_error(
    flag: str, work: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work.compile("main", MAIN)
    message = refused(work.link_argv(tmp_path / "out", flag), capsys, 2)
    assert BAD_FLAGS[flag] in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flag", "status"),
    [(b"-E", 1), (b"-X=main.x", 0), (b"-buildid", 0), (b"-exported-symbol", 1), (b"-o", 0)],
)
def test_arguments_that_are_no_text(flag: bytes, status: int, work: Workshop) -> None:
    work.compile("main", MAIN)
    output = os.fsencode(work.folder / "out")
    value = (
        output + b"\xff" if flag == b"-o" else b"\xff" + (b"=1" if flag.startswith(b"-X") else b"")
    )
    argv = [os.fsencode(each) for each in work.link_argv(os.fsdecode(output))]
    command = [
        sys.executable,
        "-m",
        "pielink",
        "link",
        *argv[:-1],
        flag + (b"" if flag.startswith(b"-X") else b"=") + value,
        argv[-1],
    ]
    done = subprocess.run(command, env=work.base.tool_environment(), capture_output=True)
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
