"""Host names, users and groups: getaddrinfo, getpwnam and their kin; libresolv.

Source: <netdb.h>, <pwd.h>, <grp.h>.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from typing import TYPE_CHECKING, Any

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.heap import Heap
from pielink.emulator.libsystem.host import ERANGE
from pielink.emulator.libsystem.library import libresolv, libsystem
from pielink.emulator.libsystem.sockets import (
    AF_INET,
    AF_INET6,
    decode_address,
    encode_address,
)

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_ADDRINFO = struct.Struct("<iiiiI4xQQQ")
_FAMILIES = {0: 0, AF_INET: socket.AF_INET, AF_INET6: socket.AF_INET6}
_FROM_HOST = {socket.AF_INET: AF_INET, socket.AF_INET6: AF_INET6}
_EAI_AGAIN, _EAI_FAIL, _EAI_FAMILY, _EAI_NONAME, _EAI_SERVICE, _EAI_OVERFLOW = 2, 4, 5, 8, 9, 14
_EAI = {
    socket.EAI_AGAIN: _EAI_AGAIN,
    socket.EAI_FAIL: _EAI_FAIL,
    socket.EAI_FAMILY: _EAI_FAMILY,
    socket.EAI_NONAME: _EAI_NONAME,
    socket.EAI_NODATA: _EAI_NONAME,
    socket.EAI_SERVICE: _EAI_SERVICE,
}
_MESSAGES = {
    _EAI_AGAIN: b"Temporary failure in name resolution",
    _EAI_FAIL: b"Non-recoverable failure in name resolution",
    _EAI_FAMILY: b"ai_family not supported",
    _EAI_NONAME: b"nodename nor servname provided, or not known",
    _EAI_SERVICE: b"servname not supported for ai_socktype",
    _EAI_OVERFLOW: b"argument buffer overflow",
}
_AI_PASSIVE, _AI_CANONNAME, _AI_NUMERICHOST = 1, 2, 4
_HOST_FLAGS = {
    _AI_PASSIVE: socket.AI_PASSIVE,
    _AI_CANONNAME: socket.AI_CANONNAME,
    _AI_NUMERICHOST: socket.AI_NUMERICHOST,
    0x1000: socket.AI_NUMERICSERV,
}


def _resolve(proc: Process, node: int, service: int, hints: int) -> list[Any]:
    flags = family = kind = protocol = 0
    if hints:
        flags, family, kind, protocol = proc.memory.unpack("<iiii", hints)
    if family not in _FAMILIES:
        raise socket.gaierror(socket.EAI_FAMILY, "family")
    host_flags = sum(value for bit, value in _HOST_FLAGS.items() if flags & bit)
    name = proc.memory.string(node).decode() if node else None
    port = proc.memory.string(service).decode() if service else None
    return socket.getaddrinfo(name, port, _FAMILIES[family], kind, protocol, host_flags)


@libsystem("int getaddrinfo(const char *, const char *, const void *, void *)")
def getaddrinfo(proc: Process, node: int, service: int, hints: int, out: int) -> int:
    try:
        found = _resolve(proc, node, service, hints)
    except (socket.gaierror, UnicodeError) as error:
        return _EAI.get(getattr(error, "errno", 0) or 0, _EAI_FAIL)
    heap, following = proc.state(Heap), 0
    for family, kind, protocol, canonical, address in reversed(found):
        if family not in _FROM_HOST:
            continue
        data = encode_address(family, address)
        name = canonical.encode() + b"\0" if canonical else b""
        node_at = heap.allocate(_ADDRINFO.size + len(data) + len(name))
        data_at = node_at + _ADDRINFO.size
        name_at = data_at + len(data) if name else 0
        head = _ADDRINFO.pack(
            0, _FROM_HOST[family], kind, protocol, len(data), name_at, data_at, following
        )
        proc.memory.write(node_at, head + data + name)
        following = node_at
    proc.memory.put_u64(out, following)
    return 0 if following else _EAI_NONAME


@libsystem("void freeaddrinfo(void *)")
def freeaddrinfo(proc: Process, address: int) -> None:
    while address:
        following = _ADDRINFO.unpack(proc.memory.read(address, _ADDRINFO.size))[7]
        proc.state(Heap).free(address)
        address = following


@libsystem("int getnameinfo(const void *, socklen_t, char *, socklen_t, char *, socklen_t, int)")
def getnameinfo(
    proc: Process,
    address: int,
    size: int,
    host_out: int,
    host_size: int,
    service_out: int,
    service_size: int,
    flags: int,
) -> int:
    known = {1: 1 << 2, 2: 1 << 0, 4: 1 << 3, 8: 1 << 1, 16: 1 << 4}  # NI_* of Darwin, of Linux
    host_flags = sum(value for bit, value in known.items() if flags & bit)
    try:
        _, target = decode_address(proc.memory.read(address, min(size, 128)))
        name, service = socket.getnameinfo(target, host_flags)
    except Errno:
        return _EAI_FAMILY
    except socket.gaierror as error:
        return _EAI.get(error.errno or 0, _EAI_FAIL)
    for text, out, room in ((name, host_out, host_size), (service, service_out, service_size)):
        if out:
            if len(text) >= room:
                return _EAI_OVERFLOW
            proc.memory.write(out, text.encode() + b"\0")
    return 0


@libsystem("const char *gai_strerror(int)")
def gai_strerror(proc: Process, code: int) -> int:
    text = _MESSAGES.get(code, b"Unknown error") + b"\0"
    address = proc.allocate_data(len(text))
    proc.memory.write(address, text)
    return address


@libsystem("unsigned int if_nametoindex(const char *)")
def if_nametoindex(proc: Process, name: int) -> int:
    try:
        return socket.if_nametoindex(proc.memory.string(name).decode())
    except OSError:
        raise Errno(6, 0) from None


# -- libresolv: queries go through the host's resolver, so there is nothing to initialise


@libresolv("int res_9_ninit(void *)")
def res_ninit(proc: Process, state: int) -> None:
    """No configuration of its own."""


@libresolv("void res_9_nclose(void *)")
def res_nclose(proc: Process, state: int) -> None:
    """Nothing is held."""


# -- users and groups

_PASSWD = struct.Struct("<QQIIqQQQQqi4x")
_GROUP = struct.Struct("<QQI4xQ")


def _put_strings(proc: Process, buffer: int, size: int, texts: list[bytes]) -> list[int]:
    """Write strings one after the other; Errno(ERANGE) when they do not fit."""
    addresses, at = [], buffer
    for text in texts:
        if at + len(text) + 1 > buffer + size:
            raise Errno(ERANGE)
        proc.memory.write(at, text + b"\0")
        addresses.append(at)
        at += len(text) + 1
    return addresses


def _put_passwd(proc: Process, entry: pwd.struct_passwd, out: int, buffer: int, size: int) -> None:
    fields = (entry.pw_name, "*", "", entry.pw_gecos, entry.pw_dir, entry.pw_shell)
    texts = [os.fsencode(text) for text in fields]
    name, password, kind, gecos, home, shell = _put_strings(proc, buffer, size, texts)
    record = _PASSWD.pack(
        name, password, entry.pw_uid, entry.pw_gid, 0, kind, gecos, home, shell, 0, 0
    )
    proc.memory.write(out, record)


def _put_group(proc: Process, entry: grp.struct_group, out: int, buffer: int, size: int) -> None:
    members = [os.fsencode(member) for member in entry.gr_mem]
    table = buffer + 8 * (len(members) + 1)
    if table > buffer + size:
        raise Errno(ERANGE)
    texts = [os.fsencode(entry.gr_name), b"*", *members]
    name, password, *addresses = _put_strings(proc, table, buffer + size - table, texts)
    proc.memory.pack(f"<{len(members) + 1}Q", buffer, *addresses, 0)
    proc.memory.write(out, _GROUP.pack(name, password, entry.gr_gid, buffer))


def _lookup(
    proc: Process, find: Any, put: Any, out: int, buffer: int, size: int, result: int
) -> int:
    """The common part of the get*_r functions."""
    proc.memory.put_u64(result, 0)
    try:
        put(proc, find(), out, buffer, size)
    except KeyError:
        return 0
    except Errno as failure:
        return failure.number
    proc.memory.put_u64(result, out)
    return 0


@libsystem("int getpwnam_r(const char *, void *, char *, size_t, void *)")
def getpwnam_r(proc: Process, name: int, out: int, buffer: int, size: int, result: int) -> int:
    text = os.fsdecode(proc.memory.string(name))
    return _lookup(proc, lambda: pwd.getpwnam(text), _put_passwd, out, buffer, size, result)


@libsystem("int getpwuid_r(uid_t, void *, char *, size_t, void *)")
def getpwuid_r(proc: Process, uid: int, out: int, buffer: int, size: int, result: int) -> int:
    return _lookup(proc, lambda: pwd.getpwuid(uid), _put_passwd, out, buffer, size, result)


@libsystem("int getgrnam_r(const char *, void *, char *, size_t, void *)")
def getgrnam_r(proc: Process, name: int, out: int, buffer: int, size: int, result: int) -> int:
    text = os.fsdecode(proc.memory.string(name))
    return _lookup(proc, lambda: grp.getgrnam(text), _put_group, out, buffer, size, result)


@libsystem("int getgrgid_r(gid_t, void *, char *, size_t, void *)")
def getgrgid_r(proc: Process, gid: int, out: int, buffer: int, size: int, result: int) -> int:
    return _lookup(proc, lambda: grp.getgrgid(gid), _put_group, out, buffer, size, result)


def _static(proc: Process, find: Any, put: Any, size: int) -> int:
    """The common part of the functions that return memory of their own."""
    heap = proc.state(Heap)
    out, buffer = heap.allocate(size), heap.allocate(4096)
    try:
        put(proc, find(), out, buffer, 4096)
    except KeyError:
        return 0
    return out


@libsystem("void *getpwnam(const char *)")
def getpwnam(proc: Process, name: int) -> int:
    text = os.fsdecode(proc.memory.string(name))
    return _static(proc, lambda: pwd.getpwnam(text), _put_passwd, _PASSWD.size)


@libsystem("void *getpwuid(uid_t)")
def getpwuid(proc: Process, uid: int) -> int:
    return _static(proc, lambda: pwd.getpwuid(uid), _put_passwd, _PASSWD.size)


@libsystem("void *getgrgid(gid_t)")
def getgrgid(proc: Process, gid: int) -> int:
    return _static(proc, lambda: grp.getgrgid(gid), _put_group, _GROUP.size)


@libsystem("void *getgrnam(const char *)")
def getgrnam(proc: Process, name: int) -> int:
    text = os.fsdecode(proc.memory.string(name))
    return _static(proc, lambda: grp.getgrnam(text), _put_group, _GROUP.size)


@libsystem("int getgrouplist(const char *, int, int *, int *)")
def getgrouplist(proc: Process, name: int, group: int, out: int, count_at: int) -> int:
    try:
        found = os.getgrouplist(os.fsdecode(proc.memory.string(name)), group)
    except KeyError:
        found = [group]
    room = proc.memory.u32(count_at)
    kept = found[:room]
    proc.memory.pack(f"<{len(kept)}I", out, *kept)
    proc.memory.put_u32(count_at, len(found) if room < len(found) else len(kept))
    return -1 if room < len(found) else 0
