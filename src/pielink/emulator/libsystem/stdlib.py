"""Numbers from text, sorting, searching, pseudo-random numbers. Source: <stdlib.h>."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from pielink.emulator.abi import signed32, signed64
from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.host import EINVAL, ENOSYS, ERANGE
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.threads import Call, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_SPACE = b" \t\n\v\f\r"
_DECIMAL = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_HEXADECIMAL = re.compile(
    rb"([+-]?)0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP]([+-]?\d+))?"
)
_SPECIAL = re.compile(rb"([+-]?)(infinity|inf|nan(?:\([0-9a-zA-Z_]*\))?)", re.IGNORECASE)
_RAND_MAX = 0x7FFF_FFFF


def parse_integer(text: bytes, base: int) -> tuple[int, int]:
    """The number at the beginning of `text`, and how many bytes it takes (0: there is none)."""
    at = len(text) - len(text.lstrip(_SPACE))
    negative = text[at : at + 1] == b"-"
    if text[at : at + 1] in (b"-", b"+"):
        at += 1
    prefixed = text[at : at + 2].lower() == b"0x" and text[at + 2 : at + 3].isalnum()
    if prefixed and base in (0, 16) and _digit(text[at + 2]) < 16:
        at, base = at + 2, 16
    elif base == 0:
        base = 8 if text[at : at + 1] == b"0" else 10
    start, value = at, 0
    while at < len(text) and _digit(text[at]) < base:
        value = value * base + _digit(text[at])
        at += 1
    return (-value if negative else value), (at if at > start else 0)


def _digit(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    lower = byte | 32
    return lower - 87 if 97 <= lower <= 122 else 99


def parse_float(text: bytes) -> tuple[float, int]:
    """The number at the beginning of `text`, and how many bytes it takes (0: there is none)."""
    at = len(text) - len(text.lstrip(_SPACE))
    if match := _HEXADECIMAL.match(text, at):
        sign, digits, exponent = match.groups()
        source = sign + b"0x" + digits + b"p" + (exponent or b"0")
        try:
            return float.fromhex(source.decode()), match.end()
        except OverflowError:
            return math.copysign(math.inf, -1 if sign == b"-" else 1), match.end()
    if match := _DECIMAL.match(text, at):
        return float(match.group()), match.end()
    if match := _SPECIAL.match(text, at):
        value = math.nan if match[2].lower().startswith(b"nan") else math.inf
        return math.copysign(value, -1 if match[1] == b"-" else 1), match.end()
    return 0.0, 0


def _integer(proc: Process, text: int, end: int, base: int, low: int, high: int) -> int:
    """The strto* functions: parse, clamp to low..high with ERANGE, store the end."""
    if base < 0 or base == 1 or base > 36:
        raise Errno(EINVAL, 0)
    value, size = parse_integer(proc.memory.string(text), base)
    if end:
        proc.memory.put_u64(end, text + size)
    if value > high or value < (low if low else -high):
        raise Errno(ERANGE, low if value < 0 and low else high)
    return value


@libsystem(
    "long strtol(const char *, char **, int)",
    "strtoll",
    "strtol_l",
    "strtoll_l",
    "strtoq",
    "strtoimax",
)
def strtol(proc: Process, text: int, end: int, base: int) -> int:
    return _integer(proc, text, end, base, -(1 << 63), (1 << 63) - 1)


@libsystem(
    "unsigned long strtoul(const char *, char **, int)",
    "strtoull",
    "strtoul_l",
    "strtoull_l",
    "strtouq",
    "strtoumax",
)
def strtoul(proc: Process, text: int, end: int, base: int) -> int:
    return _integer(proc, text, end, base, 0, (1 << 64) - 1)


@libsystem("long atol(const char *)", "atoll")
def atol(proc: Process, text: int) -> int:
    return signed64(parse_integer(proc.memory.string(text), 10)[0])


@libsystem("int atoi(const char *)")
def atoi(proc: Process, text: int) -> int:
    return signed32(parse_integer(proc.memory.string(text), 10)[0])


def _float(proc: Process, text: int, end: int) -> float:
    value, size = parse_float(proc.memory.string(text))
    if end:
        proc.memory.put_u64(end, text + size)
    if math.isinf(value) and b"i" not in proc.memory.string(text, size).lower():
        proc.memory.put_u32(proc.thread.errno_address, ERANGE)
    return value


@libsystem("double strtod(const char *, char **)", "strtod_l")
def strtod(proc: Process, text: int, end: int) -> float:
    return _float(proc, text, end)


@libsystem("float strtof(const char *, char **)", "strtof_l")
def strtof(proc: Process, text: int, end: int) -> float:
    return _float(proc, text, end)


@libsystem("long double strtold(const char *, char **)", "strtold_l")
def strtold(proc: Process, text: int, end: int) -> float:
    return _float(proc, text, end)


@libsystem("double atof(const char *)")
def atof(proc: Process, text: int) -> float:
    return _float(proc, text, 0)


@libsystem("int abs(int)")
def abs_(proc: Process, value: int) -> int:
    return abs(value)


@libsystem("long labs(long)", "llabs", "imaxabs")
def labs(proc: Process, value: int) -> int:
    return abs(value)


def _divide(number: int, divisor: int) -> tuple[int, int]:
    """Quotient toward zero, and the rest."""
    quotient = abs(number) // abs(divisor)
    quotient = -quotient if (number < 0) != (divisor < 0) else quotient
    return quotient, number - quotient * divisor


@libsystem("long div(int, int)")
def div(proc: Process, number: int, divisor: int) -> int:
    """div_t is returned in one register: the quotient below the rest."""
    quotient, rest = _divide(number, divisor)
    return quotient & 0xFFFF_FFFF | (rest & 0xFFFF_FFFF) << 32


@libsystem("long ldiv(long, long)", "lldiv", "imaxdiv")
def ldiv(proc: Process, number: int, divisor: int) -> tuple[int, int]:
    return _divide(number, divisor)


# -- sorting: merge sort, so that the order of calls does not matter to the result


def _sorted(
    proc: Process, base: int, count: int, size: int, compare: Any
) -> Generator[Any, Any, None]:
    """Sort in place; `compare` makes the Call for two addresses."""
    memory, heap = proc.memory, proc.state(Heap)
    if count < 2 or not size:
        return
    data = memory.read(base, count * size)
    items = [data[at : at + size] for at in range(0, len(data), size)]
    pair = heap.allocate(2 * size)
    width = 1
    while width < count:
        merged: list[bytes] = []
        for low in range(0, count, 2 * width):
            left, right = items[low : low + width], items[low + width : low + 2 * width]
            i = j = 0
            while i < len(left) and j < len(right):
                memory.write(pair, left[i] + right[j])
                order = signed32((yield compare(pair, pair + size)))
                if order <= 0:
                    merged.append(left[i])
                    i += 1
                else:
                    merged.append(right[j])
                    j += 1
            merged += left[i:] + right[j:]
        items, width = merged, 2 * width
    heap.free(pair)
    memory.write(base, b"".join(items))


@libsystem("void qsort(void *, size_t, size_t, void *)")
def qsort(proc: Process, base: int, count: int, size: int, function: int) -> Work:
    yield from _sorted(proc, base, count, size, functools.partial(Call, function))
    return 0


@libsystem("int mergesort(void *, size_t, size_t, void *)", "heapsort")
def mergesort(proc: Process, base: int, count: int, size: int, function: int) -> Work:
    yield from _sorted(proc, base, count, size, functools.partial(Call, function))
    return 0


@libsystem("void qsort_r(void *, size_t, size_t, void *, void *)")
def qsort_r(proc: Process, base: int, count: int, size: int, thunk: int, function: int) -> Work:
    yield from _sorted(proc, base, count, size, functools.partial(Call, function, thunk))
    return 0


@libsystem("void *bsearch(const void *, const void *, size_t, size_t, void *)")
def bsearch(proc: Process, key: int, base: int, count: int, size: int, function: int) -> Work:
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        order = signed32((yield Call(function, key, base + middle * size)))
        if order == 0:
            return base + middle * size
        low, high = (middle + 1, high) if order > 0 else (low, middle)
    return 0


# -- pseudo-random numbers: the minimal standard generator


class Generators:
    """The state of rand and of random."""

    def __init__(self, proc: Process) -> None:
        self.rand = self.random = 1


def _next(state: int) -> int:
    return (state or 123459876) * 16807 % _RAND_MAX


@libsystem("int rand(void)")
def rand(proc: Process) -> int:
    state = proc.state(Generators)
    state.rand = _next(state.rand)
    return state.rand


@libsystem("void srand(unsigned int)")
def srand(proc: Process, seed: int) -> None:
    proc.state(Generators).rand = seed


@libsystem("int rand_r(unsigned int *)")
def rand_r(proc: Process, state: int) -> int:
    value = _next(proc.memory.u32(state))
    proc.memory.put_u32(state, value)
    return value


@libsystem("long random(void)", "lrand48")
def random(proc: Process) -> int:
    state = proc.state(Generators)
    state.random = _next(state.random)
    return state.random


@libsystem("void srandom(unsigned int)", "srand48", "srandomdev")
def srandom(proc: Process, seed: int) -> None:
    proc.state(Generators).random = seed


@libsystem("double drand48(void)")
def drand48(proc: Process) -> float:
    return random(proc) / _RAND_MAX


@libsystem("int system(const char *)")
def system(proc: Process, command: int) -> int:
    """There is no shell for macOS programs: system(NULL) says so."""
    if command:
        raise Errno(ENOSYS)
    return 0
