"""Internet addresses as text. Source: <arpa/inet.h>, <netinet/in.h>."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.host import EAFNOSUPPORT
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.libsystem.sockets import AF_INET, AF_INET6

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_KINDS = {AF_INET: (socket.AF_INET, 4), AF_INET6: (socket.AF_INET6, 16)}
_ENOSPC = 28
_NONE = 0xFFFF_FFFF


@libsystem("const char *inet_ntop(int, const void *, char *, socklen_t)")
def inet_ntop(proc: Process, family: int, address: int, out: int, size: int) -> int:
    if family not in _KINDS:
        raise Errno(EAFNOSUPPORT, 0)
    kind, length = _KINDS[family]
    text = socket.inet_ntop(kind, proc.memory.read(address, length)).encode() + b"\0"
    if len(text) > size:
        raise Errno(_ENOSPC, 0)
    proc.memory.write(out, text)
    return out


@libsystem("int inet_pton(int, const char *, void *)")
def inet_pton(proc: Process, family: int, text: int, out: int) -> int:
    if family not in _KINDS:
        raise Errno(EAFNOSUPPORT)
    try:
        packed = socket.inet_pton(_KINDS[family][0], proc.memory.string(text, 64).decode())
    except (OSError, UnicodeError):
        return 0
    proc.memory.write(out, packed)
    return 1


def _parse(proc: Process, text: int) -> bytes | None:
    try:
        return socket.inet_aton(proc.memory.string(text, 64).decode())
    except (OSError, UnicodeError):
        return None


@libsystem("int inet_aton(const char *, void *)")
def inet_aton(proc: Process, text: int, out: int) -> int:
    packed = _parse(proc, text)
    if packed is not None:
        proc.memory.write(out, packed)
    return int(packed is not None)


@libsystem("uint32_t inet_addr(const char *)")
def inet_addr(proc: Process, text: int) -> int:
    packed = _parse(proc, text)
    return _NONE if packed is None else int.from_bytes(packed, "little")


class Text:
    """The buffer of inet_ntoa."""

    def __init__(self, proc: Process) -> None:
        self.address = proc.allocate_data(16)


@libsystem("char *inet_ntoa(uint32_t)")
def inet_ntoa(proc: Process, address: int) -> int:
    buffer = proc.state(Text).address
    text = socket.inet_ntoa(address.to_bytes(4, "little")).encode()
    proc.memory.write(buffer, text + b"\0")
    return buffer


@libsystem.data("in6addr_any", 16)
def in6addr_any(proc: Process, address: int) -> None:
    proc.memory.write(address, bytes(16))


@libsystem.data("in6addr_loopback", 16)
def in6addr_loopback(proc: Process, address: int) -> None:
    proc.memory.write(address, bytes(15) + b"\1")
