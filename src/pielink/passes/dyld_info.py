"""What dyld is told: rebase and bind opcode streams, from the fixups of the image.

Segments are numbered as their load commands are, `__PAGEZERO` included; offsets are from the
start of the segment. The streams themselves are the business of `pielink.dyld`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pielink.dyld import BIND, REBASE, bind, rebase
from pielink.formats import macho
from pielink.tables import I4, I8, U1, Fixups, Imports, Layout, Segments


@dataclass(frozen=True, slots=True)
class DyldInfo:
    """The streams of LC_DYLD_INFO_ONLY; an empty one is absent."""

    rebase: bytes = b""
    bind: bytes = b""
    weak_bind: bytes = b""
    lazy_bind: bytes = b""
    export: bytes = b""


def dyld_info(fixups: Fixups, layout: Layout, imports: Imports) -> DyldInfo:
    """Encode the fixups of a position-independent executable."""
    return DyldInfo(
        rebase=rebase.encode(rebase_rows(fixups, layout.segments)),
        bind=bind.encode(bind_rows(fixups, layout.segments, imports), imports.name),
    )


def rebase_rows(fixups: Fixups, segments: Segments) -> npt.NDArray[Any]:
    """The rebases as `pielink.dyld.REBASE` rows."""
    rows = np.zeros(len(fixups.rebase_address), REBASE)
    rows["segment"], rows["offset"] = locate(segments, fixups.rebase_address)
    rows["type"] = macho.REBASE_TYPE_POINTER
    return rows


def bind_rows(fixups: Fixups, segments: Segments, imports: Imports) -> npt.NDArray[Any]:
    """The binds as `pielink.dyld.BIND` rows; names are indices into `imports.name`."""
    rows = np.zeros(len(fixups.bind_address), BIND)
    rows["segment"], rows["offset"] = locate(segments, fixups.bind_address)
    entry = np.searchsorted(imports.symbol, fixups.bind_symbol)
    rows["name"], rows["ordinal"] = entry, imports.ordinal[entry]
    rows["flags"] = np.where(imports.weak[entry], macho.BIND_SYMBOL_FLAGS_WEAK_IMPORT, 0)
    rows["type"] = macho.BIND_TYPE_POINTER
    rows["addend"] = fixups.bind_addend
    return rows


def locate(segments: Segments, address: I8) -> tuple[U1, I8]:
    """The number of the segment that holds each address, and the offset in it."""
    order = np.argsort(segments.vmaddr, kind="stable")
    place = np.searchsorted(segments.vmaddr[order], address, side="right") - 1
    segment: I4 = order[place].astype(np.int32)
    return segment.astype(np.uint8), address - segments.vmaddr[segment]
