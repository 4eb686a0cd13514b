"""C and C++ programs for macOS print here what the same sources print as native programs."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from emulator_programs import (
    c_program,
    native_c_program,
    native_run,
    pielink_run,
    zig_libsystem_stub,
)

from pielink.emulator.libsystem import LIBRARIES

START = """\
constructor 1 1 {first}
constructor 2 2
main 3
thread 7 argument
joined 1 local 5 zero 0
atexit 2
atexit 1
destructor
"""


@pytest.mark.parametrize("arguments", [[], ["word"]])
def test_constructors_thread_locals_and_exit_functions_in_order(arguments: list[str]) -> None:
    ran = pielink_run(c_program("run_start"), *arguments)
    assert (ran.status, ran.err) == (3, "")
    assert ran.out == START.format(first=arguments[0] if arguments else "-")


@pytest.mark.parametrize("name", ["run_printf", "run_threads", "run_library", "run_portable"])
def test_output_is_the_native_one(name: str) -> None:
    native = native_run(native_c_program(name))
    ran = pielink_run(c_program(name))
    assert native.status == 0
    assert ran.out.splitlines() == native.out.splitlines()
    assert (ran.status, ran.err) == (0, "")


def test_standard_input_through_stdio() -> None:
    text = "first line\n12 0x2a 3.5 word\n" + "x" * 9000 + "\nlast"
    native = native_run(native_c_program("run_stdin"), stdin=text)
    ran = pielink_run(c_program("run_stdin"), stdin=text)
    assert native.status == 0
    assert (ran.status, ran.out, ran.err) == (0, native.out, "")


SIGNALS = """\
raised 1
blocked 1 pending 1
delivered 1
fault 1 on alternate stack 1
fault 1 on alternate stack 1
fault 1 on alternate stack 1
pause -1 1 alarms 1
longjmp 55
"""


@pytest.mark.parametrize(("arguments", "number"), [([], signal.SIGABRT), (["x"], signal.SIGTERM)])
def test_signals_and_jumps(arguments: list[str], number: int) -> None:
    ran = pielink_run(c_program("run_signals"), *arguments)
    assert ran.out == SIGNALS
    assert ran.status == 128 + number
    assert f"killed by signal {int(number)}" in ran.err


UNWINDING = [
    [],
    ["-fomit-frame-pointer"],
    pytest.param(["-O0"], marks=pytest.mark.slow),  # the compiler builds its library once more
]


@pytest.mark.parametrize("flags", UNWINDING)
def test_cxx_exceptions_objects_and_streams(flags: list[str]) -> None:
    native = native_run(native_c_program("run_cxx", sources=["main.cc"]))
    ran = pielink_run(c_program("run_cxx", *flags, sources=["main.cc"]))
    assert native.status == 0
    assert (ran.status, ran.out, ran.err) == (0, native.out, "")


def test_an_uncaught_cxx_exception_aborts() -> None:
    ran = pielink_run(c_program("run_cxx", sources=["main.cc"]), "throw")
    assert ran.status == 128 + signal.SIGABRT
    assert "uncaught exception of type std::logic_error: uncaught" in ran.err


def test_what_only_darwin_has(tmp_path: Path) -> None:
    ran = pielink_run(c_program("run_darwin", "-fblocks"), str(tmp_path))
    assert [line for line in ran.out.splitlines() if not line.endswith(" ok")] == []
    assert len(ran.out.splitlines()) == 84
    assert (ran.status, ran.err) == (0, "")


def test_every_emulated_symbol_exists_on_macos() -> None:
    library = LIBRARIES["/usr/lib/libSystem.B.dylib"]
    known = set(re.findall(r"[\w$.]+", zig_libsystem_stub().read_text()))
    assert len(known) > 5000
    assert [name for name in (*library.functions, *library.variables) if name not in known] == []


def test_every_prototype_can_be_bound() -> None:
    for library in LIBRARIES.values():
        for function in library.functions.values():
            if not function.raw:
                assert function.parameter_kinds is not None
                assert function.result_kind != "..."


SIGSEGV, SIGBUS, SIGFPE, SIGILL = 11, 10, 8, 4  # Darwin's numbers
FAULTS = {
    "null": (SIGSEGV, "access to 0x0 at _"),
    "library": (SIGSEGV, "access to 0x0 at _strlen"),
    "constant": (SIGBUS, "write to 0x"),
    "jump": (SIGSEGV, "access to 0x0 at 0x0"),
    "divide": (SIGFPE, "exception 0 at _"),
    "illegal": (SIGILL, "exception 6 at _"),
    "execute": (SIGBUS, "access to 0x"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_kills_or_reaches_the_handler(kind: str) -> None:
    number, reason = FAULTS[kind]
    program = c_program("run_faults")
    ran = pielink_run(program, kind)
    assert ran.status == 128 + number
    assert f"killed by signal {number}: {reason}" in ran.err
    handled = pielink_run(program, kind, "handle")
    assert (handled.status, handled.out, handled.err) == (0, f"signal {number}\n", "")


STOPS = {
    "syscall": (1, "raw system call at _"),
    "free": (134, "the pointer was not allocated"),
    "data": (1, "_puts (/usr/lib/libSystem.B.dylib) is not there as data; used from _"),
}


@pytest.mark.parametrize("kind", STOPS)
def test_what_breaks_a_rule_of_the_emulator_says_so(kind: str) -> None:
    status, reason = STOPS[kind]
    ran = pielink_run(c_program("run_faults"), kind)
    assert ran.status == status
    assert reason in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("handled", [[], ["handle"]])
def test_a_stack_overflow_kills(handled: list[str]) -> None:
    ran = pielink_run(c_program("run_faults"), "stack", *handled)
    assert ran.status in (128 + SIGSEGV, 128 + SIGBUS)
    assert "Traceback" not in ran.err
