"""Byte strings and blocks of memory. Source: <string.h>, <strings.h>, and the _chk variants.

The `__X_chk` functions get the size of the destination; one that would be exceeded ends the
program, as it does on macOS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.errors import GuestKilled
from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.host import ERANGE, message
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.signals import SIGABRT

if TYPE_CHECKING:
    from pielink.emulator.process import Process


def _order(one: bytes, other: bytes) -> int:
    """The difference of the first bytes that differ; a string ends with NUL."""
    if one == other:
        return 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            return a - b
    return len(one) - len(other)


def _check(proc: Process, size: int, room: int, name: str) -> None:
    if size > room:
        raise GuestKilled(SIGABRT, f"{name}: buffer overflow\n{proc.scheduler.dump()}")


# -- memory


@libsystem("void *memcpy(void *, const void *, size_t)", "memmove")
def memcpy(proc: Process, to: int, source: int, size: int) -> int:
    proc.memory.write(to, proc.memory.read(source, size))
    return to


@libsystem("void *__memcpy_chk(void *, const void *, size_t, size_t)", "__memmove_chk")
def memcpy_chk(proc: Process, to: int, source: int, size: int, room: int) -> int:
    _check(proc, size, room, "memcpy")
    return memcpy(proc, to, source, size)


@libsystem("void *memccpy(void *, const void *, int, size_t)")
def memccpy(proc: Process, to: int, source: int, byte: int, size: int) -> int:
    data = proc.memory.read(source, size)
    at = data.find(byte & 0xFF)
    data = data if at < 0 else data[: at + 1]
    proc.memory.write(to, data)
    return 0 if at < 0 else to + len(data)


@libsystem("void *memset(void *, int, size_t)")
def memset(proc: Process, to: int, byte: int, size: int) -> int:
    proc.memory.write(to, bytes([byte & 0xFF]) * size)
    return to


@libsystem("void *__memset_chk(void *, int, size_t, size_t)")
def memset_chk(proc: Process, to: int, byte: int, size: int, room: int) -> int:
    _check(proc, size, room, "memset")
    return memset(proc, to, byte, size)


@libsystem("int memset_s(void *, size_t, int, size_t)")
def memset_s(proc: Process, to: int, room: int, byte: int, size: int) -> int:
    memset(proc, to, byte, min(size, room))
    return 0 if size <= room else 84


@libsystem("void bzero(void *, size_t)", "__bzero")
def bzero(proc: Process, to: int, size: int) -> None:
    proc.memory.write(to, bytes(size))


@libsystem("void bcopy(const void *, void *, size_t)")
def bcopy(proc: Process, source: int, to: int, size: int) -> None:
    proc.memory.write(to, proc.memory.read(source, size))


@libsystem("int memcmp(const void *, const void *, size_t)", "bcmp")
def memcmp(proc: Process, one: int, other: int, size: int) -> int:
    return _order(proc.memory.read(one, size), proc.memory.read(other, size))


def _pattern(proc: Process, to: int, pattern: int, size: int, step: int) -> None:
    unit = proc.memory.read(pattern, step)
    proc.memory.write(to, (unit * (size // step + 1))[:size])


@libsystem("void memset_pattern4(void *, const void *, size_t)")
def memset_pattern4(proc: Process, to: int, pattern: int, size: int) -> None:
    _pattern(proc, to, pattern, size, 4)


@libsystem("void memset_pattern8(void *, const void *, size_t)")
def memset_pattern8(proc: Process, to: int, pattern: int, size: int) -> None:
    _pattern(proc, to, pattern, size, 8)


@libsystem("void memset_pattern16(void *, const void *, size_t)")
def memset_pattern16(proc: Process, to: int, pattern: int, size: int) -> None:
    _pattern(proc, to, pattern, size, 16)


@libsystem("void *memchr(const void *, int, size_t)")
def memchr(proc: Process, address: int, byte: int, size: int) -> int:
    done = 0
    while done < size:  # memchr may be given a size beyond the memory if the byte comes before
        region = proc.memory.find(address + done)
        room = region.end - address - done if region else 1
        at = proc.memory.read(address + done, min(room, size - done)).find(byte & 0xFF)
        if at >= 0:
            return address + done + at
        done += room
    return 0


@libsystem("void *memmem(const void *, size_t, const void *, size_t)")
def memmem(proc: Process, big: int, big_size: int, little: int, little_size: int) -> int:
    at = proc.memory.read(big, big_size).find(proc.memory.read(little, little_size))
    return 0 if at < 0 else big + at


# -- length, copying


@libsystem("size_t strlen(const char *)")
def strlen(proc: Process, text: int) -> int:
    return len(proc.memory.string(text))


@libsystem("size_t strnlen(const char *, size_t)")
def strnlen(proc: Process, text: int, limit: int) -> int:
    return len(proc.memory.string(text, min(limit, 1 << 62)))


@libsystem("char *strcpy(char *, const char *)")
def strcpy(proc: Process, to: int, source: int) -> int:
    proc.memory.write(to, proc.memory.string(source) + b"\0")
    return to


@libsystem("char *__strcpy_chk(char *, const char *, size_t)")
def strcpy_chk(proc: Process, to: int, source: int, room: int) -> int:
    _check(proc, strlen(proc, source) + 1, room, "strcpy")
    return strcpy(proc, to, source)


@libsystem("char *stpcpy(char *, const char *)")
def stpcpy(proc: Process, to: int, source: int) -> int:
    data = proc.memory.string(source)
    proc.memory.write(to, data + b"\0")
    return to + len(data)


@libsystem("char *__stpcpy_chk(char *, const char *, size_t)")
def stpcpy_chk(proc: Process, to: int, source: int, room: int) -> int:
    _check(proc, strlen(proc, source) + 1, room, "stpcpy")
    return stpcpy(proc, to, source)


@libsystem("char *strncpy(char *, const char *, size_t)")
def strncpy(proc: Process, to: int, source: int, size: int) -> int:
    proc.memory.write(to, proc.memory.string(source, size).ljust(size, b"\0"))
    return to


@libsystem("char *__strncpy_chk(char *, const char *, size_t, size_t)")
def strncpy_chk(proc: Process, to: int, source: int, size: int, room: int) -> int:
    _check(proc, size, room, "strncpy")
    return strncpy(proc, to, source, size)


@libsystem("char *stpncpy(char *, const char *, size_t)")
def stpncpy(proc: Process, to: int, source: int, size: int) -> int:
    data = proc.memory.string(source, size)
    proc.memory.write(to, data.ljust(size, b"\0"))
    return to + len(data)


@libsystem("size_t strlcpy(char *, const char *, size_t)")
def strlcpy(proc: Process, to: int, source: int, size: int) -> int:
    data = proc.memory.string(source)
    if size:
        proc.memory.write(to, data[: size - 1] + b"\0")
    return len(data)


@libsystem("size_t __strlcpy_chk(char *, const char *, size_t, size_t)")
def strlcpy_chk(proc: Process, to: int, source: int, size: int, room: int) -> int:
    _check(proc, size, room, "strlcpy")
    return strlcpy(proc, to, source, size)


@libsystem("char *strcat(char *, const char *)")
def strcat(proc: Process, to: int, source: int) -> int:
    proc.memory.write(to + strlen(proc, to), proc.memory.string(source) + b"\0")
    return to


@libsystem("char *__strcat_chk(char *, const char *, size_t)")
def strcat_chk(proc: Process, to: int, source: int, room: int) -> int:
    _check(proc, strlen(proc, to) + strlen(proc, source) + 1, room, "strcat")
    return strcat(proc, to, source)


@libsystem("char *strncat(char *, const char *, size_t)")
def strncat(proc: Process, to: int, source: int, size: int) -> int:
    proc.memory.write(to + strlen(proc, to), proc.memory.string(source, size) + b"\0")
    return to


@libsystem("char *__strncat_chk(char *, const char *, size_t, size_t)")
def strncat_chk(proc: Process, to: int, source: int, size: int, room: int) -> int:
    _check(proc, strlen(proc, to) + len(proc.memory.string(source, size)) + 1, room, "strncat")
    return strncat(proc, to, source, size)


@libsystem("size_t strlcat(char *, const char *, size_t)")
def strlcat(proc: Process, to: int, source: int, size: int) -> int:
    old, data = proc.memory.string(to, size), proc.memory.string(source)
    if len(old) < size:
        proc.memory.write(to + len(old), data[: size - len(old) - 1] + b"\0")
    return len(old) + len(data)


@libsystem("size_t __strlcat_chk(char *, const char *, size_t, size_t)")
def strlcat_chk(proc: Process, to: int, source: int, size: int, room: int) -> int:
    _check(proc, size, room, "strlcat")
    return strlcat(proc, to, source, size)


def duplicate(proc: Process, data: bytes) -> int:
    """A malloc'ed copy of a string."""
    address = proc.state(Heap).allocate(len(data) + 1)
    proc.memory.write(address, data + b"\0")
    return address


