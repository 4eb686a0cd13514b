"""Dynamic libraries as a linker sees them: an install name, what is exported, what is re-exported.

`Library` is the common record of a real dylib (this file) and of a text stub (formats.tbd). A
dylib names itself by LC_ID_DYLIB, and passes on other libraries by LC_REEXPORT_DYLIB. Its exports
are an export trie (LC_DYLD_INFO_ONLY or LC_DYLD_EXPORTS_TRIE); one without a trie (from before
macOS 10.6) exports the external definitions of its symbol table.

A trie node is a ULEB size of its terminal part (0: none) and that part (ULEB flags, then values
that depend on them), a count of children, and for each child the NUL-terminated next part of the
name and the ULEB offset of its node. Source: <mach-o/loader.h>, dyld's MachOLoaded::trieWalk.
"""

from __future__ import annotations

import numpy as np

from pielink.arrays import isin
from pielink.errors import FormatError
from pielink.formats import loadcommands, macho
from pielink.formats.bounds import Bytes, as_bytes, c_strings, check_range, records
from pielink.formats.loadcommands import LoadCommand, command, command_string, cpu_name, only
from pielink.formats.stub_text import elements
from pielink.hints import Any
from pielink.record import Record

DEFAULT_VERSION = 0x10000  # 1.0.0
DIRECTIVE = b"$ld$"  # how names begin that are for linkers alone


class Library(Record):
    """One dynamic library.

    `name` is how messages call the file; `named` maps symbol names to EXPORT_SYMBOL_FLAGS_*
    (thread-local, weak definition); `directives` are the exported names that begin with `$ld$`,
    in order; `reexports` are install names. Versions are xxxx.yy.zz in nibbles. `parent_umbrella`
    is the name of the framework that passes this library on, or "". `listed` is False where only
    the name is known. `lists` are further names as a text stub has them (what is between the
    brackets of formats/stub_text.py), with their flags.
    """

    name: str
    install_name: str
    current_version: int
    compatibility_version: int
    parent_umbrella: str
    reexports: tuple[str, ...]
    named: dict[bytes, int]
    directives: tuple[bytes, ...] = ()
    listed: bool = True
    lists: tuple[tuple[bytes, int], ...] = ()

    @property
    def exports(self) -> dict[bytes, int]:
        """All that the library exports. FormatError if a list is malformed."""
        found = self.named.copy()
        for text, flags in self.lists:
            found.update(dict.fromkeys(self.names_in(text), flags))
        take_directives(found)
        return found

    def names_in(self, text: bytes) -> list[bytes]:
        """The names of one of `lists`. FormatError if it is malformed."""
        names = elements(text)
        if names is None:
            raise FormatError("symbols of text stub is not a list of names", self.name)
        return names


def read(data: Any, name: str, cputype: int = macho.CPU_TYPE_X86_64) -> Library:
    """Read the thin dylib in `data` (any bytes-like); `name` is how messages call it.

    Raises FormatError when it is no dylib for `cputype` or is malformed.
    """
    contents = as_bytes(data)
    header = loadcommands.read_header(contents, name)
    filetype, found = int(header["filetype"]), int(header["cputype"])
    if filetype not in (macho.MH_DYLIB, macho.MH_DYLIB_STUB):
        kind = loadcommands.FILETYPE_NAMES.get(filetype, f"of file type {filetype}")
        raise FormatError(f"is {kind}, not a dynamic library", name)
    if found != cputype:
        raise FormatError(f"is built for {cpu_name(found)}, not {cpu_name(cputype)}", name)
    commands = loadcommands.walk(contents, header, name)
    identity = only(commands, macho.LC_ID_DYLIB, "LC_ID_DYLIB", name)
    if identity is None:
        raise FormatError("is a dynamic library without LC_ID_DYLIB", name)
    fields = command(contents, identity, macho.DYLIB_COMMAND, "LC_ID_DYLIB", name)
    umbrella = only(commands, macho.LC_SUB_FRAMEWORK, "LC_SUB_FRAMEWORK", name)
    exports = _exports(contents, commands, name)
    directives = take_directives(exports)
    return Library(
        name,
        _dylib_name(contents, identity, name),
        int(fields["current_version"]),
        int(fields["compatibility_version"]),
        _text(command_string(contents, umbrella, 12, "umbrella", name)) if umbrella else "",
        _reexports(contents, header, commands, name),
        exports,
        directives,
    )


