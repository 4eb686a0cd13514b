"""malloc and its kin.

Blocks come from arenas by size class; the size of each live block is known, so that a free of
something else is reported at once, with the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno, GuestKilled
from pielink.emulator.libsystem.host import EINVAL, ENOMEM
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.memory import READ, WRITE
from pielink.emulator.signals import SIGABRT

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_ARENA, _LARGE = 4 << 20, 1 << 18
_LARGEST = 1 << 40


def _size_class(size: int) -> int:
    """The size that a request is rounded to: 16-byte steps, then eighths of powers of two."""
    if size <= 256:
        return max(16, size + 15 & -16)
    step = 1 << (size - 1).bit_length() - 4
    return size + step - 1 & -step


class Heap:
    """The blocks of the process."""

    def __init__(self, proc: Process) -> None:
        self.proc, self.memory = proc, proc.memory
        self.sizes: dict[int, int] = {}  # live block -> usable size
        self._free: dict[int, list[int]] = {}
        self._arena = self._arena_end = 0

    def allocate(self, size: int) -> int:
        """A block of at least `size` bytes, aligned to 16; Errno(ENOMEM) when that is absurd."""
        if size > _LARGEST:
            raise Errno(ENOMEM, 0)
        size = _size_class(size)
        free = self._free.get(size)
        if free:
            address = free.pop()
        elif size >= _LARGE:
            size = self.memory.page_round(size)
            address = self.memory.allocate(size, READ | WRITE, "malloc")
        else:
            address = self._carve(size)
        self.sizes[address] = size
        return address

    def _carve(self, size: int) -> int:
        if self._arena + size > self._arena_end:
            self._arena = self.memory.allocate(_ARENA, READ | WRITE, "malloc")
            self._arena_end = self._arena + _ARENA
        self._arena += size
        return self._arena - size

    def aligned(self, alignment: int, size: int) -> int:
        """A block at a multiple of `alignment`."""
        if alignment <= 16:
            return self.allocate(size)
        if alignment <= 4096:
            usable = _size_class(max(size, alignment) + alignment - 1 & -alignment)
            raw = self._carve(usable + alignment)
            address = raw + alignment - 1 & -alignment
            self.sizes[address] = usable
            return address
        usable = self.memory.page_round(size)
        raw = self.memory.allocate(usable + alignment, READ | WRITE, "malloc")
        address = raw + alignment - 1 & -alignment
        self.sizes[address] = usable
        return address

    def free(self, address: int) -> None:
        """Take a block back; ends the program when it is none."""
        if not address:
            return
        size = self.sizes.pop(address, None)
        if size is None:
            dump = self.proc.scheduler.dump()
            raise GuestKilled(SIGABRT, f"free({address:#x}): the pointer was not allocated\n{dump}")
        if size >= _LARGE and size % self.memory.page_size == 0:
            self.memory.unmap(address, size)
        else:
            self._free.setdefault(size, []).append(address)


@libsystem("void *malloc(size_t)")
def malloc(proc: Process, size: int) -> int:
    return proc.state(Heap).allocate(size)


@libsystem("void *calloc(size_t, size_t)")
def calloc(proc: Process, count: int, size: int) -> int:
    address = proc.state(Heap).allocate(count * size)
    proc.memory.write(address, bytes(count * size))
    return address


@libsystem("void *realloc(void *, size_t)", "reallocf")
def realloc(proc: Process, address: int, size: int) -> int:
    heap = proc.state(Heap)
    if not address:
        return heap.allocate(size)
    old = heap.sizes.get(address, 0)
    if old and size <= old and size * 2 >= old:
        return address
    fresh = heap.allocate(size)
    proc.memory.write(fresh, proc.memory.read(address, min(old, size)))
    heap.free(address)
    return fresh


@libsystem("void free(void *)")
def free(proc: Process, address: int) -> None:
    proc.state(Heap).free(address)


@libsystem("int posix_memalign(void *, size_t, size_t)")
def posix_memalign(proc: Process, out: int, alignment: int, size: int) -> int:
    if alignment < 8 or alignment & (alignment - 1):
        return EINVAL
    if size > _LARGEST:
        return ENOMEM
    proc.memory.put_u64(out, proc.state(Heap).aligned(alignment, size))
    return 0


@libsystem("void *aligned_alloc(size_t, size_t)")
def aligned_alloc(proc: Process, alignment: int, size: int) -> int:
    if not alignment or alignment & (alignment - 1) or size > _LARGEST:
        raise Errno(EINVAL, 0)
    return proc.state(Heap).aligned(alignment, size)


@libsystem("void *valloc(size_t)")
def valloc(proc: Process, size: int) -> int:
    return proc.state(Heap).aligned(proc.memory.page_size, size)


@libsystem("size_t malloc_size(const void *)")
def malloc_size(proc: Process, address: int) -> int:
    return proc.state(Heap).sizes.get(address, 0)


@libsystem("size_t malloc_good_size(size_t)")
def malloc_good_size(proc: Process, size: int) -> int:
    return _size_class(size)


# -- malloc zones: there is one


@libsystem("void *malloc_default_zone(void)", "malloc_zone_from_ptr")
def malloc_default_zone(proc: Process) -> int:
    return proc.state(Zone).address


class Zone:
    """The address that stands for the one zone."""

    def __init__(self, proc: Process) -> None:
        self.address = proc.allocate_data(16)


@libsystem("void *malloc_zone_malloc(void *, size_t)")
def malloc_zone_malloc(proc: Process, zone: int, size: int) -> int:
    return malloc(proc, size)


@libsystem("void *malloc_zone_calloc(void *, size_t, size_t)")
def malloc_zone_calloc(proc: Process, zone: int, count: int, size: int) -> int:
    return calloc(proc, count, size)


@libsystem("void *malloc_zone_realloc(void *, void *, size_t)")
def malloc_zone_realloc(proc: Process, zone: int, address: int, size: int) -> int:
    return realloc(proc, address, size)


@libsystem("void *malloc_zone_memalign(void *, size_t, size_t)")
def malloc_zone_memalign(proc: Process, zone: int, alignment: int, size: int) -> int:
    return aligned_alloc(proc, alignment, size)


@libsystem("void malloc_zone_free(void *, void *)")
def malloc_zone_free(proc: Process, zone: int, address: int) -> None:
    free(proc, address)