@libsystem("char *strdup(const char *)")
def strdup(proc: Process, source: int) -> int:
    return duplicate(proc, proc.memory.string(source))


@libsystem("char *strndup(const char *, size_t)")
def strndup(proc: Process, source: int, size: int) -> int:
    return duplicate(proc, proc.memory.string(source, size))


# -- comparing (in the C locale, collation is the order of bytes)


@libsystem("int strcmp(const char *, const char *)", "strcoll", "strcoll_l")
def strcmp(proc: Process, one: int, other: int) -> int:
    return _order(proc.memory.string(one), proc.memory.string(other))


@libsystem("int strncmp(const char *, const char *, size_t)")
def strncmp(proc: Process, one: int, other: int, size: int) -> int:
    size = min(size, 1 << 62)
    return _order(proc.memory.string(one, size), proc.memory.string(other, size))


@libsystem("int strcasecmp(const char *, const char *)", "strcasecmp_l")
def strcasecmp(proc: Process, one: int, other: int) -> int:
    return _order(proc.memory.string(one).lower(), proc.memory.string(other).lower())


@libsystem("int strncasecmp(const char *, const char *, size_t)", "strncasecmp_l")
def strncasecmp(proc: Process, one: int, other: int, size: int) -> int:
    size = min(size, 1 << 62)
    return _order(proc.memory.string(one, size).lower(), proc.memory.string(other, size).lower())


