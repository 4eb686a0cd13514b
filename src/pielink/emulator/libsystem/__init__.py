"""The emulated libraries by install name. Importing this package declares all their functions."""

from __future__ import annotations

from pielink.emulator.abi import Library
from pielink.emulator.libsystem import (  # noqa: F401 - each declares its functions
    attributes,
    calendar,
    compiler_rt,
    complex,
    descriptors,
    directories,
    dlfcn,
    exceptions,
    heap,
    inet,
    kqueue,
    locale,
    locks,
    math,
    memory,
    multiplex,
    names,
    options,
    paths,
    printf,
    process,
    refused,
    runtime,
    scan,
    setjmp,
    signals,
    sockets,
    stdio_files,
    stdio_input,
    stdio_wide,
    stdlib,
    string,
    sysctl,
    terminals,
    threads,
    time,
    wchar,
    wstring,
)
from pielink.emulator.libsystem.corefoundation import corefoundation
from pielink.emulator.libsystem.library import libresolv, libsystem

LIBRARIES: dict[str, Library] = {
    library.install_name: library for library in (libsystem, libresolv, corefoundation)
}
