"""May this package pull in that symbol by //go:linkname?

A reference by linkname to a symbol of the standard library is allowed only if the definition is
marked for it (a push), and some names only from the packages that a list gives. Source:
checkLinkname in cmd/link/internal/loader/loader.go.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import among
from pielink.errors import Problems
from pielink.formats.goobj import OBJ_FROM_ASSEMBLY, OBJ_STD
from pielink.program import Program
from pielink.tables import (
    ABI0,
    ABI_INTERNAL,
    BLOCK_NONPKG_DEF,
    BLOCK_NONPKG_REF,
    FLAG2_LINKNAME,
    I4,
)


def check_linknames(program: Program, problems: Problems) -> None:
    """Add a problem for each reference by linkname that is not allowed."""
    slots = program.slots
    for slot in _doubtful(program, _pulls(program)).tolist():
        name = program.name(slot)
        if slots.block[slot] == BLOCK_NONPKG_DEF and b"." not in name:
            continue  # usually a C symbol
        package = program.objects.package[slots.object[slot]]
        if not _allowed(program, slot, name, package):
            problems.add(
                f"invalid reference to {name.decode('utf-8', 'replace')} by go:linkname: its "
                "package does not permit it (-checklinkname=0 turns this check off)",
                program.objects.file[slots.object[slot]],
            )


def _pulls(program: Program) -> I4:
    """The slots that refer to something by linkname: references, and variables without a value."""
    slots, release = program.slots, program.release
    any_linkname = FLAG2_LINKNAME | release.flag2_linkname_std
    named = slots.lookable() & (slots.block >= BLOCK_NONPKG_DEF)
    marked = named & ((slots.flags2 & any_linkname) != 0)
    refers = slots.block == BLOCK_NONPKG_REF
    variables = np.flatnonzero(marked & ~refers).astype(np.int32)
    variables = variables[program.contents.spans(variables)[1] == 0]
    references = np.flatnonzero(named & refers).astype(np.int32)
    pulls = marked.take(references)
    if release.flag2_linkname_std:
        flags = program.objects.flags.take(slots.object.take(references))
        pulls |= (flags & OBJ_FROM_ASSEMBLY) != 0
    return np.sort(np.concatenate([references.compress(pulls), variables]))


def _doubtful(program: Program, pulls: I4) -> I4:
    """Those of them that `_allowed` must look at: most definitions permit them, or are not Go's."""
    slots, objects, release = program.slots, program.objects, program.release
    target = slots.canon.take(pulls)
    owner, home = slots.object.take(pulls), slots.object.take(target)
    fine = slots.block.take(target) == BLOCK_NONPKG_REF
    fine |= (objects.flags.take(home) & OBJ_STD) == 0
    first: dict[str, int] = {}
    package = np.array([first.setdefault(p, row) for row, p in enumerate(objects.package)])
    fine |= package.take(owner) == package.take(home)
    flags = slots.flags2.take(target)
    fine |= (flags & FLAG2_LINKNAME) != 0
    from_std = (objects.flags.take(owner) & OBJ_STD) != 0
    fine |= from_std & ((flags & release.flag2_linkname_std) != 0)
    listed = [(name, abi) for name in release.blocked_linknames for abi in (ABI0, ABI_INTERNAL)]
    doubtful: I4 = pulls[~fine | among(target, np.sort(program.lookup(listed)))]
    return doubtful


def _allowed(program: Program, slot: int, name: bytes, package: str) -> bool:
    slots, objects = program.slots, program.objects
    listed = program.release.blocked_linknames.get(name)
    if listed is not None:
        return package in listed or _unfrozen(package) in listed
    target = int(slots.canon[slot])
    if slots.block[target] == BLOCK_NONPKG_REF:
        return True  # defined outside of Go
    home = int(slots.object[target])
    if not objects.flags[home] & OBJ_STD or objects.package[home] == package:
        return True
    flags, std = int(slots.flags2[target]), program.release.flag2_linkname_std
    if not std:
        return bool(flags & (FLAG2_LINKNAME | program.release.flag2_abi_wrapper))
    if objects.flags[home] & OBJ_FROM_ASSEMBLY and not flags & (FLAG2_LINKNAME | std):
        if name.startswith(package.encode()) or b"." not in name:
            return True
        # An assembly function is pushed by a linkname on its ABI wrapper.
        twin = program.find(name, ABI_INTERNAL - int(slots.version[target]))
        flags = int(slots.flags2[twin]) if twin else flags
    from_std = bool(objects.flags[slots.object[slot]] & OBJ_STD)
    return bool(flags & FLAG2_LINKNAME) or (bool(flags & std) and from_std)


def _unfrozen(package: str) -> str:
    """A frozen package crypto/internal/fips140/vX.Y.Z/... counts as the one it was frozen from."""
    parts = package.split("/")
    if parts[:3] == ["crypto", "internal", "fips140"] and len(parts) > 3 and parts[3][:1] == "v":
        del parts[3]
    return "/".join(parts)
