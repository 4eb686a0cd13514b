"""Where -l, -framework and re-exports are looked for: the rules of Apple's linker.

Directories of -L and -F come first, in order, then the standard ones (/usr/lib, /usr/local/lib;
/Library/Frameworks, /System/Library/Frameworks). A directory that begins with / is replaced by the
same one under each -syslibroot that has it. In each directory `libNAME.tbd`, `libNAME.dylib` and
`libNAME.a` are tried in this order; with -search_dylibs_first all directories are tried for a
dynamic library before any is tried for an archive. Source: ld64's Options.cpp (buildSearchPaths,
findLibrary, findFramework, findFile).

One difference: without a -syslibroot the standard directories are searched on macOS alone, since
elsewhere they hold the libraries of another system.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder
from os.path import dirname, isdir, isfile, join, normpath, realpath, splitext

from pielink.record import Record

LIBRARY_DIRECTORIES = ("/usr/lib", "/usr/local/lib")
FRAMEWORK_DIRECTORIES = ("/Library/Frameworks", "/System/Library/Frameworks")
# Where zig keeps its lib directory, from the directory of its executable.
ZIG_LIB = ("lib", "lib/zig", "../lib/zig", "../lib")
ZIG_STUB = "libc/darwin/libSystem.tbd"


class SearchPaths(Record):
    """The directories to search, in order; all of them exist."""

    libraries: tuple[str, ...]
    frameworks: tuple[str, ...]
    roots: tuple[str, ...]
    dylibs_first: bool = False


def search_paths(
    library_dirs: Sequence[str] = (),
    framework_dirs: Sequence[str] = (),
    roots: Sequence[str] = (),
    *,
    standard: bool = True,
    dylibs_first: bool = False,
) -> SearchPaths:
    """Return the directories that -L, -F, -syslibroot and -Z (`standard` False) ask for."""
    if roots and roots[-1] == "/":
        roots = ()  # the way to say that no SDK is meant
    has_standard = standard and (bool(roots) or sys.platform == "darwin")

    def merged(given: Sequence[str], defaults: Iterable[str]) -> tuple[str, ...]:
        found = [path for each in given for path in _under_roots(each, roots) or [each]]
        for each in defaults if has_standard else ():
            found += _under_roots(each, roots) or ([] if len(roots) == 1 else [each])
        return tuple(dict.fromkeys(path for path in found if isdir(path)))

    return SearchPaths(
        merged(library_dirs, LIBRARY_DIRECTORIES),
        merged(framework_dirs, FRAMEWORK_DIRECTORIES),
        tuple(roots),
        dylibs_first,
    )


def _under_roots(directory: str, roots: Iterable[str]) -> list[str]:
    """Return what an absolute directory is called inside each root that has it."""
    if not directory.startswith("/"):
        return []
    inner = normpath(directory).lstrip("/")
    return [join(root, inner) for root in roots if isdir(join(root, inner))]


def find_library(paths: SearchPaths, name: str, *, dylibs_only: bool = False) -> str | None:
    """Return the file that `-lNAME` means, or None; NAME may be the whole name of an object."""
    if name.endswith(".o"):
        return _first(join(directory, name) for directory in paths.libraries)
    dynamic = [f"lib{name}.tbd", f"lib{name}.dylib", f"lib{name}.so"]
    static = [] if dylibs_only else [f"lib{name}.a"]
    groups = [dynamic, static] if paths.dylibs_first else [dynamic + static]
    return _first(
        join(directory, file) for group in groups for directory in paths.libraries for file in group
    )


def find_framework(paths: SearchPaths, name: str) -> str | None:
    """Return the binary or stub that `-framework NAME` means, or None.

    `NAME,SUFFIX` prefers the variant with that suffix, as in `Foo,_debug`.
    """
    name, _, suffix = name.partition(",")
    for ending in dict.fromkeys((suffix, "")):
        for directory in paths.frameworks:
            binary = join(directory, f"{name}.framework", name)
            if ending:  # variants lie beside the binary itself, not beside the link to it
                binary = realpath(binary)
            found = _with_stub(binary + ending)
            if found:
                return found
    return None


def find_install_name(
    paths: SearchPaths, install_name: str, loader: str, rpaths: Sequence[str] = ()
) -> str | None:
    """Return the file of a library that another one (`loader`) passes on, or None.

    Knows @loader_path and @rpath (`rpaths` of the loader); absolute names are looked up in each
    -syslibroot first.
    """
    if install_name.startswith("@rpath/"):
        rest = install_name.removeprefix("@rpath/")
        places = [join(_expand(rpath, loader), rest) for rpath in rpaths]
    elif install_name.startswith("/"):
        places = [join(root, install_name.lstrip("/")) for root in paths.roots]
        places += [install_name] if sys.platform == "darwin" else []
    else:
        places = [_expand(install_name, loader)]
    return next((found for found in map(_with_stub, places) if found), None)


def _expand(path: str, loader: str) -> str:
    """Resolve @loader_path/, the directory of the library that names the path."""
    if path.startswith("@loader_path/"):
        return join(dirname(realpath(loader)), path.removeprefix("@loader_path/"))
    return path


def _with_stub(binary: str) -> str | None:
    """Return the text stub of a dynamic library or framework binary where there is one, or it."""
    return _first((splitext(binary)[0] + ".tbd", binary))


def _first(candidates: Iterable[str]) -> str | None:
    return next((path for path in candidates if isfile(path)), None)


def zig_libsystem_stub() -> str | None:
    """Return the stub of libSystem that comes with an installed zig, or None.

    Looks at the `ziglang` package of this Python first, then at a zig in PATH.
    """
    spec = PathFinder.find_spec("ziglang")
    homes = list(spec.submodule_search_locations or ()) if spec else []
    return _stub_of_zig(homes) or _stub_of_zig(_zig_in_path())


def _stub_of_zig(homes: Iterable[str]) -> str | None:
    return _first(join(home, lib, ZIG_STUB) for home in homes for lib in ZIG_LIB)


def _zig_in_path() -> list[str]:
    import shutil  # rarely needed, and slow to import

    zig = shutil.which("zig")
    return [dirname(realpath(zig))] if zig else []
