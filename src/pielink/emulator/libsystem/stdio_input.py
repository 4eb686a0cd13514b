"""Streams: reading. Source: <stdio.h>."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import READABLE, Files, transfer
from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.stdio import BUFFER, EOF, Stream, Streams, flush, standard_input
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process


def fill(proc: Process, stream: Stream, size: int = BUFFER) -> Work:
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
            more = yield from fill(proc, stream, max(BUFFER, wanted - len(stream.input)))
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
