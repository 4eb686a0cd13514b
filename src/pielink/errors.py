"""The errors of pielink: one exception per kind of trouble, each with data a program can read."""

from __future__ import annotations

import sys

from pielink.hints import TYPE_CHECKING
from pielink.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Problem(Record):
    """One thing that is wrong: where (file, symbol; either may be empty) and why."""

    message: str
    file: str = ""
    symbol: str = ""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.symbol) if part)
        return f"{where}: {self.message}" if where else self.message


class PielinkError(Exception):
    """Base of every error that pielink raises on purpose."""


class FormatError(PielinkError):
    """An input file is malformed. `offset` is in bytes from the start of the file, or None."""

    def __init__(self, message: str, file: str = "", offset: int | None = None) -> None:
        self.message, self.file, self.offset = message, file, offset
        at = "" if offset is None else f" at offset {offset:#x}"
        super().__init__(f"{file}: {message}{at}" if file else f"{message}{at}")


class UsageError(PielinkError):
    """The command line makes no sense: exit status 2."""


class LinkError(PielinkError):
    """The link failed. `problems` lists each trouble once, in the order found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(dict.fromkeys(problems))
        super().__init__("\n".join(map(str, self.problems)))


class Problems:
    """Collects what goes wrong in one pass, so that the user sees all of it at once."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, message: str, file: str = "", symbol: str = "") -> None:
        """Note one problem; the pass goes on."""
        self._found.append(Problem(message, file, symbol))

    def report(self, message: str, file: str = "", symbol: str = "", *, fatal: bool) -> None:
        """Note a problem, or only warn of it on stderr."""
        if fatal:
            self.add(message, file, symbol)
        else:
            print(f"warning: {Problem(message, file, symbol)}", file=sys.stderr)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_if_any(self) -> None:
        """Raise LinkError with every problem noted so far."""
        if self._found:
            raise LinkError(self._found)
