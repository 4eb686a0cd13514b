"""The FIPS 140 module: where its code and data lie in the image, and their hash.

The compiler marks the module's symbols by their kinds. The linker puts those of text, read-only
data, pointer-free data and data together, each between two symbols of 1 byte. go:fipsinfo, which
the program checks itself against when it starts, has its own section:

     0: magic (16)   16: sum (32)   48: address of go:fipsinfo   56: four times start, end

The sum is HMAC-SHA256, with 32 zero bytes as the key, of the line "go fips object v1" and the four
ranges, each with its length (8 bytes, big-endian) in front. It covers bytes after relocation, so
it is put into the finished image.

Source: cmd/link/internal/ld/fips140.go.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.digest import hmac_sha256
from pielink.errors import LinkError, Problem
from pielink.hints import TYPE_CHECKING
from pielink.record import Record
from pielink.rows import NewReloc
from pielink.tables import U1, Kind, Layout

if TYPE_CHECKING:
    from pielink.builder import SymbolBuilder

INFO = "go:fipsinfo"
MARKERS = (
    ("go:textfipsstart", Kind.TEXT_FIPS_START),
    ("go:textfipsend", Kind.TEXT_FIPS_END),
    ("go:rodatafipsstart", Kind.RODATA_FIPS_START),
    ("go:rodatafipsend", Kind.RODATA_FIPS_END),
    ("go:noptrdatafipsstart", Kind.NOPTR_DATA_FIPS_START),
    ("go:noptrdatafipsend", Kind.NOPTR_DATA_FIPS_END),
    ("go:datafipsstart", Kind.DATA_FIPS_START),
    ("go:datafipsend", Kind.DATA_FIPS_END),
)
_MAGIC, _SUM_SIZE = b"\xff Go fipsinfo \xff\x00", 32
_FIRST_LINE = b"go fips object v1\n"


class FipsRows(Record):
    """Rows of go:fipsinfo and of the markers, in the order of MARKERS."""

    info: int
    markers: tuple[int, ...]

    @property
    def text(self) -> tuple[int, ...]:
        """The markers that are text symbols: start and end."""
        return self.markers[:2]


def define_fips(builder: SymbolBuilder) -> FipsRows:
    """Make go:fipsinfo and the eight markers."""
    info = builder.row(INFO)
    markers = [builder.define(name, kind, size=1, local=True) for name, kind in MARKERS]
    content = _MAGIC + bytes(_SUM_SIZE)
    rows = [info, *markers]
    relocs = [NewReloc(len(content) + 8 * i, row) for i, row in enumerate(rows)]
    builder.define(INFO, Kind.FIPS_INFO, content + bytes(8 * len(relocs)), relocs=relocs)
    return FipsRows(info, tuple(markers))


def put_sum(image: U1, layout: Layout, rows: FipsRows, object_file: str = "") -> None:
    """Compute the sum over the finished image and write it into go:fipsinfo there.

    `image` is the file's bytes by file offset. The hashed bytes also go to the file
    `object_file`, unless it is empty (-fipso). Raises LinkError if a range does not lie in a
    segment, or the file cannot be written.
    """
    markers = layout.address[list(rows.markers)].tolist()
    hashed = [_FIRST_LINE]
    for i in range(0, len(markers), 2):
        start, end = _file_range(layout, markers[i], markers[i + 1], MARKERS[i][0])
        hashed += [(end - start).to_bytes(8, "big"), image[start:end].tobytes()]
    info = int(layout.address[rows.info])
    at, _ = _file_range(layout, info, info + len(_MAGIC) + _SUM_SIZE, INFO)
    at += len(_MAGIC)
    image[at : at + _SUM_SIZE] = np.frombuffer(_sum(hashed), np.uint8)
    if object_file:
        _write(object_file, hashed)


def _sum(hashed: Sequence[bytes]) -> bytes:
    return hmac_sha256(bytes(32), hashed)


def _file_range(layout: Layout, start: int, end: int, name: str) -> tuple[int, int]:
    """File offsets of the addresses from `start` to `end`, which one segment must hold."""
    segments = layout.segments
    inside = (segments.vmaddr <= start) & (start <= end)
    inside &= end <= segments.vmaddr + segments.filesize
    if not inside.any():
        message = f"not in the file: {start:#x} to {end:#x} is in no segment"
        raise LinkError([Problem(message, symbol=name)])
    which = int(np.argmax(inside))
    shift = int(segments.fileoff[which] - segments.vmaddr[which])
    return start + shift, end + shift


def _write(path: str, parts: Sequence[bytes]) -> None:
    try:
        with open(path, "wb") as file:
            file.writelines(parts)
    except OSError as error:
        raise LinkError([Problem(f"cannot write: {error.strerror}", file=path)]) from None
