"""Streams: opening, closing, positioning, buffering. Source: <stdio.h>."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import Files, OpenFile
from pielink.emulator.libsystem.host import EINVAL, ENOMEM, host
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.paths import open_path
from pielink.emulator.libsystem.stdio import (
    EOF,
    FULL,
    LINE,
    NONE,
    MemoryTarget,
    Streams,
    flush,
    is_terminal,
    store_memory,
)
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_MODES = {"r": 0x0, "w": 0x1 | 0x200 | 0x400, "a": 0x1 | 0x200 | 0x8}
_O_RDWR, _O_ACCMODE, _O_EXCL, _O_CLOEXEC = 2, 3, 0x800, 0x1000000


def _open_flags(mode: bytes) -> int:
    kind = mode[:1].decode("latin-1")
    if kind not in _MODES:
        raise Errno(EINVAL, 0)
    flags = _MODES[kind]
    if b"+" in mode:
        flags = flags & ~_O_ACCMODE | _O_RDWR
    return flags | (_O_EXCL if b"x" in mode else 0) | (_O_CLOEXEC if b"e" in mode else 0)


@libsystem("void *fopen(const char *, const char *)", "fopen$DARWIN_EXTSN")
def fopen(proc: Process, path: int, mode: int) -> int:
    flags = _open_flags(proc.memory.string(mode))
    try:
        fd = open_path(proc, proc.memory.string(path), flags, 0o666, None)
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    return proc.state(Streams).add(fd, FULL).handle


@libsystem("void *fdopen(int, const char *)", "fdopen$DARWIN_EXTSN")
def fdopen(proc: Process, fd: int, mode: int) -> int:
    _open_flags(proc.memory.string(mode))
    try:
        proc.state(Files).get(fd)
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    return proc.state(Streams).add(fd, LINE if is_terminal(proc, fd) else FULL).handle


@libsystem("void *freopen(const char *, const char *, void *)")
def freopen(proc: Process, path: int, mode: int, handle: int) -> Work:
    stream, files = proc.state(Streams).get(handle), proc.state(Files)
    yield from flush(proc, stream)
    flags = _open_flags(proc.memory.string(mode))
    try:
        fd = open_path(proc, proc.memory.string(path), flags, 0o666, None)
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    files.put(stream.fd, files.get(fd))
    files.release(fd)
    stream.input.clear()
    stream.end = stream.failed = False
    proc.state(Streams).show(stream)
    return handle


@libsystem("void *tmpfile(void)")
def tmpfile(proc: Process) -> int:
    flag = getattr(os, "O_TMPFILE", 0)
    fd = host(os.open, "/tmp", os.O_RDWR | flag | os.O_CLOEXEC, 0o600)
    return proc.state(Streams).add(proc.state(Files).add(OpenFile(fd)), FULL).handle


@libsystem("void *open_memstream(char **, size_t *)")
def open_memstream(proc: Process, address_at: int, size_at: int) -> int:
    stream = proc.state(Streams).add(-1, FULL)
    stream.memory = MemoryTarget(address_at, size_at)
    proc.memory.put_u64(address_at, 0)
    store_memory(proc, stream)
    return stream.handle


@libsystem("void *fmemopen(void *, size_t, const char *)")
def fmemopen(proc: Process, buffer: int, size: int, mode: int) -> int:
    if not proc.memory.string(mode).startswith(b"r"):
        raise Errno(ENOMEM, 0)
    stream = proc.state(Streams).add(-1, FULL)
    stream.input += proc.memory.read(buffer, size)
    return stream.handle


@libsystem("int fclose(void *)")
def fclose(proc: Process, handle: int) -> Work:
    streams = proc.state(Streams)
    stream = streams.get(handle)
    try:
        yield from flush(proc, stream)
    finally:
        del streams.by_handle[handle]
        if stream.fd >= 0:
            proc.state(Files).release(stream.fd)
    return 0


def _seek(proc: Process, handle: int, offset: int, whence: int) -> Work:
    stream = proc.state(Streams).get(handle)
    yield from flush(proc, stream)
    if whence == 1:
        offset -= len(stream.input)
    stream.input.clear()
    stream.end = False
    proc.state(Streams).show(stream)
    host(os.lseek, proc.state(Files).get(stream.fd).fd, offset, whence)
    return 0


@libsystem("int fseek(void *, long, int)")
def fseek(proc: Process, handle: int, offset: int, whence: int) -> Work:
    return _seek(proc, handle, offset, whence)


@libsystem("int fseeko(void *, off_t, int)")
def fseeko(proc: Process, handle: int, offset: int, whence: int) -> Work:
    return _seek(proc, handle, offset, whence)


@libsystem("void rewind(void *)")
def rewind(proc: Process, handle: int) -> Work:
    yield from _seek(proc, handle, 0, 0)
    proc.state(Streams).get(handle).failed = False
    return 0


def _tell(proc: Process, handle: int) -> int:
    stream = proc.state(Streams).get(handle)
    if stream.memory is not None:
        return len(stream.output)
    at = host(os.lseek, proc.state(Files).get(stream.fd).fd, 0, os.SEEK_CUR)
    return at - len(stream.input) + len(stream.output)


@libsystem("long ftell(void *)", "ftello")
def ftell(proc: Process, handle: int) -> int:
    return _tell(proc, handle)


@libsystem("int fgetpos(void *, void *)")
def fgetpos(proc: Process, handle: int, out: int) -> None:
    proc.memory.put_u64(out, _tell(proc, handle))


@libsystem("int fsetpos(void *, const void *)")
def fsetpos(proc: Process, handle: int, position: int) -> Work:
    return _seek(proc, handle, proc.memory.u64(position), 0)


@libsystem("int feof(void *)", "feof_unlocked")
def feof(proc: Process, handle: int) -> int:
    return int(proc.state(Streams).get(handle).end)


@libsystem("int ferror(void *)", "ferror_unlocked")
def ferror(proc: Process, handle: int) -> int:
    return int(proc.state(Streams).get(handle).failed)


@libsystem("void clearerr(void *)", "clearerr_unlocked")
def clearerr(proc: Process, handle: int) -> None:
    stream = proc.state(Streams).get(handle)
    stream.end = stream.failed = False
    proc.state(Streams).show(stream)


@libsystem("int fileno(void *)", "fileno_unlocked")
def fileno(proc: Process, handle: int) -> int:
    return proc.state(Streams).get(handle).fd


@libsystem("int setvbuf(void *, char *, int, size_t)")
def setvbuf(proc: Process, handle: int, buffer: int, mode: int, size: int) -> int:
    if mode not in (FULL, LINE, NONE):
        return EOF
    proc.state(Streams).get(handle).mode = mode
    return 0


@libsystem("void setbuf(void *, char *)")
def setbuf(proc: Process, handle: int, buffer: int) -> None:
    proc.state(Streams).get(handle).mode = FULL if buffer else NONE


@libsystem("void setlinebuf(void *)")
def setlinebuf(proc: Process, handle: int) -> None:
    proc.state(Streams).get(handle).mode = LINE


@libsystem("void flockfile(void *)", "funlockfile")
def flockfile(proc: Process, handle: int) -> None:
    """A stream function runs to its end before another thread does."""
