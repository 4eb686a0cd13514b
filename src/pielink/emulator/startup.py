"""The life of the main thread: what the kernel and dyld do before `main`, and `exit` after it.

The kernel puts argc, argv, envp and the "apple" strings on the stack. A program with LC_MAIN is
called as `main(argc, argv, envp, apple)`; one with LC_UNIXTHREAD starts at its entry with the
stack pointer at argc. Initializers run before either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pielink.emulator.abi import signed32
from pielink.emulator.errors import GuestExit
from pielink.emulator.threads import Call, Enter, Thread, Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process


@dataclass(frozen=True)
class Vectors:
    """Where the arguments are: `sp` points at argc."""

    sp: int
    argc: int
    argv: int
    envp: int
    apple: int


def os_bytes(text: str) -> bytes:
    """A host string as the bytes it came from."""
    return text.encode("utf-8", "surrogateescape")


def _strings(proc: Process, thread: Thread) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """argv, envp and apple."""
    stack = f"{thread.stack_high:#x},{thread.stack_high - thread.stack_low:#x}"
    argv = [os_bytes(argument) for argument in proc.arguments]
    envp = [os_bytes(f"{key}={value}") for key, value in proc.environment.items()]
    apple = [
        os_bytes(f"executable_path={proc.path}"),
        b"stack_guard=%#x" % (proc.random.getrandbits(56) << 8),
        b"malloc_entropy=%#x,%#x" % (proc.random.getrandbits(64), proc.random.getrandbits(64)),
        b"main_stack=" + stack.encode(),
    ]
    return argv, envp, apple


def build_stack(proc: Process, thread: Thread) -> Vectors:
    """Write the strings and the vectors to the top of the main thread's stack."""
    memory, top = proc.memory, thread.stack_high - 64
    groups = []
    for group in _strings(proc, thread):
        addresses = []
        for text in group:
            top -= len(text) + 1
            memory.write(top, text + b"\0")
            addresses.append(top)
        groups.append(addresses)
    argv, envp, apple = groups
    words = [len(argv), *argv, 0, *envp, 0, *apple, 0]
    sp = (top - 8 * len(words)) & -16
    memory.pack(f"<{len(words)}Q", sp, *words)
    envp_at = sp + 8 * (len(argv) + 2)
    return Vectors(sp, len(argv), sp + 8, envp_at, envp_at + 8 * (len(envp) + 1))


def main_thread(proc: Process, vectors: Vectors) -> Work:
    """Initializers, the program, exit."""
    main, arguments = proc.dyld.main, (vectors.argc, vectors.argv, vectors.envp, vectors.apple)
    proc.argv_address, proc.environ_address = vectors.argv, vectors.envp
    for function in proc.dyld.initializers(main):
        yield Call(function, *arguments, 0)
    if main.image.main_offset is not None:
        status = yield Call(main.header + main.image.main_offset, *arguments)
        yield from leave(proc, signed32(status))
    else:
        assert main.image.thread_pc is not None
        yield Enter(main.image.thread_pc + main.slide, vectors.sp)


def leave(proc: Process, status: int) -> Work:
    """exit(3): thread-local destructors, atexit functions, terminators, buffered output."""
    exits = proc.state(ExitFunctions)
    thread = proc.thread
    while thread.exit_functions:
        yield Call(*thread.exit_functions.pop())
    while exits.functions:
        yield Call(*exits.functions.pop())
    for function in proc.dyld.terminators():
        yield Call(function)
    for flush in exits.flushers:
        flush()
    raise GuestExit(status & 0xFF)


class ExitFunctions:
    """What exit(3) must call: functions with their arguments, and the emulator's own flushes."""

    def __init__(self, proc: Process) -> None:
        self.functions: list[tuple[int, ...]] = []
        self.flushers: list[Callable[[], None]] = []
