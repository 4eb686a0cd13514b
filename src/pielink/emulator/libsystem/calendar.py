"""Calendar time: struct tm, time zones, strftime. Source: <time.h>.

Local time is the host's (TZ of the program's environment is not looked at).
"""

from __future__ import annotations

import calendar as host_calendar
import time as host_time
from typing import TYPE_CHECKING

from pielink.emulator.errors import Errno
from pielink.emulator.libsystem.library import libsystem

if TYPE_CHECKING:
    from pielink.emulator.process import Process

_TM = "<9i4xqQ"  # sec min hour mday mon year wday yday isdst, gmtoff, zone
_EOVERFLOW = 84


class Calendar:
    """The buffers of the functions that return pointers to memory of their own."""

    def __init__(self, proc: Process) -> None:
        self.tm = proc.allocate_data(56)
        self.text = proc.allocate_data(32)
        self.zones = proc.allocate_data(64)
        names = (b"UTC\0", *(name.encode()[:15] + b"\0" for name in host_time.tzname))
        for index, name in enumerate(names):
            proc.memory.write(self.zones + 16 * index, name)


def _put(proc: Process, out: int, found: host_time.struct_time, zone: int) -> int:
    fields = (found.tm_sec, found.tm_min, found.tm_hour, found.tm_mday, found.tm_mon - 1)
    rest = (found.tm_year - 1900, (found.tm_wday + 1) % 7, found.tm_yday - 1, found.tm_isdst)
    proc.memory.pack(_TM, out, *fields, *rest, found.tm_gmtoff or 0, zone)
    return out


def _broken_down(proc: Process, address: int, local: bool, out: int) -> int:
    (seconds,) = proc.memory.unpack("<q", address)
    try:
        found = host_time.localtime(seconds) if local else host_time.gmtime(seconds)
    except (OverflowError, OSError, ValueError) as error:
        raise Errno(_EOVERFLOW, 0) from error
    zones = proc.state(Calendar).zones
    return _put(proc, out, found, zones + 16 * (1 + found.tm_isdst) if local else zones)


@libsystem("void *gmtime(const void *)")
def gmtime(proc: Process, address: int) -> int:
    return _broken_down(proc, address, False, proc.state(Calendar).tm)


@libsystem("void *gmtime_r(const void *, void *)")
def gmtime_r(proc: Process, address: int, out: int) -> int:
    return _broken_down(proc, address, False, out)


@libsystem("void *localtime(const void *)")
def localtime(proc: Process, address: int) -> int:
    return _broken_down(proc, address, True, proc.state(Calendar).tm)


@libsystem("void *localtime_r(const void *, void *)")
def localtime_r(proc: Process, address: int, out: int) -> int:
    return _broken_down(proc, address, True, out)


def _fields(proc: Process, address: int) -> tuple[int, ...]:
    return proc.memory.unpack("<9i", address)


@libsystem("time_t timegm(void *)")
def timegm(proc: Process, address: int) -> int:
    second, minute, hour, day, month, year, *_ = _fields(proc, address)
    year, month = year + 1900 + month // 12, month % 12
    days = host_calendar.timegm((year, month + 1, 1, 0, 0, 0)) // 86400
    seconds = (days + day - 1) * 86400 + hour * 3600 + minute * 60 + second
    _put(proc, address, host_time.gmtime(seconds), proc.state(Calendar).zones)
    return seconds


@libsystem("time_t mktime(void *)")
def mktime(proc: Process, address: int) -> int:
    second, minute, hour, day, month, year, _, _, dst = _fields(proc, address)
    year, month = year + 1900 + month // 12, month % 12
    try:
        seconds = int(host_time.mktime((year, month + 1, day, hour, minute, second, 0, 0, dst)))
    except (OverflowError, ValueError) as error:
        raise Errno(_EOVERFLOW) from error
    found = host_time.localtime(seconds)
    _put(proc, address, found, proc.state(Calendar).zones + 16 * (1 + found.tm_isdst))
    return seconds


@libsystem("double difftime(time_t, time_t)")
def difftime(proc: Process, one: int, other: int) -> float:
    return float(one - other)


@libsystem("size_t strftime(char *, size_t, const char *, const void *)", "strftime_l")
def strftime(proc: Process, out: int, size: int, template: int, address: int) -> int:
    second, minute, hour, day, month, year, weekday, yearday, dst = _fields(proc, address)
    parts = (year + 1900, month + 1, day, hour, minute, second, (weekday - 1) % 7, yearday + 1)
    text = proc.memory.string(template).decode("utf-8", "surrogateescape")
    try:
        found = host_time.strftime(text, (*parts, max(-1, min(dst, 1))))
    except ValueError:
        return 0
    data = found.encode("utf-8", "surrogateescape")
    if len(data) >= size:
        return 0
    proc.memory.write(out, data + b"\0")
    return len(data)


def _asctime(proc: Process, address: int, out: int) -> int:
    second, minute, hour, day, month, year, weekday, *_ = _fields(proc, address)
    names = host_calendar.day_abbr[(weekday - 1) % 7], host_calendar.month_abbr[month % 12 + 1]
    clock = f"{hour:02d}:{minute:02d}:{second:02d}"
    text = f"{names[0]} {names[1]} {day:2d} {clock} {year + 1900}\n"
    proc.memory.write(out, text.encode()[:31] + b"\0")
    return out


@libsystem("char *asctime(const void *)")
def asctime(proc: Process, address: int) -> int:
    return _asctime(proc, address, proc.state(Calendar).text)


@libsystem("char *asctime_r(const void *, char *)")
def asctime_r(proc: Process, address: int, out: int) -> int:
    return _asctime(proc, address, out)


@libsystem("char *ctime(const void *)")
def ctime(proc: Process, address: int) -> int:
    return asctime(proc, localtime(proc, address))


@libsystem("char *ctime_r(const void *, char *)")
def ctime_r(proc: Process, address: int, out: int) -> int:
    return _asctime(proc, localtime(proc, address), out)


@libsystem("void tzset(void)")
def tzset(proc: Process) -> None:
    """The zone is the host's."""


@libsystem.data("timezone", 8)
def timezone(proc: Process, address: int) -> None:
    proc.memory.put_u64(address, host_time.timezone)


@libsystem.data("daylight", 4)
def daylight(proc: Process, address: int) -> None:
    proc.memory.put_u32(address, host_time.daylight)


@libsystem.data("tzname", 16)
def tzname(proc: Process, address: int) -> None:
    zones = proc.state(Calendar).zones
    proc.memory.pack("<QQ", address, zones + 16, zones + 32)
