"""Wide strings. Source: <wchar.h>, <wctype.h>."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.locale import PRINT, lower, rune_type
from pielink.emulator.libsystem.stdlib import parse_float, parse_integer
from pielink.emulator.libsystem.wchar import store, wide

if TYPE_CHECKING:
    from pielink.emulator.process import Process


@libsystem("size_t wcslen(const wchar_t *)")
def wcslen(proc: Process, text: int) -> int:
    return len(wide(proc, text))


@libsystem("size_t wcsnlen(const wchar_t *, size_t)")
def wcsnlen(proc: Process, text: int, limit: int) -> int:
    return len(wide(proc, text, min(limit, 1 << 40)))


@libsystem("wchar_t *wcscpy(wchar_t *, const wchar_t *)")
def wcscpy(proc: Process, to: int, source: int) -> int:
    store(proc, to, [*wide(proc, source), 0])
    return to


@libsystem("wchar_t *wcscat(wchar_t *, const wchar_t *)")
def wcscat(proc: Process, to: int, source: int) -> int:
    wcscpy(proc, to + 4 * wcslen(proc, to), source)
    return to


@libsystem("wchar_t *wcsncpy(wchar_t *, const wchar_t *, size_t)")
def wcsncpy(proc: Process, to: int, source: int, size: int) -> int:
    codes = wide(proc, source, size)
    store(proc, to, codes + [0] * (size - len(codes)))
    return to


def _order(one: list[int], other: list[int]) -> int:
    return (one > other) - (one < other)


@libsystem("int wcscmp(const wchar_t *, const wchar_t *)", "wcscoll", "wcscoll_l")
def wcscmp(proc: Process, one: int, other: int) -> int:
    return _order(wide(proc, one), wide(proc, other))


@libsystem("int wcsncmp(const wchar_t *, const wchar_t *, size_t)")
def wcsncmp(proc: Process, one: int, other: int, size: int) -> int:
    return _order(wide(proc, one, size), wide(proc, other, size))


@libsystem("size_t wcsxfrm(wchar_t *, const wchar_t *, size_t)", "wcsxfrm_l")
def wcsxfrm(proc: Process, to: int, source: int, size: int) -> int:
    codes = wide(proc, source)
    if size > len(codes):
        store(proc, to, [*codes, 0])
    return len(codes)


@libsystem("wchar_t *wcschr(const wchar_t *, wchar_t)")
def wcschr(proc: Process, text: int, code: int) -> int:
    codes = [*wide(proc, text), 0]
    return text + 4 * codes.index(code) if code in codes else 0


@libsystem("wchar_t *wcsrchr(const wchar_t *, wchar_t)")
def wcsrchr(proc: Process, text: int, code: int) -> int:
    codes = [*wide(proc, text), 0]
    found = [at for at, one in enumerate(codes) if one == code]
    return text + 4 * found[-1] if found else 0


@libsystem("wchar_t *wcsstr(const wchar_t *, const wchar_t *)")
def wcsstr(proc: Process, big: int, little: int) -> int:
    codes, wanted = wide(proc, big), wide(proc, little)
    for at in range(len(codes) - len(wanted) + 1):
        if codes[at : at + len(wanted)] == wanted:
            return big + 4 * at
    return 0


@libsystem("wchar_t *wmemchr(const wchar_t *, wchar_t, size_t)")
def wmemchr(proc: Process, text: int, code: int, size: int) -> int:
    codes = proc.memory.unpack(f"<{size}i", text)
    return text + 4 * codes.index(code) if code in codes else 0


@libsystem("wchar_t *wmemcpy(wchar_t *, const wchar_t *, size_t)", "wmemmove")
def wmemcpy(proc: Process, to: int, source: int, size: int) -> int:
    proc.memory.write(to, proc.memory.read(source, 4 * size))
    return to


@libsystem("wchar_t *wmemset(wchar_t *, wchar_t, size_t)")
def wmemset(proc: Process, to: int, code: int, size: int) -> int:
    store(proc, to, [code] * size)
    return to


@libsystem("int wmemcmp(const wchar_t *, const wchar_t *, size_t)")
def wmemcmp(proc: Process, one: int, other: int, size: int) -> int:
    return _order(
        list(proc.memory.unpack(f"<{size}i", one)), list(proc.memory.unpack(f"<{size}i", other))
    )


def _narrow(proc: Process, text: int) -> bytes:
    """The ASCII part of a wide string, for numbers."""
    return bytes(code if code < 128 else 0xFF for code in wide(proc, text))


@libsystem("long wcstol(const wchar_t *, wchar_t **, int)", "wcstoll", "wcstoul", "wcstoull")
def wcstol(proc: Process, text: int, end: int, base: int) -> int:
    value, size = parse_integer(_narrow(proc, text), base)
    if end:
        proc.memory.put_u64(end, text + 4 * size)
    return value


@libsystem("double wcstod(const wchar_t *, wchar_t **)")
def wcstod(proc: Process, text: int, end: int) -> float:
    value, size = parse_float(_narrow(proc, text))
    if end:
        proc.memory.put_u64(end, text + 4 * size)
    return value


@libsystem("float wcstof(const wchar_t *, wchar_t **)")
def wcstof(proc: Process, text: int, end: int) -> float:
    return wcstod(proc, text, end)


@libsystem("long double wcstold(const wchar_t *, wchar_t **)")
def wcstold(proc: Process, text: int, end: int) -> float:
    return wcstod(proc, text, end)


@libsystem("wchar_t *wcsdup(const wchar_t *)")
def wcsdup(proc: Process, text: int) -> int:
    codes = [*wide(proc, text), 0]
    address = proc.state(Heap).allocate(4 * len(codes))
    store(proc, address, codes)
    return address


@libsystem("wchar_t *wcsncat(wchar_t *, const wchar_t *, size_t)")
def wcsncat(proc: Process, to: int, source: int, size: int) -> int:
    store(proc, to + 4 * wcslen(proc, to), [*wide(proc, source, size), 0])
    return to


def _span(codes: list[int], members: list[int], inside: bool) -> int:
    for at, code in enumerate(codes):
        if (code in members) != inside:
            return at
    return len(codes)


@libsystem("size_t wcsspn(const wchar_t *, const wchar_t *)")
def wcsspn(proc: Process, text: int, members: int) -> int:
    return _span(wide(proc, text), wide(proc, members), True)


@libsystem("size_t wcscspn(const wchar_t *, const wchar_t *)")
def wcscspn(proc: Process, text: int, members: int) -> int:
    return _span(wide(proc, text), wide(proc, members), False)


@libsystem("wchar_t *wcspbrk(const wchar_t *, const wchar_t *)")
def wcspbrk(proc: Process, text: int, members: int) -> int:
    codes = wide(proc, text)
    at = _span(codes, wide(proc, members), False)
    return text + 4 * at if at < len(codes) else 0


@libsystem("int wcscasecmp(const wchar_t *, const wchar_t *)")
def wcscasecmp(proc: Process, one: int, other: int) -> int:
    return _order([lower(c) for c in wide(proc, one)], [lower(c) for c in wide(proc, other)])


@libsystem("int wcwidth(wchar_t)")
def wcwidth(proc: Process, code: int) -> int:
    if not code:
        return 0
    if not rune_type(code) & PRINT:
        return -1
    return 2 if unicodedata.east_asian_width(chr(code)) in "WF" else 1
