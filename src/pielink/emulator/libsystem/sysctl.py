"""sysctl, sysctlbyname, sysconf: what the machine says of itself.

The machine is a Mac with macOS 15 and as many processors as the host has. A name is asked for as
text or as a MIB (an array of numbers); names without a fixed MIB get one from 5000 on.

Source: <sys/sysctl.h>, <unistd.h>.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.host import EINVAL, ENOENT, ENOMEM
from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

Value = Callable[["Process"], int | bytes]
_DYNAMIC = 5000


def processors(proc: Process) -> int:
    """The number of processors; a seeded run always has two."""
    return 2 if proc.seeded else os.cpu_count() or 1


def _memory_size(proc: Process) -> bytes:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return struct.pack("<Q", 8 << 30 if proc.seeded else pages)


def _page_size(proc: Process) -> int:
    return proc.memory.page_size


def _boot_time(proc: Process) -> bytes:
    return struct.pack("<qi4x", proc.clock.epoch // 1_000_000_000, 0)


_VALUES: dict[str, Value] = {
    "kern.ostype": lambda proc: b"Darwin\0",
    "kern.osrelease": lambda proc: b"24.0.0\0",
    "kern.osversion": lambda proc: b"24A335\0",
    "kern.osproductversion": lambda proc: b"15.0\0",
    "kern.version": lambda proc: b"Darwin Kernel Version 24.0.0\0",
    "kern.hostname": lambda proc: os.fsencode(os.uname().nodename) + b"\0",
    "kern.maxproc": lambda proc: 2000,
    "kern.maxfiles": lambda proc: 122880,
    "kern.argmax": lambda proc: 1 << 20,
    "kern.ngroups": lambda proc: 16,
    "kern.boottime": _boot_time,
    "kern.maxfilesperproc": lambda proc: 61440,
    "kern.ipc.somaxconn": lambda proc: 128,
    "hw.machine": lambda proc: proc.cpu.name.encode() + b"\0",
    "hw.model": lambda proc: b"pielink\0",
    "hw.ncpu": processors,
    "hw.byteorder": lambda proc: 1234,
    "hw.pagesize": _page_size,
    "hw.memsize": _memory_size,
    "hw.activecpu": processors,
    "hw.availcpu": processors,
    "hw.logicalcpu": processors,
    "hw.physicalcpu": processors,
    "hw.logicalcpu_max": processors,
    "hw.physicalcpu_max": processors,
    "hw.cachelinesize": lambda proc: struct.pack("<Q", 64),
}
_MIBS = {
    (1, 1): "kern.ostype",
    (1, 2): "kern.osrelease",
    (1, 4): "kern.version",
    (1, 6): "kern.maxproc",
    (1, 7): "kern.maxfiles",
    (1, 8): "kern.argmax",
    (1, 10): "kern.hostname",
    (1, 18): "kern.ngroups",
    (1, 21): "kern.boottime",
    (1, 29): "kern.maxfilesperproc",
    (1, 65): "kern.osversion",
    (6, 1): "hw.machine",
    (6, 2): "hw.model",
    (6, 3): "hw.ncpu",
    (6, 4): "hw.byteorder",
    (6, 7): "hw.pagesize",
    (6, 24): "hw.memsize",
    (6, 25): "hw.availcpu",
}
_NAMES = list(_VALUES)
_TO_MIB = {name: mib for mib, name in _MIBS.items()}


def _answer(proc: Process, name: str | None, out: int, size_at: int) -> None:
    """Write a value; ENOMEM when the buffer is too small, as the kernel does."""
    if name is None or name not in _VALUES:
        raise Errno(ENOENT)
    value = _VALUES[name](proc)
    data = struct.pack("<i", value) if isinstance(value, int) else value
    room = proc.memory.u64(size_at) if size_at else 0
    if out:
        proc.memory.write(out, data[:room])
    if size_at:
        proc.memory.put_u64(size_at, len(data))
    if out and room < len(data):
        raise Errno(ENOMEM)


@libsystem("int sysctlbyname(const char *, void *, size_t *, void *, size_t)")
def sysctlbyname(proc: Process, name: int, out: int, size_at: int, new: int, new_size: int) -> None:
    _answer(proc, proc.memory.string(name).decode("latin-1"), out, size_at)


def _name_to_mib(proc: Process, name: str) -> tuple[int, ...]:
    if name not in _VALUES:
        raise Errno(ENOENT)
    return _TO_MIB.get(name, (_DYNAMIC, _NAMES.index(name)))


@libsystem("int sysctlnametomib(const char *, int *, size_t *)")
def sysctlnametomib(proc: Process, name: int, out: int, size_at: int) -> None:
    mib = _name_to_mib(proc, proc.memory.string(name).decode("latin-1"))
    if proc.memory.u64(size_at) < len(mib):
        raise Errno(ENOMEM)
    proc.memory.pack(f"<{len(mib)}i", out, *mib)
    proc.memory.put_u64(size_at, len(mib))


@libsystem("int sysctl(int *, unsigned int, void *, size_t *, void *, size_t)")
def sysctl(
    proc: Process, address: int, count: int, out: int, size_at: int, new: int, new_size: int
) -> None:
    if not 0 < count <= 12:
        raise Errno(EINVAL)
    mib = proc.memory.unpack(f"<{count}i", address)
    if mib == (0, 3):  # the name in `new`, its MIB to `out`
        name = proc.memory.read(new, min(new_size, 256)).split(b"\0")[0].decode("latin-1")
        found = _name_to_mib(proc, name)
        proc.memory.pack(f"<{len(found)}i", out, *found)
        proc.memory.put_u64(size_at, 4 * len(found))
    elif mib[0] == _DYNAMIC and count == 2 and 0 <= mib[1] < len(_NAMES):
        _answer(proc, _NAMES[mib[1]], out, size_at)
    elif mib[0] == 4:  # CTL_NET: routing tables, which are empty here
        proc.memory.put_u64(size_at, 0)
    else:
        _answer(proc, _MIBS.get(mib), out, size_at)


_SYSCONF: dict[int, Callable[[Process], int]] = {
    1: lambda proc: 1 << 20,  # _SC_ARG_MAX
    2: lambda proc: 2000,  # _SC_CHILD_MAX
    3: lambda proc: 100,  # _SC_CLK_TCK
    4: lambda proc: 16,  # _SC_NGROUPS_MAX
    5: lambda proc: 10240,  # _SC_OPEN_MAX
    8: lambda proc: 200112,  # _SC_VERSION
    29: _page_size,  # _SC_PAGESIZE
    56: lambda proc: 1024,  # _SC_IOV_MAX
    57: processors,  # _SC_NPROCESSORS_CONF
    58: processors,  # _SC_NPROCESSORS_ONLN
    70: lambda proc: 4096,  # _SC_GETGR_R_SIZE_MAX
    71: lambda proc: 4096,  # _SC_GETPW_R_SIZE_MAX
    72: lambda proc: 256,  # _SC_HOST_NAME_MAX
    73: lambda proc: 255,  # _SC_LOGIN_NAME_MAX
    200: lambda proc: int.from_bytes(_memory_size(proc), "little") // _page_size(proc),
}


@libsystem("long sysconf(int)")
def sysconf(proc: Process, name: int) -> int:
    if name not in _SYSCONF:
        raise Errno(EINVAL)
    return _SYSCONF[name](proc)
