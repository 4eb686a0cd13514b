"""Sockets, on the host's network. Source: <sys/socket.h>, <netinet/in.h>, <sys/un.h>.

Darwin's sockaddr begins with a length byte, and AF_INET6, the socket options and some flags have
other numbers than on the host; tables translate them.
"""

from __future__ import annotations

import errno
import functools
import os
import socket as host_socket
import struct
from typing import TYPE_CHECKING, Any

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.descriptors import (
    READABLE,
    WRITABLE,
    Files,
    OpenFile,
    ready_wait,
    scatter,
    transfer,
    vectors,
)
from pielink.emulator.libsystem.host import (
    EAFNOSUPPORT,
    EINPROGRESS,
    EINVAL,
    ENOPROTOOPT,
    ENOTSOCK,
    EPIPE,
    darwin_errno,
    host,
)
from pielink.emulator.libsystem.library import libsystem
from pielink.emulator.signals import SIGPIPE
from pielink.emulator.threads import Work

if TYPE_CHECKING:
    from pielink.emulator.process import Process

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 30
_FAMILIES = {
    AF_UNIX: host_socket.AF_UNIX,
    AF_INET: host_socket.AF_INET,
    AF_INET6: host_socket.AF_INET6,
}
_SOL_SOCKET, _SO_ERROR, _SO_LINGER, _SO_NOSIGPIPE = 0xFFFF, 0x1007, 0x80, 0x1022
_IP, _TCP, _IPV6 = host_socket.IPPROTO_IP, host_socket.IPPROTO_TCP, host_socket.IPPROTO_IPV6
_HOST_SOCKET = host_socket.SOL_SOCKET
_OPTIONS = {
    (_SOL_SOCKET, 0x2): (_HOST_SOCKET, host_socket.SO_ACCEPTCONN),
    (_SOL_SOCKET, 0x4): (_HOST_SOCKET, host_socket.SO_REUSEADDR),
    (_SOL_SOCKET, 0x8): (_HOST_SOCKET, host_socket.SO_KEEPALIVE),
    (_SOL_SOCKET, 0x10): (_HOST_SOCKET, host_socket.SO_DONTROUTE),
    (_SOL_SOCKET, 0x20): (_HOST_SOCKET, host_socket.SO_BROADCAST),
    (_SOL_SOCKET, 0x100): (_HOST_SOCKET, host_socket.SO_OOBINLINE),
    (_SOL_SOCKET, 0x200): (_HOST_SOCKET, host_socket.SO_REUSEPORT),
    (_SOL_SOCKET, 0x1001): (_HOST_SOCKET, host_socket.SO_SNDBUF),
    (_SOL_SOCKET, 0x1002): (_HOST_SOCKET, host_socket.SO_RCVBUF),
    (_SOL_SOCKET, _SO_ERROR): (_HOST_SOCKET, host_socket.SO_ERROR),
    (_SOL_SOCKET, 0x1008): (_HOST_SOCKET, host_socket.SO_TYPE),
    (_IP, 4): (_IP, host_socket.IP_TTL),
    (_IP, 10): (_IP, host_socket.IP_MULTICAST_TTL),
    (_IP, 11): (_IP, host_socket.IP_MULTICAST_LOOP),
    (_TCP, 0x1): (_TCP, host_socket.TCP_NODELAY),
    (_TCP, 0x10): (_TCP, host_socket.TCP_KEEPIDLE),
    (_TCP, 0x101): (_TCP, host_socket.TCP_KEEPINTVL),
    (_TCP, 0x102): (_TCP, host_socket.TCP_KEEPCNT),
    (_IPV6, 4): (_IPV6, host_socket.IPV6_UNICAST_HOPS),
    (_IPV6, 10): (_IPV6, host_socket.IPV6_MULTICAST_HOPS),
    (_IPV6, 11): (_IPV6, host_socket.IPV6_MULTICAST_LOOP),
    (_IPV6, 27): (_IPV6, host_socket.IPV6_V6ONLY),
}
_MESSAGE_FLAGS = {
    0x1: host_socket.MSG_OOB,
    0x2: host_socket.MSG_PEEK,
    0x4: host_socket.MSG_DONTROUTE,
    0x40: host_socket.MSG_WAITALL,
    0x80: host_socket.MSG_DONTWAIT,
}
_MSG_TRUNC = 0x10


