"""What the cgo directives of the objects ask for: imports from dylibs, exports, linker flags.

    cgo_import_dynamic LOCAL [REMOTE [LIBRARY]]   LOCAL is REMOTE of LIBRARY; "_ _ LIBRARY" only
                                                  loads it
    cgo_import_static LOCAL                       a host object defines LOCAL
    cgo_export_static LOCAL [REMOTE [ABI]]        C code sees LOCAL as REMOTE
    cgo_export_dynamic LOCAL [REMOTE [ABI]]       dyld sees LOCAL as REMOTE
    cgo_ldflag FLAG                               a flag for the linker
    cgo_dynamic_linker PATH                       ELF only

Source: loadcgodirectives and setCgoAttr in cmd/link/internal/ld/go.go; cmd/cgo/doc.go.
"""

from __future__ import annotations

import numpy as np

from pielink.errors import Problems
from pielink.program import Program
from pielink.record import Mutable, NamedTuple, Record, fresh
from pielink.tables import ABI0, ABI_INTERNAL, BLOCK_NONPKG_REF, Kind

_ABIS = {"ABI0": ABI0, "ABIInternal": ABI_INTERNAL}
_IMPORTABLE = frozenset(map(int, (Kind.UNDEFINED, Kind.BSS, Kind.NOPTR_BSS, Kind.HOST_OBJECT)))
_WORDS = {  # directive -> fewest and most words
    "cgo_import_dynamic": (2, 4),
    "cgo_import_static": (2, 2),
    "cgo_export_static": (2, 4),
    "cgo_export_dynamic": (2, 4),
    "cgo_ldflag": (2, 2),
    "cgo_dynamic_linker": (2, 2),
}


class Directive(NamedTuple):
    """A cgo directive of an object, such as ["cgo_import_dynamic", ...]."""

    file: str
    package: str
    words: list[str]


class Import(Record):
    """A symbol that a dylib defines; `library` may be empty: look everywhere."""

    name: str  # without the leading underscore
    library: str


class Export(Mutable):
    """A Go symbol that others see; without `dynamic` only host objects do."""

    name: str  # without the leading underscore
    dynamic: bool = False


class Cgo(Mutable):
    """All directives, by slot."""

    imports: dict[int, Import] = fresh(factory=dict)
    imports_by_name: dict[str, Import] = fresh(factory=dict)  # those of host objects, too
    exports: dict[int, Export] = fresh(factory=dict)
    host_exports: dict[str, Export] = fresh(factory=dict)  # of host objects: by name
    export_slots: dict[bytes, int] = fresh(factory=dict)  # static exports by Go name
    static_imports: set[int] = fresh(factory=set)  # slots that host objects define
    dylibs: list[str] = fresh(factory=list)  # in the order of first mention
    ldflags: list[str] = fresh(factory=list)


def read_directives(program: Program, directives: list[Directive], problems: Problems) -> Cgo:
    """Apply the directives in order. Kinds of imported slots become DYNIMPORT.

    Adds a problem for each directive that is malformed or contradicts an earlier one.
    """
    cgo = Cgo()
    names = [
        (d.words[1].encode(), _version(d)) if len(d.words) > 1 else (b"", 0) for d in directives
    ]
    for directive, slot in zip(directives, program.lookup(names).tolist(), strict=True):
        verb, count = directive.words[0], len(directive.words)
        fewest, most = _WORDS.get(verb, (1, 0))
        if not fewest <= count <= most:
            problems.add(f"invalid cgo directive: {' '.join(directive.words)}", directive.file)
            continue
        if verb == "cgo_import_dynamic":
            _import(program, cgo, slot, directive)
        elif verb == "cgo_import_static":
            cgo.static_imports.add(slot)
            program.slots.kind[slot] = Kind.HOST_OBJECT
        elif verb == "cgo_ldflag":
            cgo.ldflags.append(directive.words[1])
        elif verb != "cgo_dynamic_linker":
            _export(program, cgo, slot, directive, problems)
    for unknown in (cgo.imports, cgo.exports):
        unknown.pop(0, None)  # nobody refers to the name, so nobody needs it
    _set_kinds(program, cgo)
    return cgo


def _set_kinds(program: Program, cgo: Cgo) -> None:
    """What is imported is no longer what Go declares: a variable without a value, or nothing."""
    slots = program.slots
    declared = np.array(sorted({*cgo.imports, *cgo.static_imports} - {0}), np.int32)
    slots.kind[declared] = Kind.UNDEFINED
    slots.size[declared] = slots.definition[declared] = 0
    slots.kind[list(cgo.imports)] = Kind.DYNIMPORT


def _version(directive: Directive) -> int:
    """The ABI of the symbol: exports may name one, all else is ABI0."""
    words = directive.words
    return _ABIS.get(words[3], ABI0) if words[0].startswith("cgo_export") and len(words) > 3 else 0


def _import(program: Program, cgo: Cgo, slot: int, directive: Directive) -> None:
    local, remote, library = [*directive.words[1:], *[""] * 3][:3]
    if (local, remote) == ("_", "_"):
        slot = 0
    elif int(program.slots.kind[slot]) not in _IMPORTABLE and (
        int(program.slots.block[slot]) != BLOCK_NONPKG_REF
    ):
        return  # defined in Go after all
    else:  # the first directive counts
        entry = Import((remote or local).partition("#")[0], library)
        cgo.imports.setdefault(slot, entry)
        cgo.imports_by_name.setdefault(local, entry)
    if library and library not in cgo.dylibs:
        cgo.dylibs.append(library)


def _export(
    program: Program, cgo: Cgo, slot: int, directive: Directive, problems: Problems
) -> None:
    local, remote, abi = [*directive.words[1:], *[""] * 3][:3]
    if abi and abi not in _ABIS:
        problems.add(
            f"bad ABI in cgo_export directive: {' '.join(directive.words)}", directive.file
        )
        return
    cgo.imports.pop(slot, None)  # an export overrides an import
    export = Export(remote or local)
    known = (
        cgo.exports.setdefault(slot, export) if slot else cgo.host_exports.setdefault(local, export)
    )
    if known.name != (remote or local):
        problems.add(
            f"conflicting cgo_export directives: as {known.name} and {remote or local}",
            directive.file,
            local,
        )
    if directive.words[0] == "cgo_export_dynamic":
        known.dynamic = True
    elif slot:
        cgo.export_slots[local.encode()] = slot
