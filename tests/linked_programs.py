"""Programs linked by pielink for tests: made once a run, and held against the rules of dyld."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from emulator_programs import CASES
from go_inputs import CACHE, RELEASE, go_inputs, locked

from pielink.check import check

STRICTEST_SDK = "26.0"


def checked(program: Path) -> Path:
    """The same file, after it was found to keep every rule, judged as if built for macOS 26."""
    assert [str(failure) for failure in check(program, STRICTEST_SDK)] == []
    return program


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pielink-linked-")


@functools.cache
def linked(
    program: str | Path,
    release: str = RELEASE,
    flags: tuple[str, ...] = (),
    build: tuple[str, ...] = (),
) -> Path:
    """What pielink makes of the inputs that `go_inputs(program, release, build)` catches."""
    inputs = go_inputs(program, release, build)
    path = Path(_folder().name) / f"program-{linked.cache_info().misses}"
    return checked(inputs.link_with_pielink(flags, path))


@functools.cache
def case(name: str) -> Path:
    """The folder of a program of tests/cases that has no go.mod, with one."""
    folder = CACHE / "cases" / name
    with locked(folder):
        folder.mkdir(exist_ok=True)
        files = {source.name: source.read_text() for source in (CASES / name).glob("*.go")}
        files["go.mod"] = f"module {name}\n\ngo 1.26\n"
        for file, text in files.items():
            path = folder / file
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
    return folder
