"""Compares two Mach-O images part by part: each part has a function in a module beside this one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain

from pielink.formats import macho
from pielink.inspect import compare_tables, deliberate
from pielink.inspect.compare_commands import commands
from pielink.inspect.compare_sections import sections
from pielink.inspect.difference import Difference, show_value
from pielink.inspect.macho import MachOFile


def compare(a: MachOFile, b: MachOFile, ignore: Collection[str] = ()) -> list[Difference]:
    """Every difference between two images, in the order of `difference.PARTS`.

    `ignore` names sections to leave out: `__SEG,__sect`, `__sect` or `__SEG`. Raises FormatError
    if a part of either file is malformed.
    """
    found = chain(
        header(a, b),
        commands(a, b),
        sections(a, b, frozenset(ignore)),
        compare_tables.symbols(a, b),
        compare_tables.rebases(a, b),
        compare_tables.binds(a, b),
        compare_tables.exports(a, b),
    )
    return [replace(d, deliberate=deliberate.find(d.part, d.place, d.what)) for d in found]


def header(a: MachOFile, b: MachOFile) -> Iterator[Difference]:
    """The fields of mach_header_64."""
    for name in macho.MACH_HEADER_64.names or ():
        left, right = int(a.header[name]), int(b.header[name])
        if left != right:
            yield Difference("header", "mach_header_64", name, show_value(left), show_value(right))
