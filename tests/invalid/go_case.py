"""What a case of a link that must fail consists of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from go_compile import Workshop

MAIN = "package main\n\nfunc main() { println(1) }\n"


class Case(NamedTuple):
    """A link that must fail."""

    title: str
    prepare: Callable[[Workshop], tuple[str, ...]]  # makes the inputs; returns further flags
    message: str  # the end of what is printed; … stands for any text
    go_says: str = ""  # a phrase of Go's linker that ours must hold, too; "": it crashes or links
