"""Read the archives: which there are, in which order, and where each object lies.

Packages are found as Go's linker finds them: the main archive first, then what each object
imports, breadth first, then the runtime. That order numbers the symbols later, so it decides the
layout. Source: loadlib, loadobjfile, ldobj in cmd/link/internal/ld/lib.go, addlib in ld.go.
"""

from __future__ import annotations

import os
import posixpath

from pielink.errors import FormatError, LinkError, Problem, Problems
from pielink.formats import goobj
from pielink.formats.flatmap import FlatFiles, padded
from pielink.formats.importcfg import ImportConfig, read_importcfg
from pielink.golang.cgo import Directive
from pielink.golang.release import Release, release_of
from pielink.options import LinkOptions
from pielink.record import Mutable, NamedTuple, Record, fresh
from pielink.tables import Memory

# Room in the flat memory for what the linker itself makes; costs address space, not memory.
SCRATCH = 1 << 30

_ARCHIVE_MAGIC = b"!<arch>\n"
_MEMBER_HEADER = 60
_REDO = "compile the package anew (go clean -cache, go build)"
_MACHO_MAGICS = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


class Library(Mutable):
    """One archive: a package, who asked for it, and what it imports."""

    package: str
    file: str
    importer: str  # package that named it first
    fingerprint: bytes = bytes(8)  # of the package's export data; zeros: not known yet
    imports: list[int] = fresh(factory=list)  # rows in the list of libraries
    is_main: bool = False


class HostMember(NamedTuple):
    """An object of a C compiler inside an archive, still to be read."""

    package: str
    name: str  # "archive(member)"
    offset: int  # in the flat memory
    size: int


class Inputs(Record):
    """Everything that was read. Lists are in load order."""

    files: FlatFiles  # what `memory` and `view` show
    memory: Memory
    view: memoryview
    libraries: list[Library]
    objects: list[goobj.GoObject]
    object_library: list[int]  # of each object: row in libraries
    host_objects: list[HostMember]
    directives: list[Directive]
    release: Release
    header: str  # the first line of every object
    modinfo: str | None


def read(options: LinkOptions) -> Inputs:
    """Map the main archive and all that it needs, and check their outlines.

    Raises LinkError: missing or malformed files, objects of other releases, architectures or
    systems, packages that are not found, fingerprints that do not match.
    """
    config = read_importcfg(options.importcfg) if options.importcfg else None
    reader = _Reader(options, config)
    reader.add("main", options.main, "command line")
    reader.load_all()
    if options.race:
        reader.add_internal("runtime/race")
    reader.add_internal("runtime")
    reader.load_all()
    reader.problems.raise_if_any()
    return reader.finish(config.modinfo if config else None)


def _capacity(options: LinkOptions, config: ImportConfig | None) -> int:
    """Bytes of address space for the inputs and for the linker's own tables."""
    paths = [options.main, *(config.packages.values() if config else ())]
    sizes = (os.stat(path).st_size for path in paths if os.path.exists(path))
    unlisted = 0 if config else 4 << 30
    return sum(map(padded, sizes)) + unlisted + SCRATCH


