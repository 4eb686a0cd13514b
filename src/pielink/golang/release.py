"""What differs between the Go releases that pielink links: numbers and lists, no code.

A Go object starts with a line "go object GOOS GOARCH VERSION ...", which names its release.
Sources, in each release's GOROOT: src/cmd/internal/objabi/reloctype.go and pkgspecial.go,
src/cmd/internal/goobj/builtinlist.go, src/cmd/link/internal/loader/loader.go and ld/macho.go.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pielink.hints import Any, TypeVar
from pielink.record import Record

DATA = os.path.join(os.path.dirname(__file__), "data")


class Release(Record):
    """One Go release, "1.27" for every go1.27.x."""

    name: str
    reloc_initorder: int  # R_INITORDER
    flag2_linkname_std: int  # bit in Slots.flags2: pushed to the standard library; 0: unknown
    flag2_abi_wrapper: int  # bit in Slots.flags2
    type_links: bool  # typelink and itablink tables are sections; later they lie among the types
    macos: tuple[int, int, int]  # LC_BUILD_VERSION
    sdk: tuple[int, int, int]

    @property
    def dupok_yields(self) -> bool:
        """Whether a definition that may be duplicated gives way to any that may not."""
        return self.flag2_linkname_std != 0

    @property
    def builtins(self) -> list[tuple[bytes, int]]:
        """(name, ABI) of the symbols that objects refer to by number."""
        return _table("builtins", self.name, _builtins)

    @property
    def blocked_linknames(self) -> dict[bytes, list[str]]:
        """Symbol name -> the only packages that may refer to it by linkname."""
        return _table("linknames", self.name, _linknames)

    @property
    def runtime_packages(self) -> frozenset[str]:
        """The runtime and what it imports."""
        return _table("runtime-packages", self.name, frozenset)


T = TypeVar("T")
_made: dict[tuple[str, str], Any] = {}  # what `_table` has given, by its first arguments


def _table(stem: str, release: str, make: Callable[[list[str]], T]) -> T:
    """What `make` makes of the lines of a data file, the same object each time."""
    if (stem, release) not in _made:
        with open(os.path.join(DATA, f"{stem}-{release}.txt"), encoding="utf-8") as file:
            lines = [line for line in file.read().splitlines() if not line.startswith("#")]
        _made[stem, release] = make(lines)
    made: T = _made[stem, release]
    return made


def _builtins(lines: list[str]) -> list[tuple[bytes, int]]:
    rows = (line.rsplit(" ", 1) for line in lines)
    return [(name.encode(), int(abi)) for name, abi in rows]


def _linknames(lines: list[str]) -> dict[bytes, list[str]]:
    rows = (line.split() for line in lines)
    return {name.encode(): packages for name, *packages in rows}


RELEASES = {
    r.name: r
    for r in (
        Release(
            "1.26",
            reloc_initorder=99,
            flag2_linkname_std=0,
            flag2_abi_wrapper=32,
            type_links=True,
            macos=(12, 0, 0),
            sdk=(12, 0, 0),
        ),
        Release(
            "1.27",
            reloc_initorder=102,
            flag2_linkname_std=32,
            flag2_abi_wrapper=64,
            type_links=False,
            macos=(13, 0, 0),
            sdk=(26, 2, 0),
        ),
    )
}


def release_of(version: str) -> Release | None:
    """The release of a version such as "go1.27.3", or None if pielink does not know it."""
    for name, release in RELEASES.items():
        rest = version.removeprefix(f"go{name}")
        if rest != version and not rest[:1].isdecimal():
            return release
    return None
