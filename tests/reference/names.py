"""Hashes and keys of names, one name at a time: the plain twin of pielink.names."""

from __future__ import annotations

ODD, MIXER, WORD = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, (1 << 64) - 1


def key(name: bytes, version: int) -> int:
    """A key from the size, last eight bytes and middle of a name, and the version."""
    mixed = (int.from_bytes(name[-8:], "little") ^ (len(name) * MIXER & WORD)) * ODD & WORD
    middle = int.from_bytes(name[len(name) // 2 :][:8], "little") * MIXER & WORD
    return mixed ^ (mixed >> 32) ^ (middle >> 32) ^ version


def mixed(word: int) -> int:
    """A word that depends on all bits of the given one."""
    word = word * ODD & WORD
    word = (word ^ (word >> 29)) * MIXER & WORD
    return word ^ (word >> 32)


def hashed(name: bytes, version: int) -> int:
    """A hash of all of a name, eight bytes at a time, and of the version."""
    total = version * MIXER
    for at in range(0, len(name), 8):
        total += mixed(int.from_bytes(name[at : at + 8], "little") ^ (at * MIXER & WORD))
    return mixed(total & WORD)
