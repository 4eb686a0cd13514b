"""SHA-256 without the time that it takes to load OpenSSL, for a few kilobytes.

The standard library's hashlib loads OpenSSL, which is the faster one from some megabytes on. The
same algorithm is built into the interpreter, under a name of its release.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

_BUILT_IN = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
_SMALL = 1 << 19  # bytes: to load OpenSSL takes as long as to hash so many with the other


def sha256(parts: Sequence[bytes | memoryview]) -> bytes:
    """The SHA-256 of all bytes of `parts`, one after the other."""
    small = sum(memoryview(part).nbytes for part in parts) < _SMALL
    for module in [*([_BUILT_IN] if small else []), "hashlib"]:
        try:
            digest = import_module(module).sha256()
        except ImportError:
            continue
        break
    for part in parts:
        digest.update(part)
    result: bytes = digest.digest()
    return result


def hmac_sha256(key: bytes, parts: Sequence[bytes | memoryview]) -> bytes:
    """HMAC (RFC 2104) with SHA-256 of all bytes of `parts`; `key` has at most 64 bytes."""
    block = key.ljust(64, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return sha256([outer, sha256([inner, *parts])])
