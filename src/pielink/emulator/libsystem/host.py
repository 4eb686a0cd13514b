"""From the host's errors to Darwin's.

Most error numbers below 35 are the same on Linux and Darwin; the table holds the others.

Source: Darwin's <sys/errno.h>.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, TypeVar

from pielink.emulator.errors import Errno

R = TypeVar("R")

EPERM, ENOENT, ESRCH, EIO, EBADF, ECHILD, EDEADLK, ENOMEM, EACCES = 1, 2, 3, 5, 9, 10, 11, 12, 13
EBUSY, EINVAL, ENOTTY, EPIPE, ERANGE, EAGAIN, EINPROGRESS = 16, 22, 25, 32, 34, 35, 36
ENOTSOCK, ENOPROTOOPT, ENOTSUP, EAFNOSUPPORT, ETIMEDOUT = 38, 42, 45, 47, 60
ENOSYS, EILSEQ, ENODATA = 78, 92, 96

_DIFFERENT = {
    "EDEADLK": 11,
    "EAGAIN": 35,
    "EINPROGRESS": 36,
    "EALREADY": 37,
    "ENOTSOCK": 38,
    "EDESTADDRREQ": 39,
    "EMSGSIZE": 40,
    "EPROTOTYPE": 41,
    "ENOPROTOOPT": 42,
    "EPROTONOSUPPORT": 43,
    "ESOCKTNOSUPPORT": 44,
    "ENOTSUP": 45,
    "EPFNOSUPPORT": 46,
    "EAFNOSUPPORT": 47,
    "EADDRINUSE": 48,
    "EADDRNOTAVAIL": 49,
    "ENETDOWN": 50,
    "ENETUNREACH": 51,
    "ENETRESET": 52,
    "ECONNABORTED": 53,
    "ECONNRESET": 54,
    "ENOBUFS": 55,
    "EISCONN": 56,
    "ENOTCONN": 57,
    "ESHUTDOWN": 58,
    "ETIMEDOUT": 60,
    "ECONNREFUSED": 61,
    "ELOOP": 62,
    "ENAMETOOLONG": 63,
    "EHOSTDOWN": 64,
    "EHOSTUNREACH": 65,
    "ENOTEMPTY": 66,
    "EUSERS": 68,
    "EDQUOT": 69,
    "ESTALE": 70,
    "ENOLCK": 77,
    "ENOSYS": 78,
    "EOVERFLOW": 84,
    "ECANCELED": 89,
    "EIDRM": 90,
    "ENOMSG": 91,
    "EILSEQ": 92,
    "EBADMSG": 94,
    "ENODATA": 96,
    "EPROTO": 100,
    "ETIME": 101,
    "EOPNOTSUPP": 45,
}
_FROM_HOST = {
    getattr(errno, name): number for name, number in _DIFFERENT.items() if hasattr(errno, name)
}
_MESSAGES = {EAGAIN: "Resource temporarily unavailable", ENOTSUP: "Operation not supported"}
_TO_HOST = {number: host for host, number in _FROM_HOST.items()}


def darwin_errno(number: int | None) -> int:
    """Darwin's number for a host error."""
    return EIO if number is None else _FROM_HOST.get(number, number)


def message(number: int) -> str:
    """strerror."""
    if number in _MESSAGES:
        return _MESSAGES[number]
    text = os.strerror(_TO_HOST.get(number, number))
    if number == 0:
        return "Undefined error: 0"
    return f"Unknown error: {number}" if text.startswith("Unknown error") else text


def host(function: Callable[..., R], *arguments: Any, **options: Any) -> R:
    """Call the host; its OSError becomes Errno with Darwin's number."""
    try:
        return function(*arguments, **options)
    except OSError as error:
        raise Errno(darwin_errno(error.errno)) from error
    except (OverflowError, ValueError) as error:  # what Python itself refuses
        raise Errno(EINVAL) from error
