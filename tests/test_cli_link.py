"""`pielink link` and `pielink.link` as a user calls them: output, status, no file on failure."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from go_inputs import ROOT, GoInputs, go_inputs

import pielink
from pielink.cli import main
from pielink.golang.flags import parse_link_flags
from pielink.inspect import compare, read_macho

CASES = ROOT / "tests" / "cases"


@pytest.fixture(scope="module")
def hello() -> GoInputs:
    return go_inputs("hello")


def link(inputs: GoInputs, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pielink", "link", *argv],
        env=inputs.tool_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_link_is_silent_and_makes_an_executable_file(hello: GoInputs, tmp_path: Path) -> None:
    output = tmp_path / "hello"
    done = link(hello, *hello.link_argv(output))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(output.stat().st_mode) == 0o777 & ~mask


def test_link_without_w_says_that_debug_info_is_left_out(hello: GoInputs, tmp_path: Path) -> None:
    done = link(hello, *hello.link_argv(tmp_path / "hello", ()))
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert "debug info" in done.stderr


def test_v_tells_what_was_linked(hello: GoInputs, tmp_path: Path) -> None:
    done = link(hello, *hello.link_argv(tmp_path / "hello", ("-w", "-v")))
    assert done.stdout.startswith("build mode: pie, symbol table: on\n")
    assert "dylibs: /usr/lib/libSystem.B.dylib" in done.stdout


@pytest.mark.parametrize(("kind", "unit"), [("cpu", "ns/op"), ("mem", "peak-B")])
def test_benchmark_prints_a_line_per_pass(
    hello: GoInputs, tmp_path: Path, kind: str, unit: str
) -> None:
    done = link(hello, *hello.link_argv(tmp_path / "hello", ("-w", f"-benchmark={kind}")))
    rows = [line.split() for line in done.stdout.splitlines()]
    assert {"BenchmarkRead", "BenchmarkLayout", "BenchmarkWrite"} <= {row[0] for row in rows}
    assert all(int(row[2]) > 0 and row[3] == unit for row in rows)


def test_link_replaces_its_output_at_once(hello: GoInputs, tmp_path: Path) -> None:
    output = tmp_path / "hello"
    output.write_text("old")
    with open(output) as old:
        assert link(hello, *hello.link_argv(output)).returncode == 0
        assert old.read() == "old"
    assert output.read_bytes()[:4] == bytes.fromhex("cffaedfe")
    assert [path.name for path in tmp_path.iterdir()] == ["hello"]


def test_x_finds_a_variable_whose_import_path_is_escaped(tmp_path: Path) -> None:
    inputs = go_inputs(
        CASES / "escaped-import-path", link_flags=("-X=example.com/x/v.2.Name=marked by -X",)
    )
    made = inputs.link_with_pielink(out=tmp_path / "made")
    assert b"marked by -X" in made.read_bytes()
    differences = compare(read_macho(inputs.reference()), read_macho(made))
    assert [each for each in differences if not each.deliberate] == []


def test_the_same_inputs_give_the_same_bytes(hello: GoInputs, tmp_path: Path) -> None:
    for name in ("a", "b"):
        link(hello, *hello.link_argv(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_api_returns_output_and_timings(hello: GoInputs, tmp_path: Path) -> None:
    options = pielink.LinkOptions(
        main=str(hello.main_archive),
        importcfg=str(hello.importcfg),
        output=str(tmp_path / "hello"),
        strip_dwarf=True,
    )
    result = pielink.link(options)
    assert result.output == tmp_path / "hello"
    assert result.output.exists()
    assert sum(result.timings.values()) > 0


def test_the_api_raises_link_error_with_problems(hello: GoInputs, tmp_path: Path) -> None:
    config = tmp_path / "importcfg"
    kept = [line for line in hello.importcfg.read_text().splitlines() if " fmt=" not in line]
    config.write_text("\n".join(kept) + "\n")
    output = tmp_path / "hello"
    argv = ["-o", str(output), "-importcfg", str(config), "-w", str(hello.main_archive)]
    with pytest.raises(pielink.LinkError) as caught:
        pielink.link(parse_link_flags(argv, hello.tool_environment()))
    assert any("fmt" in str(problem) for problem in caught.value.problems)
    assert not output.exists()


@pytest.mark.parametrize("missing", ["main.a", "importcfg"])
def test_a_missing_input_is_named(
    hello: GoInputs, tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main_archive = tmp_path / "main.a" if missing == "main.a" else hello.main_archive
    config = tmp_path / "importcfg" if missing == "importcfg" else hello.importcfg
    output = tmp_path / "hello"
    argv = ["-o", str(output), "-importcfg", str(config), "-w", str(main_archive)]
    assert main(["link", *argv]) == 1
    assert str(tmp_path / missing) in capsys.readouterr().err
    assert not output.exists()


def test_an_unwritable_output_is_named(
    hello: GoInputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "no" / "such" / "folder" / "hello"
    assert main(["link", *hello.link_argv(output)]) == 1
    assert str(output) in capsys.readouterr().err
