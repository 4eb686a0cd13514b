"""mmap and its kin, and the Mach calls about memory. Source: <sys/mman.h>, <mach/vm_region.h>."""

from __future__ import annotations

import mmap as host_mmap
import os
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import Files
from pielink.emulator.libsystem.host import EACCES, EINVAL, ENOMEM, host
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.memory import ADDRESS_LIMIT, READ, WRITE

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_MAP_SHARED, _MAP_FIXED, _MAP_ANON = 0x1, 0x10, 0x1000
_MADV_FREE, _MADV_FREE_REUSABLE = 5, 7
_PROTECTIONS = 7
_LARGEST = 1 << 44
_KERN_INVALID_ADDRESS = 1


def _file_backing(
    proc: Process, fd: int, size: int, offset: int, shared: bool
) -> host_mmap.mmap | bytes:
    """The file's pages: shared with the host where they all exist, else a copy."""
    file = proc.state(Files).get(fd)
    length = host(os.fstat, file.fd).st_size
    if shared and offset + size <= (length + 4095 & -4096):
        writable = host(os.readlink, f"/proc/self/fd/{file.fd}") and os.access(
            f"/proc/self/fd/{file.fd}", os.W_OK
        )
        if writable and offset + size <= length:
            return host(host_mmap.mmap, file.fd, size, flags=host_mmap.MAP_SHARED, offset=offset)
    return host(os.pread, file.fd, size, offset)


@libsystem("void *mmap(void *, size_t, int, int, int, off_t)")
def mmap(proc: Process, hint: int, size: int, prot: int, flags: int, fd: int, offset: int) -> int:
    memory = proc.memory
    if not 0 < size <= _LARGEST or offset % memory.page_size:
        raise Errno(EINVAL)
    fixed = bool(flags & _MAP_FIXED)
    if fixed and (hint % memory.page_size or not 0 < hint <= ADDRESS_LIMIT - size):
        raise Errno(ENOMEM)
    prot &= _PROTECTIONS
    backing = None
    if not flags & _MAP_ANON:
        shared = bool(flags & _MAP_SHARED) and bool(prot & WRITE)
        backing = _file_backing(proc, fd, size, offset, shared)
    if isinstance(backing, host_mmap.mmap):
        address = hint if fixed else memory.allocate(size, 0, "file", hint)
        return memory.map(address, size, prot, "file", backing)
    first = prot if backing is None else READ | WRITE
    if fixed:
        address = memory.map(hint, size, first, "mmap")
    else:
        address = memory.allocate(size, first, "mmap", hint)
    if backing is not None:
        memory.write(address, backing)
        memory.protect(address, size, prot)
    return address


@libsystem("int munmap(void *, size_t)")
def munmap(proc: Process, address: int, size: int) -> None:
    if address % proc.memory.page_size or not 0 < size <= _LARGEST:
        raise Errno(EINVAL)
    proc.memory.unmap(address, size)


@libsystem("int mprotect(void *, size_t, int)")
def mprotect(proc: Process, address: int, size: int, prot: int) -> None:
    if address % proc.memory.page_size:
        raise Errno(EINVAL)
    if size and not proc.memory.protect(address, min(size, _LARGEST), prot & _PROTECTIONS):
        raise Errno(ENOMEM)


@libsystem("int madvise(void *, size_t, int)", "posix_madvise")
def madvise(proc: Process, address: int, size: int, advice: int) -> None:
    # Only MADV_DONTNEED must not change the contents on Darwin; the others may drop them.
    if advice in (_MADV_FREE, _MADV_FREE_REUSABLE):
        start = proc.memory.page_round(address)
        proc.memory.discard(start, (address + size & -proc.memory.page_size) - start)


@libsystem("int mlock(const void *, size_t)", "munlock")
def mlock(proc: Process, address: int, size: int) -> None:
    """Emulated memory is never paged by the program's system."""


@libsystem("int mlockall(int)")
def mlockall(proc: Process, flags: int) -> None:
    raise Errno(78)


@libsystem("int munlockall(void)")
def munlockall(proc: Process) -> None:
    raise Errno(78)


@libsystem("int msync(void *, size_t, int)")
def msync(proc: Process, address: int, size: int, flags: int) -> None:
    """Shared pages are the host's own pages already."""
    if proc.memory.find(address) is None:
        raise Errno(ENOMEM)


@libsystem("int mincore(const void *, size_t, char *)")
def mincore(proc: Process, address: int, size: int, result: int) -> None:
    pages = -(-size // proc.memory.page_size)
    if proc.memory.find(address) is None:
        raise Errno(ENOMEM)
    proc.memory.write(result, b"\1" * pages)


@libsystem("int getpagesize(void)")
def getpagesize(proc: Process) -> int:
    return proc.memory.page_size


@libsystem.data("mach_task_self_", 4)
def mach_task_self(proc: Process, address: int) -> None:
    proc.memory.put_u32(address, 0x203)


@libsystem.data("vm_page_size", 8)
def vm_page_size(proc: Process, address: int) -> None:
    proc.memory.put_u64(address, proc.memory.page_size)


@libsystem("int mach_vm_region(mach_port_t, void *, void *, int, void *, void *, void *)")
def mach_vm_region(
    proc: Process, task: int, address: int, size: int, flavor: int, info: int, count: int, name: int
) -> int:
    """VM_REGION_BASIC_INFO_64 only."""
    memory = proc.memory
    region = memory.next_region(memory.u64(address))
    if region is None or flavor != 9:
        return _KERN_INVALID_ADDRESS
    memory.put_u64(address, region.start)
    memory.put_u64(size, region.end - region.start)
    # protection, max_protection, inheritance, shared, reserved, offset, behavior, wired
    memory.pack("<iiIIIQiH2x", info, region.prot, 7, 1, 0, 0, 0, 0, 0)
    memory.put_u32(count, 9)
    memory.put_u32(name, 0)
    return 0


@libsystem("int proc_regionfilename(int, uint64_t, void *, uint32_t)")
def proc_regionfilename(proc: Process, pid: int, address: int, buffer: int, size: int) -> int:
    loaded = proc.dyld.image_at(address)
    if loaded is None:
        raise Errno(EACCES, 0)
    path = os.path.abspath(loaded.name).encode("utf-8", "surrogateescape")[: max(size - 1, 0)]
    proc.memory.write(buffer, path + b"\0")
    return len(path)
