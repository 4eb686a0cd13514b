"""Which symbols macOS's libSystem exports, as far as this machine can tell.

The emulator implements a part of libSystem. A symbol that it lacks may be one that it does not
implement yet, or one that does not exist at all: dyld refuses to load a program with the latter.
A text stub (.tbd) lists what a library exports; the ziglang package has one of libSystem. Without
such a stub, every symbol is taken to exist, and its use stops the program.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

_LIBSYSTEM = "/usr/lib/libSystem.B.dylib"


@functools.cache
def _libsystem_exports() -> frozenset[str]:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        return frozenset()
    stub = Path(spec.origin).parent / "lib/libc/darwin/libSystem.tbd"
    if not stub.is_file():
        return frozenset()
    return frozenset(re.findall(r"[\w$.]+", stub.read_text("utf-8", "replace")))


def may_export(library: str, symbol: str, flat: bool = False) -> bool:
    """Whether `library` (any library, with `flat`) may export `symbol` on macOS."""
    known = _libsystem_exports() if flat or library == _LIBSYSTEM else frozenset()
    return not known or symbol in known