def take_directives(exports: dict[bytes, int]) -> tuple[bytes, ...]:
    """Take the directives out of what a library exports; return them in order."""
    if DIRECTIVE not in b",".join(exports):
        return ()  # as in most libraries
    found = tuple(name for name in exports if name.startswith(DIRECTIVE))
    for name in found:
        del exports[name]
    return found


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _dylib_name(data: Bytes, at: LoadCommand, file: str) -> str:
    field = int(command(data, at, macho.DYLIB_COMMAND, "dylib command", file)["name"])
    return _text(command_string(data, at, field, "name of a dylib", file))


def _reexports(data: Bytes, header: Any, commands: list[LoadCommand], file: str) -> tuple[str, ...]:
    if int(header["flags"]) & macho.MH_NO_REEXPORTED_DYLIBS:
        return ()
    passed_on = [at for at in commands if at.cmd == macho.LC_REEXPORT_DYLIB]
    return tuple(_dylib_name(data, at, file) for at in passed_on)


def _exports(data: Bytes, commands: list[LoadCommand], file: str) -> dict[bytes, int]:
    trie = only(commands, macho.LC_DYLD_EXPORTS_TRIE, "LC_DYLD_EXPORTS_TRIE", file)
    if trie is not None:
        place = command(data, trie, macho.LINKEDIT_DATA_COMMAND, "export trie", file)
        return read_trie(data, int(place["dataoff"]), int(place["datasize"]), file)
    info = only(commands, macho.LC_DYLD_INFO_ONLY, "LC_DYLD_INFO", file) or only(
        commands, macho.LC_DYLD_INFO, "LC_DYLD_INFO", file
    )
    if info is not None:
        place = command(data, info, macho.DYLD_INFO_COMMAND, "LC_DYLD_INFO", file)
        return read_trie(data, int(place["export_off"]), int(place["export_size"]), file)
    return _external_definitions(data, commands, file)


def _external_definitions(data: Bytes, commands: list[LoadCommand], file: str) -> dict[bytes, int]:
    at = only(commands, macho.LC_SYMTAB, "LC_SYMTAB", file)
    if at is None:
        return {}
    table = command(data, at, macho.SYMTAB_COMMAND, "LC_SYMTAB", file)
    strings, size = int(table["stroff"]), int(table["strsize"])
    check_range(data, strings, size, "string table", file)
    rows = records(
        data, int(table["symoff"]), int(table["nsyms"]), macho.NLIST_64, "symbol table", file
    )
    kind = rows["n_type"] & (macho.N_STAB | macho.N_PEXT | macho.N_EXT | macho.N_TYPE)
    rows = rows[isin(kind, [macho.N_EXT | t for t in (macho.N_SECT, macho.N_ABS, macho.N_INDR)])]
    starts = strings + rows["n_strx"].astype(np.int64)
    lengths = c_strings(data, starts, strings + size, "symbol name", file)
    weak = np.where(rows["n_desc"] & macho.N_WEAK_DEF, macho.EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION, 0)
    columns = zip(starts.tolist(), lengths.tolist(), weak.tolist(), strict=True)
    return {data[start : start + n].tobytes(): flags for start, n, flags in columns}


def read_trie(data: Bytes, offset: int, size: int, file: str) -> dict[bytes, int]:
    """Return name -> EXPORT_SYMBOL_FLAGS_* of the export trie in data[offset : offset + size].

    Raises FormatError when a node lies outside, or is reached twice (a cycle).
    """
    check_range(data, offset, size, "export trie", file)
    trie = data[offset : offset + size].tobytes()
    found: dict[bytes, int] = {}
    seen: set[int] = set()
    pending = [(0, b"")] if size else []
    try:
        while pending:
            node, name = pending.pop()
            if node in seen:
                raise FormatError("export trie reaches a node twice", file, offset + node)
            seen.add(node)
            terminal, at = _uleb(trie, node)
            if terminal:
                found[name] = _uleb(trie, at)[0]
            pending.extend(_children(trie, at + terminal, name))
    except (IndexError, ValueError):
        raise FormatError("export trie is cut off", file, offset) from None
    return found


def _children(trie: bytes, at: int, name: bytes) -> list[tuple[int, bytes]]:
    """Return (node, its name) of each child, last first, so that a stack visits them in order."""
    count = trie[at]
    at += 1
    children = []
    for _ in range(count):
        end = trie.index(0, at)
        node, after = _uleb(trie, end + 1)
        children.append((node, name + trie[at:end]))
        at = after
    return children[::-1]


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    """Return the ULEB128 number at `at` and the offset after it; IndexError past the end."""
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    raise ValueError("ULEB128 longer than ten bytes")
