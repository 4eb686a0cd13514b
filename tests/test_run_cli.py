"""The command line of `pielink run`, its Python interface, and what ends a run early."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from emulator_programs import c_program, go_program, pielink_run

from pielink.emulator import RunResult, UnimplementedImportError, run
from pielink.errors import FormatError, PielinkError, UsageError


def test_an_unimplemented_import_names_itself_library_and_caller() -> None:
    program = c_program("run_unimplemented")
    ran = pielink_run(program, "now")
    assert ran.status == 1
    assert "_acl_init (/usr/lib/libSystem.B.dylib) is not implemented" in ran.err
    assert "called from _" in ran.err
    assert "Traceback" not in ran.err
    with pytest.raises(UnimplementedImportError) as caught:
        run(program, ["now"])
    assert caught.value.symbol == "_acl_init"
    assert caught.value.caller.startswith(("_outer+", "_main+"))


def test_an_import_that_is_not_called_does_no_harm() -> None:
    assert pielink_run(c_program("run_unimplemented")).status == 0


def test_the_api_returns_status_and_statistics(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w+b") as out:
        environment = {"PIELINK_TEST": "api"}
        result = run(
            go_program("run_process"),
            [str(tmp_path), "3"],
            env=environment,
            slide=0x4000,
            seed=1,
            stdin=os.open(os.devnull, os.O_RDONLY),
            stdout=out.fileno(),
            stderr=out.fileno(),
        )
        out.seek(0)
        text = out.read().decode()
    assert isinstance(result, RunResult)
    assert (result.exit_status, result.signal) == (3, 0)
    assert "env api true\nstdin 0\n" in text
    found = result.statistics
    assert found.slide == 0x4000
    assert found.rebases > 1000
    assert found.binds > 50
    assert found.threads >= 3
    assert found.calls["_write"] > 10


def test_stats_go_to_stderr() -> None:
    ran = pielink_run(c_program("run_unimplemented"), options=["--stats", "--slide", "0x8000"])
    assert ran.out == ""
    assert "exit status 0, slide 0x8000" in ran.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--slide", "x"], "invalid"),
        (["--bind", "later"], "invalid choice"),
        (["--env", "novalue"], "expected NAME=VALUE"),
        (["--nosuch"], "unrecognized"),
    ],
)
def test_usage_errors_end_with_status_2(options: list[str], message: str) -> None:
    ran = pielink_run(c_program("run_unimplemented"), options=options)
    assert ran.status == 2
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_help_has_an_example() -> None:
    command = [sys.executable, "-m", "pielink", "run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "example:" in done.stdout


def test_what_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    with pytest.raises(PielinkError, match="No such file"):
        run(tmp_path / "missing")
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\n" * 10)
    with pytest.raises(FormatError, match="not a 64-bit Mach-O file"):
        run(text)
    with pytest.raises(PielinkError, match="slide 0x1001"):
        run(c_program("run_unimplemented"), slide=0x1001)
    with pytest.raises(UsageError, match="bind"):
        run(c_program("run_unimplemented"), bind="never")  # type: ignore[arg-type]


def test_a_missing_unicorn_names_the_extra_to_install(tmp_path: Path) -> None:
    (tmp_path / "unicorn.py").write_text("raise ImportError('not here')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pielink", "run", str(go_program("run_process"))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "pip install 'pielink[run]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_leaves_directory_and_descriptors_as_they_were(tmp_path: Path) -> None:
    before, descriptors = os.getcwd(), len(os.listdir("/proc/self/fd"))
    result = run(c_program("run_changes"), [str(tmp_path)])
    assert result.exit_status == 0
    assert os.getcwd() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