@libsystem("size_t strxfrm(char *, const char *, size_t)", "strxfrm_l")
def strxfrm(proc: Process, to: int, source: int, size: int) -> int:
    return strlcpy(proc, to, source, size)


# -- searching


@libsystem("char *strchr(const char *, int)", "index")
def strchr(proc: Process, text: int, byte: int) -> int:
    at = (proc.memory.string(text) + b"\0").find(byte & 0xFF)
    return 0 if at < 0 else text + at


@libsystem("char *strrchr(const char *, int)", "rindex")
def strrchr(proc: Process, text: int, byte: int) -> int:
    at = (proc.memory.string(text) + b"\0").rfind(byte & 0xFF)
    return 0 if at < 0 else text + at


@libsystem("char *strstr(const char *, const char *)")
def strstr(proc: Process, big: int, little: int) -> int:
    at = proc.memory.string(big).find(proc.memory.string(little))
    return 0 if at < 0 else big + at


@libsystem("char *strcasestr(const char *, const char *)")
def strcasestr(proc: Process, big: int, little: int) -> int:
    at = proc.memory.string(big).lower().find(proc.memory.string(little).lower())
    return 0 if at < 0 else big + at


@libsystem("char *strnstr(const char *, const char *, size_t)")
def strnstr(proc: Process, big: int, little: int, size: int) -> int:
    at = proc.memory.string(big, size).find(proc.memory.string(little))
    return 0 if at < 0 else big + at