def encode_address(family: int, address: Any) -> bytes:
    """A host socket address as a Darwin sockaddr."""
    if family == host_socket.AF_INET:
        packed = host_socket.inet_aton(address[0])
        return struct.pack(">BBH4s8x", 16, AF_INET, address[1], packed)
    if family == host_socket.AF_INET6:
        packed = host_socket.inet_pton(host_socket.AF_INET6, address[0].partition("%")[0])
        head = struct.pack(">BBHI16s", 28, AF_INET6, address[1], address[2], packed)
        return head + struct.pack("<I", address[3])
    name = address.encode() if isinstance(address, str) else address or b""
    return struct.pack("BB", min(len(name) + 3, 106), AF_UNIX) + name[:103] + b"\0"


def decode_address(data: bytes) -> tuple[int, Any]:
    """A Darwin sockaddr as the host's family and address."""
    family = data[1] if len(data) > 1 else -1
    if family == AF_INET and len(data) >= 16:
        port, packed = struct.unpack_from(">H4s", data, 2)
        return host_socket.AF_INET, (host_socket.inet_ntoa(packed), port)
    if family == AF_INET6 and len(data) >= 28:
        port, flow, packed = struct.unpack_from(">HI16s", data, 2)
        (scope,) = struct.unpack_from("<I", data, 24)
        text = host_socket.inet_ntop(host_socket.AF_INET6, packed)
        return host_socket.AF_INET6, (text, port, flow, scope)
    if family == AF_UNIX:
        return host_socket.AF_UNIX, data[2:].split(b"\0", 1)[0]
    raise Errno(EAFNOSUPPORT)


def _socket(proc: Process, fd: int) -> tuple[OpenFile, host_socket.socket]:
    file = proc.state(Files).get(fd)
    if not isinstance(file.extra, host_socket.socket):
        raise Errno(ENOTSOCK)
    return file, file.extra


def _add(proc: Process, sock: host_socket.socket) -> int:
    sock.setblocking(False)
    return proc.state(Files).add(OpenFile(sock.fileno(), extra=sock))


def _put_address(proc: Process, data: bytes, out: int, size_at: int) -> None:
    if out and size_at:
        proc.memory.write(out, data[: proc.memory.u32(size_at)])
        proc.memory.put_u32(size_at, len(data))


@libsystem("int socket(int, int, int)")
def socket(proc: Process, family: int, kind: int, protocol: int) -> int:
    if family not in _FAMILIES:
        raise Errno(EAFNOSUPPORT)
    return _add(proc, host(host_socket.socket, _FAMILIES[family], kind, protocol))


@libsystem("int socketpair(int, int, int, int *)")
def socketpair(proc: Process, family: int, kind: int, protocol: int, out: int) -> None:
    if family != AF_UNIX:
        raise Errno(EAFNOSUPPORT)
    pair = host(host_socket.socketpair, host_socket.AF_UNIX, kind, protocol)
    proc.memory.pack("<ii", out, *(_add(proc, one) for one in pair))


@libsystem("int bind(int, const void *, socklen_t)")
def bind(proc: Process, fd: int, address: int, size: int) -> None:
    _, sock = _socket(proc, fd)
    host(sock.bind, decode_address(proc.memory.read(address, min(size, 256)))[1])


@libsystem("int listen(int, int)")
def listen(proc: Process, fd: int, backlog: int) -> None:
    host(_socket(proc, fd)[1].listen, max(0, backlog))


@libsystem("int accept(int, void *, socklen_t *)", "accept$NOCANCEL")
def accept(proc: Process, fd: int, out: int, size_at: int) -> Work:
    file, sock = _socket(proc, fd)
    connection, address = yield from transfer(file, READABLE, sock.accept)
    number = _add(proc, connection)
    # on Darwin the new socket inherits the listener's non-blocking mode
    proc.state(Files).get(number).nonblocking = file.nonblocking
    _put_address(proc, encode_address(sock.family, address), out, size_at)
    return number


@libsystem("int connect(int, const void *, socklen_t)", "connect$NOCANCEL")
def connect(proc: Process, fd: int, address: int, size: int) -> Work:
    file, sock = _socket(proc, fd)
    _, target = decode_address(proc.memory.read(address, min(size, 256)))
    code = host(sock.connect_ex, target)
    if code in (errno.EINPROGRESS, errno.EAGAIN):
        if file.nonblocking:
            raise Errno(EINPROGRESS)
        yield ready_wait(file, WRITABLE)
        code = sock.getsockopt(_HOST_SOCKET, host_socket.SO_ERROR)
    if code:
        raise Errno(darwin_errno(code))
    return 0


