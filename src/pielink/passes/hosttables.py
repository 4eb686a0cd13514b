"""What host objects add to the tables of a link; empty for programs of Go alone."""

from __future__ import annotations

import numpy as np

from pielink.arrays import append, isin
from pielink.formats import macho
from pielink.passes.fixups import Patches
from pielink.record import NamedTuple, Record
from pielink.tables import I4, I8, NO_TARGET, Kind

_OFFSET_BITS = 40  # more than the size of any object


class Interior(Record):
    """Rows that lie inside other rows, sorted by (carrier, offset)."""

    row: I4
    carrier: I4
    offset: I8

    def row_at(self, carrier: I4, offset: I8) -> I4:
        """The first row at each place; NO_TARGET where there is none."""
        keys = self.carrier.astype(np.int64) << _OFFSET_BITS | self.offset
        wanted = carrier.astype(np.int64) << _OFFSET_BITS | offset
        at = np.searchsorted(keys, wanted)
        same = append(keys, -1)[at] == wanted
        found: I4 = np.where(same, append(self.row, NO_TARGET)[at], NO_TARGET).astype(np.int32)
        return found


class OwnSection(NamedTuple):
    """A section of the image with symbols of one kind, Kind.FIRST_HOST_SECTION + its index."""

    segment: str
    name: str
    flags: int  # type and attributes

    @property
    def type(self) -> int:
        """The S_* type."""
        return self.flags & macho.SECTION_TYPE


class Boundary(NamedTuple):
    """A place that linkers name: where a section or a segment begins or ends, or the header.

    section is "" for a segment; segment is, too, for the image's header.
    """

    segment: str
    section: str
    at_end: bool


class Shared(Record):
    """The symbols of which dyld keeps one for all images; names as dyld knows them."""

    weak: dict[bytes, int]  # this image's weak definitions -> row
    strong: dict[bytes, int]  # this image's definitions that override a dylib's weak one -> row
    imported: list[int]  # rows of dylib symbols that are weak definitions there

    @property
    def rows(self) -> I4:
        """All that pointers are bound weakly to."""
        return np.array([*self.weak.values(), *self.imported], np.int32)


class HostRows(Record):
    """What the host objects added to the tables."""

    carriers: I4  # row of each atom, 0 for those that are not live
    text: I4  # carriers of code, in order
    interior: Interior
    patches: Patches
    imports: dict[int, tuple[str, int, bool]]  # row -> name without underscore, ordinal, weak
    shared: Shared
    names: dict[bytes, int]  # index in row_of_name of each external name
    row_of_name: I4  # row of each of Names that the image or a dylib defines
    sections: list[OwnSection]
    boundaries: dict[int, Boundary]  # rows that stand for places in the image

    @classmethod
    def none(cls) -> HostRows:
        """Nothing at all."""
        rows, places = np.zeros(0, np.int32), np.zeros(0, np.int64)
        patches = Patches(rows, rows, np.zeros(0, np.uint8))
        inside, shared = Interior(rows, rows, places), Shared({}, {}, [])
        return cls(rows, rows, inside, patches, {}, shared, {}, rows, [], {})

    def kind(self, section: OwnSection) -> int:
        """The kind of the symbols in a section that keeps its name."""
        return Kind.FIRST_HOST_SECTION + self.sections.index(section)

    def functions(self, text: I4, address: I8) -> I4:
        """All functions by address: `text`, with the functions inside of carriers in their place.

        `address` has those of `text`, and gets those of interior rows.
        """
        if not len(self.text):
            return text
        inside = isin(self.interior.carrier, self.text)
        rows = self.interior.row[inside]
        address[rows] = address[self.interior.carrier[inside]] + self.interior.offset[inside]
        both = np.concatenate([text[~isin(text, self.text)], rows])
        return both[np.argsort(address[both], kind="stable")]
