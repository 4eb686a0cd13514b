"""Where symbols are: look-up among the images of a process and the emulated libraries.

A symbol is looked up in the library that its ordinal names, never elsewhere: a bind with the
wrong ordinal fails here as it does on macOS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pielink.emulator import stubs
from pielink.emulator.abi import Library
from pielink.emulator.errors import LoadError
from pielink.emulator.exports import Export, ExportTrie
from pielink.emulator.fixups import Bind
from pielink.emulator.machofile import Image
from pielink.formats import macho

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_FLAT = "flat namespace"


@dataclass(eq=False)
class LoadedImage:
    """A mapped image; `libraries[ordinal - 1]` is what its library ordinals mean."""

    image: Image
    slide: int
    trie: ExportTrie
    libraries: list[LoadedImage | Library | None] = field(default_factory=list)
    tlv_template: bytes = b""
    tlv_alignment: int = 16
    rebases: int = 0
    binds: int = 0
    initialized: bool = False
    handle: int = 0

    @property
    def header(self) -> int:
        """The address of the Mach-O header."""
        return self.image.base + self.slide

    @property
    def end(self) -> int:
        """The address after the image."""
        return self.image.end + self.slide

    @property
    def name(self) -> str:
        """The path for messages."""
        return self.image.path


class Namespace:
    """The images of a process, in load order, and the libraries that are emulated."""

    def __init__(self, proc: Process, libraries: dict[str, Library]) -> None:
        self.proc, self.emulated = proc, libraries
        self.images: list[LoadedImage] = []
        self._variables: dict[tuple[str, str], int] = {}

    @property
    def main(self) -> LoadedImage:
        """The executable."""
        return self.images[0]

    def resolve(self, loaded: LoadedImage, bind: Bind) -> int | None:
        """The address of what a bind names; 0 for a missing weak import."""
        ordinal, symbol = bind.ordinal, bind.symbol
        if ordinal == macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP:
            return self._weak(symbol)
        if ordinal > len(loaded.libraries) or ordinal < macho.BIND_SPECIAL_DYLIB_WEAK_LOOKUP:
            raise LoadError(
                f"{loaded.name}: bind of {symbol} names library ordinal {ordinal}, "
                f"but there are {len(loaded.libraries)} libraries"
            )
        if ordinal == macho.BIND_SPECIAL_DYLIB_FLAT_LOOKUP:
            address, expected = self.flat(symbol), _FLAT
        else:
            address, expected = self._two_level(loaded, ordinal, symbol)
        if address is not None:
            return address
        if bind.weak_import:
            return 0
        return self._missing(loaded, symbol, expected)

    def _two_level(self, loaded: LoadedImage, ordinal: int, symbol: str) -> tuple[int | None, str]:
        """Look in the one library that the ordinal names; also its name, for messages."""
        special = {
            macho.BIND_SPECIAL_DYLIB_SELF: loaded,
            macho.BIND_SPECIAL_DYLIB_MAIN_EXECUTABLE: self.main,
        }
        library = special[ordinal] if ordinal in special else loaded.libraries[ordinal - 1]
        if library is None:
            return None, loaded.image.dependencies[ordinal - 1].name
        if isinstance(library, Library):
            return self.emulated_symbol(library, symbol), library.install_name
        return self.exported(library, symbol), library.name

    def _weak(self, symbol: str) -> int | None:
        """The one definition that all images use: a strong one before a weak one."""
        found: int | None = None
        for loaded in self.images:
            export = loaded.trie.find(symbol)
            if export is None:
                continue
            address = self.address_of(loaded, export, 0)
            if not export.weak:
                return address
            found = address if found is None else found
        return found

    def flat(self, symbol: str) -> int | None:
        """The first definition in any image, then in any emulated library."""
        for loaded in self.images:
            address = self.exported(loaded, symbol)
            if address is not None:
                return address
        for library in dict.fromkeys(self.emulated[name] for name in self.emulated):
            address = self.emulated_symbol(library, symbol)
            if address is not None:
                return address
        return None

    def exported(self, loaded: LoadedImage, symbol: str, depth: int = 0) -> int | None:
        """The address of a symbol that an image exports itself or re-exports."""
        export = loaded.trie.find(symbol)
        if export is not None:
            return self.address_of(loaded, export, depth)
        if depth < 8:
            for dependency, library in zip(
                loaded.image.dependencies, loaded.libraries, strict=False
            ):
                if dependency.reexported and library is not None:
                    address = self._in_library(library, symbol, depth + 1)
                    if address is not None:
                        return address
        return None

    def _in_library(self, library: LoadedImage | Library, symbol: str, depth: int) -> int | None:
        if isinstance(library, Library):
            return self.emulated_symbol(library, symbol)
        return self.exported(library, symbol, depth)

    def address_of(self, loaded: LoadedImage, export: Export, depth: int) -> int | None:
        """Where an export is."""
        if not export.reexport:
            return export.value if export.absolute else loaded.header + export.value
        if not 0 < export.value <= len(loaded.libraries) or depth > 8:
            raise LoadError(f"{loaded.name}: bad re-export of {export.name}")
        library = loaded.libraries[export.value - 1]
        name = export.other or export.name
        return None if library is None else self._in_library(library, name, depth + 1)

    def emulated_symbol(self, library: Library, symbol: str) -> int | None:
        """The address of a function or variable of an emulated library."""
        function = library.functions.get(symbol)
        if function is not None:
            return self.proc.traps.add(symbol, library.install_name, function)
        variable = library.variables.get(symbol)
        if variable is None:
            return None
        key = (library.install_name, symbol)
        if key not in self._variables:
            address = self.proc.allocate_data(variable.size)
            self._variables[key] = address
            variable.fill(self.proc, address)
        return self._variables[key]

    def _missing(self, loaded: LoadedImage, symbol: str, expected: str) -> int:
        """Fail as dyld does when the library surely lacks the symbol; else trap its use."""
        elsewhere = [
            library.install_name
            for library in dict.fromkeys(self.emulated.values())
            if library.install_name != expected
            and (symbol in library.functions or symbol in library.variables)
        ]
        flat = expected == _FLAT
        emulated = flat or expected in self.emulated
        guest = any(image.name == expected for image in self.images)
        absent = guest or (emulated and elsewhere)
        if absent or (emulated and not stubs.may_export(expected, symbol, flat)):
            hint = f"\n  It is in: {', '.join(elsewhere)}" if elsewhere else ""
            raise LoadError(
                f"Symbol not found: {symbol}\n  Referenced from: {loaded.name}\n"
                f"  Expected in: {expected}{hint}"
            )
        return self.proc.traps.add(symbol, expected, None)
