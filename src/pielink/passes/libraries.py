"""The libraries of a link with host objects: archives to take members from, dylibs to bind to.

They are those that the linker flags of cgo name, those that its import directives load, and
libSystem. Where no stub or SDK says what a dylib has, its name alone is used: symbols that no
other library has are then looked up in all images when the program runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os.path import basename

from pielink.errors import FormatError, LinkError, Problem, UsageError
from pielink.formats import archive, macho
from pielink.formats.bounds import as_bytes
from pielink.formats.dylib import Library
from pielink.formats.machobj import MachObject
from pielink.golang.cgo import Cgo
from pielink.native import ldflags, libraries, libsearch, system_libraries
from pielink.native.ldflags import Input, Kind, LinkerFlags
from pielink.record import Mutable, NamedTuple, fresh
from pielink.tables import U1

_CXX_LIBRARIES = ("c++", "c++abi", "stdc++")


class Place(NamedTuple):
    """What a name binds to."""

    ordinal: int | None  # load order number of a dylib, from 1; None: no dylib is known to have it
    may_miss: bool  # at run time
    weak_definition: bool = False


class Libraries(Mutable):
    """What a link can take code from and bind to."""

    flags: LinkerFlags
    paths: libsearch.SearchPaths
    dylibs: list[str]  # install names in load order; grows as symbols bind to further ones
    minos: int
    weak: set[str] = fresh(factory=set)  # install names that may be missing
    static: list[tuple[str, U1, bool]] = fresh(factory=list)  # path, bytes, force_load
    groups: list[list[Library]] = fresh(factory=list)
    asked: set[Input] = fresh(factory=set)  # what objects ask for themselves, as far as seen
    joined: libraries.LinkedLibraries | None = None  # see `linked`

    @property
    def objc(self) -> bool:
        """Whether every archive member with Objective-C classes is linked (-ObjC)."""
        return self.flags.objc

    @property
    def linked(self) -> libraries.LinkedLibraries:
        """What the dylibs export. FormatError if a stub is malformed or cannot be found."""
        if self.joined is None:
            self.joined = self._link()
        return self.joined

    def _link(self) -> libraries.LinkedLibraries:
        known = {group[0].install_name for group in self.groups}
        groups = list(self.groups)
        for name in self.dylibs:
            if name not in known:
                groups.append(_by_install_name(name, self.paths))
        return libraries.link(groups, self.paths, self.minos)

    def ordinal(self, name: str, library: str) -> Place:
        """Where `name` (without underscore) is; `library` names the dylib, if a directive does."""
        weak = weak_definition = False
        if not library:
            export = self.linked.find(b"_" + name.encode("utf-8", "surrogateescape"))
            if export is None:
                return self._unknown(name)
            library, weak = export.dylib.install_name, export.weak_import
            weak_definition = export.weak_definition
        if library not in self.dylibs:
            self.dylibs.append(library)
        number = self.dylibs.index(library) + 1
        return Place(number, weak or library in self.weak, weak_definition)

    def _unknown(self, name: str) -> Place:
        """Leave to dyld what no stub lists, where the flags or libraries without a stub allow."""
        optional = f"_{name}" in self.flags.maybe_undefined
        if optional or self.flags.dynamic_lookup or self.linked.has_unlisted:
            return Place(macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP, optional)
        return Place(None, may_miss=False)


def find_libraries(
    cgo: Cgo, minos: int, extra_flags: Sequence[str] = (), compiler: Sequence[str] = ()
) -> Libraries:
    """Find what the linker flags name; `minos` is the deployment target as xxxx.yy.zz.

    `extra_flags` come after those of the cgo packages. `compiler` is the command that would link;
    if it is one for C++, its C++ library is linked, too. Raises LinkError for flags that cannot be
    obeyed and libraries that are not there.
    """
    try:
        flags = ldflags.parse([*cgo.ldflags, *extra_flags])
    except UsageError as error:
        raise LinkError([Problem(str(error))]) from None
    paths = libsearch.search_paths(
        flags.library_dirs,
        flags.framework_dirs,
        flags.roots,
        standard=not flags.no_standard_dirs,
        dylibs_first=flags.dylibs_first,
    )
    found = Libraries(flags, paths, cgo.dylibs, minos)
    inputs = dict.fromkeys(flags.inputs)
    if cgo.ldflags or extra_flags or compiler:
        for wanted in _with_cxx_library(list(inputs), compiler):
            _add(found, wanted)
    return found


def add_autolinked(found: Libraries, files: Iterable[MachObject]) -> bool:
    """Add what the objects ask for themselves (LC_LINKER_OPTION); whether archives were among it.

    As with ld64, only -l and -framework count, a library that is not there is passed over, and one
    that is there is loaded if a symbol binds to it. Of a library without a stub nobody knows that:
    it is loaded.
    """
    archives = len(found.static)
    for option in dict.fromkeys(option for file in files for option in file.linker_options):
        try:
            wanted = ldflags.parse([word.decode("utf-8", "surrogateescape") for word in option])
        except UsageError:
            continue  # an option of another linker
        for each in wanted.inputs:
            if each.kind is not Kind.FILE and each not in found.asked:
                found.asked.add(each)
                if each not in found.flags.inputs:
                    _add(found, each, implicit=True)
    return len(found.static) > archives


def _with_cxx_library(inputs: list[Input], compiler: Sequence[str]) -> list[Input]:
    """The inputs with the C++ library that the compiler brings along in place of macOS's."""
    if not any("++" in basename(word) for word in compiler):
        return inputs
    from pielink.native.toolchain import cxx_archives

    archives = [Input(Kind.FILE, str(path)) for path in cxx_archives(compiler)]
    system = [Input(Kind.LIBRARY, "c++")]
    others = [i for i in inputs if i.kind is not Kind.LIBRARY or i.name not in _CXX_LIBRARIES]
    return [*others, *(archives or system)]


