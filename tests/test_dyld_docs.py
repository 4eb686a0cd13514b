"""docs/dyldinfo.md: its commands and its Python give what the page shows."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from go_inputs import goroot

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "dyldinfo.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A copy of the examples in which the page's commands have been run, with their output."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(ROOT / "examples" / "go.mod", folder)
    shutil.copytree(ROOT / "examples" / "hello", folder / "hello")
    (folder / "bin").mkdir()
    command = f'#!/bin/sh\nexec "{sys.executable}" -m pielink "$@"\n'
    (folder / "bin" / "pielink").write_text(command)
    (folder / "bin" / "pielink").chmod(0o755)
    path = os.pathsep.join([str(folder / "bin"), str(goroot() / "bin"), os.environ["PATH"]])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GO") or k == "GOCACHE"}
    outputs = {}
    for block in blocks("console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                done = subprocess.run(
                    ["bash", "-c", line[2:]],
                    cwd=folder,
                    env=environment | {"PATH": path, "GOTOOLCHAIN": "local", "GOENV": "off"},
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 0, done.stderr
                outputs[line[2:]] = done.stdout
    return folder, outputs


def test_commands_print_what_the_page_shows(examples):
    _, outputs = examples
    for block in blocks("console"):
        for shown in block.split("$ ")[1:]:
            command, _, expected = shown.partition("\n")
            assert outputs[command] == expected, command


def test_python_gives_what_the_page_shows(examples, monkeypatch):
    monkeypatch.chdir(examples[0])
    test = doctest.DocTestParser().get_doctest(
        "\n".join(blocks("pycon")), {}, "docs/dyldinfo.md", None, 0
    )
    assert len(test.examples) > 20
    report: list[str] = []
    assert doctest.DocTestRunner().run(test, out=report.append).failed == 0, "".join(report)
