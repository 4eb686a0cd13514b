"""Which dynamic library has a symbol: exports, re-exports and `$ld$` directives, resolved.

A library may pass on others. Those in public places (/usr/lib, the top of a system framework) are
then linked to by themselves, and symbols bind to them; any other counts as part of the one that
passes it on. Symbols that begin with `$ld$` are directives to the linker, most for one deployment
target (os10.4 means 10.4 exactly):

    $ld$hide$os10.4$_symbol          is not there
    $ld$add$os10.4$_symbol           is there
    $ld$weak$os10.4$_symbol          may be missing
    $ld$install_name$os10.4$/path    the library was called so
    $ld$previous$/path$1.2$1$10.0$10.4$_symbol$   from 10.0 to before 10.4, on platform 1, the
                                     symbol (all symbols, where it is empty) was in that library

Source: ld64's generic_dylib_file.cpp, LLVM's lld/MachO/InputFiles.cpp.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from pielink.errors import FormatError
from pielink.formats import dylib, fat, macho, tbd
from pielink.formats.dylib import DIRECTIVE, Library
from pielink.native import libsearch
from pielink.native.libsearch import SearchPaths
from pielink.native.listed_names import ListedNames
from pielink.record import NamedTuple, Record

MAX_DEPTH = 64  # of re-exports; a longer chain is a mistake in the stubs


class Dylib(NamedTuple):
    """What a load command says of a library."""

    install_name: str
    current_version: int
    compatibility_version: int


class Export(NamedTuple):
    """A symbol that a library has: where it binds to, and what dyld may find there."""

    dylib: Dylib
    weak_definition: bool = False
    thread_local: bool = False
    weak_import: bool = False


class _Source(Record):
    """The exports of one library, and what to record for those that bind to it.

    It exports what `library` does and what was `added`, but not what is `hidden`.
    """

    dylib: Dylib
    library: Library
    moved: dict[bytes, Dylib]
    added: frozenset[bytes]
    may_miss: frozenset[bytes]
    hidden: frozenset[bytes]


class LinkedLibraries:
    """The libraries of a link. `dylibs` are those that were asked for, in order.

    `has_unlisted`: of some library nothing but its name is known, so that a symbol that `find`
    does not know may be there (for dyld to look up in all images, BIND_SPECIAL_DYLIB_FLAT_LOOKUP).
    """

    def __init__(self, direct: list[_Source], indirect: list[_Source]) -> None:
        """`direct` were asked for, `indirect` are passed on by them. FormatError as by `link`."""
        self.dylibs = tuple(dict.fromkeys(source.dylib for source in direct))
        self.has_unlisted = not all(source.library.listed for source in direct)
        self._sources = [*direct, *indirect]
        # Of a library the list that comes last counts.
        self._lists = [
            (number, text, flags)
            for number, source in enumerate(self._sources)
            for text, flags in reversed(source.library.lists)
        ]
        self._listed = ListedNames([text for _, text, _ in self._lists])
        self._named = {
            number: dict.fromkeys(source.added, 0) | source.library.named
            for number, source in enumerate(self._sources)
            if source.added or source.library.named
        }
        for row in self._listed.unusual:
            number, text, flags = self._lists[row]
            names = self._sources[number].library.names_in(text)
            self._named.setdefault(number, {}).update(dict.fromkeys(names, flags))
        self._named = dict(sorted(self._named.items()))

    def find(self, name: bytes) -> Export | None:
        """Return where the symbol `name` is; None where no library is known to have it."""
        if name.startswith(DIRECTIVE):
            return None
        row = self._listed.find(name)
        last, _, flags = self._lists[row] if row >= 0 else (len(self._sources), b"", 0)
        for number, named in self._named.items():
            if number < last and name in named and name not in self._sources[number].hidden:
                return self._export(number, name, named[name])
        if last == len(self._sources):
            return None
        if name not in self._sources[last].hidden:
            return self._export(last, name, flags)
        return self._find_behind(last, name)

    def _find_behind(self, number: int, name: bytes) -> Export | None:
        """Where `name` is if the library of that number hides it."""
        for later in range(number + 1, len(self._sources)):
            source = self._sources[later]
            found = dict.fromkeys(source.added, 0) | source.library.exports
            if name in found and name not in source.hidden:
                return self._export(later, name, found[name])
        return None

    def _export(self, number: int, name: bytes, flags: int) -> Export:
        source = self._sources[number]
        return Export(
            source.moved.get(name, source.dylib),
            bool(flags & macho.EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION),
            bool(flags & macho.EXPORT_SYMBOL_FLAGS_KIND_THREAD_LOCAL),
            name in source.may_miss,
        )


def read_file(path: str | os.PathLike[str], cputype: int = macho.CPU_TYPE_X86_64) -> list[Library]:
    """Read a stub or a (fat) dylib: the library itself, then those that its stub holds.

    Raises FormatError naming the path.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read()
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", name) from None
    if name.endswith(".tbd") or data[:64].lstrip().startswith((b"---", b"{")):
        arch = {macho.CPU_TYPE_ARM64: "arm64"}.get(cputype, "x86_64")
        return tbd.read(data, name, arch)
    return [dylib.read(fat.select(data, name, cputype), name, cputype)]


def unlisted(install_name: str) -> Library:
    """Return a library of which nothing but its name is known."""
    version = dylib.DEFAULT_VERSION
    return Library(install_name, install_name, version, version, "", (), {}, listed=False)


