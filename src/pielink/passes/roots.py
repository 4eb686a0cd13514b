"""What a link begins with: the entry symbol, and what must be live besides it."""

from __future__ import annotations

import numpy as np

from pielink.arch import amd64
from pielink.errors import LinkError, Problem
from pielink.golang.cgo import Cgo
from pielink.options import LinkOptions
from pielink.passes.exports import named_slots
from pielink.passes.symbols import COMPLETED
from pielink.program import Program
from pielink.tables import ABI0, I4, Kind


def entry_symbol(program: Program, options: LinkOptions) -> bytes:
    """The name of the entry symbol; LinkError unless it is a function that C could call (ABI0)."""
    name = (options.entry or amd64.ENTRY_SYMBOL).encode("utf-8", "surrogateescape")
    slot = program.find(name, ABI0)
    shown = name.decode("utf-8", "backslashreplace")
    if program.slots.kind[slot] == Kind.UNDEFINED:
        advice = "-E takes the name of an assembly function, such as _rt0_amd64_darwin"
        raise LinkError([Problem(f'missing entry symbol "{shown}": {advice}')])
    if not Kind.TEXT <= program.slots.kind[slot] <= Kind.TEXT_END:
        raise LinkError([Problem("entry not text: -E takes the name of a function", "", shown)])
    return name


def extra_roots(program: Program, cgo: Cgo, options: LinkOptions) -> I4:
    """What is live besides the entry: exports, and symbols that the linker completes."""
    completed = program.lookup([(name.encode(), ABI0) for name in COMPLETED])
    roots: I4 = np.concatenate([completed[completed > 0], exported(program, cgo, options)])
    return roots


def exported(program: Program, cgo: Cgo, options: LinkOptions) -> I4:
    """The slots of symbols that others than the program may ask for."""
    dynamic = [slot for slot, export in cgo.exports.items() if export.dynamic]
    named = named_slots(program, options.exported_symbols)
    slots = np.concatenate([named, np.array(dynamic, np.int32)])
    return slots[slots > 0].astype(np.int32)
