"""Files in one flat array: mapped one after the other into one range of addresses.

On Linux and macOS an anonymous reservation is made and the files are mapped over parts of it, so
that no byte is copied and pages that nobody touches cost nothing. Elsewhere the files are read
into one buffer, which gives the same array.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
from collections.abc import Callable

import numpy as np

from pielink import libc
from pielink.arrays import address_of
from pielink.arraytypes import U1
from pielink.errors import FormatError

# Mappings start at multiples of this: the largest page size of the systems we run on.
GRANULE = 65536
_MAP_FIXED = 0x10


class FlatFiles:
    """A reservation that files of `capacity` bytes are placed into, in order.

    `bytes` is the whole range (uint8, writable where no file lies), `view` the same as a
    memoryview for slicing, `used` the end of what has been placed so far. The first granule is
    zeros, so that the offset 0 can stand for nothing.
    """

    def __init__(self, capacity: int) -> None:
        self.bytes, self._place, self._release = _reserve(GRANULE + capacity)
        self.view = self.bytes.data.cast("B")
        self.used = GRANULE

    def place(self, path: str) -> tuple[int, int]:
        """Put the file at `path` behind the others; return (offset, size).

        Raises OSError if it cannot be opened, FormatError if the reservation is too small.
        """
        descriptor = os.open(path, os.O_RDONLY)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            size = status.st_size
            start = self.used
            end = start + padded(size)
            if end > len(self.bytes):
                raise FormatError("is larger than when the link began; link again", path)
            if size:
                self._place(descriptor, start, size)
        finally:
            os.close(descriptor)
        self.used = end
        return start, size

    def release(self) -> None:
        """Give back the memory that holds the files; what is read again is fetched again.

        Where files are mapped, pages that were touched count as this process's memory until then.
        """
        self._release(self.used)


def padded(size: int) -> int:
    """The room that a file of `size` bytes takes: whole granules, and at least one byte over."""
    return (size // GRANULE + 1) * GRANULE


def _reserve(
    capacity: int,
) -> tuple[U1, Callable[[int, int, int], None], Callable[[int], None]]:
    """The array, how to place (descriptor, start, size) in it, how to release its first bytes."""
    if sys.platform not in ("linux", "darwin"):
        return _plain(capacity)
    kinds = (libc.POINTER, libc.SIZE, libc.INT, libc.INT, libc.INT, libc.LONG)
    remap = libc.function("mmap", libc.POINTER, *kinds)
    try:
        reservation = mmap.mmap(-1, capacity + GRANULE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
    except OSError:
        message = f"no {capacity >> 20} MiB of address space are to be had (see ulimit -v)"
        raise MemoryError(message) from None
    flat = np.frombuffer(reservation, np.uint8)
    start_address = address_of(flat)
    skip = -start_address % GRANULE
    flat = flat[skip : skip + capacity]
    address = start_address + skip

    def place(descriptor: int, start: int, size: int) -> None:
        got = remap(
            address + start,
            size,
            mmap.PROT_READ | mmap.PROT_WRITE,
            mmap.MAP_PRIVATE | _MAP_FIXED,
            descriptor,
            0,
        )
        if got != address + start:
            raise OSError(libc.errno(), os.strerror(libc.errno()))

    def release(size: int) -> None:
        reservation.madvise(mmap.MADV_DONTNEED, skip, size)

    return flat, place, release


def _plain(
    capacity: int,
) -> tuple[U1, Callable[[int, int, int], None], Callable[[int], None]]:
    flat = np.zeros(capacity, np.uint8)

    def place(descriptor: int, start: int, size: int) -> None:
        with open(descriptor, "rb", closefd=False) as file:
            if file.readinto(flat[start : start + size].data) != size:
                raise OSError(f"file shrank to less than {size} bytes while it was read")

    return flat, place, lambda size: None
