"""Universal ("fat") files: several images, one per architecture, behind a big-endian header.

Source of the format: <mach-o/fat.h>.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pielink.errors import FormatError
from pielink.formats import macho


class Slice(NamedTuple):
    """One image: its architecture by the fat header, where it is in the file, in bytes."""

    arch: str
    offset: int
    size: int


FAT_ARCH = np.dtype(
    [(name, ">u4") for name in ("cputype", "cpusubtype", "offset", "size", "align")]
)
FAT_ARCH_64 = np.dtype(
    [
        *(("cputype", ">u4"), ("cpusubtype", ">u4"), ("offset", ">u8"), ("size", ">u8")),
        *(("align", ">u4"), ("reserved", ">u4")),
    ]
)


def slices(data: bytes, path: str = "") -> list[Slice]:
    """The images of a file; a thin file is one at offset 0.

    Raises FormatError if the fat header is malformed.
    """
    entry = {macho.FAT_MAGIC: FAT_ARCH, macho.FAT_MAGIC_64: FAT_ARCH_64}.get(
        int.from_bytes(data[:4], "big")
    )
    if entry is None:
        return [Slice(architecture(data), 0, len(data))]
    count = int.from_bytes(data[4:8], "big")
    if len(data) < 8 or count > (len(data) - 8) // entry.itemsize:
        raise FormatError(f"fat header announces {count} slices", path, 4)
    found = []
    for row in np.frombuffer(data, entry, count, 8):
        offset, size = int(row["offset"]), int(row["size"])
        if offset > len(data) or size > len(data) - offset:
            raise FormatError("a slice of the fat file is outside the file", path, offset)
        found.append(Slice(cpu_name(int(row["cputype"]), int(row["cpusubtype"])), offset, size))
    return found


def architecture(head: bytes) -> str:
    """The architecture by the first 12 bytes of an image."""
    return cpu_name(int.from_bytes(head[4:8], "little"), int.from_bytes(head[8:12], "little"))


def cpu_name(cpu: int, subtype: int) -> str:
    """x86_64, arm64, arm64e, or the bare number."""
    if cpu == macho.CPU_TYPE_X86_64:
        return "x86_64"
    if cpu == macho.CPU_TYPE_ARM64:
        return "arm64e" if subtype & 0xFFFFFF == macho.CPU_SUBTYPE_ARM64E else "arm64"
    return f"cpu-{cpu:#x}"
