"""Differences of the load commands: those that one side lacks, their order, their fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pielink.formats import macho
from pielink.inspect.difference import Difference, show_value
from pielink.inspect.macho import DYLIB_COMMANDS, Command, MachOFile, text

COMMAND_FIELDS: dict[int, np.dtype[Any]] = {
    macho.LC_SEGMENT_64: macho.SEGMENT_COMMAND_64,
    macho.LC_SYMTAB: macho.SYMTAB_COMMAND,
    macho.LC_DYSYMTAB: macho.DYSYMTAB_COMMAND,
    macho.LC_DYLD_INFO: macho.DYLD_INFO_COMMAND,
    macho.LC_DYLD_INFO_ONLY: macho.DYLD_INFO_COMMAND,
    macho.LC_MAIN: macho.ENTRY_POINT_COMMAND,
    macho.LC_BUILD_VERSION: macho.BUILD_VERSION_COMMAND,
    macho.LC_UUID: macho.UUID_COMMAND,
    macho.LC_SOURCE_VERSION: macho.SOURCE_VERSION_COMMAND,
    macho.LC_ID_DYLIB: macho.DYLIB_COMMAND,
    **dict.fromkeys(DYLIB_COMMANDS, macho.DYLIB_COMMAND),
    **dict.fromkeys(
        (
            *(macho.LC_CODE_SIGNATURE, macho.LC_SEGMENT_SPLIT_INFO, macho.LC_FUNCTION_STARTS),
            *(macho.LC_DATA_IN_CODE, macho.LC_DYLD_EXPORTS_TRIE, macho.LC_DYLD_CHAINED_FIXUPS),
        ),
        macho.LINKEDIT_DATA_COMMAND,
    ),
}


def _command_key(file: MachOFile, command: Command) -> str:
    """What identifies a load command among those of its kind."""
    if command.cmd == macho.LC_SEGMENT_64:
        name = command.fields(macho.SEGMENT_COMMAND_64, file.path)["segname"]
        return f"{command.name} {text(name)}"
    if command.cmd in (*DYLIB_COMMANDS, macho.LC_ID_DYLIB):
        at = command.fields(macho.DYLIB_COMMAND, file.path)["name"]
        return f"{command.name} {command.string(at, file.path)}"
    if command.cmd in (macho.LC_RPATH, macho.LC_LOAD_DYLINKER, macho.LC_DYLD_ENVIRONMENT):
        at = int.from_bytes(command.data[8:12], "little")
        return f"{command.name} {command.string(at, file.path)}"
    return command.name


def commands(a: MachOFile, b: MachOFile) -> Iterator[Difference]:
    """Load commands, paired by kind and name (segment, library, path)."""
    left = [_command_key(a, command) for command in a.commands]
    right = [_command_key(b, command) for command in b.commands]
    used: set[int] = set()
    pairs = []
    for at, key in enumerate(left):
        other = next((i for i, k in enumerate(right) if k == key and i not in used), None)
        if other is None:
            yield Difference("command", key, "present", "yes", "no", f"command {at} of the first")
        else:
            used.add(other)
            pairs.append((at, other))
            yield from _command_fields(a, a.commands[at], b.commands[other], key)
    for at, key in enumerate(right):
        if at not in used:
            yield Difference("command", key, "present", "no", "yes", f"command {at} of the second")
    order = [other for _, other in pairs]
    if order != sorted(order):
        at = next(i for i in range(len(order)) if order[i] != sorted(order)[i])
        first, second = left[pairs[at][0]], right[sorted(order)[at]]
        yield Difference("command", "order", f"common command {at}", first, second)


def _command_fields(a: MachOFile, x: Command, y: Command, key: str) -> Iterator[Difference]:
    if x.data == y.data:
        return
    context = f"command at {x.offset:#x}"
    dtype = COMMAND_FIELDS.get(x.cmd, macho.LOAD_COMMAND)
    left, right = x.fields(dtype, a.path), y.fields(dtype, a.path)
    for name, value in left.items():
        if value != right[name]:
            yield Difference(
                "command", key, name, show_value(value), show_value(right[name]), context
            )
    if x.cmd != macho.LC_SEGMENT_64:  # its tail is the sections, compared on their own
        rest, other = x.data[dtype.itemsize :], y.data[dtype.itemsize :]
        if rest != other:
            yield Difference("command", key, "rest", rest.hex(), other.hex(), context)
