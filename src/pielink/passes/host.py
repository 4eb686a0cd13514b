"""Host objects, the output of C compilers: which there are, and what they share with Go.

The native passes turn them into atoms. Here names meet: C calls the symbol _f what Go calls f.
Go's live code says which host symbols are needed; host code that is live says which Go symbols
are needed in turn, which can make more Go code live; so both walks alternate until nothing is
new. What neither defines comes from a dylib: as a cgo directive says, or as the stubs of the
libraries say.

Objects that Go's own linker can link stay whole: one atom a section, as there. Objects with
anything that it refuses or drops are split into atoms, and unused ones are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import address_of, isin
from pielink.errors import Problems
from pielink.formats import macho
from pielink.formats.machobj import MachObject
from pielink.golang.cgo import Cgo
from pielink.native import diagnose, select
from pielink.native.gather import gather
from pielink.native.prepare import Prepared, analyse, keep
from pielink.native.tables import Host, NameKind
from pielink.options import BuildMode, LinkOptions, Version
from pielink.passes.hosttables import Boundary
from pielink.passes.hostweak import shares_weakly, weak_names
from pielink.passes.libraries import Libraries, add_autolinked, find_libraries
from pielink.passes.reach import Reaching
from pielink.passes.read import Inputs
from pielink.program import Program
from pielink.record import Mutable, fresh
from pielink.tables import ABI0, I4, I8, U1, Bool, Kind

# Sections that Go's linker does not know what to do with.
_SPECIAL_TYPES = (
    macho.S_MOD_INIT_FUNC_POINTERS,
    macho.S_MOD_TERM_FUNC_POINTERS,
    macho.S_INIT_FUNC_OFFSETS,
    macho.S_THREAD_LOCAL_REGULAR,
    macho.S_THREAD_LOCAL_ZEROFILL,
    macho.S_THREAD_LOCAL_VARIABLES,
    macho.S_COALESCED,
    macho.S_GB_ZEROFILL,
)
# Linkers make these names, and those that ld64 reads as section$start$SEGMENT$SECTION and so on.
_HEADER = Boundary("", "", at_end=False)
_HEADER_NAMES = {b"___dso_handle": _HEADER, b"__mh_execute_header": _HEADER}
_PLACES = {b"section": 4, b"segment": 3}  # parts between $
_EDGES = {b"start": False, b"end": True}


def boundary_of(name: bytes) -> Boundary | None:
    """What a name that linkers make stands for; None for other names."""
    what, *parts = name.split(b"$", 3)
    if _PLACES.get(what) != 1 + len(parts) or parts[0] not in _EDGES:
        return _HEADER_NAMES.get(name)
    segment, section = (*(part.decode("utf-8", "replace") for part in parts[1:]), "")[:2]
    return Boundary(segment, section, _EDGES[parts[0]])


def go_name(name: bytes) -> bytes:
    """What Go calls a host symbol."""
    return name[1:] if name[:1] == b"_" and len(name) > 1 else name


def host_name(name: bytes) -> bytes:
    """What host objects call a Go symbol."""
    return b"_" + name


class HostCode(Mutable):
    """The host objects of a link, and where the names come from that they leave open."""

    prepared: Prepared
    whole: bool  # one atom a section; neither unwind info nor tables about the code, as with Go
    packages: list[str]  # of each file of prepared.host
    go_slots: dict[int, int] = fresh(factory=dict)  # row in names -> slot
    imports: dict[int, tuple[str, int, bool]] = fresh(factory=dict)
    # row in names -> (name without underscore, library ordinal, weak)
    boundaries: dict[int, Boundary] = fresh(factory=dict)  # row in names -> what it stands for
    weak_imports: list[int] = fresh(factory=list)  # of `imports`: a dylib's weak definition
    shared: Bool = fresh(factory=lambda: np.zeros(0, np.bool_))
    # of each row in names: a weak definition that other images see
    overriding: list[int] = fresh(factory=list)  # rows in names that dylibs define weakly


def read_host_objects(
    inputs: Inputs, cgo: Cgo, program: Program, libraries: Libraries, wanted: list[bytes]
) -> tuple[list[MachObject], list[str]]:
    """Read the host members of archives, and what the linker flags of cgo name.

    `wanted` are host names that Go refers to. Returns the objects and the package of each.
    """
    memory = inputs.memory
    sources = [
        select.Source(member.name, memory.bytes[member.offset : member.offset + member.size])
        for member in inputs.host_objects
    ]
    packages = {member.name: member.package for member in inputs.host_objects}
    for path, data, force in libraries.static:
        start = memory.add(data, 16)
        sources.append(select.Source(path, memory.bytes[start : start + len(data)], force))

    def elsewhere(name: bytes) -> bool:
        return bool(_go_slots(program, cgo, [name])[0])

    found = select.load_objects(sources, wanted, defined_elsewhere=elsewhere, objc=libraries.objc)
    return found, [packages.get(file.name, "") for file in found]


def is_plain(host: Host) -> bool:
    """Whether Go's own linker could link the objects, and lose nothing."""
    sections, symbols = host.sections, host.symbols
    special = isin(sections.flags & macho.SECTION_TYPE, _SPECIAL_TYPES)
    special &= ~isin(sections.name, [b"__eh_frame", b"__compact_unwind"])
    special |= isin(sections.name, [b"__gcc_except_tab", b"__objc_imageinfo"])
    undefined = (symbols.type & (macho.N_STAB | macho.N_EXT | macho.N_TYPE)) == macho.N_EXT
    common = undefined & (symbols.value != 0)
    return not (special.any() or common.any())


