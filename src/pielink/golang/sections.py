"""Which sections a Go program has, in which segments, and which kinds of symbols each one holds.

Source: allocateDataSections in cmd/link/internal/ld/data.go of Go 1.26 and 1.27. Both differ in
where type descriptors lie; a PIE has words that dyld changes, and what holds such words lies in
__DATA_CONST, which is writable until dyld is done.
"""

from __future__ import annotations

from pielink.golang.release import Release
from pielink.record import NamedTuple
from pielink.tables import Kind

TEXT, DATA_CONST, DATA = "__TEXT", "__DATA_CONST", "__DATA"


class SectionPlan(NamedTuple):
    """One section, or with `each` one per symbol."""

    name: str  # as in Mach-O
    kinds: tuple[int, ...]  # of Kind, in order
    aligned_by: int = 0  # how many of the kinds, from the first, decide its alignment; 0: all
    each: bool = False  # a section for every symbol; `name` is a prefix unless symbols have none
    optional: bool = False  # not there if it is empty
    lead: int = 0  # bytes left free at the start
    flags: int = 0  # type and attributes; 0: what belongs to the first kind


_FIPS_RODATA = (Kind.RODATA_FIPS_START, Kind.RODATA_FIPS, Kind.RODATA_FIPS_END, Kind.RODATA_END)
_NOPTR_DATA = (
    *(Kind.NOPTR_DATA, Kind.NOPTR_DATA_FIPS_START, Kind.NOPTR_DATA_FIPS),
    *(Kind.NOPTR_DATA_FIPS_END, Kind.NOPTR_DATA_END),
)
_DATA = (Kind.DATA, Kind.DATA_FIPS_START, Kind.DATA_FIPS, Kind.DATA_FIPS_END, Kind.DATA_END)
_NOPTR_BSS = (Kind.NOPTR_BSS, Kind.GC_MASK, Kind.COVERAGE_COUNTER, Kind.COVERAGE_AUXVAR)

_WRITABLE = [
    SectionPlan("__go_buildinfo", (Kind.BUILD_INFO,), each=True),
    SectionPlan("__go_fipsinfo", (Kind.FIPS_INFO,), each=True),
    SectionPlan("__go_module", (Kind.MODULE_DATA,), optional=True),
    SectionPlan("__got", (Kind.GOT,), optional=True),
    SectionPlan("__la_symbol_ptr", (Kind.LAZY_POINTERS,), optional=True),
    SectionPlan("__noptrdata", _NOPTR_DATA, aligned_by=1),
    SectionPlan("__data", _DATA, aligned_by=1),
    SectionPlan("__bss", (Kind.BSS,)),
    SectionPlan("__noptrbss", _NOPTR_BSS, aligned_by=1),
    SectionPlan("__go_fuzzcntrs", (Kind.FUZZ_COUNTER,), optional=True),
]
_STUBS = [
    SectionPlan("__symbol_stub1", (Kind.STUBS,), each=True),
    SectionPlan("__stub_helper", (Kind.STUB_HELPER,), optional=True),
]
_PCLNTAB = SectionPlan("__gopclntab", (Kind.PCLNTAB,))
_GOT = SectionPlan("__got", (Kind.GOT_RELRO,), each=True)


def section_plans(release: Release, pie: bool) -> dict[str, list[SectionPlan]]:
    """The sections of each segment after __text, in order."""
    if release.type_links:
        read_only, relocated = _with_type_links(pie)
    else:
        strings = (Kind.GO_STRING, Kind.GC_BITS, Kind.RODATA, *_FIPS_RODATA)
        read_only = [SectionPlan("__rodata", strings), _PCLNTAB]
        relocated = [
            SectionPlan("__rodata", (Kind.RODATA_RELRO,), optional=True),
            SectionPlan("__go_type", (Kind.TYPE,), lead=8),
            SectionPlan("__go_func", (Kind.GO_FUNC,)),
            _GOT,
        ]
    if not pie:
        read_only, relocated = read_only + relocated, []
    return {TEXT: [*_STUBS, *read_only], DATA_CONST: relocated, DATA: _WRITABLE}


def _with_type_links(pie: bool) -> tuple[list[SectionPlan], list[SectionPlan]]:
    """Sections of releases that list types and itabs in sections of their own."""
    links = [
        SectionPlan("__typelink", (Kind.TYPELINK,)),
        SectionPlan("__itablink", (Kind.ITABLINK,)),
    ]
    if pie:
        strings = (
            *(Kind.GO_STRING, Kind.FUNC_START, Kind.GC_BITS, Kind.RODATA),
            *_FIPS_RODATA,
        )
        words = (Kind.TYPE, Kind.GO_FUNC, Kind.RODATA_RELRO)
        relocated = [SectionPlan("__rodata", words, lead=1), _GOT, *links]
        return [SectionPlan("__rodata", strings), _PCLNTAB], relocated
    everything = (
        *(Kind.TYPE, Kind.GO_STRING, Kind.GO_FUNC, Kind.GC_BITS, Kind.RODATA),
        *_FIPS_RODATA,
    )
    return [SectionPlan("__rodata", everything), _PCLNTAB], links
