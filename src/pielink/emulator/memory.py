"""The program's address space.

A region is a page-aligned range with one protection. Its bytes live in a host `mmap` that Unicorn
maps by pointer, so Python and the emulated processor see the same memory without copies, and a
region can be split without moving anything. A reservation (PROT_NONE) has no host memory until
its protection is raised: the Go runtime reserves gigabytes of which it uses little.

Protections are Darwin's VM_PROT bits, which are Unicorn's too: 1 read, 2 write, 4 execute.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from bisect import bisect_right
from typing import Any

from pielink.emulator.errors import EmulatorError, GuestFault

READ, WRITE, EXECUTE = 1, 2, 4
ADDRESS_LIMIT = 1 << 47
_FIRST_FREE = 0x7000_0000_0000
_HOST_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


class Region:
    """`start`..`end` (guest addresses); byte 0 is `backing[offset]`, or there is no backing."""

    __slots__ = ("backing", "end", "name", "offset", "prot", "start")

    def __init__(
        self, start: int, end: int, prot: int, backing: mmap.mmap | None, offset: int, name: str
    ) -> None:
        self.start, self.end, self.prot = start, end, prot
        self.backing, self.offset, self.name = backing, offset, name

    def part(self, start: int, end: int, prot: int) -> Region:
        """The piece of this region that covers `start`..`end`."""
        return Region(start, end, prot, self.backing, self.offset + start - self.start, self.name)


_NOWHERE = Region(0, 0, 0, None, 0, "")


class AddressSpace:
    """Regions sorted by address, mirrored in Unicorn's tables (`uc`)."""

    def __init__(self, uc: Any, page_size: int) -> None:
        self.uc, self.page_size = uc, page_size
        self._regions: list[Region] = []
        self._starts: list[int] = []
        self._last = _NOWHERE
        self._free = _FIRST_FREE

    def page_round(self, size: int) -> int:
        """`size` rounded up to whole pages."""
        return (size + self.page_size - 1) & -self.page_size

    # -- regions

    def find(self, address: int) -> Region | None:
        """The region that holds `address`."""
        if self._last.start <= address < self._last.end:
            return self._last
        at = bisect_right(self._starts, address) - 1
        if at >= 0 and address < self._regions[at].end:
            self._last = self._regions[at]
            return self._last
        return None

    def overlapping(self, start: int, end: int) -> list[Region]:
        """The regions that share an address with `start`..`end`."""
        first = max(0, bisect_right(self._starts, start) - 1)
        last = bisect_right(self._starts, end - 1)
        return [region for region in self._regions[first:last] if region.end > start]

    def next_region(self, address: int) -> Region | None:
        """The region that holds `address`, or else the first one above it."""
        at = bisect_right(self._starts, address) - 1
        if at >= 0 and address < self._regions[at].end:
            return self._regions[at]
        return self._regions[at + 1] if at + 1 < len(self._regions) else None

    def _insert(self, region: Region) -> None:
        at = bisect_right(self._starts, region.start)
        self._starts.insert(at, region.start)
        self._regions.insert(at, region)
        if region.prot and region.backing is not None:
            host = ctypes.addressof(ctypes.c_char.from_buffer(region.backing, region.offset))
            self.uc.mem_map_ptr(region.start, region.end - region.start, region.prot, host)

    def _remove(self, region: Region) -> None:
        at = bisect_right(self._starts, region.start) - 1
        del self._starts[at], self._regions[at]
        self._last = _NOWHERE
        if region.prot and region.backing is not None:
            self.uc.mem_unmap(region.start, region.end - region.start)

    def unmap(self, start: int, size: int) -> None:
        """Make `start`..`start + size` free; what lies outside stays."""
        end = start + self.page_round(size)
        for region in self.overlapping(start, end):
            self._remove(region)
            if region.start < start:
                self._insert(region.part(region.start, start, region.prot))
            if region.end > end:
                self._insert(region.part(end, region.end, region.prot))

    def map(
        self, start: int, size: int, prot: int, name: str, backing: mmap.mmap | None = None
    ) -> int:
        """Map zeroed memory (or `backing`) at `start`, over whatever was there."""
        size = self.page_round(size)
        if start % self.page_size or start <= 0 or start + size > ADDRESS_LIMIT:
            raise EmulatorError(f"cannot map {name or 'memory'} at {start:#x}")
        if backing is None and prot:
            backing = self._host(size, name)
        self.unmap(start, size)
        self._insert(Region(start, start + size, prot, backing, 0, name))
        return start

    def _host(self, size: int, name: str) -> mmap.mmap:
        try:
            return mmap.mmap(-1, size, flags=_HOST_FLAGS)
        except (OSError, OverflowError, ValueError) as error:
            raise EmulatorError(f"no memory for {name}: {size} bytes ({error})") from error

    def allocate(self, size: int, prot: int, name: str, hint: int = 0) -> int:
        """Map `size` bytes where there is room, at `hint` if that is free."""
        size = self.page_round(size)
        usable = 0 < hint <= ADDRESS_LIMIT - size and hint % self.page_size == 0
        if not usable or self.overlapping(hint, hint + size):
            hint = self._free
            while taken := self.overlapping(hint, hint + size):
                hint = (taken[-1].end + 0xFFFF) & -0x10000
            self._free = (hint + size + 0x1FFFF) & -0x10000
        return self.map(hint, size, prot, name)

    def protect(self, start: int, size: int, prot: int) -> bool:
        """Change the protection; False when part of the range is not mapped."""
        end = start + self.page_round(size)
        regions = self.overlapping(start, end)
        covered = sum(min(end, r.end) - max(start, r.start) for r in regions)
        for region in regions:
            if region.prot == prot:
                continue
            self._remove(region)
            if prot and region.backing is None:
                region.backing = self._host(region.end - region.start, region.name)
                region.offset = 0
            low, high = max(start, region.start), min(end, region.end)
            pieces = ((region.start, low, region.prot), (low, high, prot))
            for first, last, bits in (*pieces, (high, region.end, region.prot)):
                if first < last:
                    self._insert(region.part(first, last, bits))
        return covered == end - start

    def discard(self, start: int, size: int) -> None:
        """Give the pages' memory back to the host; they read as zero afterwards."""
        for region in self.overlapping(start, start + size):
            low, high = max(start, region.start), min(start + size, region.end)
            if region.backing is not None and high > low:
                offset = region.offset + low - region.start
                region.backing.madvise(mmap.MADV_DONTNEED, offset, high - low)

    # -- bytes

    def _at(self, address: int, needed: int) -> tuple[Region, mmap.mmap, int]:
        region = self.find(address)
        if region is None or region.backing is None or not region.prot & needed:
            raise GuestFault(address, needed == WRITE)
        return region, region.backing, region.offset + address - region.start

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at `address`; GuestFault when the program may not read them."""
        if size <= 0:
            return b""
        region, backing, at = self._at(address, READ)
        here = region.end - address
        if size <= here:
            return backing[at : at + size]
        parts = [backing[at : at + here]]
        while here < size:
            region, backing, at = self._at(address + here, READ)
            step = min(size - here, region.end - region.start)
            parts.append(backing[at : at + step])
            here += step
        return b"".join(parts)

    def write(self, address: int, data: bytes) -> None:
        """Store `data` at `address`; GuestFault when the program may not write there."""
        done, size = 0, len(data)
        while done < size:
            region, backing, at = self._at(address + done, WRITE)
            step = min(size - done, region.end - address - done)
            backing[at : at + step] = data if step == size else data[done : done + step]
            done += step

    def view(self, address: int, size: int) -> memoryview:
        """A writable view of mapped memory, whatever its protection: for the loader."""
        region = self.find(address)
        if region is None or region.backing is None or address + size > region.end:
            raise EmulatorError(f"no memory at {address:#x}..{address + size:#x}")
        at = region.offset + address - region.start
        return memoryview(region.backing)[at : at + size]

    def string(self, address: int, limit: int = -1) -> bytes:
        """The bytes before the first NUL at `address` (at most `limit` of them)."""
        parts = []
        while limit:
            region, backing, at = self._at(address, READ)
            room = region.end - address
            end = at + (room if limit < 0 else min(room, limit))
            nul = backing.find(b"\0", at, end)
            parts.append(backing[at : end if nul < 0 else nul])
            if nul >= 0:
                break
            address += end - at
            limit = max(limit - (end - at), -1) if limit > 0 else limit
        return b"".join(parts)

    def u8(self, address: int) -> int:
        """One byte."""
        return self.read(address, 1)[0]

    def u32(self, address: int) -> int:
        """A little-endian 32-bit word."""
        return int.from_bytes(self.read(address, 4), "little")

    def u64(self, address: int) -> int:
        """A little-endian 64-bit word."""
        return int.from_bytes(self.read(address, 8), "little")

    def put_u32(self, address: int, value: int) -> None:
        """Store the low 32 bits of `value`."""
        self.write(address, _U32.pack(value & 0xFFFF_FFFF))

    def put_u64(self, address: int, value: int) -> None:
        """Store the low 64 bits of `value`."""
        self.write(address, _U64.pack(value & 0xFFFF_FFFF_FFFF_FFFF))

    def unpack(self, layout: str, address: int) -> tuple[Any, ...]:
        """The fields of `layout` (a struct format) at `address`."""
        return struct.unpack(layout, self.read(address, struct.calcsize(layout)))

    def pack(self, layout: str, address: int, *values: Any) -> None:
        """Store `values` as `layout` (a struct format) at `address`."""
        self.write(address, struct.pack(layout, *values))
