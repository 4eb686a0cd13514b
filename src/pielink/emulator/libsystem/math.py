"""libm, by way of the host's.

The functions are the same on every system, up to the last bit of some results. A row of the table
is a name with the kinds of its parameters; the `float` and `long double` variants follow from it.
Long doubles are computed as doubles.

Source: <math.h>.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pielink.emulator.cpu import encode_f80
from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_LIBM = ctypes.CDLL(ctypes.util.find_library("m") or None)

_ONE = [
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh"),
    *("atanh", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logb", "sqrt", "cbrt"),
    *("fabs", "ceil", "floor", "trunc", "round", "rint", "nearbyint", "erf", "erfc", "tgamma"),
    "lgamma",
]
_TWO = [
    *("pow", "atan2", "fmod", "remainder", "hypot", "copysign", "nextafter"),
    *("fdim", "fmax", "fmin"),
]
_TO_LONG = ["lround", "llround", "lrint", "llrint"]
_VARIANTS = (("", "double"), ("f", "float"), ("l", "long double"))


def _host(name: str, kind: str, count: int, result: Any) -> Callable[..., Any]:
    """The host's function for one kind of parameters."""
    suffix, number = ("f", ctypes.c_float) if kind == "float" else ("", ctypes.c_double)
    function = _LIBM[name + suffix]
    function.argtypes, function.restype = [number] * count, result or number
    return lambda proc, *arguments: function(*arguments)


def _declare(name: str, result: str, parameters: int, host_result: Any = None) -> None:
    for suffix, kind in _VARIANTS:
        types = ", ".join([kind] * parameters)
        body = _host(name, kind, parameters, host_result)
        libsystem(f"{result or kind} {name}{suffix}({types})")(body)


for _name in _ONE:
    _declare(_name, "", 1)
for _name in _TWO:
    _declare(_name, "", 2)
for _name in _TO_LONG:
    _declare(_name, "long", 1, ctypes.c_longlong)
_declare("fma", "", 3)
_declare("ilogb", "int", 1, ctypes.c_int)


def _scale(proc: Process, value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def _frexp(proc: Process, value: float, out: int) -> float:
    mantissa, exponent = math.frexp(value)
    proc.memory.put_u32(out, exponent)
    return mantissa


for _suffix, _kind in _VARIANTS:
    libsystem(f"{_kind} ldexp{_suffix}({_kind}, int)", f"scalbn{_suffix}")(_scale)
    libsystem(f"{_kind} scalbln{_suffix}({_kind}, long)")(_scale)
    libsystem(f"{_kind} frexp{_suffix}({_kind}, int *)")(_frexp)


@libsystem("double modf(double, double *)")
def modf(proc: Process, value: float, out: int) -> float:
    part, whole = math.modf(value)
    proc.memory.pack("<d", out, whole)
    return part


@libsystem("float modff(float, float *)")
def modff(proc: Process, value: float, out: int) -> float:
    part, whole = math.modf(value)
    proc.memory.pack("<f", out, whole)
    return part


@libsystem("float nexttowardf(float, long double)")
def nexttowardf(proc: Process, value: float, other: float) -> float:
    (bits,) = struct.unpack("<i", struct.pack("<f", value))
    if value == other or value != value or other != other:
        return other if value == other else math.nan
    if value == 0:
        return math.copysign(2.0**-149, other)
    bits += 1 if (other > value) == (value > 0) else -1
    return float(struct.unpack("<f", struct.pack("<i", bits))[0])


@libsystem("double nan(const char *)", "nanf")
def nan(proc: Process, tag: int) -> float:
    return math.nan


@libsystem("int __fpclassifyd(double)", "__fpclassifyf")
def fpclassify(proc: Process, value: float) -> int:
    if math.isnan(value):
        return 1
    if math.isinf(value):
        return 2
    if value == 0:
        return 3
    return 4 if abs(value) >= 2.2250738585072014e-308 else 5


@libsystem("int __isnand(double)")
def isnand(proc: Process, value: float) -> int:
    return int(math.isnan(value))


@libsystem("int __isfinited(double)")
def isfinited(proc: Process, value: float) -> int:
    return int(math.isfinite(value))


@libsystem("int __isinfd(double)")
def isinfd(proc: Process, value: float) -> int:
    return int(math.isinf(value))


def _sincos(value: float) -> tuple[float, float]:
    return (math.nan, math.nan) if math.isinf(value) else (math.sin(value), math.cos(value))


@libsystem.raw("___sincos_stret")
def sincos_stret(proc: Process) -> None:
    """Sine in the first vector register, cosine in the second."""
    _, sp, back = proc.cpu.entry(proc.memory.u64)
    (value,) = struct.unpack_from("<d", proc.cpu.vector_argument(0))
    for index, result in enumerate(_sincos(value)):
        proc.cpu.set_vector(index, struct.pack("<d8x", result))
    proc.cpu.finish(0, sp, back)


@libsystem.raw("___sincosf_stret")
def sincosf_stret(proc: Process) -> None:
    """Sine and cosine packed into the first vector register."""
    _, sp, back = proc.cpu.entry(proc.memory.u64)
    (value,) = struct.unpack_from("<f", proc.cpu.vector_argument(0))
    proc.cpu.set_vector(0, struct.pack("<ff8x", *_sincos(value)))
    proc.cpu.finish(0, sp, back)


@libsystem("double __exp10(double)")
def exp10(proc: Process, value: float) -> float:
    try:
        return math.pow(10.0, value)
    except OverflowError:
        return math.inf


_lgamma = _host("lgamma", "double", 1, None)


@libsystem("double lgamma_r(double, int *)")
def lgamma_r(proc: Process, value: float, sign: int) -> float:
    negative = value < 0 and value != math.floor(value) and math.floor(value) % 2 != 0
    proc.memory.put_u32(sign, -1 if negative else 1)
    return float(_lgamma(proc, value))


@libsystem("double remquo(double, double, int *)")
def remquo(proc: Process, value: float, other: float, out: int) -> float:
    quotient = ctypes.c_int()
    _LIBM.remquo.restype = ctypes.c_double
    result = _LIBM.remquo(ctypes.c_double(value), ctypes.c_double(other), ctypes.byref(quotient))
    proc.memory.put_u32(out, quotient.value)
    return float(result)


@libsystem("long double modfl(long double, long double *)")
def modfl(proc: Process, value: float, out: int) -> float:
    part, whole = math.modf(value)
    significand, head = encode_f80(whole)
    proc.memory.pack("<QH6x", out, significand, head)
    return part


@libsystem("int __fpclassifyl(long double)")
def fpclassifyl(proc: Process, value: float) -> int:
    return fpclassify(proc, value)