def base_of(files: list[MachObject], inputs: Inputs) -> I8:
    """Where the bytes of each object are in the flat memory."""
    start = address_of(inputs.memory.bytes)
    return np.array([address_of(file.data) - start for file in files], np.int64)


def link_host(
    inputs: Inputs,
    program: Program,
    cgo: Cgo,
    options: LinkOptions,
    minos: Version,
    reaching: Reaching,
) -> HostCode | None:
    """Find what is live on both sides; None if there are no host objects after all.

    `reaching` has walked Go's symbols from Go's roots, and goes on from what host objects need.
    LinkError lists names that nobody defines, and libraries that are not there.
    """
    compiler = options.compiler if inputs.host_objects else ()
    libraries = find_libraries(cgo, minos.encoded(), options.extldflags, compiler)
    if not inputs.host_objects and not libraries.static:
        return None
    problems = Problems()
    reachable = reaching.grow(np.zeros(0, np.int32))
    named = [host_name(n.encode()) for n, e in cgo.host_exports.items() if e.dynamic]
    named += [name.encode("utf-8", "surrogateescape") for name in libraries.flags.undefined]
    wanted = [*wanted_names(program, reachable), *named]
    files, packages = read_host_objects(inputs, cgo, program, libraries, wanted)
    while add_autolinked(libraries, files):
        files, packages = read_host_objects(inputs, cgo, program, libraries, wanted)
    host = gather(files, inputs.memory.bytes, base_of(files, inputs))
    whole = not libraries.static and is_plain(host) and not shares_weakly(host, libraries)
    analysed = analyse(host, problems, whole=np.full(len(files), whole))
    while True:
        prepared = keep(analysed, wanted)
        problems.raise_if_any()
        code = HostCode(prepared, whole, packages)
        _find_open_names(program, cgo, libraries, code)
        needed = np.array(list(code.go_slots.values()), np.int32)
        before, wanted = wanted, [*wanted_names(program, reaching.grow(needed)), *named]
        if wanted == before:
            break
    diagnose.report(prepared, _where(code), problems)
    _report_demanded(program, cgo, libraries, prepared, problems)
    problems.raise_if_any()
    code.shared = np.zeros(len(prepared.names), np.bool_)
    # Weak definitions of plain objects have no counterpart in a dylib.
    if options.build_mode is BuildMode.PIE and not whole:
        code.shared, code.overriding = weak_names(prepared, libraries)
    return code


def _report_demanded(
    program: Program, cgo: Cgo, libraries: Libraries, prepared: Prepared, problems: Problems
) -> None:
    """Note what the linker flags demand (-u) and nobody has."""
    names = prepared.names
    for text in libraries.flags.undefined:
        name = text.encode("utf-8", "surrogateescape")
        row = names.row.get(name)
        here = row is not None and names.kind[row] != NameKind.UNDEFINED
        if not (here or _go_slots(program, cgo, [name])[0] or libraries.linked.find(name)):
            problems.add("undefined symbol; LDFLAGS ask for it with -u", symbol=text)


def wanted_names(program: Program, reachable: Bool) -> list[bytes]:
    """Host names of the live Go symbols that Go does not define."""
    slots = program.slots
    rows = np.flatnonzero(reachable & (slots.kind == Kind.UNDEFINED))
    open_ = (slots.version.take(rows) == ABI0) & (slots.name_size.take(rows) > 0)
    return [host_name(program.name(slot)) for slot in rows.compress(open_).tolist()]


def _go_slots(program: Program, cgo: Cgo, names: Sequence[bytes]) -> I4:
    """The Go symbols that host objects call so; 0 where Go defines none."""
    own = [go_name(name) for name in names]
    found = program.lookup([(name, ABI0) for name in own])
    for row, name in enumerate(own):
        found[row] = cgo.export_slots.get(name, found[row])
    kind = program.slots.kind.take(found)
    found[(kind == Kind.DYNIMPORT) | (kind == Kind.UNDEFINED)] = 0
    return found


def _find_open_names(program: Program, cgo: Cgo, libraries: Libraries, code: HostCode) -> None:
    """Say for each name that live host code needs and no object defines where it comes from.

    Names that are nowhere are left out.
    """
    names, text = code.prepared.names, code.prepared.names.text()
    rows = np.flatnonzero(code.prepared.needed & (names.kind == NameKind.UNDEFINED)).tolist()
    slots = _go_slots(program, cgo, [text[row] for row in rows]).tolist()
    for row, slot in zip(rows, slots, strict=True):
        name, weak = text[row], bool(names.weak_reference[row])
        if boundary := boundary_of(name):
            code.boundaries[row] = boundary
            continue
        if slot:
            code.go_slots[row] = slot
            continue
        directive = cgo.imports_by_name.get(go_name(name).decode("utf-8", "surrogateescape"))
        remote = directive.name if directive else go_name(name).decode("utf-8", "surrogateescape")
        library = directive.library if directive else ""
        found = libraries.ordinal(remote, library)
        if found.ordinal is None and directive is None and not weak:
            continue
        code.imports[row] = (
            remote,
            macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP if found.ordinal is None else found.ordinal,
            weak or found.may_miss,
        )
        if found.weak_definition:
            code.weak_imports.append(row)


def _where(code: HostCode) -> U1:
    """Where diagnose.report finds each name."""
    known = code.prepared.names.kind != NameKind.UNDEFINED
    where = np.where(known, diagnose.Where.IMAGE, diagnose.Where.NOWHERE).astype(np.uint8)
    where[[*code.go_slots, *code.boundaries]] = diagnose.Where.IMAGE
    where[list(code.imports)] = diagnose.Where.IMPORT
    return where
