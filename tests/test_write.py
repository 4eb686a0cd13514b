"""Writing the output: whole or not at all, executable, errors with the path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pielink.errors import LinkError
from pielink.passes.write import write


@pytest.fixture
def umask() -> Iterator[None]:
    """A known umask."""
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_output_is_executable_under_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.out"
    write(str(path), [b"head", np.arange(5, dtype=np.uint8).data, b"", b"tail"])
    assert path.read_bytes() == b"head\0\1\2\3\4tail"
    assert path.stat().st_mode & 0o777 == 0o750
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(params=["exchanged", "renamed"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to put a file in the place of another; not all systems have the first."""
    if request.param == "renamed":
        monkeypatch.setattr("pielink.passes.write._exchange", lambda *_: False)


@pytest.mark.usefixtures("way")
def test_a_running_output_is_replaced_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.out"
    path.write_bytes(b"old")
    with path.open("rb") as running:
        write(str(path), [b"new"])
        assert running.read() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("way")
def test_a_link_to_the_output_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("real")
    write(str(link), [b"new"])
    assert link.is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_dev_null_stays_a_device() -> None:
    write("/dev/null", [b"x" * 100_000])
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("place", ["missing/a.out", ".", "file/a.out"])
def test_an_output_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = str(tmp_path / place)
    with pytest.raises(LinkError, match="cannot write the output") as caught:
        write(path, [b"x"])
    assert caught.value.problems[0].file == path
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_failure_half_way_leaves_no_file_and_the_old_output(tmp_path: Path) -> None:
    path = tmp_path / "a.out"
    path.write_bytes(b"old")

    def parts() -> Iterator[bytes]:
        yield b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(LinkError, match="No space left on device"):
        write(str(path), parts())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
