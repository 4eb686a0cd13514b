"""Lists of byte strings as one array of bytes, each string ended by NUL, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pielink.arrays import differences
from pielink.arraytypes import I8, U1
from pielink.dyld.errors import DyldInfoError
from pielink.dyld.ragged import ranges


def join(strings: Sequence[bytes]) -> tuple[bytes, I8]:
    """All strings with a NUL behind each, and the bytes of each with its NUL: (n,) int64.

    Raises DyldInfoError if a string holds a NUL itself.
    """
    joined = b"\0".join([*strings, b""])
    ends = np.flatnonzero(np.frombuffer(joined, np.uint8) == 0)
    if len(ends) != len(strings):
        name = next(string for string in strings if 0 in string)
        raise DyldInfoError(f"the name {name!r} holds a NUL")
    return joined, differences(ends, before=-1)


def split(raw: U1, starts: I8, sizes: I8) -> list[bytes]:
    """The strings at these places of raw, sizes with their NUL: n of them."""
    joined: bytes = raw[ranges(starts, sizes)].tobytes()
    return joined.split(b"\0")[:-1]
