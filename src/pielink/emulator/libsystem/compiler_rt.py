"""Arithmetic that compilers leave to library functions: complex numbers, 128-bit integers.

Source: LLVM's compiler-rt/lib/builtins; the calling convention of the System V ABI: a complex
double comes back in two vector registers, a complex float packed into one, a 128-bit integer in
two general registers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from pielink.emulator.errors import GuestKilled
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.signals import SIGABRT, SIGFPE

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_MASK64, _MASK128 = (1 << 64) - 1, (1 << 128) - 1
_Complex = Callable[[float, float, float, float], tuple[float, float]]


def _multiply(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    """(a + bi) * (c + di), with the infinities of annex G of the C standard."""
    real, imaginary = a * c - b * d, a * d + b * c
    if not (math.isnan(real) and math.isnan(imaginary)):
        return real, imaginary
    again = False
    if math.isinf(a) or math.isinf(b):
        a, b = _boxed(a), _boxed(b)
        c, d = _zero(c), _zero(d)
        again = True
    if math.isinf(c) or math.isinf(d):
        c, d = _boxed(c), _boxed(d)
        a, b = _zero(a), _zero(b)
        again = True
    if not again:
        return real, imaginary
    return math.inf * (a * c - b * d), math.inf * (a * d + b * c)


def _boxed(value: float) -> float:
    return math.copysign(1.0 if math.isinf(value) else 0.0, value)


def _zero(value: float) -> float:
    return math.copysign(0.0, value) if math.isnan(value) else value


def _divide(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    """(a + bi) / (c + di), with the infinities of annex G of the C standard."""
    if math.isinf(c) or math.isinf(d):
        if math.isfinite(a) and math.isfinite(b):
            c, d = _boxed(c), _boxed(d)
            return 0.0 * (a * c + b * d), 0.0 * (b * c - a * d)
        return math.nan, math.nan
    if c == 0 and d == 0:
        infinity = math.copysign(math.inf, c)
        return _times(infinity, a), _times(infinity, b)
    scale = 2.0 ** -math.frexp(max(abs(c), abs(d)))[1]
    c, d = c * scale, d * scale
    divisor = c * c + d * d
    return (a * c + b * d) / divisor * scale, (b * c - a * d) / divisor * scale


def _times(one: float, other: float) -> float:
    return math.nan if other == 0 else one * other


def _declare_complex(name: str, body: _Complex) -> None:
    """The double and float variants: their four arguments are in vector registers."""

    def of_doubles(proc: Process) -> None:
        _, sp, back = proc.cpu.entry(proc.memory.u64)
        parts = [struct.unpack_from("<d", proc.cpu.vector_argument(i))[0] for i in range(4)]
        for index, value in enumerate(body(*parts)):
            proc.cpu.set_vector(index, struct.pack("<d8x", value))
        proc.cpu.finish(0, sp, back)

    def of_floats(proc: Process) -> None:
        _, sp, back = proc.cpu.entry(proc.memory.u64)
        parts = [struct.unpack_from("<f", proc.cpu.vector_argument(i))[0] for i in range(4)]
        values = (min(max(v, -3.4e38), 3.4e38) if math.isfinite(v) else v for v in body(*parts))
        proc.cpu.set_vector(0, struct.pack("<ff8x", *values))
        proc.cpu.finish(0, sp, back)

    libsystem.raw(f"___{name}dc3")(of_doubles)
    libsystem.raw(f"___{name}sc3")(of_floats)


_declare_complex("mul", _multiply)
_declare_complex("div", _divide)


def _halves(value: int) -> tuple[int, int]:
    value &= _MASK128
    return value & _MASK64, value >> 64


def _wide(low: int, high: int) -> int:
    return low | high << 64


def _signed(low: int, high: int) -> int:
    value = _wide(low, high)
    return value - (1 << 128) if value >> 127 else value


def _checked(proc: Process, divisor: int) -> int:
    if not divisor:
        raise GuestKilled(SIGFPE, f"128-bit division by zero\n{proc.scheduler.dump()}")
    return divisor


def _quotient(number: int, divisor: int) -> int:
    result = abs(number) // abs(divisor)
    return -result if (number < 0) != (divisor < 0) else result


_WIDE = "uint64_t, uint64_t, uint64_t, uint64_t"


@libsystem(f"uint64_t __udivti3({_WIDE})")
def udivti3(proc: Process, a: int, b: int, c: int, d: int) -> tuple[int, int]:
    return _halves(_wide(a, b) // _checked(proc, _wide(c, d)))


@libsystem(f"uint64_t __umodti3({_WIDE})")
def umodti3(proc: Process, a: int, b: int, c: int, d: int) -> tuple[int, int]:
    return _halves(_wide(a, b) % _checked(proc, _wide(c, d)))


@libsystem(f"uint64_t __divti3({_WIDE})")
def divti3(proc: Process, a: int, b: int, c: int, d: int) -> tuple[int, int]:
    return _halves(_quotient(_signed(a, b), _checked(proc, _signed(c, d))))


@libsystem(f"uint64_t __modti3({_WIDE})")
def modti3(proc: Process, a: int, b: int, c: int, d: int) -> tuple[int, int]:
    number, divisor = _signed(a, b), _checked(proc, _signed(c, d))
    return _halves(number - _quotient(number, divisor) * divisor)


@libsystem(f"uint64_t __multi3({_WIDE})")
def multi3(proc: Process, a: int, b: int, c: int, d: int) -> tuple[int, int]:
    return _halves(_wide(a, b) * _wide(c, d))


@libsystem("double __floattidf(uint64_t, uint64_t)")
def floattidf(proc: Process, low: int, high: int) -> float:
    return float(_signed(low, high))


@libsystem("double __floatuntidf(uint64_t, uint64_t)")
def floatuntidf(proc: Process, low: int, high: int) -> float:
    return float(_wide(low, high))


@libsystem("double __powidf2(double, int)")
def powidf2(proc: Process, base: float, exponent: int) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf if base > 0 or exponent % 2 == 0 else -math.inf
    except ZeroDivisionError:
        return math.copysign(math.inf, base) if exponent % 2 else math.inf


@libsystem("float __powisf2(float, int)")
def powisf2(proc: Process, base: float, exponent: int) -> float:
    return powidf2(proc, base, exponent)


def _declare_trapping(name: str, parameters: int, body: Callable[..., int]) -> None:
    """The variants of an operation that end the program on overflow."""
    for kind, suffix, bits in (("int", "si", 32), ("long", "di", 64)):

        def checked(proc: Process, *arguments: int, bits: int = bits) -> int:
            result = body(*arguments)
            if not -(1 << bits - 1) <= result < 1 << bits - 1:
                raise GuestKilled(SIGABRT, f"__{name}: overflow\n{proc.scheduler.dump()}")
            return result

        types = ", ".join([kind] * parameters)
        libsystem(f"{kind} __{name}v{suffix}{parameters + 1}({types})")(checked)


_declare_trapping("abs", 1, abs)
_declare_trapping("neg", 1, lambda a: -a)
_declare_trapping("add", 2, lambda a, b: a + b)
_declare_trapping("sub", 2, lambda a, b: a - b)
_declare_trapping("mul", 2, lambda a, b: a * b)


@libsystem("int __popcountdi2(uint64_t)")
def popcountdi2(proc: Process, value: int) -> int:
    return value.bit_count()


@libsystem("int __popcountsi2(uint32_t)")
def popcountsi2(proc: Process, value: int) -> int:
    return value.bit_count()
