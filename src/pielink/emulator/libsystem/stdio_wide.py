"""Wide characters on streams and in formats: written and read as UTF-8. Source: <wchar.h>."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pielink.emulator.abi import Variadic
from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.format import format_printf
from pielink.emulator.libsystem.host import EILSEQ
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.stdio import EOF, Streams, put, standard_output
from pielink.emulator.libsystem.stdio_input import fgetc, ungetc
from pielink.emulator.libsystem.wchar import INVALID, decode, encode, store, wide
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process


def _wide_format(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    source = "".join(map(chr, wide(proc, template))).encode("utf-8")
    text = format_printf(proc, source, rest).decode("utf-8", "replace")
    if len(text) >= size:
        return -1
    store(proc, out, [*map(ord, text), 0])
    return len(text)


@libsystem("int swprintf(wchar_t *, size_t, const wchar_t *, ...)")
def swprintf(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    return _wide_format(proc, out, size, template, rest)


@libsystem("int vswprintf(wchar_t *, size_t, const wchar_t *, va_list)")
def vswprintf(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    return _wide_format(proc, out, size, template, rest)


@libsystem("wint_t fputwc(wchar_t, void *)", "putwc")
def fputwc(proc: Process, code: int, handle: int) -> Any:
    data = encode(code)
    if data is None:
        raise Errno(EILSEQ)
    return put(proc, proc.state(Streams).get(handle), data, code)


@libsystem("int fputws(const wchar_t *, void *)")
def fputws(proc: Process, text: int, handle: int) -> Any:
    data = b"".join(encode(code) or b"?" for code in wide(proc, text))
    return put(proc, proc.state(Streams).get(handle), data, 0)


@libsystem("wint_t fgetwc(void *)", "getwc")
def fgetwc(proc: Process, handle: int) -> Work:
    stream, data = proc.state(Streams).get(handle), b""
    while True:
        byte = yield from fgetc(proc, handle)
        if byte == EOF:
            return EOF
        data += bytes([byte])
        code, used = decode(data)
        if used > 0:
            return code
        if used == INVALID:
            stream.failed = True
            raise Errno(EILSEQ)


@libsystem("wint_t ungetwc(wint_t, void *)")
def ungetwc(proc: Process, code: int, handle: int) -> int:
    data = encode(code)
    if data is None:
        return EOF
    for byte in reversed(data):
        ungetc(proc, byte, handle)
    return code


@libsystem("int wprintf(const wchar_t *, ...)")
def wprintf(proc: Process, template: int, rest: Variadic) -> Any:
    source = "".join(map(chr, wide(proc, template))).encode("utf-8")
    text = format_printf(proc, source, rest)
    return put(proc, standard_output(proc), text, len(text.decode("utf-8", "replace")))


@libsystem("int fwprintf(void *, const wchar_t *, ...)")
def fwprintf(proc: Process, handle: int, template: int, rest: Variadic) -> Any:
    source = "".join(map(chr, wide(proc, template))).encode("utf-8")
    text = format_printf(proc, source, rest)
    stream = proc.state(Streams).get(handle)
    return put(proc, stream, text, len(text.decode("utf-8", "replace")))


@libsystem("int fwide(void *, int)")
def fwide(proc: Process, handle: int, mode: int) -> int:
    return mode
