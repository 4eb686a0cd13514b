"""What the README tells people to type works, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from go_inputs import EXAMPLES, ROOT, go_environment, go_inputs, goroot

TEXT = (ROOT / "README.md").read_text()
# What a reader does before, or what the tests cannot do inside themselves.
NOT_RUN = ("pip install", "cd ", "make ")


def blocks(language: str) -> list[str]:
    """The code blocks of one language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def commands() -> list[tuple[str, str]]:
    """Each command line and the output that the README shows for it."""
    pairs = []
    for block in blocks("console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = step.partition("\n")
            pairs.append((line, output))
    return [pair for pair in pairs if not pair[0].startswith(NOT_RUN)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of examples/."""
    copy = tmp_path_factory.mktemp("readme") / "examples"
    shutil.copytree(EXAMPLES, copy)
    return copy


def test_the_commands_work(folder: Path) -> None:
    bin_folders = [str(Path(sys.executable).parent), str(goroot() / "bin"), os.environ["PATH"]]
    environment = go_environment() | {"PATH": ":".join(bin_folders)}
    del environment["GOOS"], environment["GOARCH"]
    assert len(commands()) > 8
    for line, output in commands():
        done = subprocess.run(
            line, shell=True, cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout.endswith(output), line


def test_the_python_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = go_inputs("hello")
    (tmp_path / "main.a").symlink_to(inputs.main_archive)
    (tmp_path / "importcfg.link").symlink_to(inputs.importcfg)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(code, {})
    assert (tmp_path / "app").exists()