def link(
    groups: Iterable[Sequence[Library]],
    paths: SearchPaths,
    minos: int,
    platform: int = macho.PLATFORM_MACOS,
) -> LinkedLibraries:
    """Resolve re-exports and directives of the libraries of one link.

    `groups` has one entry a library that was asked for: itself, then the libraries inside its
    stub; `minos` is the deployment target as xxxx.yy.zz. Raises FormatError for a re-exported
    library that cannot be found, or that passes itself on, and for malformed lists of names.
    """
    direct: list[_Source] = []
    indirect: list[_Source] = []
    for group in groups:
        source = _apply_directives(group[0], minos, platform)
        direct.append(source)
        for child, public in _passed_on(group[0], _finder(group, paths), ()):
            parent = None if public else source
            indirect.append(_apply_directives(child, minos, platform, parent))
    return LinkedLibraries(direct, indirect)


_Finder = Callable[[Library, str], tuple[Library, "_Finder"]]


def _finder(group: Sequence[Library], paths: SearchPaths) -> _Finder:
    """Return how to find a library that a member of `group` passes on: in the group, or a file."""
    inlined = {library.install_name: library for library in group[1:]}

    def find(parent: Library, install_name: str) -> tuple[Library, _Finder]:
        if install_name in inlined:
            return inlined[install_name], find
        path = libsearch.find_install_name(paths, install_name, parent.name)
        if path is None:
            raise FormatError(f"passes on {install_name}, which was not found", parent.name)
        found = read_file(path)
        return found[0], _finder(found, paths)

    return find


def _passed_on(
    parent: Library, find: _Finder, above: tuple[str, ...]
) -> Iterable[tuple[Library, bool]]:
    """Yield each library that `parent` passes on, at any depth, and whether it is public."""
    if parent.install_name in above or len(above) > MAX_DEPTH:
        raise FormatError(f"passes itself on ({parent.install_name})", parent.name)
    for install_name in parent.reexports:
        child, below = find(parent, install_name)
        yield child, is_public(child.install_name)
        yield from _passed_on(child, below, (*above, parent.install_name))


def is_public(install_name: str) -> bool:
    """Return whether a program may link to a library by itself: /usr/lib, or a top framework."""
    head, _, leaf = install_name.rpartition("/")
    if head == "/usr/lib":
        return True
    place = f"/System/Library/Frameworks/{leaf}.framework/"
    return install_name.startswith(place) and install_name.count(".framework/") == 1


def _parse_version(text: bytes) -> int:
    """Return X.Y.Z as xxxx.yy.zz; an empty part counts as 0."""
    parts = [int(part[:5] or b"0") for part in text.split(b".")[:3]] + [0, 0]
    return min(parts[0], 0xFFFF) << 16 | min(parts[1], 0xFF) << 8 | min(parts[2], 0xFF)


def _is_version(text: bytes) -> bool:
    return text.replace(b".", b"").isdigit()


def _apply_directives(
    library: Library, minos: int, platform: int, parent: _Source | None = None
) -> _Source:
    """Return the exports of a library at a deployment target, as its directives say.

    `parent` is the library that has it as a part of itself, and hides what it hides.
    """
    home = Dylib(library.install_name, library.current_version, library.compatibility_version)
    directives = library.directives
    nothing: frozenset[bytes] = frozenset()
    if not directives:
        if parent is not None:
            return _Source(parent.dylib, library, {}, nothing, nothing, parent.hidden)
        return _Source(home, library, {}, nothing, nothing, nothing)
    moved: dict[bytes, Dylib] = {}
    for name, before in _previous_homes(directives, home, minos, platform):
        if name:
            moved[name] = before
        else:
            home = before
    values = _versioned(directives, minos)
    for name in values[b"install_name"]:
        home = home._replace(install_name=name.decode("utf-8", "replace"))
    added, hidden = frozenset([*moved, *values[b"add"]]), frozenset(values[b"hide"])
    if parent is not None:
        home, hidden = parent.dylib, hidden | parent.hidden
    return _Source(home, library, moved, added, frozenset(values[b"weak"]), hidden)


def _versioned(directives: Iterable[bytes], minos: int) -> dict[bytes, list[bytes]]:
    """Return what the directives for this deployment target (patch aside) name, by their kind."""
    values: dict[bytes, list[bytes]] = {b"hide": [], b"add": [], b"weak": [], b"install_name": []}
    applies: dict[bytes, bool] = {}
    for directive in directives:
        kind, _, rest = directive[len(DIRECTIVE) :].partition(b"$")
        system, _, value = rest.partition(b"$")
        if system not in applies:
            version = system.removeprefix(b"os")
            known = system != version and _is_version(version)
            applies[system] = known and _parse_version(version) >> 8 == minos >> 8
        if applies[system] and value and kind in values:
            values[kind].append(value)
    return values


def _previous_homes(
    directives: Iterable[bytes], home: Dylib, minos: int, platform: int
) -> Iterable[tuple[bytes, Dylib]]:
    """Yield symbols (b"" for all) that were in another library at this target, and that library."""
    prefix = DIRECTIVE + b"previous$"
    for directive in directives:
        fields = directive.removeprefix(prefix).split(b"$", 5)
        if not directive.startswith(prefix) or len(fields) < 6 or not fields[5].endswith(b"$"):
            continue
        path, compatible, where, first, last, symbol = fields
        known = where.isdigit() and _is_version(first) and _is_version(last)
        if not known or not (not compatible or _is_version(compatible)):
            continue
        if int(where[:9]) == platform and _parse_version(first) <= minos < _parse_version(last):
            version = _parse_version(compatible) or home.compatibility_version
            previous = Dylib(path.decode("utf-8", "replace"), home.current_version, version)
            yield symbol[:-1], previous
