"""Streams: FILE, and writing.

A FILE is a structure in the program's memory whose address is the handle. The fields that the
macros of <stdio.h> look at are kept up to date: the counts (always 0, so that the macros call
the functions), the flags and the descriptor. The buffers are the emulator's.

Source: Darwin's <_stdio.h>.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import Files, write_all
from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.host import EINVAL, message
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.startup import ExitFunctions
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

EOF = -1
_SIZE = 160  # sizeof(FILE)
_FLAGS_AT = 16  # short _flags, short _file
_SEOF, _SERR = 0x20, 0x40
BUFFER = 4096
FULL, LINE, NONE = 0, 1, 2


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
        kind = NONE if fd == 2 else LINE if is_terminal(proc, fd) else FULL
        stream = proc.state(Streams).add(fd, kind, address + 16)
        proc.memory.put_u64(address, stream.handle)

    return fill


def is_terminal(proc: Process, fd: int) -> bool:
    """Whether a descriptor of the program is a terminal."""
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
        store_memory(proc, stream)
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


def store_memory(proc: Process, stream: Stream) -> None:
    """open_memstream: give the program a copy of the buffer and its size."""
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
    due = stream.mode == NONE or len(stream.output) >= BUFFER
    if due or (stream.mode == LINE and b"\n" in data):
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
