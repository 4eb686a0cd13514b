"""Functions that fail here as they may fail on a Mac.

What needs privileges fails with EPERM, and what a file system need not support fails with ENOTSUP:
programs that call these handle it. (What the emulator merely lacks is not in this table: using it
stops the program.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.host import ENOTSUP, EPERM
from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_PRIVILEGED = (
    "int settimeofday(const void *, const void *)",
    "int adjtime(const void *, void *)",
    "int mount(const char *, const char *, int, void *)",
    "int unmount(const char *, int)",
    "int undelete(const char *)",
)
_UNSUPPORTED = (
    "int clonefileat(int, const char *, int, const char *, uint32_t)",
    "int fclonefileat(int, int, const char *, uint32_t)",
    "int exchangedata(const char *, const char *, unsigned int)",
    "int setattrlist(const char *, void *, void *, size_t, uint32_t)",
    "int renamex_np(const char *, const char *, unsigned int)",
    "int renameatx_np(int, const char *, int, const char *, unsigned int)",
)


def _declare(prototype: str, number: int) -> None:
    @libsystem(prototype)
    def refuse(proc: Process, *arguments: int) -> NoReturn:
        raise Errno(number)


for _prototype in _PRIVILEGED:
    _declare(_prototype, EPERM)
for _prototype in _UNSUPPORTED:
    _declare(_prototype, ENOTSUP)
