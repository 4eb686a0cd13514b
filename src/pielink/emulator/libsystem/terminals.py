"""Pseudo terminals: the host's, under their Darwin names. Source: <stdlib.h>, <util.h>."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import O_NONBLOCK, Files, OpenFile, host_flags
from pielink.emulator.libsystem.host import ENOTTY, ERANGE, host
from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_SET_LOCK = getattr(termios, "TIOCSPTLCK", 0x40045431)
_GET_NUMBER = getattr(termios, "TIOCGPTN", 0x80045430)


@libsystem("int posix_openpt(int)")
def posix_openpt(proc: Process, flags: int) -> int:
    fd = host(os.open, "/dev/ptmx", host_flags(flags) | os.O_NONBLOCK)
    return proc.state(Files).add(OpenFile(fd, nonblocking=bool(flags & O_NONBLOCK)))


@libsystem("int grantpt(int)")
def grantpt(proc: Process, fd: int) -> None:
    """The host gives the other end to this user when it is opened."""
    _name(proc, fd)


@libsystem("int unlockpt(int)")
def unlockpt(proc: Process, fd: int) -> None:
    host(fcntl.ioctl, proc.state(Files).get(fd).fd, _SET_LOCK, struct.pack("i", 0))


def _name(proc: Process, fd: int) -> bytes:
    """The path of the other end."""
    answer = bytearray(4)
    try:
        host(fcntl.ioctl, proc.state(Files).get(fd).fd, _GET_NUMBER, answer)
    except Errno as failure:
        raise Errno(ENOTTY) from failure
    return b"/dev/pts/%d" % int.from_bytes(answer, sys.byteorder)


class Name:
    """The buffer of ptsname."""

    def __init__(self, proc: Process) -> None:
        self.address = proc.allocate_data(64)


@libsystem("char *ptsname(int)")
def ptsname(proc: Process, fd: int) -> int:
    address = proc.state(Name).address
    proc.memory.write(address, _name(proc, fd) + b"\0")
    return address


@libsystem("int ptsname_r(int, char *, size_t)")
def ptsname_r(proc: Process, fd: int, out: int, size: int) -> int:
    name = _name(proc, fd) + b"\0"
    if len(name) > size:
        return ERANGE
    proc.memory.write(out, name)
    return 0
