"""The heap of a process that does nothing but link: glibc's, told what a link does with it.

Other C libraries have no mallopt, and are left alone.
"""

from __future__ import annotations

import _thread
import os
import sys

from pielink import libc

# mallopt's parameters and what they are set to (bytes; arenas). Source: glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_OPTIONS = (
    (_M_MMAP_THRESHOLD, 1 << 30),
    (_M_TRIM_THRESHOLD, (1 << 31) - 1),
    (_M_TOP_PAD, 16 << 20),
    (_M_ARENA_MAX, 1),
)
_SURE = 24 << 20  # bytes: the smallest Go programs take about as much
_MADV_HUGEPAGE = 14  # of madvise; source: <asm-generic/mman-common.h>
_HUGE = 2 << 20  # bytes of a huge page


def prepare() -> None:
    """Let this process keep the memory that it frees, and have the first of it provided early."""
    if not sys.platform.startswith("linux"):
        return
    try:
        _keep()
    except OSError:  # not glibc
        return
    if len(os.sched_getaffinity(0)) > 1:
        _provide()


def _keep() -> None:
    """Never give memory back to the kernel. OSError if there is no mallopt.

    Passes make and drop large arrays. glibc gives each of them back at once, and the kernel then
    clears the pages of the next one: a fifth of the time of a large link. What a thread frees is
    for all threads to take.
    """
    mallopt = libc.function("mallopt", libc.INT, libc.INT, libc.INT)
    for option, value in _OPTIONS:
        mallopt(option, value)


def _provide() -> None:
    """Write to memory that the link is sure to take, at the same time as modules are imported.

    The kernel clears a page when it is first written to, for a small link a twentieth of its time.
    A thread has that done on another processor: C functions run without the interpreter's lock.
    Huge pages, if the kernel has them, are fewer to find and to give back.
    """
    malloc = libc.function("malloc", libc.POINTER, libc.SIZE)
    madvise = libc.function("madvise", libc.INT, libc.POINTER, libc.SIZE, libc.INT)
    memset = libc.function("memset", libc.POINTER, libc.POINTER, libc.INT, libc.SIZE)
    free = libc.function("free", None, libc.POINTER)

    def write() -> None:
        first = -(-place // _HUGE) * _HUGE
        madvise(first, place + _SURE - first, _MADV_HUGEPAGE)
        memset(place, 0, _SURE)
        free(place)

    if place := malloc(_SURE):
        _thread.start_new_thread(write, ())
