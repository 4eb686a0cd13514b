"""The native passes up to layout, in order: from object files to live atoms and what they need.

What is final afterwards: which atoms are in the image, which definition each name has, and which
names are left for the caller to find (Go objects, dynamic libraries). Then diagnose.report says
what cannot be linked; GOT, stubs, layout, relocation and unwind.encode follow.
"""

from __future__ import annotations

from collections.abc import Iterable

from pielink.errors import Problems
from pielink.native import atoms, reach, relocs, symbols, tlv
from pielink.native.tables import NONE, Atoms, Host, Names, Placement, Relocs, UnwindEntries
from pielink.record import Record
from pielink.rows import take
from pielink.tables import Bool


class Prepared(Record):
    """What the rest of the link needs of the object files.

    `relocs` and `unwind_entries` are those of live atoms. `needed` marks the names that live
    atoms (and the unwinder) refer to and no object defines.
    """

    host: Host
    atoms: Atoms
    placement: Placement
    names: Names
    relocs: Relocs
    unwind_entries: UnwindEntries
    live: Bool
    needed: Bool
    image_info: bytes  # contents of __objc_imageinfo


class Analysed(Record):
    """The object files as atoms that refer to one another; nothing is dropped yet."""

    host: Host
    atoms: Atoms
    placement: Placement
    names: Names
    relocs: Relocs
    unwind_entries: UnwindEntries
    image_info: bytes


def analyse(host: Host, problems: Problems, *, whole: Bool | None = None) -> Analysed:
    """Split the files into atoms, and find out which definition each name has.

    See atoms.split for `whole`; if all files are, literals stay as they are, and the objects have
    no image info. Raises FormatError for the first malformed input; what is wrong between inputs
    goes into `problems`.
    """
    pieces, placement = atoms.split(host, whole)
    names = symbols.resolve(host, placement, problems)
    pieces, names = symbols.allocate_commons(host, pieces, names)
    rows = symbols.settle(relocs.normalise(host, pieces, placement, names), names)
    if whole is not None and whole.all():
        return Analysed(host, pieces, placement, names, rows, UnwindEntries.none(), b"")
    from pielink.native import ehframe, literals, objc, unwind

    frames, rows = ehframe.parse(host, pieces, rows)
    canonical = literals.merge(host, pieces, rows)
    pieces, rows, names = literals.apply(pieces, rows, names, canonical)
    entries = unwind.collect(host, pieces, rows, frames)
    info = objc.merged_image_info(host, problems)
    return Analysed(host, pieces, placement, names, rows, entries, info)


def keep(found: Analysed, roots: Iterable[bytes]) -> Prepared:
    """Drop what does not lead from `roots`, names that the rest of the link needs from the objects,
    nor from what the objects themselves keep."""
    host, pieces, names, entries = found.host, found.atoms, found.names, found.unwind_entries
    wanted = [names.row[name] for name in roots if name in names.row]
    starts = names.atom[wanted]
    quiet = atoms.is_named(host, atoms.EH_FRAME)[pieces.section]
    edges = reach.unwind_edges(entries)
    live = reach.live_atoms(pieces, found.relocs, starts[starts != NONE], edges, quiet)
    rows = take(found.relocs, live[found.relocs.atom])
    entries = take(entries, live[entries.function])
    needed = reach.referenced_names(rows, live, len(names))
    needed[entries.personality_name[entries.personality_name != NONE]] = True
    pieces = tlv.align(host, pieces, live)
    placement, info = found.placement, found.image_info
    return Prepared(host, pieces, placement, names, rows, entries, live, needed, info)
