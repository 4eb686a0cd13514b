"""Fat (universal) files: the same program for several processors, one slice each.

A big-endian header (FAT_MAGIC, or FAT_MAGIC_64 with 64-bit offsets) and count, then one record a
slice: cputype, cpusubtype, offset, size, log2 of the alignment. A slice is a whole Mach-O file or
archive. Java class files share FAT_MAGIC; their second word, read as a count, is large.
Source: <mach-o/fat.h>.
"""

from __future__ import annotations

from pielink.errors import FormatError
from pielink.formats import macho
from pielink.formats.bounds import Bytes, as_bytes, check_range, record, records
from pielink.formats.loadcommands import cpu_name
from pielink.hints import Any
from pielink.record import NamedTuple

MAX_SLICES = 32  # more than there are processors; the version of a Java class file is above


class Slice(NamedTuple):
    """One slice: for which processor, and its bytes (a view)."""

    cputype: int
    cpusubtype: int
    data: Bytes


def is_fat(data: Any) -> bool:
    """Return whether `data` (bytes-like) begins like a fat file."""
    start = bytes(memoryview(data)[:4])
    return start in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")


def read(data: Any, file: str) -> list[Slice]:
    """Return the slices in file order; raises FormatError when the table is malformed."""
    contents = as_bytes(data)
    header = record(contents, 0, macho.FAT_HEADER, "fat header", file)
    dtype = {macho.FAT_MAGIC: macho.FAT_ARCH, macho.FAT_MAGIC_64: macho.FAT_ARCH_64}.get(
        int(header["magic"])
    )
    if dtype is None:
        raise FormatError("is not a fat file", file)
    count = int(header["nfat_arch"])
    if not 0 < count <= MAX_SLICES:
        raise FormatError(f"fat file of {count} slices", file)
    slices = []
    for row in records(contents, macho.FAT_HEADER.itemsize, count, dtype, "fat slices", file):
        offset, size = int(row["offset"]), int(row["size"])
        check_range(contents, offset, size, "fat slice", file)
        place = contents[offset : offset + size]
        slices.append(Slice(int(row["cputype"]), int(row["cpusubtype"]), place))
    return slices


def select(data: Any, file: str, cputype: int = macho.CPU_TYPE_X86_64) -> Bytes:
    """Return the slice for `cputype`, or all of `data` where it is not a fat file.

    Raises FormatError when the fat file has no such slice, and says which it has.
    """
    if not is_fat(data):
        return as_bytes(data)
    slices = read(data, file)
    for each in slices:
        if each.cputype == cputype:
            return each.data
    names = ", ".join(cpu_name(each.cputype) for each in slices)
    raise FormatError(f"has no slice for {cpu_name(cputype)} (only for {names})", file)
