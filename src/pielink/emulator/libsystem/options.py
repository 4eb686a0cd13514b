"""Command lines and messages of C programs: getopt, err and warn, base names, the system log.

Source: <unistd.h>, <getopt.h>, <err.h>, <libgen.h>.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pielink.emulator.abi import Variadic
from pielink.emulator.libsystem.descriptors import Files, write_all
from pielink.emulator.libsystem.format import format_printf
from pielink.emulator.libsystem.host import message
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.startup import leave
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process


def _number(value: int) -> Any:
    return lambda proc, address: proc.memory.put_u32(address, value)


libsystem.data("optind", 4)(_number(1))
libsystem.data("opterr", 4)(_number(1))
libsystem.data("optopt", 4)(_number(ord("?")))
libsystem.data("optreset", 4)(_number(0))
libsystem.data("optarg", 8)(_number(0))


class _Variables:
    """The addresses of getopt's variables, and the place inside a group of letters."""

    def __init__(self, proc: Process) -> None:
        def at(name: str) -> int:
            address = proc.dyld.emulated_symbol(libsystem, name)
            assert address is not None
            return address

        self.index, self.report, self.letter = at("_optind"), at("_opterr"), at("_optopt")
        self.reset, self.argument = at("_optreset"), at("_optarg")
        self.rest = 0


def _complain(proc: Process, text: str) -> Work:
    if proc.memory.u32(proc.state(_Variables).report):
        name = os.path.basename(proc.path)
        yield from write_all(proc, proc.state(Files).get(2), f"{name}: {text}\n".encode())
    return 0


def _getopt(proc: Process, argc: int, argv: int, letters: bytes) -> Work:
    """One step of getopt: the next letter, -1 at the end, `?` or `:` for a bad one."""
    memory, state = proc.memory, proc.state(_Variables)
    if memory.u32(state.reset):
        memory.put_u32(state.reset, 0)
        state.rest = 0
    index = memory.u32(state.index)
    if not state.rest:
        word = memory.string(memory.u64(argv + 8 * index)) if index < argc else b""
        if not word.startswith(b"-") or word == b"-":
            return -1
        if word == b"--":
            memory.put_u32(state.index, index + 1)
            return -1
        state.rest = memory.u64(argv + 8 * index) + 1
    letter = memory.u8(state.rest)
    state.rest += 1
    memory.put_u32(state.letter, letter)
    more = memory.u8(state.rest) != 0
    at = letters.find(letter) if letter != ord(":") else -1
    takes = at >= 0 and letters[at + 1 : at + 2] == b":"
    memory.put_u64(state.argument, 0)
    if takes and more:
        memory.put_u64(state.argument, state.rest)
    elif takes:
        index += 1
        if index < argc:
            memory.put_u64(state.argument, memory.u64(argv + 8 * index))
    if takes or not more:
        memory.put_u32(state.index, index + 1)
        state.rest = 0
    return (yield from _verdict(proc, letters, letter, at, takes and index >= argc and not more))


def _verdict(proc: Process, letters: bytes, letter: int, at: int, lacks: bool) -> Work:
    quiet = letters.startswith(b":")
    if at < 0:
        if not quiet:
            yield from _complain(proc, f"illegal option -- {chr(letter)}")
        return ord("?")
    if lacks:
        if not quiet:
            yield from _complain(proc, f"option requires an argument -- {chr(letter)}")
        return ord(":") if quiet else ord("?")
    return letter


@libsystem("int getopt(int, char *const *, const char *)")
def getopt(proc: Process, argc: int, argv: int, letters: int) -> Work:
    return _getopt(proc, argc, argv, proc.memory.string(letters).lstrip(b"+-"))


