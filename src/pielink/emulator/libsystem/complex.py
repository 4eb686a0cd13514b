"""Functions of complex numbers: two floating-point registers in, two out. Source: <complex.h>.

Float variants compute in double; the two parts of a complex float share a register.
"""

from __future__ import annotations

import cmath
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "cexp": cmath.exp,
    "clog": cmath.log,
    "csqrt": cmath.sqrt,
    "csin": cmath.sin,
    "ccos": cmath.cos,
    "ctan": cmath.tan,
    "casin": cmath.asin,
    "cacos": cmath.acos,
    "catan": cmath.atan,
    "csinh": cmath.sinh,
    "ccosh": cmath.cosh,
    "ctanh": cmath.tanh,
    "conj": lambda value: value.conjugate(),
}
_REAL: dict[str, Callable[[complex], float]] = {
    "cabs": abs,
    "carg": cmath.phase,
    "creal": lambda value: value.real,
    "cimag": lambda value: value.imag,
}
_NAN = complex(float("nan"), float("nan"))


def _evaluate(function: Callable[[complex], complex], value: complex) -> complex:
    try:
        return complex(function(value))
    except (OverflowError, ValueError):  # Python's way to say infinity or not a number
        return _NAN


def _arguments(proc: Process, count: int, single: bool) -> list[complex]:
    vectors = [proc.cpu.vector_argument(index) for index in range(count if single else 2 * count)]
    if single:
        return [complex(*struct.unpack_from("<ff", vector)) for vector in vectors]
    parts = [struct.unpack_from("<d", vector)[0] for vector in vectors]
    return [complex(*parts[at : at + 2]) for at in range(0, len(parts), 2)]


def _deliver(proc: Process, value: complex, single: bool) -> None:
    if single:
        proc.cpu.set_vector(0, struct.pack("<ff8x", value.real, value.imag))
    else:
        proc.cpu.set_vector(0, struct.pack("<d8x", value.real))
        proc.cpu.set_vector(1, struct.pack("<d8x", value.imag))


def _declare(name: str, count: int, body: Callable[..., complex], real: bool) -> None:
    for suffix, single in (("", False), ("f", True)):

        def run(proc: Process, single: bool = single) -> None:
            _, sp, back = proc.cpu.entry(proc.memory.u64)
            value = body(*_arguments(proc, count, single))
            if real:
                layout = "<f12x" if single else "<d8x"
                proc.cpu.set_vector(0, struct.pack(layout, value.real))
            else:
                _deliver(proc, value, single)
            proc.cpu.finish(0, sp, back)

        libsystem.raw(f"_{name}{suffix}")(run)


def _bind(function: Callable[[complex], complex]) -> Callable[[complex], complex]:
    return lambda value: _evaluate(function, value)


for _name, _function in _FUNCTIONS.items():
    _declare(_name, 1, _bind(_function), real=False)
for _name, _real in _REAL.items():
    _declare(_name, 1, _bind(_real), real=True)


def _power(base: complex, exponent: complex) -> complex:
    return _evaluate(lambda value: value**exponent, base)


_declare("cpow", 2, _power, real=False)
