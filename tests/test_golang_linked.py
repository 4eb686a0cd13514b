"""What the linker makes for Go's runtime, byte for byte as Go's own linker makes it."""

from __future__ import annotations

from pathlib import Path

import lief
import pytest
from go_inputs import PREVIOUS_RELEASE, RELEASE, go_inputs

OWN_SECTIONS = ("__gopclntab", "__go_module", "__go_buildinfo", "__go_fipsinfo")
GC_PROGRAMS = ("runtime.gcdata", "runtime.gcbss")


def made_for_go(path: Path) -> dict[str, bytes]:
    """Contents of the sections, and of the GC programs, by name."""
    data, linked = path.read_bytes(), lief.MachO.parse(str(path)).at(0)
    sections = list(linked.sections)
    found = {s.name: data[s.offset : s.offset + s.size] for s in sections if s.name in OWN_SECTIONS}
    address = {s.name[1:]: s.value for s in linked.symbols if s.value}
    for name in GC_PROGRAMS:
        start, end = address[name], address[name.replace("runtime.", "runtime.e")]
        section = next(s for s in sections if 0 <= start - s.virtual_address < s.size)
        at = start - section.virtual_address + section.offset
        found[name] = data[at : at + end - start]
    return found


@pytest.mark.parametrize(
    ("program", "release", "build_flags", "link_flags"),
    [
        ("hello", RELEASE, (), ()),
        ("hello", RELEASE, ("-trimpath",), ()),
        ("hello", RELEASE, ("-gcflags=all=-N -l",), ()),
        ("kitchen-sink", RELEASE, (), ("-X=main.version=1.2", "-X=runtime.buildVersion=own")),
        ("hello", RELEASE, (), ("-buildmode=exe",)),
        ("kitchen-sink", RELEASE, (), ()),
        ("cmd/gofmt", RELEASE, (), ()),
        ("hello", PREVIOUS_RELEASE, (), ()),
        pytest.param("cmd/compile", RELEASE, (), (), marks=pytest.mark.slow),
        pytest.param("cmd/go", RELEASE, (), (), marks=pytest.mark.slow),
        pytest.param("cmd/gofmt", PREVIOUS_RELEASE, (), (), marks=pytest.mark.slow),
    ],
)
def test_same_bytes_as_go_tool_link(
    program: str,
    release: str,
    build_flags: tuple[str, ...],
    link_flags: tuple[str, ...],
    tmp_path: Path,
) -> None:
    inputs = go_inputs(program, release, build_flags)
    ours = made_for_go(inputs.link_with_pielink(link_flags, out=tmp_path / "linked"))
    theirs = made_for_go(inputs.reference(link_flags))
    assert set(theirs) == {*OWN_SECTIONS, *GC_PROGRAMS}
    assert [name for name in theirs if ours.get(name) != theirs[name]] == []
