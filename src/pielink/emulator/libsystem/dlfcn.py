"""dlopen, dlsym, dladdr, and what dyld tells of its images.

Symbols are found through the export tries alone, as dyld does: what a file does not export,
dlsym does not find.

Source: <dlfcn.h>, <mach-o/dyld.h>, <mach-o/getsect.h>.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pielink.emulator.abi import Library
from pielink.emulator.errors import LoadError
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.lookup import LoadedImage
from pielink.emulator.threads import Call, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_NEXT, _DEFAULT, _SELF, _MAIN_ONLY = -1, -2, -3, -5
_NOLOAD = 0x10


class Handles:
    """dlopen's handles, names for dladdr, and the last error of each thread."""

    def __init__(self, proc: Process) -> None:
        self.proc = proc
        self.targets: dict[int, LoadedImage | Library | None] = {}  # None: the global scope
        self._numbers: dict[int, int] = {}
        self.errors: dict[int, int] = {}
        self._texts: dict[str, int] = {}

    def open(self, target: LoadedImage | Library | None) -> int:
        """The handle of an image or a library; the same one each time."""
        key = id(target)
        if key not in self._numbers:
            handle = self.proc.allocate_data(16)
            self._numbers[key] = handle
            self.targets[handle] = target
        return self._numbers[key]

    def text(self, text: str) -> int:
        """The address of a string that stays."""
        if text not in self._texts:
            data = os.fsencode(text) + b"\0"
            self._texts[text] = self.proc.allocate_data(len(data))
            self.proc.memory.write(self._texts[text], data)
        return self._texts[text]

    def fail(self, message: str) -> int:
        """Note the error for dlerror; 0."""
        self.errors[self.proc.thread.number] = self.text(message)
        return 0


def _caller(proc: Process) -> LoadedImage:
    """The image that called the function that runs now."""
    _, _, back = proc.cpu.entry(proc.memory.u64)
    return proc.dyld.image_at(back) or proc.dyld.main


def _emulated(proc: Process, path: str) -> Library | None:
    """The emulated library that a path means: by install name, or by a usual alias."""
    libraries = proc.dyld.emulated
    if path in libraries:
        return libraries[path]
    stem = os.path.basename(path).partition(".")[0]
    if path.startswith("/usr/lib/") or "/" not in path:
        aliases = ("libSystem", "libc", "libm", "libpthread", "libdl")
        return libsystem if stem in aliases else None
    framework = [one for name, one in libraries.items() if os.path.basename(name) == stem]
    return framework[0] if ".framework/" in path and framework else None


@libsystem("void *dlopen(const char *, int)")
def dlopen(proc: Process, path: int, mode: int) -> Work:
    handles, dyld = proc.state(Handles), proc.dyld
    if not path:
        return handles.open(None)
    name, user = os.fsdecode(proc.memory.string(path)), _caller(proc)
    library = _emulated(proc, name)
    if library is not None:
        return handles.open(library)
    loaded = next((one for one in dyld.images if one.name == name), None)
    if loaded is None and not mode & _NOLOAD:
        try:
            loaded = dyld.load_library(name, user)
        except LoadError as error:
            return handles.fail(f"dlopen({name}, {mode:#x}): {error}")
    if loaded is None:
        return handles.fail(f"dlopen({name}, {mode:#x}): tried: '{name}' (no such file)")
    for function in dyld.initializers(loaded):
        yield Call(function, 0, 0, 0, 0, 0)
    return handles.open(loaded)


@libsystem("int dlclose(void *)")
def dlclose(proc: Process, handle: int) -> int:
    """Images stay loaded."""
    return 0 if handle in proc.state(Handles).targets else -1


@libsystem("char *dlerror(void)")
def dlerror(proc: Process) -> int:
    return proc.state(Handles).errors.pop(proc.thread.number, 0)


@libsystem("bool dlopen_preflight(const char *)")
def dlopen_preflight(proc: Process, path: int) -> int:
    name = os.fsdecode(proc.memory.string(path))
    return int(_emulated(proc, name) is not None or os.path.isfile(name))


def _find(proc: Process, handle: int, symbol: str) -> int | None:
    """dlsym: the address, or None."""
    dyld, handles = proc.dyld, proc.state(Handles)
    if handle == _MAIN_ONLY:
        return dyld.exported(dyld.main, symbol)
    if handle == _DEFAULT:
        return dyld.flat(symbol)
    if handle in (_NEXT, _SELF):
        images = dyld.images
        first = images.index(_caller(proc)) + (handle == _NEXT)
        for loaded in images[first:]:
            address = dyld.exported(loaded, symbol)
            if address is not None:
                return address
        return dyld.emulated_symbol(libsystem, symbol)
    target = handles.targets[handle]
    if target is None:
        return dyld.flat(symbol)
    if isinstance(target, Library):
        return dyld.emulated_symbol(target, symbol)
    return _with_dependencies(proc, target, symbol, set())


def _with_dependencies(
    proc: Process, loaded: LoadedImage, symbol: str, seen: set[LoadedImage]
) -> int | None:
    """Look in an image and in all that it loads."""
    seen.add(loaded)
    address = proc.dyld.exported(loaded, symbol)
    for library in loaded.libraries:
        if address is not None:
            break
        if isinstance(library, Library):
            address = proc.dyld.emulated_symbol(library, symbol)
        elif library is not None and library not in seen:
            address = _with_dependencies(proc, library, symbol, seen)
    return address


