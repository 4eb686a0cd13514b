"""One difference between two Mach-O images, and how values are shown in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pielink.inspect.macho import text

PARTS = ("header", "command", "section", "symbol", "rebase", "bind", "export")


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two images.

    `part` is one of PARTS, `place` names the thing compared, `what` its field (`present` if one
    side lacks it), `a` and `b` the two values, `context` where it lies. `deliberate` is the id of
    the row of `pielink.inspect.deliberate` that covers it, or empty. `count` tells how many
    differences this one stands for.
    """

    part: str
    place: str
    what: str
    a: str
    b: str
    context: str = ""
    count: int = 1
    deliberate: str = ""

    def __str__(self) -> str:
        context = f" ({self.context})" if self.context else ""
        more = f" [{self.count} of these]" if self.count > 1 else ""
        return f"{self.part} {self.place}: {self.what}: {self.a} | {self.b}{context}{more}"

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)


def show_value(value: object) -> str:
    """A field for people: numbers in hexadecimal, names as they are, other bytes in hexadecimal."""
    if isinstance(value, bytes):
        return text(value) if value.isascii() and value.strip(b"\0").isalnum() else value.hex()
    return hex(value) if isinstance(value, int) and value > 9 else str(value)
