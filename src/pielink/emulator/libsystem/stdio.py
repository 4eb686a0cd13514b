"""Streams: FILE, reading, writing, positioning; the printf family.

A FILE is a structure in the program's memory whose address is the handle. The fields that the
macros of <stdio.h> look at are kept up to date: the counts (always 0, so that the macros call
the functions), the flags and the descriptor. The buffers are the emulator's.

Source: Darwin's <_stdio.h>.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pielink.emulator.abi import Variadic
from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import READABLE, Files, OpenFile, transfer, write_all
from pielink.emulator.libsystem.format import format_printf
from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.host import EINVAL, ENOMEM, host, message
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.paths import open_path
from pielink.emulator.startup import ExitFunctions
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

EOF = -1
_SIZE = 160  # sizeof(FILE)
_FLAGS_AT, _FILE_AT = 16, 18
_SEOF, _SERR = 0x20, 0x40
_BUFFER = 4096
_FULL, _LINE, _NONE = 0, 1, 2
_MODES = {"r": 0x0, "w": 0x1 | 0x200 | 0x400, "a": 0x1 | 0x200 | 0x8}
_O_RDWR, _O_ACCMODE, _O_EXCL, _O_CLOEXEC = 2, 3, 0x800, 0x1000000


@dataclass(eq=False)
class Stream:
    """One open FILE. Reading and writing buffers are never both in use."""

    handle: int
    fd: int
    mode: int
    output: bytearray = field(default_factory=bytearray)
    input: bytearray = field(default_factory=bytearray)
    end: bool = False
    failed: bool = False
    memory: MemoryTarget | None = None


@dataclass
class MemoryTarget:
    """open_memstream: where the buffer's address and size are to be stored."""

    address_at: int
    size_at: int


class Streams:
    """All streams of the process by handle."""

    def __init__(self, proc: Process) -> None:
        self.proc = proc
        self.by_handle: dict[int, Stream] = {}
        proc.state(ExitFunctions).flushers.append(self.flush_at_exit)

    def get(self, handle: int) -> Stream:
        """The stream of a FILE pointer."""
        stream = self.by_handle.get(handle)
        if stream is None:
            raise Errno(EINVAL, EOF)
        return stream

    def add(self, fd: int, mode: int, address: int = 0) -> Stream:
        """A new stream on a descriptor (-1: on memory)."""
        handle = address or self.proc.allocate_data(_SIZE)
        stream = Stream(handle, fd, mode)
        self.by_handle[handle] = stream
        self.show(stream)
        return stream

    def show(self, stream: Stream) -> None:
        """Write what the macros look at."""
        flags = (_SEOF if stream.end else 0) | (_SERR if stream.failed else 0) | 0x10
        self.proc.memory.pack("<hh", stream.handle + _FLAGS_AT, flags, stream.fd)

    def flush_at_exit(self) -> None:
        """exit(3) writes what is buffered."""
        for stream in list(self.by_handle.values()):
            file = self.proc.state(Files).table.get(stream.fd)
            while stream.output and file is not None:
                try:
                    done = os.write(file.fd, stream.output)
                except OSError:
                    break
                del stream.output[:done]


def _standard(fd: int) -> Any:
    def fill(proc: Process, address: int) -> None:
        kind = _NONE if fd == 2 else _LINE if _is_terminal(proc, fd) else _FULL
        stream = proc.state(Streams).add(fd, kind, address + 16)
        proc.memory.put_u64(address, stream.handle)

    return fill


def _is_terminal(proc: Process, fd: int) -> bool:
    file = proc.state(Files).table.get(fd)
    return file is not None and os.isatty(file.fd)


for _fd, _name in enumerate(("__stdinp", "__stdoutp", "__stderrp")):
    libsystem.data(_name, _SIZE + 16)(_standard(_fd))


def standard_output(proc: Process) -> Stream:
    """stdout, which printf and its kin use without naming it."""
    address = proc.dyld.emulated_symbol(libsystem, "___stdoutp")
    assert address is not None
    return proc.state(Streams).get(proc.memory.u64(address))


def standard_input(proc: Process) -> Stream:
    """stdin, which scanf and its kin use without naming it."""
    address = proc.dyld.emulated_symbol(libsystem, "___stdinp")
    assert address is not None
    return proc.state(Streams).get(proc.memory.u64(address))


# -- writing


def flush(proc: Process, stream: Stream) -> Work:
    """Write the buffer; 0, or EOF on failure."""
    if stream.memory is not None:
        _store_memory(proc, stream)
        return 0
    data, stream.output = bytes(stream.output), bytearray()
    if not data:
        return 0
    try:
        yield from write_all(proc, proc.state(Files).get(stream.fd), data)
    except Errno:
        stream.failed = True
        proc.state(Streams).show(stream)
        raise
    return 0


