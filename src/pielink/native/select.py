"""Which members of static archives a link takes.

Objects are always linked. A member of an archive is linked when it defines a name that something
linked needs, whatever the order of the command line; with -force_load every member of that
archive, with -ObjC every member with Objective-C classes or categories. Of several archives that
define a name the first one counts, and of several members the first. A common symbol alone does
not make a member needed if the name is defined already. Source: ld(1), ld64's Resolver.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pielink.arrays import isin
from pielink.formats import archive, fat, macho, machobj
from pielink.formats.archive import Archive
from pielink.formats.machobj import MachObject
from pielink.hints import Any
from pielink.record import NamedTuple

OBJC_SECTIONS = (b"__objc_classlist", b"__objc_catlist", b"__objc_nlclslist", b"__objc_nlcatlist")


class Source(NamedTuple):
    """One input file: what messages call it, its bytes, and whether -force_load names it."""

    name: str
    data: Any
    force_load: bool = False


def load_objects(
    sources: Sequence[Source],
    wanted: Iterable[bytes],
    *,
    defined_elsewhere: Callable[[bytes], bool] = lambda name: False,
    objc: bool = False,
    cputype: int = macho.CPU_TYPE_X86_64,
) -> list[MachObject]:
    """Read all objects among `sources`, and the members of archives that are needed.

    `wanted` are names that the rest of the link refers to; `defined_elsewhere` tells of a name
    whether the rest defines it. The result is in the order of `sources`, members in archive
    order. Raises FormatError for what cannot be read.
    """
    archives: list[tuple[int, Archive, dict[bytes, list[int]]]] = []
    contents = [fat.select(source.data, source.name, cputype) for source in sources]
    alone = [number for number, data in enumerate(contents) if not archive.is_archive(data)]
    files = machobj.read_all([(contents[i], sources[i].name) for i in alone], cputype)
    found = {(number, 0): file for number, file in zip(alone, files, strict=True)}
    for number, (source, data) in enumerate(zip(sources, contents, strict=True)):
        if (number, 0) in found:
            continue
        read = archive.read(data, source.name)
        for row in range(len(read.members)):
            if source.force_load:
                found[number, row] = _member(read, row, cputype)
        members = {} if source.force_load else read.index
        archives.append((number, read, _index(read, cputype) if members is None else members))
    if objc:
        _add_objc(found, archives, cputype)
    if archives:
        _add_needed(found, archives, wanted, defined_elsewhere, cputype)
    return [found[key] for key in sorted(found)]


def _member(read: Archive, row: int, cputype: int) -> MachObject:
    return machobj.read(read.contents(row), read.title(row), cputype)


def _index(read: Archive, cputype: int) -> dict[bytes, list[int]]:
    """Return what the index of an archive without one would say."""
    index: dict[bytes, list[int]] = {}
    for row in range(len(read.members)):
        for name in external_names(_member(read, row, cputype))[0]:
            index.setdefault(name, []).append(row)
    return index


def external_names(file: MachObject) -> tuple[list[bytes], list[bytes]]:
    """Return the external names that an object defines (commons too), and those that it needs."""
    symbols = file.symbols
    external = (symbols["type"] & (macho.N_STAB | macho.N_EXT)) == macho.N_EXT
    undefined = ((symbols["type"] & macho.N_TYPE) == macho.N_UNDF) & (symbols["value"] == 0)
    data = file.data.data

    def texts(rows: Any) -> list[bytes]:
        starts, sizes = symbols["name"][rows].tolist(), symbols["length"][rows].tolist()
        return [bytes(data[at : at + size]) for at, size in zip(starts, sizes, strict=True)]

    return texts(external & ~undefined), texts(external & undefined)


_Archives = list[tuple[int, Archive, dict[bytes, list[int]]]]
_Found = dict[tuple[int, int], MachObject]


def _add_objc(found: _Found, archives: _Archives, cputype: int) -> None:
    for number, read, _ in archives:
        for row in range(len(read.members)):
            if (number, row) not in found:
                file = _member(read, row, cputype)
                if isin(file.sections["sectname"], OBJC_SECTIONS).any():
                    found[number, row] = file


def _add_needed(
    found: _Found,
    archives: _Archives,
    wanted: Iterable[bytes],
    defined_elsewhere: Callable[[bytes], bool],
    cputype: int,
) -> None:
    defined: set[bytes] = set()
    pending = list(wanted)

    def note(file: MachObject) -> None:
        has, needs = external_names(file)
        defined.update(has)
        pending.extend(needs)

    for file in list(found.values()):
        note(file)
    asked: set[bytes] = set()
    while pending:
        name = pending.pop()
        if name in asked or name in defined:
            continue
        asked.add(name)
        if defined_elsewhere(name):
            continue
        for number, read, index in archives:
            rows = index.get(name)
            if rows:
                if (number, rows[0]) not in found:
                    found[number, rows[0]] = file = _member(read, rows[0], cputype)
                    note(file)
                break
