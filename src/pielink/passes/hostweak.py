"""Weak definitions: which symbols of host objects dyld keeps once for all images of a process.

C++ puts templates and inline functions into every object that uses them, as weak definitions. The
linker keeps one for the image; dyld keeps one for the process, so that their addresses and static
variables are the same everywhere:

- A weak definition that others can see is exported, pointers to it are in the weak-bind stream as
  well, and calls to it go through a stub.
- A reference to a dylib's weak definition is bound as others are, and weakly besides.
- A strong definition of a name that a dylib defines weakly overrides that: it is exported, and the
  weak-bind stream says so.

Source: lld/MachO SyntheticSections.cpp (addNonLazyBindingEntries, WeakBindingSection); dyld's
ImageLoaderMachO::weakBind.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import append
from pielink.formats import macho
from pielink.native.prepare import Prepared
from pielink.native.tables import NONE, Host, NameKind
from pielink.passes.libraries import Libraries
from pielink.tables import Bool


def shares_weakly(host: Host, libraries: Libraries) -> bool:
    """Whether objects define weakly what a dylib of this link has, too."""
    kind, desc = host.symbols.type, host.symbols.desc
    shown = macho.N_STAB | macho.N_EXT | macho.N_PEXT
    weak = ((kind & shown) == macho.N_EXT) & ((desc & macho.N_WEAK_DEF) != 0)
    weak &= (kind & macho.N_TYPE) != macho.N_UNDF
    names = map(host.symbol_name, np.flatnonzero(weak).tolist())
    return any(libraries.linked.find(name) is not None for name in names)


def weak_names(prepared: Prepared, libraries: Libraries) -> tuple[Bool, list[int]]:
    """What dyld has to know of the names, for an image that it binds.

    Returns which names are weak definitions that other images see, (n,) of Names, and the rows of
    those that override a dylib's weak definition.
    """
    names = prepared.names
    visible = _visible(prepared, libraries)
    overriding = []
    strong = np.flatnonzero(visible & ~names.weak_definition)
    text = names.text() if len(strong) else []
    for row in strong.tolist():
        export = libraries.linked.find(text[row])
        if export is not None and export.weak_definition:
            overriding.append(row)
    return visible & names.weak_definition, overriding


def _visible(prepared: Prepared, libraries: Libraries) -> Bool:
    """Which names live atoms define for other images, too."""
    names, live = prepared.names, append(prepared.live, False)
    visible: Bool = (names.kind == NameKind.DEFINED) & ~names.private & (names.alias == NONE)
    visible &= live[names.atom]
    if libraries.flags.exported:  # as with Apple's linker, all other names are private then
        wanted = {name.encode("utf-8", "surrogateescape") for name in libraries.flags.exported}
        visible &= np.array([name in wanted for name in names.row], np.bool_)
    return visible
