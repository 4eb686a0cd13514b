"""Tables about code in `__LINKEDIT`: where functions start, and where code holds data.

LC_FUNCTION_STARTS is the address of the first function from the image's header, then the distance
to each next one, as ULEB128, then a 0. LC_DATA_IN_CODE is one entry a range, ascending, with
offsets from the header. Source: <mach-o/loader.h>, ld64's LinkEdit.hpp.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import differences, distinct, joined
from pielink.dyld import leb128
from pielink.errors import FormatError
from pielink.formats import macho
from pielink.formats.bounds import Rows
from pielink.native import atoms as atoms_pass
from pielink.native.tables import NONE, Atoms, Host
from pielink.tables import I4, I8, Bool


def function_starts(addresses: I8, header: int) -> bytes:
    """Return the contents of LC_FUNCTION_STARTS, unpadded; b"" without functions.

    `addresses` are those of functions, in any order, repeated ones counting once.
    """
    starts = distinct(addresses) - header
    if not len(starts):
        return b""
    distances = differences(starts, before=0).astype(np.uint64)
    sizes = leb128.uleb_sizes(distances)
    ends = np.cumsum(sizes)
    out = np.zeros(int(ends[-1]) + 1, np.uint8)
    leb128.put(out, ends - sizes, distances, sizes)
    return out.tobytes()


def data_in_code(host: Host, atoms: Atoms, address: I8, live: Bool, header: int) -> Rows:
    """Return the DATA_IN_CODE_ENTRY rows of live atoms, sorted.

    Raises FormatError for a range that lies in no section.
    """
    file = np.repeat(np.arange(len(host.files)), [len(f.data_in_code) for f in host.files])
    raw = joined((f.data_in_code for f in host.files), macho.DATA_IN_CODE_ENTRY)
    if not len(raw):
        return raw
    section, offset = _locate(host, file, raw["offset"].astype(np.int64))
    bad = (section == NONE) | (offset + raw["length"] > host.sections.size[section])
    if bad.any():
        row = int(np.argmax(bad))
        place = int(raw["offset"][row])
        raise FormatError(
            f"data in code at {place:#x} lies in no section", host.files[file[row]].name
        )
    atom = atoms_pass.find(atoms, section, offset)
    kept = (atom != NONE) & live[atom]
    rows, atom, offset = raw[kept], atom[kept], offset[kept]
    rows["offset"] = address[atom] + offset - atoms.offset[atom] - header
    entries: Rows = rows[np.argsort(rows["offset"], kind="stable")]
    return entries


def _locate(host: Host, file: I8, address: I8) -> tuple[I4, I8]:
    """Return the section (NONE: there is none) of each address of a file, and the offset in it."""
    section = np.full(len(file), NONE, np.int32)
    offset = np.zeros(len(file), np.int64)
    for row in range(len(host.sections.file) - 1):  # at most 255 a file, and few files have data
        inside = address - host.sections.address[row]
        here = (
            (file == host.sections.file[row]) & (inside >= 0) & (inside < host.sections.size[row])
        )
        section[here], offset[here] = row, inside[here]
    return section, offset
