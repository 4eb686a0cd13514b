"""The printf family: to streams, to descriptors, to memory, and the checked variants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pielink.emulator.abi import Variadic
from pielink.emulator.libsystem.descriptors import Files, write_all
from pielink.emulator.libsystem.format import format_printf
from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.stdio import Streams, put, standard_output
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process


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


@libsystem("int vdprintf(int, const char *, va_list)")
def vdprintf(proc: Process, fd: int, template: int, rest: Variadic) -> Work:
    return dprintf(proc, fd, template, rest)


@libsystem("int printf_l(void *, const char *, ...)")
def printf_l(proc: Process, locale: int, template: int, rest: Variadic) -> Any:
    return printf(proc, template, rest)


@libsystem("int fprintf_l(void *, void *, const char *, ...)")
def fprintf_l(proc: Process, handle: int, locale: int, template: int, rest: Variadic) -> Any:
    return fprintf(proc, handle, template, rest)


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