@libsystem("int getsockname(int, void *, socklen_t *)")
def getsockname(proc: Process, fd: int, out: int, size_at: int) -> None:
    _, sock = _socket(proc, fd)
    address = host(sock.getsockname)
    _put_address(proc, encode_address(sock.family, address), out, size_at)


@libsystem("int getpeername(int, void *, socklen_t *)")
def getpeername(proc: Process, fd: int, out: int, size_at: int) -> None:
    _, sock = _socket(proc, fd)
    address = host(sock.getpeername)
    _put_address(proc, encode_address(sock.family, address), out, size_at)


@libsystem("int shutdown(int, int)")
def shutdown(proc: Process, fd: int, how: int) -> None:
    host(_socket(proc, fd)[1].shutdown, how)


@libsystem("int setsockopt(int, int, int, const void *, socklen_t)")
def setsockopt(proc: Process, fd: int, level: int, option: int, value: int, size: int) -> None:
    _, sock = _socket(proc, fd)
    if (level, option) == (_SOL_SOCKET, _SO_NOSIGPIPE):
        return
    if (level, option) == (_SOL_SOCKET, _SO_LINGER):
        host(sock.setsockopt, _HOST_SOCKET, host_socket.SO_LINGER, proc.memory.read(value, 8))
        return
    if (level, option) not in _OPTIONS:
        raise Errno(ENOPROTOOPT)
    if size < 4:
        raise Errno(EINVAL)
    (number,) = proc.memory.unpack("<i", value)
    host(sock.setsockopt, *_OPTIONS[level, option], number)


@libsystem("int getsockopt(int, int, int, void *, socklen_t *)")
def getsockopt(proc: Process, fd: int, level: int, option: int, out: int, size_at: int) -> None:
    _, sock = _socket(proc, fd)
    if (level, option) not in _OPTIONS:
        raise Errno(ENOPROTOOPT)
    value = host(sock.getsockopt, *_OPTIONS[level, option])
    if option == _SO_ERROR:
        value = darwin_errno(value) if value else 0
    proc.memory.put_u32(out, value)
    proc.memory.put_u32(size_at, 4)


# -- messages


def _flags(flags: int) -> int:
    result = 0
    for bit, value in _MESSAGE_FLAGS.items():
        if flags & bit:
            result |= value
    return result


def _send(proc: Process, fd: int, data: bytes, flags: int, target: Any, control: list[Any]) -> Work:
    file, sock = _socket(proc, fd)
    options = (_flags(flags) | host_socket.MSG_NOSIGNAL, target)
    done = 0
    while True:
        rights = [] if done else control
        attempt = functools.partial(sock.sendmsg, [data[done:]], rights, *options)
        try:
            done += yield from transfer(file, WRITABLE, attempt)
        except Errno as failure:
            if failure.number == EPIPE:
                proc.signals.send(SIGPIPE, proc.thread)
            raise
        if file.nonblocking or done >= len(data) or sock.type != host_socket.SOCK_STREAM:
            return done


@libsystem("ssize_t sendto(int, const void *, size_t, int, const void *, socklen_t)")
def sendto(
    proc: Process, fd: int, data: int, size: int, flags: int, address: int, length: int
) -> Work:
    target = decode_address(proc.memory.read(address, min(length, 256)))[1] if address else None
    return _send(proc, fd, proc.memory.read(data, size), flags, target, [])


@libsystem("ssize_t send(int, const void *, size_t, int)")
def send(proc: Process, fd: int, data: int, size: int, flags: int) -> Work:
    return _send(proc, fd, proc.memory.read(data, size), flags, None, [])


@libsystem("ssize_t recvfrom(int, void *, size_t, int, void *, socklen_t *)")
def recvfrom(
    proc: Process, fd: int, buffer: int, size: int, flags: int, out: int, size_at: int
) -> Work:
    file, sock = _socket(proc, fd)
    data, address = yield from transfer(
        file, READABLE, lambda: sock.recvfrom(min(size, 1 << 22), _flags(flags))
    )
    proc.memory.write(buffer, data)
    if address:
        _put_address(proc, encode_address(sock.family, address), out, size_at)
    elif size_at:
        proc.memory.put_u32(size_at, 0)
    return len(data)