def _add(found: Libraries, wanted: Input, implicit: bool = False) -> None:
    path = _path_of(found, wanted)
    if path is None:
        name = _system_name(wanted)
        if name is None and implicit:
            return
        if name is None:
            flag = {Kind.LIBRARY: "-l", Kind.FRAMEWORK: "-framework "}[wanted.kind]
            remedy = "add its directory (-L, -F) or an SDK (-Wl,-syslibroot,DIR) to LDFLAGS"
            raise LinkError([Problem(f"library not found; {remedy}", f"{flag}{wanted.name}")])
        _add_dylib(found, [*_by_install_name(name, found.paths)], wanted.weak, implicit)
        return
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise LinkError([Problem(f"cannot open file: {error.strerror}", path)]) from None
    if archive.is_archive(data) or data[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
        group = _dylib_or_none(path)
        if group is None:
            content = as_bytes(data)
            found.static.append((path, content, wanted.force_load or found.flags.all_load))
            return
        _add_dylib(found, group, wanted.weak, implicit)
        return
    _add_dylib(found, libraries.read_file(path), wanted.weak, implicit)


def _dylib_or_none(path: str) -> list[Library] | None:
    """The library in a Mach-O file, or None if it is an object or an archive."""
    try:
        return libraries.read_file(path)
    except FormatError:
        return None


def _add_dylib(found: Libraries, group: list[Library], weak: bool, implicit: bool) -> None:
    name = group[0].install_name
    found.groups.append(group)
    found.joined = None
    if name not in found.dylibs and not (implicit and all(each.listed for each in group)):
        found.dylibs.append(name)
    if weak:
        found.weak.add(name)


def _path_of(found: Libraries, wanted: Input) -> str | None:
    if wanted.kind is Kind.FILE:
        return wanted.name
    if wanted.kind is Kind.LIBRARY:
        return libsearch.find_library(found.paths, wanted.name)
    return libsearch.find_framework(found.paths, wanted.name)


def _system_name(wanted: Input) -> str | None:
    """The install name of a library that every macOS has."""
    if wanted.kind is Kind.FRAMEWORK:
        return system_libraries.framework_install_name(wanted.name)
    if wanted.name in system_libraries.LIBSYSTEM_ALIASES:
        return system_libraries.LIBSYSTEM
    return system_libraries.LIBRARIES.get(wanted.name)


def _by_install_name(name: str, paths: libsearch.SearchPaths) -> list[Library]:
    """The library that is loaded under a name: its stub in an SDK, zig's libSystem, or unlisted."""
    path = libsearch.find_install_name(paths, name, "/")
    if path is not None and paths.roots:
        return libraries.read_file(path)
    stub = libsearch.zig_libsystem_stub() if name == system_libraries.LIBSYSTEM else None
    if stub is not None:
        return libraries.read_file(stub)
    return [libraries.unlisted(name)]
