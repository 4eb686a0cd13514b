"""The few CoreFoundation functions that crypto/x509 calls when a program starts.

The Go package makes some CFStrings in its initialiser and verifies certificates with Security
only when asked to. Strings and data are opaque handles here; every other function of the two
frameworks stops the program with its name when it is called.

Source: <CoreFoundation/CFString.h>, <CoreFoundation/CFData.h>.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pielink.emulator.abi import Library

if TYPE_CHECKING:
    from pielink.emulator.process import Process

corefoundation = Library(
    "/System/Library/Frameworks/CoreFoundation.framework/Versions/A/CoreFoundation"
)


class Objects:
    """What each handle holds."""

    def __init__(self, proc: Process) -> None:
        self.contents: dict[int, bytes] = {}

    def make(self, proc: Process, content: bytes) -> int:
        """A handle for `content`: its address can be told apart, and not be used as memory."""
        handle = proc.allocate_data(16)
        self.contents[handle] = content
        return handle


@corefoundation("void *CFStringCreateWithBytes(void *, const void *, CFIndex, uint32_t, bool)")
def create_string(
    proc: Process, allocator: int, data: int, size: int, encoding: int, external: int
) -> int:
    return proc.state(Objects).make(proc, proc.memory.read(data, size))


@corefoundation("void *CFDataCreate(void *, const void *, CFIndex)")
def create_data(proc: Process, allocator: int, data: int, size: int) -> int:
    return proc.state(Objects).make(proc, proc.memory.read(data, size))


@corefoundation("CFIndex CFDataGetLength(const void *)")
def data_length(proc: Process, handle: int) -> int:
    return len(proc.state(Objects).contents.get(handle, b""))


@corefoundation("void CFRelease(void *)")
def release(proc: Process, handle: int) -> None:
    """Handles live for ever."""
