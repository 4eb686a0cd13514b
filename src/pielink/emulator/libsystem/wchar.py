"""Wide and multibyte characters: wchar_t is a 32-bit code point, multibyte text is UTF-8.

The conversion state (mbstate_t) keeps the first bytes of a character that is not complete yet:
its first byte counts them, the next ones hold them.

Source: <wchar.h>, <stdlib.h>.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.abi import Variadic
from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.format import format_printf
from pielink.emulator.libsystem.host import EILSEQ
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.stdlib import parse_float, parse_integer

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_INVALID, _INCOMPLETE = -1, -2
_LONGEST = 4


class DefaultState:
    """The states that are used when the program gives none."""

    def __init__(self, proc: Process) -> None:
        self.address = proc.allocate_data(128)


def _need(first: int) -> int:
    """How many bytes a character takes by its first byte; 0 for an invalid one."""
    if first < 0x80:
        return 1
    for size, low, high in ((2, 0xC2, 0xDF), (3, 0xE0, 0xEF), (4, 0xF0, 0xF4)):
        if low <= first <= high:
            return size
    return 0


def _decode(data: bytes) -> tuple[int, int]:
    """The first character and its size; size -1: invalid, -2: incomplete."""
    size = _need(data[0])
    if not size:
        return 0, _INVALID
    if len(data) < size:
        whole = all(0x80 <= byte < 0xC0 for byte in data[1:])
        return 0, _INCOMPLETE if whole else _INVALID
    try:
        return ord(data[:size].decode("utf-8")), size
    except UnicodeDecodeError:
        return 0, _INVALID


def _encode(code: int) -> bytes | None:
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code < 0xE000:
        return None
    return chr(code).encode("utf-8")


def _read_character(proc: Process, text: int, limit: int) -> bytes:
    """At most `limit` bytes at `text`, no more than its first character takes."""
    first = proc.memory.read(text, 1)
    return first + proc.memory.read(text + 1, min(limit, _need(first[0]) or 1) - 1)


def wide(proc: Process, address: int, limit: int = -1) -> list[int]:
    """The code points of a wide string."""
    found: list[int] = []
    while limit < 0 or len(found) < limit:
        code = proc.memory.u32(address + 4 * len(found))
        if not code:
            break
        found.append(code)
    return found


def _store(proc: Process, address: int, codes: list[int]) -> None:
    proc.memory.pack(f"<{len(codes)}I", address, *(code & 0xFFFF_FFFF for code in codes))


@libsystem("size_t mbrtowc(wchar_t *, const char *, size_t, void *)", "mbrtowc_l")
def mbrtowc(proc: Process, out: int, text: int, size: int, state: int) -> int:
    state = state or proc.state(DefaultState).address
    if not text:
        proc.memory.write(state, b"\0")
        return 0
    kept = proc.memory.read(state + 1, min(proc.memory.u8(state), _LONGEST))
    if not size:
        return _INCOMPLETE
    data = kept + (
        proc.memory.read(text, min(size, (_need(kept[0]) or 1) - len(kept)))
        if kept
        else _read_character(proc, text, size)
    )
    code, used = _decode(data)
    if used == _INCOMPLETE:
        proc.memory.write(state, bytes([len(data)]) + data)
        return _INCOMPLETE
    proc.memory.write(state, b"\0")
    if used == _INVALID:
        raise Errno(EILSEQ)
    if out:
        proc.memory.put_u32(out, code)
    return used - len(kept) if code else 0


@libsystem("int mbtowc(wchar_t *, const char *, size_t)", "mbtowc_l")
def mbtowc(proc: Process, out: int, text: int, size: int) -> int:
    if not text or not size:
        return 0 if not text else -1
    code, used = _decode(_read_character(proc, text, size))
    if used < 0:
        raise Errno(EILSEQ)
    if out:
        proc.memory.put_u32(out, code)
    return used if code else 0


@libsystem("size_t mbrlen(const char *, size_t, void *)", "mbrlen_l")
def mbrlen(proc: Process, text: int, size: int, state: int) -> int:
    return mbrtowc(proc, 0, text, size, state or proc.state(DefaultState).address + 16)


@libsystem("int mblen(const char *, size_t)", "mblen_l")
def mblen(proc: Process, text: int, size: int) -> int:
    return mbtowc(proc, 0, text, size)


@libsystem("int mbsinit(const void *)", "mbsinit_l")
def mbsinit(proc: Process, state: int) -> int:
    return int(not state or proc.memory.u8(state) == 0)


@libsystem("size_t wcrtomb(char *, wchar_t, void *)", "wcrtomb_l")
def wcrtomb(proc: Process, out: int, code: int, state: int) -> int:
    if not out:
        return 1
    data = _encode(code)
    if data is None:
        raise Errno(EILSEQ)
    proc.memory.write(out, data)
    return len(data)


@libsystem("int wctomb(char *, wchar_t)", "wctomb_l")
def wctomb(proc: Process, out: int, code: int) -> int:
    return wcrtomb(proc, out, code, 0) if out else 0


def _to_wide(proc: Process, data: bytes, room: int) -> tuple[list[int], int]:
    """Code points for at most `room` characters of NUL-terminated `data`; bytes used."""
    codes: list[int] = []
    at = 0
    while at < len(data) and len(codes) < room:
        code, used = _decode(data[at : at + _LONGEST])
        if used < 0:
            raise Errno(EILSEQ)
        codes.append(code)
        at += used
        if not code:
            break
    return codes, at


def _convert_to_wide(proc: Process, out: int, place: int, room: int, limit: int) -> int:
    """mbsrtowcs and mbsnrtowcs: also store where the conversion stopped."""
    text = proc.memory.u64(place)
    data = proc.memory.string(text, limit)
    data += b"\0" if len(data) != limit else b""
    codes, used = _to_wide(proc, data, room if out else len(data))
    ended = bool(codes) and codes[-1] == 0
    if out:
        _store(proc, out, codes)
        proc.memory.put_u64(place, 0 if ended else text + used)
    return len(codes) - ended


@libsystem("size_t mbsrtowcs(wchar_t *, const char **, size_t, void *)", "mbsrtowcs_l")
def mbsrtowcs(proc: Process, out: int, place: int, room: int, state: int) -> int:
    return _convert_to_wide(proc, out, place, room, -1)


@libsystem("size_t mbsnrtowcs(wchar_t *, const char **, size_t, size_t, void *)", "mbsnrtowcs_l")
def mbsnrtowcs(proc: Process, out: int, place: int, limit: int, room: int, state: int) -> int:
    return _convert_to_wide(proc, out, place, room, limit)


@libsystem("size_t mbstowcs(wchar_t *, const char *, size_t)", "mbstowcs_l")
def mbstowcs(proc: Process, out: int, text: int, room: int) -> int:
    data = proc.memory.string(text) + b"\0"
    codes, _ = _to_wide(proc, data, room if out else len(data))
    if out:
        _store(proc, out, codes)
    return len(codes) - (bool(codes) and codes[-1] == 0)


def _convert_to_bytes(proc: Process, out: int, place: int, limit: int, room: int) -> int:
    """wcsrtombs and wcsnrtombs."""
    source = proc.memory.u64(place)
    codes = wide(proc, source, limit)
    codes += [0] if limit < 0 or len(codes) < limit else []
    data, used = bytearray(), 0
    for code in codes:
        encoded = _encode(code)
        if encoded is None:
            raise Errno(EILSEQ)
        if out and len(data) + len(encoded) > room:
            break
        data += encoded
        used += 1
    ended = used == len(codes) and bool(codes) and codes[-1] == 0
    if out:
        proc.memory.write(out, bytes(data))
        proc.memory.put_u64(place, 0 if ended else source + 4 * used)
    return len(data) - ended


@libsystem("size_t wcsrtombs(char *, const wchar_t **, size_t, void *)", "wcsrtombs_l")
def wcsrtombs(proc: Process, out: int, place: int, room: int, state: int) -> int:
    return _convert_to_bytes(proc, out, place, -1, room)


@libsystem("size_t wcsnrtombs(char *, const wchar_t **, size_t, size_t, void *)", "wcsnrtombs_l")
def wcsnrtombs(proc: Process, out: int, place: int, limit: int, room: int, state: int) -> int:
    return _convert_to_bytes(proc, out, place, limit, room)


@libsystem("size_t wcstombs(char *, const wchar_t *, size_t)", "wcstombs_l")
def wcstombs(proc: Process, out: int, source: int, room: int) -> int:
    data = bytearray()
    for code in [*wide(proc, source), 0]:
        encoded = _encode(code)
        if encoded is None:
            raise Errno(EILSEQ)
        if out and len(data) + len(encoded) > room:
            proc.memory.write(out, bytes(data))
            return len(data)
        data += encoded
    if out:
        proc.memory.write(out, bytes(data))
    return len(data) - 1


@libsystem("wint_t btowc(int)", "btowc_l")
def btowc(proc: Process, byte: int) -> int:
    return byte if 0 <= byte < 128 else -1


@libsystem("int wctob(wint_t)", "wctob_l")
def wctob(proc: Process, code: int) -> int:
    return code if 0 <= code < 128 else -1


@libsystem("int ___mb_cur_max(void)", "___mb_cur_max_l")
def mb_cur_max(proc: Process) -> int:
    return _LONGEST


# -- wide strings


@libsystem("size_t wcslen(const wchar_t *)")
def wcslen(proc: Process, text: int) -> int:
    return len(wide(proc, text))


@libsystem("size_t wcsnlen(const wchar_t *, size_t)")
def wcsnlen(proc: Process, text: int, limit: int) -> int:
    return len(wide(proc, text, min(limit, 1 << 40)))


@libsystem("wchar_t *wcscpy(wchar_t *, const wchar_t *)")
def wcscpy(proc: Process, to: int, source: int) -> int:
    _store(proc, to, [*wide(proc, source), 0])
    return to


@libsystem("wchar_t *wcscat(wchar_t *, const wchar_t *)")
def wcscat(proc: Process, to: int, source: int) -> int:
    wcscpy(proc, to + 4 * wcslen(proc, to), source)
    return to


@libsystem("wchar_t *wcsncpy(wchar_t *, const wchar_t *, size_t)")
def wcsncpy(proc: Process, to: int, source: int, size: int) -> int:
    codes = wide(proc, source, size)
    _store(proc, to, codes + [0] * (size - len(codes)))
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
        _store(proc, to, [*codes, 0])
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
    _store(proc, to, [code] * size)
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


def _wide_format(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    source = "".join(map(chr, wide(proc, template))).encode("utf-8")
    text = format_printf(proc, source, rest).decode("utf-8", "replace")
    if len(text) >= size:
        return -1
    _store(proc, out, [*map(ord, text), 0])
    return len(text)


@libsystem("int swprintf(wchar_t *, size_t, const wchar_t *, ...)")
def swprintf(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    return _wide_format(proc, out, size, template, rest)


@libsystem("int vswprintf(wchar_t *, size_t, const wchar_t *, va_list)")
def vswprintf(proc: Process, out: int, size: int, template: int, rest: Variadic) -> int:
    return _wide_format(proc, out, size, template, rest)