class _Reader:
    """The state of the walk over archives; one per link."""

    def __init__(self, options: LinkOptions, config: ImportConfig | None) -> None:
        self.options, self.config = options, config
        self.flat = FlatFiles(_capacity(options, config))
        self.problems = Problems()
        self.libraries: list[Library] = []
        self.row_of_package: dict[str, int] = {}
        self.objects: list[goobj.GoObject] = []
        self.object_library: list[int] = []
        self.host_objects: list[HostMember] = []
        self.directives: list[Directive] = []
        self.missing: set[str] = set()
        self.header = ""
        self.loaded = 0

    def add(self, package: str, file: str, importer: str) -> int:
        """Note one more archive to load; return its row."""
        self.row_of_package[package] = len(self.libraries)
        self.libraries.append(Library(package, file, importer))
        return len(self.libraries) - 1

    def add_internal(self, package: str) -> None:
        """Add a package that every program needs, unless it is there already."""
        if package in self.row_of_package:
            return
        file = self._find(package)
        if file is None:
            self._missing(package, self.options.main)
            return
        self.add(package, file, "command line")

    def _missing(self, package: str, file: str) -> None:
        """Note, once, that nobody says where a package is that `file` needs."""
        if package in self.missing:
            return
        self.missing.add(package)
        if self.config is not None:
            where = "(using -importcfg): its packagefile lines do not name it; go build names all"
        else:
            where = f"in {', '.join(self._library_dirs()) or 'no directory'}: give -importcfg or -L"
        self.problems.add(f"cannot find package {package} {where}", file)

    def _find(self, package: str) -> str | None:
        if self.config is not None:
            return self.config.packages.get(package)
        for directory in self._library_dirs():
            for suffix in (".a", ".o"):
                path = os.path.join(directory, package + suffix)
                if os.path.exists(path):
                    return path
        return None

    def _library_dirs(self) -> list[str]:
        options = self.options
        suffix = options.install_suffix or ("race" if options.race else "")
        target = f"darwin_{options.config.goarch}" + (f"_{suffix}" if suffix else "")
        goroot = options.config.goroot
        return [*options.library_dirs, *([f"{goroot}/pkg/{target}"] if goroot else [])]

    def load_all(self) -> None:
        """Load archives until no object imports another one."""
        while self.loaded < len(self.libraries):
            self._load(self.loaded)
            self.loaded += 1

    def _load(self, row: int) -> None:
        library = self.libraries[row]
        try:
            start, size = self.flat.place(library.file)
        except OSError as error:
            self.problems.add(f"cannot open file: {error.strerror}", library.file)
            return
        try:
            for name, offset, length in self._members(library.file, start, size):
                self._load_object(row, name, offset, length)
        except FormatError as error:
            self.problems.add(error.message, error.file)
        if library.package == "main" and not library.is_main and not self.problems:
            self.problems.add(
                "not package main: give the archive of a command, whose package clause is main",
                library.file,
            )

    def _members(self, file: str, start: int, size: int) -> list[tuple[str, int, int]]:
        """(name, offset, size) of the objects in the file: its members, or the file itself."""
        view, end = self.flat.view, start + size
        if bytes(view[start : start + 8]) != _ARCHIVE_MAGIC:
            return [(file, start, size)]
        members = []
        at = start + 8
        while at < end:
            header = bytes(view[at : at + _MEMBER_HEADER])
            length = header[48:58].strip()
            if len(header) < _MEMBER_HEADER or header[58:] != b"`\n" or not length.isdigit():
                raise FormatError(
                    f"malformed archive: bad header of the member at {at - start:#x}; {_REDO}", file
                )
            body, at = at + _MEMBER_HEADER, at + _MEMBER_HEADER + int(length)
            if at > end:
                raise FormatError(
                    f"malformed archive: the member at {body - start:#x} is cut off; {_REDO}", file
                )
            at += (at - start) & 1
            member = header[:16].rstrip(b" ").decode("utf-8", "replace")
            if _is_object(member):
                members.append((f"{file}({member})", body, int(length)))
        return members

    def _load_object(self, row: int, name: str, offset: int, size: int) -> None:
        view, library = self.flat.view, self.libraries[row]
        if bytes(view[offset : offset + 4]) in _MACHO_MAGICS:
            self.host_objects.append(HostMember(library.package, name, offset, size))
            return
        header = goobj.read_text_header(view, offset, offset + size, name)
        self._check_header(header.line, name)
        if not self.options.ignore_package_data:
            library.is_main |= header.is_main
            self.directives += (Directive(name, library.package, d) for d in header.cgo)
        found = goobj.read_object(view, header.end, offset + size, name)
        if found.flags & goobj.OBJ_UNLINKABLE:
            raise FormatError("unlinkable object: compile it with -p and the import path", name)
        self.objects.append(found)
        self.object_library.append(row)
        self._check_fingerprint(library, found)
        for package, fingerprint in goobj.autolib(found, view):
            self._import(row, package, fingerprint)

    def _check_header(self, line: str, name: str) -> None:
        """Every object must come from the same release, for this system and architecture."""
        if line == self.header:
            return
        words = line.split(" ")
        want = ["go", "object", "darwin", self.options.config.goarch]
        if words[:4] != want:
            raise FormatError(
                "linked object header mismatch: "
                f'have "{line}", want "{" ".join(want)} ..."; compile it with GOOS=darwin '
                f"GOARCH={self.options.config.goarch}",
                name,
            )
        if release_of(words[4] if len(words) > 4 else "") is None:
            raise FormatError(
                f'linked object header mismatch: have "{line}"; pielink links objects of Go 1.26 '
                "and 1.27: compile everything with one of these",
                name,
            )
        self.header = self.header or line
        if line != self.header and not self.options.ignore_version:
            raise FormatError(
                f'linked object header mismatch: have "{line}", want "{self.header}"; '
                "compile all packages with one Go release (-f links them as they are)",
                name,
            )

    def _check_fingerprint(self, library: Library, found: goobj.GoObject) -> None:
        if found.fingerprint == bytes(8):  # the assembler's objects have none
            return
        if library.fingerprint == bytes(8):
            library.fingerprint = found.fingerprint
        self._compare(library, found.fingerprint, library.fingerprint, library.importer)

    def _compare(self, library: Library, have: bytes, want: bytes, importer: str) -> None:
        if have != want:
            self.problems.add(
                f"fingerprint mismatch: {library.package} has {have.hex()}, "
                f"import from {importer} expecting {want.hex()}; rebuild both packages",
                library.file,
            )

    def _import(self, row: int, package: str, fingerprint: bytes) -> None:
        library = self.libraries[row]
        known = self.row_of_package.get(package)
        if known is None:
            package = posixpath.normpath(package)
            known = self.row_of_package.get(package)
        if known is None:
            file = self._find(package)
            if file is None:
                self._missing(package, library.file)
                return
            known = self.add(package, file, library.package)
            self.libraries[known].fingerprint = fingerprint
        elif self.libraries[known].fingerprint != bytes(8):
            target = self.libraries[known]
            self._compare(target, target.fingerprint, fingerprint, library.package)
        library.imports.append(known)

    def finish(self, modinfo: str | None) -> Inputs:
        release = release_of(self.header.split(" ")[4]) if self.header else None
        if release is None:
            raise LinkError([Problem("not package main: it holds no Go object", self.options.main)])
        return Inputs(
            self.flat,
            Memory(self.flat.bytes, self.flat.used),
            self.flat.view,
            self.libraries,
            self.objects,
            self.object_library,
            self.host_objects,
            self.directives,
            release,
            self.header,
            modinfo,
        )


def _is_object(member: str) -> bool:
    """Archives also hold notes of the build tools; those have short names without .o or .syso."""
    if member == "__.PKGDEF":
        return False
    return len(member) >= 16 or os.path.splitext(member)[1] in (".o", ".syso")
