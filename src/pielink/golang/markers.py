"""Symbols that mark where the parts of the image begin and end: runtime.text, runtime.edata, ...

They take no room. The module data of the runtime points at them, and debuggers know their names.
Source: symtab in cmd/link/internal/ld/symtab.go and address in ld/data.go.
"""

from __future__ import annotations

from pielink.golang.release import Release
from pielink.record import IntEnum, NamedTuple
from pielink.tables import Kind


class Edge(IntEnum):
    """Which place of a section a marker stands for."""

    START = 1
    END = 2
    KIND_END = 3  # where symbols of a kind end in the section


class Marker(NamedTuple):
    """One marker: its name, the kind it is given, and the place it marks."""

    name: str
    kind: Kind
    section: str  # name, or "segment,name"; "": the last one
    edge: Edge
    of: Kind = Kind.UNDEFINED  # for KIND_END


def _pair(name: str, section: str, kind: Kind, end_kind: Kind) -> list[Marker]:
    return [
        Marker(f"runtime.{name}", kind, section, Edge.START),
        Marker(f"runtime.e{name}", end_kind, section, Edge.END),
    ]


# Created with the text, before all others.
TEXT_MARKERS = _pair("text", "__text", Kind.TEXT, Kind.TEXT_END)


def data_markers(release: Release, pie: bool) -> list[Marker]:
    """The markers of data, in the order in which Go's linker makes them."""
    types = "__rodata" if release.type_links else "__go_type"
    if release.type_links and pie:
        types = "__DATA_CONST,__rodata"
    markers = [
        *_pair("rodata", "__rodata", Kind.RODATA, Kind.RODATA_END),
        *_pair("types", types, Kind.RODATA, Kind.RODATA),
        *_pair("noptrdata", "__noptrdata", Kind.NOPTR_DATA, Kind.NOPTR_DATA_END),
        *_pair("data", "__data", Kind.DATA, Kind.DATA_END),
        *_pair("bss", "__bss", Kind.BSS, Kind.BSS),
        *_pair("noptrbss", "__noptrbss", Kind.NOPTR_BSS, Kind.NOPTR_BSS),
    ]
    bss = ("__noptrbss", Edge.KIND_END)
    if not release.type_links:
        markers.append(Marker("runtime.gcmask.*", Kind.GC_MASK, *bss, Kind.NOPTR_BSS))
    return [
        *markers,
        Marker("runtime.covctrs", Kind.NOPTR_BSS, *bss, Kind.GC_MASK),
        Marker("runtime.ecovctrs", Kind.NOPTR_BSS, *bss, Kind.COVERAGE_COUNTER),
        Marker("runtime.end", Kind.BSS, "", Edge.END),
        Marker("runtime.epclntab", Kind.RODATA, "__gopclntab", Edge.END),
    ]