@libsystem("int getopt_long(int, char *const *, const char *, const void *, int *)")
def getopt_long(
    proc: Process, argc: int, argv: int, letters: int, options: int, chosen: int
) -> Work:
    """struct option: name, has_arg, flag, value. Words that are no options are not moved."""
    memory, state = proc.memory, proc.state(_Variables)
    index = memory.u32(state.index)
    address = memory.u64(argv + 8 * index) if index < argc and not state.rest else 0
    word = memory.string(address) if address else b""
    if not word.startswith(b"--") or word == b"--":
        return (yield from _getopt(proc, argc, argv, memory.string(letters).lstrip(b"+-")))
    name, equals, _ = word[2:].partition(b"=")
    memory.put_u32(state.index, index + 1)
    memory.put_u64(state.argument, 0)
    matches = []
    number = 0
    while text := memory.u64(options + 32 * number):
        known = memory.string(text)
        if known.startswith(name):
            matches.append((known != name, number))
        number += 1
    matches.sort()
    exact = [one for one in matches if not one[0]]
    if not matches or (len(matches) > 1 and not exact):
        kind = "ambiguous" if matches else "unrecognized"
        yield from _complain(proc, f"{kind} option `--{name.decode('utf-8', 'replace')}'")
        return ord("?")
    number = (exact or matches)[0][1]
    _, takes, flag, value = memory.unpack("<Qi4xQi", options + 32 * number)
    if takes and equals:
        memory.put_u64(state.argument, address + 2 + len(name) + 1)
    elif takes == 1 and index + 1 < argc:
        memory.put_u64(state.argument, memory.u64(argv + 8 * (index + 1)))
        memory.put_u32(state.index, index + 2)
    elif takes == 1:
        yield from _complain(
            proc, f"option `--{name.decode('utf-8', 'replace')}' needs an argument"
        )
        return ord("?")
    if chosen:
        memory.put_u32(chosen, number)
    if flag:
        memory.put_u32(flag, value)
        return 0
    return value


# -- err and warn


def _report(proc: Process, template: int, rest: Variadic, number: int | None) -> Work:
    text = os.path.basename(proc.path).encode() + b": "
    if template:
        text += format_printf(proc, proc.memory.string(template), rest)
    if number is not None:
        text += (b": " if template else b"") + message(number).encode()
    yield from write_all(proc, proc.state(Files).get(2), text + b"\n")
    return 0


def _errno(proc: Process) -> int:
    return proc.memory.u32(proc.thread.errno_address)


@libsystem("void warn(const char *, ...)")
def warn(proc: Process, template: int, rest: Variadic) -> Work:
    return _report(proc, template, rest, _errno(proc))


@libsystem("void vwarn(const char *, va_list)")
def vwarn(proc: Process, template: int, rest: Variadic) -> Work:
    return _report(proc, template, rest, _errno(proc))


@libsystem("void warnx(const char *, ...)")
def warnx(proc: Process, template: int, rest: Variadic) -> Work:
    return _report(proc, template, rest, None)


@libsystem("void vwarnx(const char *, va_list)")
def vwarnx(proc: Process, template: int, rest: Variadic) -> Work:
    return _report(proc, template, rest, None)


@libsystem("void err(int, const char *, ...)")
def err(proc: Process, status: int, template: int, rest: Variadic) -> Work:
    yield from _report(proc, template, rest, _errno(proc))
    yield from leave(proc, status)


@libsystem("void errx(int, const char *, ...)")
def errx(proc: Process, status: int, template: int, rest: Variadic) -> Work:
    yield from _report(proc, template, rest, None)
    yield from leave(proc, status)


# -- parts of paths


def _path_result(proc: Process, text: bytes) -> int:
    buffer = proc.allocate_data(len(text) + 1)
    proc.memory.write(buffer, text + b"\0")
    return buffer


@libsystem("char *basename(char *)")
def basename(proc: Process, path: int) -> int:
    text = proc.memory.string(path) if path else b""
    return _path_result(proc, os.path.basename(text.rstrip(b"/")) or (text[:1] or b"."))


@libsystem("char *dirname(char *)")
def dirname(proc: Process, path: int) -> int:
    text = proc.memory.string(path) if path else b""
    stripped = text.rstrip(b"/")
    if not stripped:
        return _path_result(proc, text[:1] or b".")
    parent = os.path.dirname(stripped)
    return _path_result(proc, parent.rstrip(b"/") or parent[:1] or b".")


# -- the system log, which nobody reads here


@libsystem("void openlog(const char *, int, int)")
def openlog(proc: Process, name: int, options: int, facility: int) -> None:
    """There is no log."""


@libsystem("void syslog(int, const char *, ...)")
def syslog(proc: Process, priority: int, template: int, rest: Variadic) -> None:
    """There is no log."""


@libsystem("void closelog(void)")
def closelog(proc: Process) -> None:
    """There is no log."""
