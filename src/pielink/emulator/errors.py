"""What can end a run from outside the program: the emulator's own errors and control flow."""

from __future__ import annotations

from pielink.errors import PielinkError


class EmulatorError(PielinkError):
    """The emulator cannot go on: a feature that it lacks, or a program that broke its rules."""


class LoadError(EmulatorError):
    """dyld's part failed: a library, a symbol or a load command that cannot be honoured."""


class UnimplementedImportError(EmulatorError):
    """The program used an import that the emulator does not have, or has not in that way."""

    def __init__(self, symbol: str, library: str, caller: str, as_data: bool = False) -> None:
        self.symbol, self.library, self.caller = symbol, library, caller
        what = "is not there as data" if as_data else "is not implemented by the emulator"
        how = "used" if as_data else "called"
        super().__init__(f"{symbol} ({library}) {what}; {how} from {caller}")


class GuestExit(Exception):  # noqa: N818 - control flow, not an error
    """The program ended by itself with this exit status."""

    def __init__(self, status: int) -> None:
        self.status = status


class GuestKilled(Exception):  # noqa: N818 - control flow, not an error
    """A signal with its default action ended the program."""

    def __init__(self, signal: int, reason: str) -> None:
        self.signal, self.reason = signal, reason


class GuestFault(Exception):  # noqa: N818 - becomes a signal of the program
    """An emulated function was handed an address that the program may not access."""

    def __init__(self, address: int, write: bool) -> None:
        self.address, self.write = address, write


class Errno(Exception):  # noqa: N818 - the C way to fail
    """An emulated function fails: errno becomes `number` (Darwin's), the result is `result`."""

    def __init__(self, number: int, result: int = -1) -> None:
        self.number, self.result = number, result
