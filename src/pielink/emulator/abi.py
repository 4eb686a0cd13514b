"""How emulated functions are declared, and how their arguments and results travel.

A function of an emulated library is a Python function under a decorator that holds its C
prototype (types only) and further names of the same function:

    @libsystem("ssize_t write(int, const void *, size_t)", "write$NOCANCEL")
    def write(proc, fd, buffer, size): ...

It is called with the process and the converted arguments: Python ints with the width and sign of
the C type (pointers are addresses), floats for double and float, and `Variadic` for `...` and
`va_list`. It returns the result (None is 0, a pair sets both result registers), raises Errno to
fail the C way, or is a generator: it may `yield Wait(...)` to block its thread and
`yield Call(...)` to call back into the program. The prototype is parsed when a program binds the
function, not when the module loads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pielink.emulator.errors import EmulatorError

if TYPE_CHECKING:
    from pielink.emulator.process import Process

F = TypeVar("F", bound=Callable[..., Any])
MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


def signed32(value: int) -> int:
    """The low 32 bits as a signed number."""
    return ((value & MASK32) ^ 0x8000_0000) - 0x8000_0000


def signed64(value: int) -> int:
    """The low 64 bits as a signed number."""
    return ((value & MASK64) ^ (1 << 63)) - (1 << 63)


def _unsigned32(value: int) -> int:
    return value & MASK32


def _identity(value: int) -> int:
    return value


def _signed16(value: int) -> int:
    return ((value & 0xFFFF) ^ 0x8000) - 0x8000


_CONVERTERS: dict[str, Callable[[int], int]] = {
    "i8": lambda value: ((value & 0xFF) ^ 0x80) - 0x80,
    "u8": lambda value: value & 0xFF,
    "i16": _signed16,
    "u16": lambda value: value & 0xFFFF,
    "i32": signed32,
    "u32": _unsigned32,
    "i64": signed64,
    "u64": _identity,
}

_TYPES = {
    **dict.fromkeys(("char", "int8_t"), "i8"),
    **dict.fromkeys(("unsigned char", "uint8_t", "bool", "_Bool"), "u8"),
    **dict.fromkeys(("short", "int16_t"), "i16"),
    **dict.fromkeys(("unsigned short", "uint16_t", "mode_t"), "u16"),
    **dict.fromkeys(("int", "int32_t", "pid_t", "dev_t", "wchar_t", "wint_t"), "i32"),
    **dict.fromkeys(("unsigned", "unsigned int", "uint32_t", "uid_t", "gid_t"), "u32"),
    **dict.fromkeys(("socklen_t", "useconds_t", "mach_port_t", "clockid_t"), "u32"),
    **dict.fromkeys(("long", "long long", "int64_t", "ssize_t", "off_t", "time_t"), "i64"),
    **dict.fromkeys(("intmax_t", "ptrdiff_t", "clock_t", "CFIndex", "intptr_t"), "i64"),
    **dict.fromkeys(("unsigned long", "unsigned long long", "uint64_t", "size_t"), "u64"),
    **dict.fromkeys(("uintptr_t", "uintmax_t", "pthread_t", "pthread_key_t"), "u64"),
    "double": "f64",
    "float": "f32",
    "long double": "f80",
    "void": "void",
    "va_list": "va_list",
    "...": "...",
}


def _kind(text: str) -> str:
    """The machine type of a C type."""
    if "*" in text:
        return "u64"
    plain = " ".join(word for word in text.split() if word not in ("const", "restrict"))
    try:
        return _TYPES[plain]
    except KeyError:
        raise EmulatorError(f"prototype uses the unknown type {text!r}") from None


def decode_f80(data: bytes) -> float:
    """An x87 extended value (10 bytes) as a float: the significand is rounded."""
    significand, head = struct.unpack("<QH", data[:10])
    exponent, sign = head & 0x7FFF, -1.0 if head >> 15 else 1.0
    if exponent == 0x7FFF:
        return sign * float("inf") if significand << 1 & MASK64 == 0 else float("nan")
    try:
        return sign * _ldexp(significand, exponent - 16383 - 63)
    except OverflowError:
        return sign * float("inf")


def _ldexp(significand: int, exponent: int) -> float:
    if exponent >= 0:
        return float(significand << exponent)
    # int / int rounds correctly, also into subnormals
    return significand / (1 << -exponent) if exponent > -1100 else 0.0


class Variadic:
    """The arguments behind the last named one, taken in order."""

    def __init__(self, proc: Process, general: list[int], vectors: list[bytes], stack: int) -> None:
        self.memory = proc.memory
        self.general, self.vectors, self.stack = general, vectors, stack

    def u64(self) -> int:
        """The next integer or pointer, all 64 bits."""
        if self.general:
            return self.general.pop(0)
        self.stack += 8
        return self.memory.u64(self.stack - 8)

    def i32(self) -> int:
        """The next int."""
        return signed32(self.u64())

    def f64(self) -> float:
        """The next double."""
        if self.vectors:
            return float(struct.unpack("<d", self.vectors.pop(0)[:8])[0])
        return float(struct.unpack("<d", self.u64_from_stack())[0])

    def u64_from_stack(self) -> bytes:
        """Eight bytes of the stack area."""
        self.stack += 8
        return self.memory.read(self.stack - 8, 8)

    def f80(self) -> bytes:
        """The next long double: 10 bytes, 16-byte aligned on the stack."""
        self.stack = (self.stack + 15 & -16) + 16
        return self.memory.read(self.stack - 16, 10)


@dataclass
class Function:
    """One function of an emulated library."""

    prototype: str
    body: Callable[..., Any]
    library: str
    raw: bool = False
    names: tuple[str, ...] = ()

    @cached_property
    def _types(self) -> tuple[str, list[str]]:
        head, _, tail = self.prototype.partition("(")
        result = head.rstrip().removesuffix(self.names[0])
        parameters = [part.strip() for part in tail.rstrip(")").split(",")]
        if parameters in ([""], ["void"]):
            parameters = []
        return _kind(result), [_kind(part) for part in parameters]

    @cached_property
    def result_kind(self) -> str:
        """The machine type of the result."""
        return self._types[0]

    @property
    def parameter_kinds(self) -> list[str]:
        """The machine types of the parameters."""
        return self._types[1]

    def bind(self, proc: Process) -> Callable[[list[int], int], list[Any]]:
        """What turns the entry registers and stack pointer into the list of arguments."""
        kinds, cpu = self.parameter_kinds, proc.cpu
        if len(kinds) <= cpu.integer_arguments and all(kind in _CONVERTERS for kind in kinds):
            converters = [_CONVERTERS[kind] for kind in kinds]
            return lambda general, sp: [
                convert(value) for convert, value in zip(converters, general, strict=False)
            ]
        return lambda general, sp: list(self._mixed(proc, kinds, general, sp))

    def _mixed(self, proc: Process, kinds: list[str], general: list[int], sp: int) -> Iterator[Any]:
        """Arguments of a function with floating-point, stack or variadic parameters."""
        cpu = proc.cpu
        rest = Variadic(proc, list(general), [], cpu.stack_argument(sp, 0))
        vectors = 0
        for kind in kinds:
            if kind == "...":
                rest.vectors = [cpu.vector_argument(i) for i in range(vectors, 8)]
                yield rest
            elif kind == "va_list":
                yield Variadic(proc, *cpu.va_list(proc.memory, rest.u64()))
            elif kind in ("f64", "f32"):
                data = cpu.vector_argument(vectors)
                vectors += 1
                yield struct.unpack_from("<d" if kind == "f64" else "<f", data)[0]
            elif kind == "f80":
                yield decode_f80(rest.f80())
            else:
                yield _CONVERTERS[kind](rest.u64())


@dataclass
class Data:
    """One variable of an emulated library: `fill(proc, address)` gives it its first value."""

    size: int
    fill: Callable[[Any, int], None]
    library: str


@dataclass(eq=False)
class Library:
    """The emulated part of one macOS library, filled by the modules of `libsystem`."""

    install_name: str
    functions: dict[str, Function] = field(default_factory=dict)
    variables: dict[str, Data] = field(default_factory=dict)

    def __call__(self, prototype: str, *aliases: str) -> Callable[[F], F]:
        """Declare a function by its prototype; `aliases` are further C names."""
        head = prototype.partition("(")[0]
        name = head.rstrip().rpartition(" ")[2].lstrip("*")
        return self._declare(prototype, (name, *aliases), raw=False)

    def raw(self, *symbols: str) -> Callable[[F], F]:
        """Declare a function that handles registers itself; `symbols` are full symbol names."""

        def decorate(body: F) -> F:
            for symbol in symbols:
                self.functions[symbol] = Function("", body, self.install_name, True, symbols)
            return body

        return decorate

    def _declare(self, prototype: str, names: tuple[str, ...], raw: bool) -> Callable[[F], F]:
        def decorate(body: F) -> F:
            function = Function(prototype, body, self.install_name, raw, names)
            for name in names:
                if "_" + name in self.functions:
                    raise EmulatorError(f"{name} is declared twice in {self.install_name}")
                self.functions["_" + name] = function
            return body

        return decorate

    def data(self, name: str, size: int) -> Callable[[F], F]:
        """Declare a variable; the function below fills it."""

        def decorate(fill: F) -> F:
            self.variables["_" + name] = Data(size, fill, self.install_name)
            return fill

        return decorate