def _store_memory(proc: Process, stream: Stream) -> None:
    target, heap = stream.memory, proc.state(Heap)
    assert target is not None
    old = proc.memory.u64(target.address_at)
    heap.free(old if old in heap.sizes else 0)
    buffer = heap.allocate(len(stream.output) + 1)
    proc.memory.write(buffer, bytes(stream.output) + b"\0")
    proc.memory.put_u64(target.address_at, buffer)
    proc.memory.put_u64(target.size_at, len(stream.output))


def put(proc: Process, stream: Stream, data: bytes, result: int) -> Any:
    """Add to the buffer, and write it when it is time; then return `result`."""
    stream.input.clear()
    stream.output += data
    if stream.memory is not None:
        return result
    due = stream.mode == _NONE or len(stream.output) >= _BUFFER
    if due or (stream.mode == _LINE and b"\n" in data):
        return _put_now(proc, stream, result)
    return result


def _put_now(proc: Process, stream: Stream, result: int) -> Work:
    yield from flush(proc, stream)
    return result


@libsystem("int fflush(void *)")
def fflush(proc: Process, handle: int) -> Work:
    streams = proc.state(Streams)
    chosen = [streams.get(handle)] if handle else list(streams.by_handle.values())
    for stream in chosen:
        yield from flush(proc, stream)
    return 0


@libsystem("size_t fwrite(const void *, size_t, size_t, void *)")
def fwrite(proc: Process, data: int, size: int, count: int, handle: int) -> Any:
    stream = proc.state(Streams).get(handle)
    return put(proc, stream, proc.memory.read(data, size * count), count if size else 0)


@libsystem("int fputs(const char *, void *)")
def fputs(proc: Process, text: int, handle: int) -> Any:
    return put(proc, proc.state(Streams).get(handle), proc.memory.string(text), 0)


@libsystem("int puts(const char *)")
def puts(proc: Process, text: int) -> Any:
    return put(proc, standard_output(proc), proc.memory.string(text) + b"\n", 10)


@libsystem("int fputc(int, void *)", "putc", "putc_unlocked", "__swbuf")
def fputc(proc: Process, character: int, handle: int) -> Any:
    character &= 0xFF
    return put(proc, proc.state(Streams).get(handle), bytes([character]), character)


@libsystem("int putchar(int)", "putchar_unlocked")
def putchar(proc: Process, character: int) -> Any:
    character &= 0xFF
    return put(proc, standard_output(proc), bytes([character]), character)


@libsystem("void perror(const char *)")
def perror(proc: Process, prefix: int) -> Work:
    text = message(proc.memory.u32(proc.thread.errno_address)).encode()
    head = proc.memory.string(prefix) + b": " if prefix and proc.memory.u8(prefix) else b""
    yield from write_all(proc, proc.state(Files).get(2), head + text + b"\n")
    return 0


# -- the printf family


@libsystem("int printf(const char *, ...)")
def printf(proc: Process, template: int, rest: Variadic) -> Any:
    text = format_printf(proc, proc.memory.string(template), rest)
    return put(proc, standard_output(proc), text, len(text))


@libsystem("int vprintf(const char *, va_list)")
def vprintf(proc: Process, template: int, rest: Variadic) -> Any:
    return printf(proc, template, rest)


@libsystem("int fprintf(void *, const char *, ...)")
def fprintf(proc: Process, handle: int, template: int, rest: Variadic) -> Any:
    text = format_printf(proc, proc.memory.string(template), rest)
    return put(proc, proc.state(Streams).get(handle), text, len(text))


@libsystem("int vfprintf(void *, const char *, va_list)")
def vfprintf(proc: Process, handle: int, template: int, rest: Variadic) -> Any:
    return fprintf(proc, handle, template, rest)


@libsystem("int dprintf(int, const char *, ...)")
def dprintf(proc: Process, fd: int, template: int, rest: Variadic) -> Work:
    text = format_printf(proc, proc.memory.string(template), rest)
    return write_all(proc, proc.state(Files).get(fd), text)


