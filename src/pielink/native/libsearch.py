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

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pielink.record import record

LIBRARY_DIRECTORIES = ("/usr/lib", "/usr/local/lib")
FRAMEWORK_DIRECTORIES = ("/Library/Frameworks", "/System/Library/Frameworks")
# Where zig keeps its lib directory, from the directory of its executable.
ZIG_LIB = ("lib", "lib/zig", "../lib/zig", "../lib")
ZIG_STUB = "libc/darwin/libSystem.tbd"


@record
class SearchPaths:
    """The directories to search, in order; all of them exist."""

    libraries: tuple[Path, ...]
    frameworks: tuple[Path, ...]
    roots: tuple[Path, ...]
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
    kept = [Path(root) for root in roots]
    has_standard = standard and (bool(kept) or sys.platform == "darwin")

    def merged(given: Sequence[str], defaults: Iterable[str]) -> tuple[Path, ...]:
        found = [path for each in given for path in _under_roots(each, kept) or [Path(each)]]
        for each in defaults if has_standard else ():
            found += _under_roots(each, kept) or ([] if len(kept) == 1 else [Path(each)])
        return tuple(dict.fromkeys(path for path in found if path.is_dir()))

    return SearchPaths(
        merged(library_dirs, LIBRARY_DIRECTORIES),
        merged(framework_dirs, FRAMEWORK_DIRECTORIES),
        tuple(kept),
        dylibs_first,
    )


def _under_roots(directory: str, roots: Iterable[Path]) -> list[Path]:
    """Return what an absolute directory is called inside each root that has it."""
    if not directory.startswith("/"):
        return []
    inner = os.path.normpath(directory).lstrip("/")
    return [root / inner for root in roots if (root / inner).is_dir()]


def find_library(paths: SearchPaths, name: str, *, dylibs_only: bool = False) -> Path | None:
    """Return the file that `-lNAME` means, or None; NAME may be the whole name of an object."""
    if name.endswith(".o"):
        return _first(directory / name for directory in paths.libraries)
    dynamic = [f"lib{name}.tbd", f"lib{name}.dylib", f"lib{name}.so"]
    static = [] if dylibs_only else [f"lib{name}.a"]
    groups = [dynamic, static] if paths.dylibs_first else [dynamic + static]
    return _first(
        directory / file for group in groups for directory in paths.libraries for file in group
    )


def find_framework(paths: SearchPaths, name: str) -> Path | None:
    """Return the binary or stub that `-framework NAME` means, or None.

    `NAME,SUFFIX` prefers the variant with that suffix, as in `Foo,_debug`.
    """
    name, _, suffix = name.partition(",")
    for ending in dict.fromkeys((suffix, "")):
        for directory in paths.frameworks:
            binary = directory / f"{name}.framework" / name
            if ending:  # variants lie beside the binary itself, not beside the link to it
                binary = binary.resolve()
            found = _with_stub(binary.with_name(binary.name + ending))
            if found:
                return found
    return None


def find_install_name(
    paths: SearchPaths, install_name: str, loader: Path, rpaths: Sequence[str] = ()
) -> Path | None:
    """Return the file of a library that another one (`loader`) passes on, or None.

    Knows @loader_path and @rpath (`rpaths` of the loader); absolute names are looked up in each
    -syslibroot first.
    """
    if install_name.startswith("@rpath/"):
        rest = install_name.removeprefix("@rpath/")
        places = [_expand(rpath, loader) / rest for rpath in rpaths]
    elif install_name.startswith("/"):
        places = [root / install_name.lstrip("/") for root in paths.roots]
        places += [Path(install_name)] if sys.platform == "darwin" else []
    else:
        places = [_expand(install_name, loader)]
    return next((found for found in map(_with_stub, places) if found), None)


def _expand(path: str, loader: Path) -> Path:
    """Resolve @loader_path/, the directory of the library that names the path."""
    if path.startswith("@loader_path/"):
        return loader.resolve().parent / path.removeprefix("@loader_path/")
    return Path(path)


def _with_stub(binary: Path) -> Path | None:
    """Return the text stub of a dynamic library or framework binary where there is one, or it."""
    return _first((binary.with_suffix(".tbd"), binary))


def _first(candidates: Iterable[Path]) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)


def zig_libsystem_stub() -> Path | None:
    """Return the stub of libSystem that comes with an installed zig, or None.

    Looks at the `ziglang` package of this Python first, then at a zig in PATH.
    """
    spec = importlib.util.find_spec("ziglang")
    homes = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    return _stub_of_zig(homes) or _stub_of_zig(_zig_in_path())


def _stub_of_zig(homes: Iterable[Path]) -> Path | None:
    return _first(home / lib / ZIG_STUB for home in homes for lib in ZIG_LIB)


def _zig_in_path() -> list[Path]:
    import shutil  # rarely needed, and slow to import

    zig = shutil.which("zig")
    return [Path(zig).resolve().parent] if zig else []