@libsystem("ssize_t recv(int, void *, size_t, int)")
def recv(proc: Process, fd: int, buffer: int, size: int, flags: int) -> Work:
    return recvfrom(proc, fd, buffer, size, flags, 0, 0)


_MSGHDR = "<QI4xQi4xQIi"  # name, namelen, iov, iovlen, control, controllen, flags


def _host_rights(proc: Process, control: int, size: int) -> list[Any]:
    """SCM_RIGHTS messages: the program's descriptors as the host's."""
    messages, at = [], 0
    while at + 12 <= size:
        length, level, kind = proc.memory.unpack("<Iii", control + at)
        if length < 12:
            raise Errno(EINVAL)
        count = (min(length, size - at) - 12) // 4
        numbers = proc.memory.unpack(f"<{count}i", control + at + 12)
        if (level, kind) != (_SOL_SOCKET, 1):
            raise Errno(EINVAL)
        fds = [proc.state(Files).get(number).fd for number in numbers]
        packed = struct.pack(f"{count}i", *fds)
        messages.append((_HOST_SOCKET, host_socket.SCM_RIGHTS, packed))
        at += (length + 3) & -4
    return messages


def _guest_rights(proc: Process, messages: list[Any]) -> bytes:
    """Received SCM_RIGHTS as Darwin control messages, with descriptors of the program."""
    result = b""
    for level, kind, data in messages:
        if (level, kind) != (_HOST_SOCKET, host_socket.SCM_RIGHTS):
            continue
        numbers = []
        for (fd,) in struct.iter_unpack("i", data[: len(data) & -4]):
            os.set_blocking(fd, False)
            numbers.append(proc.state(Files).add(OpenFile(fd)))
        body = struct.pack(f"<{len(numbers)}i", *numbers)
        result += struct.pack("<Iii", 12 + len(body), _SOL_SOCKET, 1) + body
    return result


@libsystem("ssize_t sendmsg(int, const void *, int)")
def sendmsg(proc: Process, fd: int, message: int, flags: int) -> Work:
    name, length, iov, count, control, size, _ = proc.memory.unpack(_MSGHDR, message)
    target = decode_address(proc.memory.read(name, min(length, 256)))[1] if name else None
    data = b"".join(proc.memory.read(*part) for part in vectors(proc, iov, count))
    rights = _host_rights(proc, control, size) if control else []
    return _send(proc, fd, data, flags, target, rights)


@libsystem("ssize_t recvmsg(int, void *, int)")
def recvmsg(proc: Process, fd: int, message: int, flags: int) -> Work:
    memory = proc.memory
    file, sock = _socket(proc, fd)
    name, length, iov, count, control, size, _ = memory.unpack(_MSGHDR, message)
    targets = vectors(proc, iov, count)
    room = min(sum(part for _, part in targets), 1 << 22)
    data, ancillary, seen, address = yield from transfer(
        file, READABLE, lambda: sock.recvmsg(room, 4096 if control else 0, _flags(flags))
    )
    scatter(proc, targets, data)
    result = _MSG_TRUNC if seen & host_socket.MSG_TRUNC else 0
    if name:
        encoded = encode_address(sock.family, address) if address else b""
        memory.write(name, encoded[:length])
        memory.put_u32(message + 8, len(encoded))
    if control:
        rights = _guest_rights(proc, ancillary)[:size]
        memory.write(control, rights)
        memory.put_u32(message + 40, len(rights))
    memory.put_u32(message + 44, result)
    return len(data)


@libsystem("int sendfile(int, int, off_t, off_t *, void *, int)")
def sendfile(
    proc: Process, fd: int, sock: int, offset: int, length_at: int, headers: int, flags: int
) -> Work:
    files, memory = proc.state(Files), proc.memory
    source, target = files.get(fd), files.get(sock)
    wanted, sent = memory.u64(length_at) or 1 << 40, 0
    try:
        while sent < wanted:
            place = (offset + sent, min(wanted - sent, 1 << 20))
            attempt = functools.partial(os.sendfile, target.fd, source.fd, *place)
            done = yield from transfer(target, WRITABLE, attempt)
            sent += done
            if not done or target.nonblocking:
                break
    finally:
        memory.put_u64(length_at, sent)
    return 0
