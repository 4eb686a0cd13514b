"""The programs that test_check*.py damage, and how a damage is described."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import NamedTuple

from chained_program import chained
from macho_edit import Edit
from macho_inputs import c_program, go_program

from pielink.formats import macho

SDK = "26.0"


class Damage(NamedTuple):
    """`edit` breaks `rule` in a copy of the program."""

    rule: str
    program: str
    edit: Callable[[Edit], None]


@functools.cache
def program(name: str) -> bytes:
    """The bytes of a sound program."""
    return {
        "go": lambda: go_program("x86_64", "-w").read_bytes(),
        "go-arm64": lambda: go_program("arm64", "-w").read_bytes(),
        "c": lambda: c_program("x86_64").read_bytes(),
        "c-arm64": lambda: c_program("arm64").read_bytes(),
        "chained": lambda: chained(c_program("x86_64")),
        "fat": lambda: fat([program("c"), program("c-arm64")]),
    }[name]()


def fat(images: list[bytes]) -> bytes:
    """The images behind a fat header, each at a multiple of 16 KiB."""
    head, body = struct.pack(">2I", macho.FAT_MAGIC, len(images)), b""
    for image in images:
        body = body.ljust(-(-len(body) // 0x4000) * 0x4000, b"\0")
        cpu = struct.unpack_from("<2I", image, 4)
        head += struct.pack(">5I", *cpu, 0x4000 + len(body), len(image), 14)
        body += image
    return head.ljust(0x4000, b"\0") + body


def damaged(damage: Damage) -> bytes:
    """The damaged copy."""
    edit = Edit(program(damage.program))
    damage.edit(edit)
    return bytes(edit.data)


def names(damages: list[Damage]) -> list[str]:
    """Test ids: the rule, numbered where it has several damages."""
    seen: dict[str, int] = {}
    made = []
    for damage in damages:
        seen[damage.rule] = seen.get(damage.rule, 0) + 1
        made.append(f"{damage.rule}-{seen[damage.rule]}")
    return made
