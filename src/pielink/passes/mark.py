"""Give the markers of golang/markers.py their addresses."""

from __future__ import annotations

from collections.abc import Callable

from pielink.golang.markers import Edge, Marker
from pielink.passes.hosttables import Boundary, Interior
from pielink.passes.layout import Placed, header_address
from pielink.rows import with_columns
from pielink.tables import Kind, Layout, Symbols


def place_markers(
    layout: Layout,
    symbols: Symbols,
    find: Callable[[str], int],
    markers: list[Marker],
    data: list[Placed],
) -> Layout:
    """The layout with addresses and sections of the markers, and of the ends of the GC programs.

    `find` leads from a name to its row; `data` are the placed sections of __DATA.
    """
    address, section = layout.address.copy(), layout.section.copy()
    starts, sizes = layout.sections.address.tolist(), layout.sections.size.tolist()
    placed = {p.name: p for p in data}
    for marker in markers:
        ordinal = _ordinal(layout, marker.section)
        row, start = find(marker.name), starts[ordinal]
        end = start + sizes[ordinal]
        if marker.section == "__text":
            end -= 1  # a byte is kept free, so that etext is no other section's start
        if marker.edge is Edge.KIND_END:
            end = start + _kind_end(placed[marker.section], marker.of)
        address[row] = start if marker.edge is Edge.START else end
        section[row] = ordinal + 1
    for name in ("gcdata", "gcbss"):
        row, end_row = find(f"runtime.{name}"), find(f"runtime.e{name}")
        address[end_row] = address[row] + symbols.size[row]
        section[end_row] = section[row]
    return with_columns(layout, address=address, section=section)


def place_interior(layout: Layout, interior: Interior, boundaries: dict[int, Boundary]) -> Layout:
    """The layout with addresses and sections of rows that lie inside other rows.

    `boundaries` leads from further rows to the places that they stand for. What is not in the
    image is empty: as ld64 has it, it begins where it ends; here, at the header.
    """
    address, section = layout.address.copy(), layout.section.copy()
    address[interior.row] = address[interior.carrier] + interior.offset
    section[interior.row] = section[interior.carrier]
    for row, boundary in boundaries.items():
        start, size, ordinal = _extent(layout, boundary)
        address[row], section[row] = start + size * boundary.at_end, ordinal + 1
    return with_columns(layout, address=address, section=section)


def _extent(layout: Layout, boundary: Boundary) -> tuple[int, int, int]:
    """Address and bytes of a section or segment, and the section that it is or begins with."""
    segments, sections = layout.segments, layout.sections
    ordinal = _find(layout, boundary.segment, boundary.section) if boundary.segment else None
    if ordinal is None:
        return header_address(segments), 0, 0
    if boundary.section:
        return int(sections.address[ordinal]), int(sections.size[ordinal]), ordinal
    number = int(sections.segment[ordinal])
    return int(segments.vmaddr[number]), int(segments.vmsize[number]), ordinal


def _ordinal(layout: Layout, name: str) -> int:
    """The first section of that name ("SEGMENT,NAME" or "NAME"), or the last of all for ""."""
    if not name:
        return len(layout.sections.name) - 1
    segment, _, section = name.rpartition(",")
    ordinal = _find(layout, segment, section)
    if ordinal is None:
        raise KeyError(name)
    return ordinal


def _find(layout: Layout, segment: str, section: str) -> int | None:
    """The first section with that name in that segment; "" stands for any."""
    for ordinal, name in enumerate(layout.sections.name):
        owner = layout.segments.name[layout.sections.segment[ordinal]]
        if section in ("", name) and segment in ("", owner):
            return ordinal
    return None


def _kind_end(placed: Placed, kind: Kind) -> int:
    return placed.ends.get(kind, 0)
