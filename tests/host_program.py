"""Whole programs with host objects: a small Go program with them in the archive of main.

Nothing in Go calls the objects; linker flags (-u) and what the objects say of themselves keep
their code. The same objects are a program without Go, for another linker.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lief
from go_inputs import GoInputs, go_inputs
from goobj_edit import edited, join, member

from pielink import link
from pielink.golang.flags import parse_link_flags

MACHO_MAGIC = struct.pack("<I", 0xFEEDFACF)


@dataclass(frozen=True)
class HostProgram:
    """The inputs: archives of Go, and objects by name."""

    inputs: GoInputs
    folder: Path

    def link(self, *objects: Path | bytes, ldflags: tuple[str, ...] = (), flags: Any = ()) -> Path:
        """Link with pielink; `ldflags` are those of a C compiler, `flags` those of pielink link."""
        bodies = [each if isinstance(each, bytes) else each.read_bytes() for each in objects]
        added = [member(f"host{i}.o", body) for i, body in enumerate(bodies)]
        archive, output = self.folder / "main.a", self.folder / "program"
        archive.write_bytes(join([*edited(self.inputs.main_archive), *added]))
        given = [f"-extldflags={' '.join(ldflags)}"] if ldflags else []
        argv = self.inputs.link_argv(output, ("-w", *given, *flags))
        link(parse_link_flags([*argv[:-1], str(archive)], self.inputs.tool_environment()))
        return output


def host_program(folder: Path) -> HostProgram:
    """A Go program to put objects into; the output goes to `folder`."""
    return HostProgram(go_inputs("hello"), folder)


def host_objects(inputs: GoInputs, folder: Path) -> list[Path]:
    """The host objects in all archives of a program, written to `folder`."""
    lines = inputs.importcfg.read_text().splitlines()
    archives = {Path(line.split("=", 1)[1]) for line in lines if line.startswith("packagefile ")}
    found = []
    for archive in sorted(archives):
        for each in edited(archive):
            if each.body.startswith(MACHO_MAGIC):
                found.append(folder / f"{len(found)}.o")
                found[-1].write_bytes(each.body)
    return found


def parsed(path: Path) -> Any:
    """The file as LIEF reads it."""
    fat = lief.MachO.parse(str(path))
    assert fat is not None
    return fat.at(0)
