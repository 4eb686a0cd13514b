"""`make demo`: link examples/hello with pielink, show what came out, run it under the emulator."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from go_inputs import RELEASE, GoInputs, go_inputs

from pielink.formats import macho
from pielink.inspect.macho import MachOFile, read_macho, text

PAGE = 0x1000
DYLD_INFO_SIZES = ("rebase_size", "bind_size", "weak_bind_size", "lazy_bind_size", "export_size")


def link(command: list[str], inputs: GoInputs) -> float:
    """Run one linker; the wall time in seconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, env=inputs.tool_environment())
    return time.perf_counter() - start


def segment_rows(image: MachOFile) -> list[str]:
    """One line per segment: name, address, size, sections."""
    rows = []
    for index, segment in enumerate(image.segments):
        inside = [n.split(",")[1] for n in _sections_of(image, index)]
        size = f"{int(segment['vmsize']):#x}"
        name = text(segment["segname"].item())
        rows.append(f"  {name:<13} {int(segment['vmaddr']):#11x} {size:>11}  {' '.join(inside)}")
    return rows


def _sections_of(image: MachOFile, segment: int) -> list[str]:
    pairs = zip(image.section_names, image.section_segment.tolist(), strict=True)
    return [name for name, index in pairs if index == segment]


def dyld_info_bytes(image: MachOFile) -> int:
    """Bytes of all LC_DYLD_INFO streams."""
    info = image.first(macho.DYLD_INFO_COMMAND, macho.LC_DYLD_INFO_ONLY) or {}
    return sum(info.get(name, 0) for name in DYLD_INFO_SIZES)


def show(ours: MachOFile, theirs: MachOFile, seconds: tuple[float, float]) -> None:
    """Print the summary: segments, fixups, and how both linkers compare."""
    print(f"examples/hello, Go {RELEASE}, darwin/amd64, position-independent\n")
    print("  segment           address        size  sections")
    print("\n".join(segment_rows(ours)))
    print(f"\n  {len(ours.rebases)} rebases, {len(ours.binds.rows)} binds\n")
    print(f"  {'':<22}{'pielink':>10}{'go tool link':>15}")
    print(f"  {'bytes of dyld info':<22}{dyld_info_bytes(ours):>10}{dyld_info_bytes(theirs):>15}")
    print(f"  {'milliseconds to link':<22}{seconds[0] * 1000:>10.0f}{seconds[1] * 1000:>15.0f}")


def main() -> None:
    """Link with both linkers, print the summary, then become the emulator."""
    inputs = go_inputs("hello")
    ours, theirs = inputs.directory / "demo", inputs.directory / "demo-go"
    pielink = [sys.executable, "-m", "pielink"]
    seconds = (
        link([*pielink, "link", *inputs.link_argv(ours)], inputs),
        link([str(inputs.go_linker()), *inputs.link_argv(theirs)], inputs),
    )
    show(read_macho(ours), read_macho(theirs), seconds)
    run(ours)


def run(program: Path) -> None:
    """Run the program at a random slide; its own output is the last thing on the screen."""
    slide = random.randrange(1, 0x10000) * PAGE
    print(f"\n  running at slide {slide:#x} under the emulator:\n", flush=True)
    command = [sys.executable, "-m", "pielink", "run", "--slide", hex(slide), str(program)]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
