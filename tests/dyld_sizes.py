"""How many bytes each linker's dyld info takes, and how many pielink's of the same fixups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import host_inputs
from dyld_inputs import linked, tool
from example_sources import fetch_sources
from go_inputs import go_inputs
from host_program import host_objects
from macho_inputs import c_program

from pielink.dyld import bind, exports, image, lazy_bind, rebase, weak_bind

FILES: dict[str, tuple[str, Callable[[], Path]]] = {
    **{
        program: ("go", lambda program=program: go_inputs(program).reference())  # type: ignore[misc]
        for program in ("hello", "cmd/gofmt", "cmd/go", "cmd/compile")
    },
    "C": ("zig", c_program),
    "Lua": ("ld64.lld", lambda: lua()),
    "C++": ("ld64.lld", lambda: linked("program.cc")),
    "C++ arm64": ("ld64.lld", lambda: linked("program.cc", "arm64")),
    "large C++": ("ld64.lld", lambda: linked(large_program())),
}


class Size(NamedTuple):
    """One stream of one file, both without the padding behind it, in bytes."""

    program: str
    linker: str
    stream: str
    entries: int
    theirs: int
    ours: int


def sizes(program: str) -> list[Size]:
    """A row for each stream that the program's file has."""
    linker, make = FILES[program]
    path = make()
    (file,) = image.read(path.read_bytes(), str(path))
    weak, lazy, offered = file.weak_binds, file.lazy_binds, file.exports
    encoded = {
        "rebase": (len(file.rebases), rebase.encode(file.rebases)),
        "bind": (len(file.binds[0]), bind.encode(*file.binds)),
        "weak_bind": (len(weak[0]), weak_bind.encode(*weak)),
        "lazy_bind": (len(lazy[0]), lazy_bind.encode(*lazy[:2])[0]),
        "export": (len(offered[0]), exports.encode(*offered)),
    }
    return [
        Size(program, linker, stream, count, _length(file, stream), len(ours))
        for stream, (count, ours) in encoded.items()
        if stream in file.parts
    ]


def _length(file: image.Image, stream: str) -> int:
    """Bytes of a stream up to the last opcode or node that means something."""
    data = file.parts[stream].data
    if stream == "export":
        return len(data)  # padded by at most 7
    opcodes = file.opcodes(stream)
    while len(opcodes) > 1 and opcodes[-1].opcode == 0 and opcodes[-2].opcode == 0:
        opcodes.pop()
    return opcodes[-1].offset + 1 if opcodes[-1].opcode == 0 else len(data)


def lua() -> Path:
    """The C library Lua, with what Go's runtime has in C, as a dylib."""
    fetch_sources("cgo-lua")
    inputs = go_inputs("cgo-lua", cgo=True)
    objects = host_objects(inputs, inputs.directory)
    return host_inputs.link(tool("ld64.lld", "ld64.lld-19"), *objects, flags=host_inputs.DYLIB)


def large_program() -> str:
    """C++ source with three hundred classes: virtual tables, type information, arrays."""
    lines = ["#include <cstdio>\n", "#include <typeinfo>\n"]
    lines.append("struct Base { virtual ~Base(); virtual int f() const = 0; };\n")
    lines.append("Base::~Base() {}\n")
    for n in range(300):
        lines.append(f"struct C{n} : Base {{ int f() const override; virtual int g{n}(); }};\n")
        lines.append(f"int C{n}::f() const {{ return {n}; }} int C{n}::g{n}() {{ return f(); }}\n")
    names = ", ".join(f'{{"class {n}", {n}, &typeid(C{n})}}' for n in range(300))
    lines.append("struct Entry { const char *name; long n; const std::type_info *type; };\n")
    lines.append(f"Entry entries[] = {{{names}}};\n")
    lines.append("int main(int argc, char **) { return puts(entries[argc].name); }\n")
    return "".join(lines)
