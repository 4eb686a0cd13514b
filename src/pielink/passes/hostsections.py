"""Where the sections of host objects go.

Where Go's linker could do the job (HostCode.whole), as there (cmd/link/internal/loadmacho): code
to __text, other __TEXT to read-only data, __bss to zero-fill data without pointers, other __DATA
to data without pointers. Otherwise code, constants, data and zero fill without further meaning do
the same, and all other sections keep their names, types and attributes, because dyld or a runtime
finds them by those: initializers, thread-locals, unwind tables, Objective-C metadata.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import distinct, isin
from pielink.errors import LinkError, Problem
from pielink.formats import macho
from pielink.golang.sections import DATA, DATA_CONST, SectionPlan
from pielink.native.atoms import COMPACT_UNWIND
from pielink.native.tables import Host
from pielink.passes.host import HostCode
from pielink.passes.hosttables import OwnSection
from pielink.tables import U1, Kind

_CODE = macho.S_ATTR_PURE_INSTRUCTIONS | macho.S_ATTR_SOME_INSTRUCTIONS
_ZERO = (macho.S_ZEROFILL, macho.S_GB_ZEROFILL)
_NOWHERE = 0  # kind of sections that are not part of the image
# Attributes that tell linkers something, but nobody after them.
_SPENT = (
    macho.S_ATTR_LIVE_SUPPORT | macho.S_ATTR_EXT_RELOC | macho.S_ATTR_LOC_RELOC | macho.S_ATTR_DEBUG
)
_COMMON_NAMES = {
    (b"__TEXT", b"__const"): Kind.RODATA,
    (b"__TEXT", b"__cstring"): Kind.RODATA,
    (b"__TEXT", b"__literal4"): Kind.RODATA,
    (b"__TEXT", b"__literal8"): Kind.RODATA,
    (b"__TEXT", b"__literal16"): Kind.RODATA,
    (b"__DATA", b"__const"): Kind.RODATA,
    (b"__DATA_CONST", b"__const"): Kind.RODATA,
    (b"__DATA", b"__data"): Kind.NOPTR_DATA,
}
_SEGMENTS = (b"__TEXT", b"__DATA", b"__DATA_CONST")
# The template of thread-locals must be in one piece, so its zero fill comes first of all zero fill.
_LAST = (macho.S_THREAD_LOCAL_REGULAR, macho.S_THREAD_LOCAL_ZEROFILL)


# What the linker makes of the tables of all objects; left out if there is none.
UNWIND_INFO = OwnSection("__TEXT", "__unwind_info", macho.S_REGULAR)
IMAGE_INFO = OwnSection("__DATA", "__objc_imageinfo", macho.S_ATTR_NO_DEAD_STRIP)


def kinds_of_sections(code: HostCode) -> tuple[U1, list[OwnSection]]:
    """The kind that the symbols of each input section get, 0 for those that are left out; and the
    sections of the image that keep names from host objects.

    LinkError if a section lies in a segment that an executable of Go does not have, or if there
    are too many.
    """
    host = code.prepared.host
    if code.whole:
        return _kinds_as_go(host), []
    sections = host.sections
    kind = np.full(len(sections.file), _NOWHERE, np.uint8)
    known: dict[tuple[bytes, bytes], int] = {}
    own = [UNWIND_INFO, IMAGE_INFO]
    used = distinct(code.prepared.atoms.section[code.prepared.live])
    for section in used.tolist():
        title = sections.segment[section], sections.name[section]
        common = _common_kind(title, int(sections.flags[section]))
        if title == COMPACT_UNWIND:
            continue
        if common is None:
            if title not in known:
                _check_segment(host, section)
                known[title] = len(own)
                flags = int(sections.flags[section]) & ~_SPENT
                own.append(OwnSection(title[0].decode(), title[1].decode(), flags))
            common = Kind.FIRST_HOST_SECTION + known[title]
        kind[section] = common
    if len(own) > Kind.LAST_HOST_SECTION - Kind.FIRST_HOST_SECTION:
        raise LinkError([Problem(f"host objects have {len(own)} kinds of sections: too many")])
    return kind, own


def _common_kind(title: tuple[bytes, bytes], flags: int) -> int | None:
    """The kind of symbols that lie among those of Go; None: they keep their section."""
    if title[0] == b"__TEXT" and flags & _CODE:
        return Kind.TEXT
    if flags & macho.SECTION_TYPE in _ZERO:
        return Kind.NOPTR_BSS
    return _COMMON_NAMES.get(title)


def _check_segment(host: Host, section: int) -> None:
    if host.sections.segment[section] not in _SEGMENTS:
        why = f"section {host.title(section)} lies in a segment that pielink does not make"
        raise LinkError([Problem(f"{why}; use __TEXT or __DATA", host.file_name(section))])


def _kinds_as_go(host: Host) -> U1:
    sections = host.sections
    zero = isin(sections.flags & macho.SECTION_TYPE, _ZERO)
    kind = np.full(len(sections.file), Kind.NOPTR_DATA, np.uint8)
    kind[sections.name == b"__bss"] = Kind.NOPTR_BSS
    kind[sections.segment == b"__TEXT"] = Kind.RODATA
    kind[(sections.segment == b"__DATA_CONST") & ~zero] = Kind.RODATA
    kind[(sections.segment == b"__TEXT") & (sections.name == b"__text")] = Kind.TEXT
    kind[~isin(sections.segment, _SEGMENTS) | (sections.name == b"__eh_frame")] = _NOWHERE
    return kind


def add_plans(
    plans: dict[str, list[SectionPlan]], own: list[OwnSection]
) -> dict[str, list[SectionPlan]]:
    """The sections of the image with those of host objects: behind Go's, but before zero fill."""
    result = {segment: list(sections) for segment, sections in plans.items()}
    order = sorted(range(len(own)), key=lambda i: (own[i].type in _LAST, own[i].type, i))
    for i in order:
        section = own[i]
        kind = Kind.FIRST_HOST_SECTION + i
        plan = SectionPlan(section.name, (kind,), optional=True, flags=section.flags)
        segment = section.segment
        if segment == DATA_CONST and not plans[DATA_CONST]:
            segment = DATA
        at = len(result[segment])
        if segment == DATA:
            at = next(n for n, p in enumerate(result[DATA]) if p.kinds[0] == Kind.BSS)
        result[segment].insert(at, plan)
    return result
