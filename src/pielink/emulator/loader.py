"""dyld's part: map the images, slide them, bind them, run their initializers.

The main executable and every library that exists as a file on the host are mapped and bound like
dyld does it. Apple's own libraries do not exist as files: the emulated ones (`libsystem`) take
their place, and of any other library under /usr/lib or /System/Library each import becomes a trap
that stops the program, with the import's name, when it is called.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from pielink.emulator import chains, fixups
from pielink.emulator.abi import Library
from pielink.emulator.chains import ChainedRebase
from pielink.emulator.errors import LoadError
from pielink.emulator.exports import ExportTrie
from pielink.emulator.fixups import Bind
from pielink.emulator.lookup import LoadedImage, Namespace
from pielink.emulator.machofile import Image, read_executable, read_image
from pielink.emulator.memory import READ, WRITE
from pielink.emulator.symbolpointers import symbol_pointers
from pielink.formats import macho

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_SYSTEM_ROOTS = ("/usr/lib/", "/System/Library/")
_MASK64 = (1 << 64) - 1
_HIGH = 0xFF << 56
_LARGEST_TEMPLATE = 1 << 28


class Dyld(Namespace):
    """The images of a process: loads them, binds them, and looks up symbols among them."""

    def __init__(self, proc: Process, libraries: dict[str, Library], bind_lazily: bool) -> None:
        super().__init__(proc, libraries)
        self.bind_lazily = bind_lazily
        self._by_path: dict[str, LoadedImage] = {}
        self._system: dict[str, Library] = {}

    # -- loading

    def load_main(self, path: str, data: bytes, slide: int) -> LoadedImage:
        """Map and bind the executable and all libraries that it needs."""
        main = self._map(read_executable(data, path), slide)
        self._load_libraries(main)
        for loaded in list(self.images):
            self._bind_image(loaded)
        return main

    def load_library(self, path: str, user: LoadedImage) -> LoadedImage | None:
        """dlopen of a file: map and bind it and what it needs; None when there is no such file."""
        found = self._file_of(path, user)
        if found is None:
            return None
        before = len(self.images)
        loaded = self._open(found)
        for image in self.images[before:]:
            self._bind_image(image)
        return loaded

    def _map(self, image: Image, slide: int) -> LoadedImage:
        memory = self.proc.memory
        for segment in image.segments:
            if segment.mapped:
                start = memory.map(
                    segment.address + slide, segment.size, READ | WRITE, segment.name
                )
                content = image.data[segment.offset : segment.offset + segment.file_size]
                memory.view(start, segment.file_size)[:] = content
        loaded = LoadedImage(image, slide, ExportTrie(image))
        self.images.append(loaded)
        self._by_path[os.path.realpath(image.path)] = loaded
        return loaded

    def _load_libraries(self, loaded: LoadedImage) -> None:
        for dependency in loaded.image.dependencies:
            library = self._library(dependency.name, loaded)
            if library is None and not dependency.weak:
                raise LoadError(
                    f"Library not loaded: {dependency.name}\n  Referenced from: {loaded.name}\n"
                    "  Reason: no such file, and the emulator has no such library"
                )
            loaded.libraries.append(library)

    def _library(self, name: str, user: LoadedImage) -> LoadedImage | Library | None:
        if name in self.emulated:
            return self.emulated[name]
        found = self._file_of(name, user)
        if found is not None:
            return self._open(found)
        if name.startswith(_SYSTEM_ROOTS):
            return self._system.setdefault(name, Library(name))
        return None

    def _file_of(self, name: str, user: LoadedImage) -> str | None:
        """The host file of an install name, with @executable_path, @loader_path and @rpath."""
        candidates = [name]
        if name.startswith("@rpath/"):
            roots = [*user.image.rpaths, *self.main.image.rpaths]
            candidates = [os.path.join(root, name[7:]) for root in roots]
        for candidate in candidates:
            path = candidate
            for prefix, owner in (("@executable_path", self.main), ("@loader_path", user)):
                if path.startswith(prefix):
                    path = os.path.dirname(os.path.realpath(owner.name)) + path[len(prefix) :]
            if os.path.isfile(path):
                return path
        return None

    def _open(self, path: str) -> LoadedImage:
        known = self._by_path.get(os.path.realpath(path))
        if known is not None:
            return known
        with open(path, "rb") as file:
            image = read_image(file.read(), path)
        if image.filetype not in (macho.MH_DYLIB, macho.MH_BUNDLE):
            raise LoadError(f"{path}: not a dylib or bundle (filetype {image.filetype})")
        if image.cputype != self.main.image.cputype:
            raise LoadError(f"{path}: another architecture than the program's")
        loaded = self._map(image, self._room(image))
        self._load_libraries(loaded)
        return loaded

    def _room(self, image: Image) -> int:
        """A slide that puts the image where nothing is."""
        start = self.proc.memory.allocate(image.end - image.base, READ, "dylib")
        return start - image.base

    # -- fixing up

    def _bind_image(self, loaded: LoadedImage) -> None:
        image = loaded.image
        if image.chained.size:
            self._apply_chained(loaded)
        else:
            self._apply_rebases(loaded)
            self._apply_binds(loaded, fixups.binds(image))
            if not self.bind_lazily:
                self._apply_binds(loaded, fixups.lazy_binds(image))
            self._apply_binds(loaded, fixups.weak_binds(image))
            self._apply_binds(loaded, symbol_pointers(image))
        self._prepare_thread_locals(loaded)
        self._protect(loaded)

    def _apply_rebases(self, loaded: LoadedImage) -> None:
        """Add the slide to every rebased pointer, segment by segment."""
        image, slide = loaded.image, loaded.slide
        runs = list(fixups.rebases(image))
        if not runs:
            return
        starts, counts, strides = np.array(runs, dtype=np.uint64).astype(np.int64).T
        if counts.sum() > fixups.MAX_ROWS:
            raise image.error("more rebases than the image has room for")
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        addresses = np.repeat(starts, counts) + nth * np.repeat(strides, counts)
        loaded.rebases = len(addresses)
        for segment in image.segments:
            if not segment.mapped:
                continue
            offsets = addresses - segment.address
            offsets = offsets[(offsets >= 0) & (offsets < segment.size)]
            view = self.proc.memory.view(segment.address + slide, segment.size)
            for phase in np.unique(offsets % 8).tolist():
                words = np.frombuffer(
                    view[phase : segment.size - (segment.size - phase) % 8], "<u8"
                )
                np.add.at(words, offsets[offsets % 8 == phase] // 8, np.uint64(slide))

    def _apply_binds(self, loaded: LoadedImage, binds: Iterable[Bind]) -> None:
        for bind in binds:
            self.apply_bind(loaded, bind)

    def apply_bind(self, loaded: LoadedImage, bind: Bind) -> int | None:
        """Write one bound pointer; a weak bind that nothing defines keeps the old value."""
        target = self.resolve(loaded, bind)
        if target is not None:
            value = (target + bind.addend) & _MASK64 if target or bind.addend else 0
            view = self.proc.memory.view(bind.address + loaded.slide, 8)
            struct.pack_into("<Q", view, 0, value)
        loaded.binds += 1
        return target

    def bind_lazy(self, loaded: LoadedImage, offset: int) -> int:
        """Bind the lazy pointer whose opcodes are at `offset`; the address of its target."""
        bind = fixups.lazy_bind_at(loaded.image, offset)
        target = self.apply_bind(loaded, bind)
        if not target:
            raise LoadError(f"{loaded.name}: {bind.symbol} is missing, and was called")
        return target

    def _apply_chained(self, loaded: LoadedImage) -> None:
        for row in chains.chained(loaded.image):
            if isinstance(row, Bind):
                self.apply_bind(loaded, row)
                continue
            self._apply_chained_rebase(loaded, row)

    def _apply_chained_rebase(self, loaded: LoadedImage, row: ChainedRebase) -> None:
        value = (row.target & ~_HIGH) + loaded.slide | row.target & _HIGH
        view = self.proc.memory.view(row.address + loaded.slide, 8)
        struct.pack_into("<Q", view, 0, value & _MASK64)
        loaded.rebases += 1

    def _prepare_thread_locals(self, loaded: LoadedImage) -> None:
        """Take the template, and give every descriptor the number of its image as its key."""
        image, memory = loaded.image, self.proc.memory
        parts = [
            *image.sections_of(macho.S_THREAD_LOCAL_REGULAR),
            *image.sections_of(macho.S_THREAD_LOCAL_ZEROFILL),
        ]
        number = self.images.index(loaded)
        for section in image.sections_of(macho.S_THREAD_LOCAL_VARIABLES):
            view = memory.view(section.address + loaded.slide, section.size)
            for at in range(0, section.size - section.size % 24, 24):
                struct.pack_into("<Q", view, at + 8, number)
        if not parts:
            return
        low = min(part.address for part in parts)
        size = max(part.address + part.size for part in parts) - low
        if size > _LARGEST_TEMPLATE:
            raise image.error(f"thread-local template of {size} bytes")
        template = bytearray(size)
        for part in image.sections_of(macho.S_THREAD_LOCAL_REGULAR):
            content = memory.view(part.address + loaded.slide, part.size)
            template[part.address - low : part.address - low + part.size] = content
        loaded.tlv_template = bytes(template)
        loaded.tlv_alignment = 1 << min(max(part.alignment for part in parts), 14)

    def _protect(self, loaded: LoadedImage) -> None:
        """Give the segments their protections; those marked read-only lose WRITE."""
        for segment in loaded.image.segments:
            if segment.mapped:
                prot = segment.protection
                if segment.flags & macho.SG_READ_ONLY:
                    prot &= ~macho.VM_PROT_WRITE
                self.proc.memory.protect(segment.address + loaded.slide, segment.size, prot)

    # -- questions

    def image_at(self, address: int) -> LoadedImage | None:
        """The image that holds an address."""
        for loaded in self.images:
            if loaded.header <= address < loaded.end:
                return loaded
        return None

    def describe(self, address: int) -> str:
        """`symbol+offset` for messages."""
        trap = self.proc.traps.at(address)
        if trap is not None:
            return trap.symbol
        loaded = self.image_at(address)
        if loaded is None:
            return f"{address:#x}"
        name, start = loaded.image.symbol_at(address - loaded.slide)
        return f"{name}+{address - loaded.slide - start:#x}" if name else f"{address:#x}"

    def initializers(self, loaded: LoadedImage) -> Iterator[int]:
        """The addresses of the initializers of an image, after those of its libraries."""
        if loaded.initialized:
            return
        loaded.initialized = True
        for library in loaded.libraries:
            if isinstance(library, LoadedImage):
                yield from self.initializers(library)
        memory = self.proc.memory
        for section in loaded.image.sections:
            start = section.address + loaded.slide
            if section.kind == macho.S_MOD_INIT_FUNC_POINTERS:
                for at in range(0, section.size - 7, 8):
                    yield memory.u64(start + at)
            elif section.kind == macho.S_INIT_FUNC_OFFSETS:
                for at in range(0, section.size - 3, 4):
                    yield loaded.header + memory.u32(start + at)

    def terminators(self) -> Iterator[int]:
        """The addresses of the terminators of all images, last image first."""
        for loaded in reversed(self.images):
            for section in loaded.image.sections_of(macho.S_MOD_TERM_FUNC_POINTERS):
                start = section.address + loaded.slide
                for at in reversed(range(0, section.size - 7, 8)):
                    yield self.proc.memory.u64(start + at)
