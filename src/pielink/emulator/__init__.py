"""Runs macOS programs on this machine: a processor (Unicorn), dyld's part, libSystem's part.

`run` is the whole interface. What it is not: there is no real dyld, kernel or libSystem behind
it, and one processor, so it cannot show bugs of memory ordering. docs/emulator.md tells more.
"""

from __future__ import annotations

from pielink.emulator.errors import EmulatorError, LoadError, UnimplementedImportError
from pielink.emulator.runner import BindMode, RunResult, RunStatistics, run

__all__ = [
    "BindMode",
    "EmulatorError",
    "LoadError",
    "RunResult",
    "RunStatistics",
    "UnimplementedImportError",
    "run",
]
