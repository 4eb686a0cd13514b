"""What differs between the Go releases that pielink links: numbers and lists, no code.

A Go object starts with a line "go object GOOS GOARCH VERSION ...", which names its release.
Sources, in each release's GOROOT: src/cmd/internal/objabi/reloctype.go and pkgspecial.go,
src/cmd/internal/goobj/builtinlist.go, src/cmd/link/internal/loader/loader.go and ld/macho.go.
"""

from __future__ import annotations

import os
import re
from functools import cached_property

from pielink.tables import Record

DATA = os.path.join(os.path.dirname(__file__), "data")


class Release(Record):
    """One Go release, "1.27" for every go1.27.x."""

    name: str
    reloc_initorder: int  # R_INITORDER
    reloc_addrcuoff: int  # R_ADDRCUOFF
    flag2_linkname_std: int  # bit in Slots.flags2: pushed to the standard library; 0: unknown
    flag2_abi_wrapper: int  # bit in Slots.flags2
    type_links: bool  # typelink and itablink tables are sections; later they lie among the types
    macos: tuple[int, int, int]  # LC_BUILD_VERSION
    sdk: tuple[int, int, int]

    def _lines(self, stem: str) -> list[str]:
        with open(os.path.join(DATA, f"{stem}-{self.name}.txt"), encoding="utf-8") as file:
            return [line for line in file.read().splitlines() if not line.startswith("#")]

    @property
    def dupok_yields(self) -> bool:
        """Whether a definition that may be duplicated gives way to any that may not."""
        return self.flag2_linkname_std != 0

    @cached_property
    def builtins(self) -> list[tuple[bytes, int]]:
        """(name, ABI) of the symbols that objects refer to by number."""
        rows = (line.rsplit(" ", 1) for line in self._lines("builtins"))
        return [(name.encode(), int(abi)) for name, abi in rows]

    @cached_property
    def blocked_linknames(self) -> dict[bytes, list[str]]:
        """Symbol name -> the only packages that may refer to it by linkname."""
        rows = (line.split() for line in self._lines("linknames"))
        return {name.encode(): packages for name, *packages in rows}

    @cached_property
    def runtime_packages(self) -> frozenset[str]:
        """The runtime and what it imports."""
        return frozenset(self._lines("runtime-packages"))


RELEASES = {
    r.name: r
    for r in (
        Release("1.26", 99, 95, 0, 32, True, (12, 0, 0), (12, 0, 0)),
        Release("1.27", 102, 98, 32, 64, False, (13, 0, 0), (26, 2, 0)),
    )
}


def release_of(version: str) -> Release | None:
    """The release of a version such as "go1.27.3", or None if pielink does not know it."""
    found = re.match(r"go(\d+\.\d+)(?![\d])", version)
    return RELEASES.get(found[1]) if found else None
