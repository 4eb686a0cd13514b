"""The process: identity, environment, limits, exit. Source: <unistd.h>, <sys/resource.h>."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno, GuestExit
from pielink.emulator.libsystem.host import ECHILD, EINVAL, ENOSYS, EPERM, ERANGE, ESRCH, host
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.startup import ExitFunctions, leave
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

PROCESS_ID, _PARENT_ID = 4242, 1
_INFINITY = (1 << 63) - 1
_RLIMITS = {
    0: resource.RLIMIT_CPU,
    1: resource.RLIMIT_FSIZE,
    2: resource.RLIMIT_DATA,
    3: resource.RLIMIT_STACK,
    4: resource.RLIMIT_CORE,
    5: resource.RLIMIT_AS,
    7: resource.RLIMIT_NPROC,
}
_RLIMIT_NOFILE, _OPEN_MAX = 8, 10240


@libsystem("void exit(int)")
def exit_(proc: Process, status: int) -> Work:
    return leave(proc, status)


@libsystem("void _exit(int)", "_Exit")
def exit_now(proc: Process, status: int) -> None:
    raise GuestExit(status & 0xFF)


@libsystem("int atexit(void *)")
def atexit(proc: Process, function: int) -> None:
    proc.state(ExitFunctions).functions.append((function,))


@libsystem("int __cxa_atexit(void *, void *, void *)")
def cxa_atexit(proc: Process, function: int, argument: int, image: int) -> None:
    proc.state(ExitFunctions).functions.append((function, argument))


@libsystem("void __cxa_finalize(void *)")
def cxa_finalize(proc: Process, image: int) -> None:
    """Libraries are never unloaded: their functions run at exit."""


@libsystem("int *__error(void)")
def error(proc: Process) -> int:
    return proc.thread.errno_address


@libsystem("pid_t getpid(void)")
def getpid(proc: Process) -> int:
    return PROCESS_ID


@libsystem("pid_t getppid(void)")
def getppid(proc: Process) -> int:
    return _PARENT_ID


@libsystem("pid_t getpgrp(void)")
def getpgrp(proc: Process) -> int:
    return PROCESS_ID


@libsystem("pid_t getpgid(pid_t)", "getsid")
def getpgid(proc: Process, pid: int) -> int:
    if pid not in (0, PROCESS_ID):
        raise Errno(ESRCH)
    return PROCESS_ID


@libsystem("uid_t getuid(void)")
def getuid(proc: Process) -> int:
    return os.getuid()


@libsystem("uid_t geteuid(void)")
def geteuid(proc: Process) -> int:
    return os.geteuid()


@libsystem("gid_t getgid(void)")
def getgid(proc: Process) -> int:
    return os.getgid()


@libsystem("gid_t getegid(void)")
def getegid(proc: Process) -> int:
    return os.getegid()


@libsystem("int issetugid(void)")
def issetugid(proc: Process) -> int:
    return 0


@libsystem("int getgroups(int, void *)")
def getgroups(proc: Process, count: int, out: int) -> int:
    groups = os.getgroups()[:16]
    if count:
        if count < len(groups):
            raise Errno(EINVAL)
        proc.memory.pack(f"<{len(groups)}I", out, *groups)
    return len(groups)


@libsystem("int setuid(uid_t)", "setgid", "seteuid", "setegid", "setsid", "setlogin", "setprivexec")
def setuid(proc: Process, identity: int) -> None:
    raise Errno(EPERM)


@libsystem("int setreuid(uid_t, uid_t)", "setregid", "setgroups", "setpgid")
def setreuid(proc: Process, one: int, other: int) -> None:
    raise Errno(EPERM)


@libsystem("mode_t umask(mode_t)")
def umask(proc: Process, mask: int) -> int:
    return os.umask(mask & 0o777)


# -- environment: `environ` points at a vector that setenv may replace


class Environment:
    """Where the vector is."""

    def __init__(self, proc: Process) -> None:
        self.cell = proc.allocate_data(8)
        proc.memory.put_u64(self.cell, proc.environ_address)


def _entries(proc: Process) -> list[int]:
    """The addresses of the NAME=VALUE strings."""
    memory = proc.memory
    at, found = memory.u64(proc.state(Environment).cell), []
    while at and (entry := memory.u64(at)):
        found.append(entry)
        at += 8
    return found


def _store(proc: Process, entries: list[int]) -> None:
    vector = proc.allocate_data(8 * (len(entries) + 1))
    proc.memory.pack(f"<{len(entries) + 1}Q", vector, *entries, 0)
    proc.memory.put_u64(proc.state(Environment).cell, vector)


def lookup(proc: Process, name: bytes) -> int:
    """The address of the value of an environment variable; 0 if it is not set."""
    prefix = name + b"="
    for entry in _entries(proc):
        if proc.memory.string(entry).startswith(prefix):
            return entry + len(prefix)
    return 0


@libsystem("char *getenv(const char *)")
def getenv(proc: Process, name: int) -> int:
    return lookup(proc, proc.memory.string(name))


def _replace(proc: Process, name: bytes, entry: bytes | None) -> None:
    memory, prefix = proc.memory, name + b"="
    kept = [at for at in _entries(proc) if not memory.string(at).startswith(prefix)]
    if entry is not None:
        address = proc.allocate_data(len(entry) + 1)
        memory.write(address, entry + b"\0")
        kept.append(address)
    _store(proc, kept)


@libsystem("int setenv(const char *, const char *, int)")
def setenv(proc: Process, name: int, value: int, overwrite: int) -> None:
    key = proc.memory.string(name)
    if not key or b"=" in key:
        raise Errno(EINVAL)
    if overwrite or not lookup(proc, key):
        _replace(proc, key, key + b"=" + proc.memory.string(value))


@libsystem("int putenv(char *)")
def putenv(proc: Process, entry: int) -> None:
    text = proc.memory.string(entry)
    _replace(proc, text.partition(b"=")[0], text)


@libsystem("int unsetenv(const char *)")
def unsetenv(proc: Process, name: int) -> None:
    _replace(proc, proc.memory.string(name), None)


@libsystem("void *_NSGetEnviron(void)")
def nsgetenviron(proc: Process) -> int:
    return proc.state(Environment).cell


@libsystem.data("environ", 8)
def environ(proc: Process, address: int) -> None:
    proc.memory.put_u64(address, proc.environ_address)


@libsystem("void *_NSGetArgv(void)")
def nsgetargv(proc: Process) -> int:
    cell = proc.allocate_data(8)
    proc.memory.put_u64(cell, proc.argv_address)
    return cell


@libsystem("int *_NSGetArgc(void)")
def nsgetargc(proc: Process) -> int:
    cell = proc.allocate_data(8)
    proc.memory.put_u64(cell, len(proc.arguments))
    return cell


@libsystem("int _NSGetExecutablePath(char *, uint32_t *)")
def nsgetexecutablepath(proc: Process, buffer: int, size: int) -> int:
    path = os.fsencode(proc.path) + b"\0"
    if proc.memory.u32(size) < len(path):
        proc.memory.put_u32(size, len(path))
        return -1
    proc.memory.write(buffer, path)
    return 0


@libsystem("char *getprogname(void)")
def getprogname(proc: Process) -> int:
    name = os.fsencode(os.path.basename(proc.path)) + b"\0"
    address = proc.allocate_data(len(name))
    proc.memory.write(address, name)
    return address


# -- limits and usage


@libsystem("int getrlimit(int, void *)")
def getrlimit(proc: Process, which: int, out: int) -> None:
    if which == _RLIMIT_NOFILE:
        proc.memory.pack("<QQ", out, _OPEN_MAX, _INFINITY)
        return
    if which not in _RLIMITS:
        raise Errno(EINVAL)
    limits = resource.getrlimit(_RLIMITS[which])
    proc.memory.pack("<QQ", out, *(_INFINITY if value < 0 else value for value in limits))


@libsystem("int setrlimit(int, const void *)")
def setrlimit(proc: Process, which: int, address: int) -> None:
    """Accepted; the limits of the emulator itself stay as they are."""
    if which not in _RLIMITS and which not in (6, _RLIMIT_NOFILE):
        raise Errno(EINVAL)


@libsystem("int getrusage(int, void *)")
def getrusage(proc: Process, who: int, out: int) -> None:
    if who not in (0, -1):
        raise Errno(EINVAL)
    usage = resource.getrusage(resource.RUSAGE_SELF if who == 0 else resource.RUSAGE_CHILDREN)
    times = []
    for seconds in (usage.ru_utime, usage.ru_stime):
        times += [int(seconds), int(seconds % 1 * 1_000_000)]
    proc.memory.pack("<qi4xqi4x", out, *times)
    counts = [usage.ru_maxrss * 1024, 0, 0, 0, usage.ru_minflt, usage.ru_majflt]
    proc.memory.pack("<14q", out + 32, *counts, *[0] * 8)


@libsystem("int getpriority(int, int)")
def getpriority(proc: Process, which: int, who: int) -> int:
    return 0


@libsystem("int setpriority(int, int, int)")
def setpriority(proc: Process, which: int, who: int, value: int) -> None:
    """There is one process."""


@libsystem("pid_t wait4(pid_t, int *, int, void *)")
def wait4(proc: Process, pid: int, status: int, options: int, usage: int) -> None:
    raise Errno(ECHILD)


@libsystem("pid_t waitpid(pid_t, int *, int)")
def waitpid(proc: Process, pid: int, status: int, options: int) -> None:
    raise Errno(ECHILD)


@libsystem("pid_t fork(void)", "vfork")
def fork(proc: Process) -> None:
    """The emulator runs one process."""
    raise Errno(ENOSYS)


@libsystem("int execve(const char *, const void *, const void *)")
def execve(proc: Process, path: int, argv: int, envp: int) -> None:
    raise Errno(ENOSYS)


@libsystem("int ptrace(int, pid_t, void *, int)")
def ptrace(proc: Process, request: int, pid: int, address: int, data: int) -> None:
    raise Errno(ENOSYS)


@libsystem("int gethostname(char *, size_t)")
def gethostname(proc: Process, buffer: int, size: int) -> None:
    name = os.fsencode(os.uname().nodename) + b"\0"
    if len(name) > size:
        raise Errno(63)
    proc.memory.write(buffer, name)


@libsystem("int uname(void *)")
def uname(proc: Process, out: int) -> None:
    fields = (b"Darwin", os.fsencode(os.uname().nodename), b"24.0.0", b"Darwin Kernel Version")
    machine = proc.cpu.name.encode()
    proc.memory.pack("<256s256s256s256s256s", out, *fields, machine)


@libsystem("void arc4random_buf(void *, size_t)")
def arc4random_buf(proc: Process, buffer: int, size: int) -> None:
    proc.memory.write(buffer, random_bytes(proc, size))


@libsystem("int getentropy(void *, size_t)")
def getentropy(proc: Process, buffer: int, size: int) -> None:
    if size > 256:
        raise Errno(5)
    proc.memory.write(buffer, random_bytes(proc, size))


@libsystem("uint32_t arc4random(void)")
def arc4random(proc: Process) -> int:
    return int.from_bytes(random_bytes(proc, 4), "little")


@libsystem("uint32_t arc4random_uniform(uint32_t)")
def arc4random_uniform(proc: Process, bound: int) -> int:
    return proc.random.randrange(bound) if bound else 0


def random_bytes(proc: Process, size: int) -> bytes:
    """From the host, or from the seed."""
    return proc.random.randbytes(size) if proc.seeded else host(os.urandom, size)


@libsystem("char *getlogin(void)")
def getlogin(proc: Process) -> int:
    return lookup(proc, b"USER") or lookup(proc, b"LOGNAME")


@libsystem("int getlogin_r(char *, size_t)")
def getlogin_r(proc: Process, buffer: int, size: int) -> int:
    name = proc.memory.string(lookup(proc, b"USER")) if lookup(proc, b"USER") else b"user"
    if len(name) >= size:
        return ERANGE
    proc.memory.write(buffer, name + b"\0")
    return 0