@libsystem("void *dlsym(void *, const char *)")
def dlsym(proc: Process, handle: int, name: int) -> int:
    handles = proc.state(Handles)
    signed = handle - (1 << 64) if handle >> 63 else handle
    text = os.fsdecode(proc.memory.string(name))
    if signed not in (_NEXT, _DEFAULT, _SELF, _MAIN_ONLY) and handle not in handles.targets:
        return handles.fail(f"dlsym({handle:#x}, {text}): invalid handle")
    address = _find(proc, signed, "_" + text)
    if address is None:
        return handles.fail(f"dlsym({handle:#x}, {text}): symbol not found")
    return address


@libsystem("int dladdr(const void *, void *)")
def dladdr(proc: Process, address: int, out: int) -> int:
    handles, loaded = proc.state(Handles), proc.dyld.image_at(address)
    if loaded is None:
        trap = proc.traps.at(address)
        if trap is None or not trap.library:
            return 0
        name = handles.text(trap.symbol.removeprefix("_"))
        proc.memory.pack(
            "<4Q", out, handles.text(trap.library), proc.traps.base, name, trap.address
        )
        return 1
    name, start = _nearest_export(proc, loaded, address)
    proc.memory.pack("<4Q", out, handles.text(loaded.name), loaded.header, name, start)
    return 1


def _nearest_export(proc: Process, loaded: LoadedImage, address: int) -> tuple[int, int]:
    """The name and address of the nearest export at or below an address; zeros if none."""
    best, name = 0, 0
    for export in loaded.trie:
        if export.reexport or export.absolute:
            continue
        start = loaded.header + export.value
        if best < start <= address:
            best, name = start, proc.state(Handles).text(export.name.removeprefix("_"))
    return name, best


# -- images


@libsystem("uint32_t _dyld_image_count(void)")
def image_count(proc: Process) -> int:
    return len(proc.dyld.images)


@libsystem("const void *_dyld_get_image_header(uint32_t)")
def image_header(proc: Process, index: int) -> int:
    images = proc.dyld.images
    return images[index].header if index < len(images) else 0


@libsystem("long _dyld_get_image_vmaddr_slide(uint32_t)")
def image_slide(proc: Process, index: int) -> int:
    images = proc.dyld.images
    return images[index].slide if index < len(images) else 0


@libsystem("const char *_dyld_get_image_name(uint32_t)")
def image_name(proc: Process, index: int) -> int:
    images = proc.dyld.images
    return proc.state(Handles).text(images[index].name) if index < len(images) else 0


@libsystem("void _dyld_register_func_for_add_image(void *)")
def register_add_image(proc: Process, function: int) -> Work:
    for loaded in list(proc.dyld.images):
        yield Call(function, loaded.header, loaded.slide)
    return 0


@libsystem("void _dyld_register_func_for_remove_image(void *)")
def register_remove_image(proc: Process, function: int) -> None:
    """Images stay loaded."""


@libsystem(
    "const void *_dyld_get_image_header_containing_address(const void *)",
    "dyld_image_header_containing_address",
)
def header_containing(proc: Process, address: int) -> int:
    loaded = proc.dyld.image_at(address)
    return loaded.header if loaded else 0


@libsystem("const char *dyld_image_path_containing_address(const void *)")
def path_containing(proc: Process, address: int) -> int:
    loaded = proc.dyld.image_at(address)
    return proc.state(Handles).text(loaded.name) if loaded else 0


def _by_header(proc: Process, header: int) -> LoadedImage | None:
    return next((loaded for loaded in proc.dyld.images if loaded.header == header), None)


@libsystem("void *getsectiondata(const void *, const char *, const char *, unsigned long *)")
def getsectiondata(proc: Process, header: int, segment: int, section: int, size_at: int) -> int:
    loaded = _by_header(proc, header)
    names = tuple(os.fsdecode(proc.memory.string(one, 16)) for one in (segment, section))
    for found in loaded.image.sections if loaded else []:
        if (found.segment, found.name) == names and loaded is not None:
            proc.memory.put_u64(size_at, found.size)
            return found.address + loaded.slide
    return 0


@libsystem("void *getsegmentdata(const void *, const char *, unsigned long *)")
def getsegmentdata(proc: Process, header: int, segment: int, size_at: int) -> int:
    loaded, name = _by_header(proc, header), os.fsdecode(proc.memory.string(segment, 16))
    for found in loaded.image.segments if loaded else []:
        if found.name == name and loaded is not None:
            proc.memory.put_u64(size_at, found.size)
            return found.address + loaded.slide
    return 0


@libsystem("bool _dyld_find_unwind_sections(void *, void *)")
def find_unwind_sections(proc: Process, address: int, out: int) -> int:
    """struct dyld_unwind_sections: header, then address and length of both sections."""
    loaded = proc.dyld.image_at(address)
    if loaded is None:
        return 0
    fields = [loaded.header]
    for name in ("__eh_frame", "__unwind_info"):
        section = next((s for s in loaded.image.sections if s.name == name), None)
        fields += [section.address + loaded.slide, section.size] if section else [0, 0]
    proc.memory.pack("<5Q", out, *fields)
    return 1


# -- lazy binding


@libsystem.raw("dyld_stub_binder")
def stub_binder(proc: Process) -> None:
    """Bind one lazy pointer and go on at its target, all argument registers unchanged.

    The stub helper pushed the offset of the bind's opcodes, and on top of it an address in the
    image that wants the symbol.
    """
    cpu, memory = proc.cpu, proc.memory
    _, sp, cache = cpu.entry(memory.u64)
    offset = memory.u64(sp + 8) & 0xFFFF_FFFF
    loaded = proc.dyld.image_at(cache) or proc.dyld.main
    target = proc.dyld.bind_lazy(loaded, offset)
    cpu.jump(memory, target, sp + 16)
