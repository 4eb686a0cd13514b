"""File names of functions: runtime.cutab and runtime.filetab.

A function refers to source files by an index into the file table of its object. filetab holds the
names that some function uses, each once, NUL-terminated. cutab has, for every object with live
functions, one u4 per index up to the largest used: the offset of the name in filetab, or
NO_FILE if no function of the whole program uses that name. A function's record says where the
part of its object begins in cutab, counted in entries.

Source: walkFilenames, generateFilenameTabs, expandGoroot in cmd/link/internal/ld/pcln.go.
"""

from __future__ import annotations

import itertools
import os
import posixpath
from collections.abc import Sequence

import numpy as np

from pielink.arrays import ranges
from pielink.blocks import copy_ranges, windows
from pielink.errors import FormatError
from pielink.formats import goobj
from pielink.golang.funcinfo import Functions
from pielink.golang.sequence import first_seen, interleave, starts
from pielink.hints import TYPE_CHECKING
from pielink.record import Record
from pielink.tables import I4, I8, U4

if TYPE_CHECKING:
    from pielink.program import Program

NO_FILE = 0xFFFFFFFF
NO_UNIT = 0xFFFFFFFF  # the cutab offset of functions that no object defines
_GOROOT = b"$GOROOT"
_OLD_PREFIX = b"gofile.."


class FileTables(Record):
    """Contents of cutab and filetab, the number of names, and cutab's entry of each function."""

    cutab: U4
    filetab: bytes
    count: int
    unit: U4


def file_tables(program: Program, functions: Functions, goroot: str) -> FileTables:
    """Collect the file names that live functions refer to.

    `goroot` replaces a leading $GOROOT in names; empty: they stay as they are. Raises FormatError
    for an index outside of the object's file table, and for names that lie outside of the object.
    """
    base, used = _used_files(program, functions)
    units = first_seen(functions.object, len(program.objects.base))
    units = units[units != 0]
    holder = _object_of(base, used)
    entries = np.zeros(len(program.objects.base), np.int64)
    np.maximum.at(entries, holder, used - base[holder] + 1)
    first = np.full(len(program.objects.base), NO_UNIT, np.int64)
    first[units] = starts(entries[units])
    names = _names(program, ranges(base[units], entries[units])[0], base)
    rows = (first[holder] + used - base[holder]).tolist()
    different = list(dict.fromkeys(map(names.__getitem__, rows)))
    shown = expand_files(different, goroot)
    offsets = itertools.accumulate((len(name) + 1 for name in shown), initial=0)
    offset_of_name = dict(zip(different, offsets, strict=False))
    cutab = np.array([offset_of_name.get(name, NO_FILE) for name in names], np.uint32)
    unit = first[functions.object].astype(np.uint32)
    return FileTables(cutab, b"".join([name + b"\0" for name in shown]), len(shown), unit)


def expand_files(names: Sequence[bytes], goroot: str) -> list[bytes]:
    """File names as the runtime shows them; those of one directory are looked at once."""
    directories: dict[bytes, bytes] = {}
    shown = []
    for name in names:
        directory, slash, own = name.rpartition(b"/")
        if not slash or own in (b"", b".", b".."):
            shown.append(expand_file(name, goroot))
            continue
        if directory not in directories:
            directories[directory] = expand_file(directory + b"/-", goroot)[:-1]
        shown.append(directories[directory] + own)
    return shown


def expand_file(name: bytes, goroot: str) -> bytes:
    """A file name as the runtime shows it: $GOROOT replaced, if there is a `goroot`."""
    name = name.removeprefix(_OLD_PREFIX)
    rest = name[len(_GOROOT) :]
    if not goroot or not name.startswith(_GOROOT) or rest[:1] not in (b"/", b"\\"):
        return name
    joined = os.fsencode(goroot) + b"/" + rest
    return b"/" * joined.startswith(b"/") + posixpath.normpath(joined).lstrip(b"/")


def _used_files(program: Program, functions: Functions) -> tuple[I8, I8]:
    """(base, used): files of all objects are numbered in one go, object o's from base[o] on.

    `used` are those that functions name, in the order in which they do: for each function its
    own, then those of the calls inlined into it.
    """
    blocks = program.objects.blocks
    count = (blocks[:, goobj.FILE + 1] - blocks[:, goobj.FILE]) // goobj.ENTRY_SIZE[goobj.FILE]
    base = starts(count)
    own, inlined = functions.files, functions.inlined
    parts = []
    for owner, index in ((own.owner, own.value.view(np.uint32)), (inlined.owner, inlined.file)):
        unit = functions.object[owner]
        outside = index >= count[unit]
        if outside.any():
            file = program.objects.file[int(unit[np.argmax(outside)])]
            raise FormatError("malformed object: a function's file does not exist", file)
        parts.append((owner, base[unit] + index))
    return base, first_seen(interleave(len(functions), parts), int(count.sum()))


def _object_of(base: I8, rows: I8) -> I4:
    """The object of each file number; objects without files share a base with the next one."""
    return (np.searchsorted(base, rows, side="right") - 1).astype(np.int32)


def _names(program: Program, rows: I8, base: I8) -> list[bytes]:
    """The names of files by number, as in the objects."""
    objects, memory = program.objects, program.memory.bytes
    unit = _object_of(base, rows)
    entry = objects.blocks[unit, goobj.FILE]
    entry = entry + goobj.ENTRY_SIZE[goobj.FILE] * (rows - base[unit])
    strings = windows(memory, goobj.STRING)[entry]
    start = objects.base[unit] + strings["offset"]
    size = strings["size"].astype(np.int64)
    outside = start + size > objects.blocks[unit, goobj.END]
    if outside.any():
        file = objects.file[int(unit[np.argmax(outside)])]
        raise FormatError("malformed object: a file name lies outside of the file", file)
    text, place = np.zeros(int(size.sum()), np.uint8), starts(size)
    copy_ranges(text, place, memory, start, size)
    joined = text.tobytes()
    ends = (place + size).tolist()
    return [joined[a:z] for a, z in zip(place.tolist(), ends, strict=True)]