def _span(text: bytes, members: bytes, inside: bool) -> int:
    for at, byte in enumerate(text):
        if (byte in members) != inside:
            return at
    return len(text)


@libsystem("size_t strspn(const char *, const char *)")
def strspn(proc: Process, text: int, members: int) -> int:
    return _span(proc.memory.string(text), proc.memory.string(members), True)


@libsystem("size_t strcspn(const char *, const char *)")
def strcspn(proc: Process, text: int, members: int) -> int:
    return _span(proc.memory.string(text), proc.memory.string(members), False)


@libsystem("char *strpbrk(const char *, const char *)")
def strpbrk(proc: Process, text: int, members: int) -> int:
    data = proc.memory.string(text)
    at = _span(data, proc.memory.string(members), False)
    return text + at if at < len(data) else 0


class Tokens:
    """Where strtok goes on."""

    def __init__(self, proc: Process) -> None:
        self.cell = proc.allocate_data(8)


@libsystem("char *strtok_r(char *, const char *, char **)")
def strtok_r(proc: Process, text: int, delimiters: int, state: int) -> int:
    memory, members = proc.memory, proc.memory.string(delimiters)
    start = text or memory.u64(state)
    if not start:
        return 0
    start += _span(memory.string(start), members, True)
    data = memory.string(start)
    if not data:
        memory.put_u64(state, 0)
        return 0
    size = _span(data, members, False)
    if size < len(data):
        memory.write(start + size, b"\0")
    memory.put_u64(state, start + size + 1 if size < len(data) else 0)
    return start


@libsystem("char *strtok(char *, const char *)")
def strtok(proc: Process, text: int, delimiters: int) -> int:
    return strtok_r(proc, text, delimiters, proc.state(Tokens).cell)


@libsystem("char *strsep(char **, const char *)")
def strsep(proc: Process, place: int, delimiters: int) -> int:
    memory = proc.memory
    start = memory.u64(place)
    if not start:
        return 0
    data = memory.string(start)
    size = _span(data, memory.string(delimiters), False)
    if size < len(data):
        memory.write(start + size, b"\0")
        memory.put_u64(place, start + size + 1)
    else:
        memory.put_u64(place, 0)
    return start


# -- errors


@libsystem("int strerror_r(int, char *, size_t)")
def strerror_r(proc: Process, number: int, out: int, size: int) -> int:
    text = message(number).encode()
    if size:
        proc.memory.write(out, text[: size - 1] + b"\0")
    return 0 if len(text) < size else ERANGE


class ErrorText:
    """The buffer of strerror."""

    def __init__(self, proc: Process) -> None:
        self.address = proc.allocate_data(128)


@libsystem("char *strerror(int)")
def strerror(proc: Process, number: int) -> int:
    address = proc.state(ErrorText).address
    proc.memory.write(address, message(number).encode()[:127] + b"\0")
    return address


def _first_set(value: int) -> int:
    return (value & -value).bit_length()


@libsystem("int ffs(int)")
def ffs(proc: Process, value: int) -> int:
    return _first_set(value)


@libsystem("int ffsl(long)", "ffsll")
def ffsl(proc: Process, value: int) -> int:
    return _first_set(value)


@libsystem("int fls(unsigned int)")
def fls(proc: Process, value: int) -> int:
    return value.bit_length()


@libsystem("int flsl(unsigned long)", "flsll")
def flsl(proc: Process, value: int) -> int:
    return value.bit_length()


@libsystem("int timingsafe_bcmp(const void *, const void *, size_t)")
def timingsafe_bcmp(proc: Process, one: int, other: int, size: int) -> int:
    return int(proc.memory.read(one, size) != proc.memory.read(other, size))
