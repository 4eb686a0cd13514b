"""Wide and multibyte characters: wchar_t is a 32-bit code point, multibyte text is UTF-8.

The conversion state (mbstate_t) keeps the first bytes of a character that is not complete yet:
its first byte counts them, the next ones hold them.

Source: <wchar.h>, <stdlib.h>.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.host import EILSEQ
from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

INVALID, _INCOMPLETE = -1, -2
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


def decode(data: bytes) -> tuple[int, int]:
    """The first character and its size; size -1: invalid, -2: incomplete."""
    size = _need(data[0])
    if not size:
        return 0, INVALID
    if len(data) < size:
        whole = all(0x80 <= byte < 0xC0 for byte in data[1:])
        return 0, _INCOMPLETE if whole else INVALID
    try:
        return ord(data[:size].decode("utf-8")), size
    except UnicodeDecodeError:
        return 0, INVALID


def encode(code: int) -> bytes | None:
    """A character in UTF-8; None when it is none."""
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


def store(proc: Process, address: int, codes: list[int]) -> None:
    """Write code points as wchar_t."""
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
    code, used = decode(data)
    if used == _INCOMPLETE:
        proc.memory.write(state, bytes([len(data)]) + data)
        return _INCOMPLETE
    proc.memory.write(state, b"\0")
    if used == INVALID:
        raise Errno(EILSEQ)
    if out:
        proc.memory.put_u32(out, code)
    return used - len(kept) if code else 0


@libsystem("int mbtowc(wchar_t *, const char *, size_t)", "mbtowc_l")
def mbtowc(proc: Process, out: int, text: int, size: int) -> int:
    if not text or not size:
        return 0 if not text else -1
    code, used = decode(_read_character(proc, text, size))
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
    data = encode(code)
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
        code, used = decode(data[at : at + _LONGEST])
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
        store(proc, out, codes)
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
        store(proc, out, codes)
    return len(codes) - (bool(codes) and codes[-1] == 0)


def _convert_to_bytes(proc: Process, out: int, place: int, limit: int, room: int) -> int:
    """wcsrtombs and wcsnrtombs."""
    source = proc.memory.u64(place)
    codes = wide(proc, source, limit)
    codes += [0] if limit < 0 or len(codes) < limit else []
    data, used = bytearray(), 0
    for code in codes:
        encoded = encode(code)
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
        encoded = encode(code)
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
