"""Thread-local variables: descriptors, and the template that each thread's copy starts from.

A variable is a 24-byte descriptor (S_THREAD_LOCAL_VARIABLES): a function that dyld fills in
(bound to `_tlv_bootstrap`), a key, and the offset of the variable in the template. The template
is the thread-local data (S_THREAD_LOCAL_REGULAR), then its zero fill (S_THREAD_LOCAL_ZEROFILL);
both sections take the largest alignment of either, since dyld allocates them as one block.
Source: <mach-o/loader.h>, dyld's ThreadLocalVariables.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import isin
from pielink.formats import macho
from pielink.native.atoms import section_type
from pielink.native.tables import Atoms, Host
from pielink.record import replace
from pielink.tables import Bool

TEMPLATE_TYPES = (macho.S_THREAD_LOCAL_REGULAR, macho.S_THREAD_LOCAL_ZEROFILL)
DESCRIPTOR_ALIGN = 3  # log2: two pointers and a word, whatever the object says


def in_template(host: Host, atoms: Atoms) -> Bool:
    """Return which atoms are initial values of thread-locals."""
    return isin(section_type(host)[atoms.section], TEMPLATE_TYPES)


def align(host: Host, atoms: Atoms, live: Bool) -> Atoms:
    """Give the first atoms of the template its alignment, and descriptors that of pointers.

    `live` are the atoms in the image.
    """
    template = in_template(host, atoms) & live
    kind = section_type(host)[atoms.section]
    aligned = atoms.align.copy()
    if template.any():
        largest = atoms.align[template].max()
        for each in TEMPLATE_TYPES:
            rows = np.flatnonzero(template & (kind == each))
            aligned[rows[:1]] = largest
    descriptors = kind == macho.S_THREAD_LOCAL_VARIABLES
    aligned[descriptors] = np.maximum(aligned[descriptors], DESCRIPTOR_ALIGN)
    return replace(atoms, align=aligned)