def _bounded(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    text = format_printf(proc, proc.memory.string(template), rest)
    if size:
        proc.memory.write(out, text[: size - 1] + b"\0")
    return len(text)


@libsystem("int snprintf(char *, size_t, const char *, ...)")
def snprintf(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    return _bounded(proc, out, size, template, rest)


@libsystem("int vsnprintf(char *, size_t, const char *, va_list)")
def vsnprintf(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    return _bounded(proc, out, size, template, rest)


@libsystem("int snprintf_l(char *, size_t, void *, const char *, ...)")
def snprintf_l(
    proc: Process, out: int, size: int, locale: int, template: int, rest: Variadic
) -> int:
    return _bounded(proc, out, size, template, rest)


@libsystem("int vsnprintf_l(char *, size_t, void *, const char *, va_list)")
def vsnprintf_l(
    proc: Process, out: int, size: int, locale: int, template: int, rest: Variadic
) -> int:
    return _bounded(proc, out, size, template, rest)


@libsystem("int sprintf(char *, const char *, ...)")
def sprintf(proc: Process, out: int, template: int, rest: Variadic) -> int:
    return _bounded(proc, out, 1 << 30, template, rest)


@libsystem("int vsprintf(char *, const char *, va_list)")
def vsprintf(proc: Process, out: int, template: int, rest: Variadic) -> int:
    return _bounded(proc, out, 1 << 30, template, rest)


@libsystem("int __snprintf_chk(char *, size_t, int, size_t, const char *, ...)")
def snprintf_chk(
    proc: Process, out: int, size: int, flag: int, room: int, template: int, rest: Variadic
) -> int:
    return _bounded(proc, out, size, template, rest)


@libsystem("int __vsnprintf_chk(char *, size_t, int, size_t, const char *, va_list)")
def vsnprintf_chk(
    proc: Process, out: int, size: int, flag: int, room: int, template: int, rest: Variadic
) -> int:
    return _bounded(proc, out, size, template, rest)


@libsystem("int __sprintf_chk(char *, int, size_t, const char *, ...)")
def sprintf_chk(
    proc: Process, out: int, flag: int, room: int, template: int, rest: Variadic
) -> int:
    return _bounded(proc, out, min(room, 1 << 30), template, rest)


@libsystem("int __vsprintf_chk(char *, int, size_t, const char *, va_list)")
def vsprintf_chk(
    proc: Process, out: int, flag: int, room: int, template: int, rest: Variadic
) -> int:
    return _bounded(proc, out, min(room, 1 << 30), template, rest)


def _allocated(proc: Process, out: int, template: int, rest: Variadic) -> int:
    text = format_printf(proc, proc.memory.string(template), rest)
    address = proc.state(Heap).allocate(len(text) + 1)
    proc.memory.write(address, text + b"\0")
    proc.memory.put_u64(out, address)
    return len(text)


@libsystem("int asprintf(char **, const char *, ...)")
def asprintf(proc: Process, out: int, template: int, rest: Variadic) -> int:
    return _allocated(proc, out, template, rest)


@libsystem("int vasprintf(char **, const char *, va_list)")
def vasprintf(proc: Process, out: int, template: int, rest: Variadic) -> int:
    return _allocated(proc, out, template, rest)


@libsystem("int asprintf_l(char **, void *, const char *, ...)")
def asprintf_l(proc: Process, out: int, locale: int, template: int, rest: Variadic) -> int:
    return _allocated(proc, out, template, rest)


@libsystem("int vasprintf_l(char **, void *, const char *, va_list)")
def vasprintf_l(proc: Process, out: int, locale: int, template: int, rest: Variadic) -> int:
    return _allocated(proc, out, template, rest)


# -- reading


def fill(proc: Process, stream: Stream, size: int = _BUFFER) -> Work:
    """Read more; False at the end of the file."""
    if stream.fd < 0:
        stream.end = True
        return False
    if stream.output:
        yield from flush(proc, stream)
    file = proc.state(Files).get(stream.fd)
    try:
        data = yield from transfer(file, READABLE, lambda: os.read(file.fd, size))
    except Errno:
        stream.failed = True
        proc.state(Streams).show(stream)
        raise
    stream.input += data
    if not data:
        stream.end = True
        proc.state(Streams).show(stream)
    return bool(data)


@libsystem("size_t fread(void *, size_t, size_t, void *)")
def fread(proc: Process, out: int, size: int, count: int, handle: int) -> Work:
    stream, wanted = proc.state(Streams).get(handle), size * count
    try:
        while len(stream.input) < wanted:
            more = yield from fill(proc, stream, max(_BUFFER, wanted - len(stream.input)))
            if not more:
                break
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    data = bytes(stream.input[:wanted])
    del stream.input[:wanted]
    proc.memory.write(out, data)
    return len(data) // size if size else 0


def _get(proc: Process, stream: Stream) -> Work:
    if not stream.input:
        more = yield from fill(proc, stream)
        if not more:
            return EOF
    return stream.input.pop(0)


@libsystem("int fgetc(void *)", "getc", "getc_unlocked", "__srget")
def fgetc(proc: Process, handle: int) -> Work:
    return _get(proc, proc.state(Streams).get(handle))


@libsystem("int getchar(void)", "getchar_unlocked")
def getchar(proc: Process) -> Work:
    return _get(proc, standard_input(proc))


@libsystem("int ungetc(int, void *)")
def ungetc(proc: Process, character: int, handle: int) -> int:
    stream = proc.state(Streams).get(handle)
    if character == EOF:
        return EOF
    stream.input.insert(0, character & 0xFF)
    stream.end = False
    proc.state(Streams).show(stream)
    return character & 0xFF


def _line(proc: Process, stream: Stream, limit: int, delimiter: int = 10) -> Work:
    """Up to and with the delimiter, at most `limit` bytes."""
    while True:
        at = stream.input.find(delimiter, 0, limit)
        if at >= 0 or len(stream.input) >= limit:
            break
        more = yield from fill(proc, stream)
        if not more:
            break
    size = at + 1 if at >= 0 else min(limit, len(stream.input))
    line = bytes(stream.input[:size])
    del stream.input[:size]
    return line


@libsystem("char *fgets(char *, int, void *)")
def fgets(proc: Process, out: int, size: int, handle: int) -> Work:
    stream = proc.state(Streams).get(handle)
    try:
        line = yield from _line(proc, stream, max(size - 1, 0))
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    if not line:
        return 0
    proc.memory.write(out, line + b"\0")
    return out


@libsystem("ssize_t getdelim(char **, size_t *, int, void *)")
def getdelim(proc: Process, line_at: int, size_at: int, delimiter: int, handle: int) -> Work:
    stream = proc.state(Streams).get(handle)
    line = yield from _line(proc, stream, 1 << 30, delimiter & 0xFF)
    if not line:
        return EOF
    buffer, room = proc.memory.u64(line_at), proc.memory.u64(size_at)
    if not buffer or room < len(line) + 1:
        heap = proc.state(Heap)
        heap.free(buffer)
        buffer = heap.allocate(max(128, len(line) + 1))
        proc.memory.put_u64(line_at, buffer)
        proc.memory.put_u64(size_at, max(128, len(line) + 1))
    proc.memory.write(buffer, line + b"\0")
    return len(line)


@libsystem("ssize_t getline(char **, size_t *, void *)")
def getline(proc: Process, line_at: int, size_at: int, handle: int) -> Work:
    return getdelim(proc, line_at, size_at, 10, handle)


# -- opening, closing, positioning


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
    return proc.state(Streams).add(fd, _FULL).handle


@libsystem("void *fdopen(int, const char *)", "fdopen$DARWIN_EXTSN")
def fdopen(proc: Process, fd: int, mode: int) -> int:
    _open_flags(proc.memory.string(mode))
    try:
        proc.state(Files).get(fd)
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    return proc.state(Streams).add(fd, _LINE if _is_terminal(proc, fd) else _FULL).handle


@libsystem("void *freopen(const char *, const char *, void *)", "freopen$DARWIN_EXTSN")
def freopen(proc: Process, path: int, mode: int, handle: int) -> Work:
    stream, files = proc.state(Streams).get(handle), proc.state(Files)
    yield from flush(proc, stream)
    flags = _open_flags(proc.memory.string(mode))
    try:
        fd = open_path(proc, proc.memory.string(path), flags, 0o666, None)
    except Errno as failure:
        raise Errno(failure.number, 0) from failure
    files.put(stream.fd, files.get(fd))
    files.close(fd)
    stream.input.clear()
    stream.end = stream.failed = False
    proc.state(Streams).show(stream)
    return handle


@libsystem("void *tmpfile(void)")
def tmpfile(proc: Process) -> int:
    flag = getattr(os, "O_TMPFILE", 0)
    fd = host(os.open, "/tmp", os.O_RDWR | flag | os.O_CLOEXEC, 0o600)
    return proc.state(Streams).add(proc.state(Files).add(OpenFile(fd)), _FULL).handle


@libsystem("void *open_memstream(char **, size_t *)")
def open_memstream(proc: Process, address_at: int, size_at: int) -> int:
    stream = proc.state(Streams).add(-1, _FULL)
    stream.memory = MemoryTarget(address_at, size_at)
    proc.memory.put_u64(address_at, 0)
    _store_memory(proc, stream)
    return stream.handle


@libsystem("void *fmemopen(void *, size_t, const char *)")
def fmemopen(proc: Process, buffer: int, size: int, mode: int) -> int:
    if not proc.memory.string(mode).startswith(b"r"):
        raise Errno(ENOMEM, 0)
    stream = proc.state(Streams).add(-1, _FULL)
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
            proc.state(Files).close(stream.fd)
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
    if mode not in (_FULL, _LINE, _NONE):
        return EOF
    proc.state(Streams).get(handle).mode = mode
    return 0


@libsystem("void setbuf(void *, char *)")
def setbuf(proc: Process, handle: int, buffer: int) -> None:
    proc.state(Streams).get(handle).mode = _FULL if buffer else _NONE


@libsystem("void setlinebuf(void *)")
def setlinebuf(proc: Process, handle: int) -> None:
    proc.state(Streams).get(handle).mode = _LINE


@libsystem("void flockfile(void *)", "funlockfile")
def flockfile(proc: Process, handle: int) -> None:
    """A stream function runs to its end before another thread does."""
