"""The program's clocks.

The clock of a normal run is the host's, except that time in which every thread only sleeps is
skipped. The clock of a seeded run counts emulated work instead, so that two runs see the same
times: each slice and each call has a price, and sleeping jumps.
"""

from __future__ import annotations

import time
from typing import Protocol

_BOOT_NS = 1_000_000_000_000  # a machine that was up for a while
_SEEDED_EPOCH_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC


class Clock(Protocol):
    """Times in nanoseconds."""

    epoch: int

    def now(self) -> int:
        """Monotonic time."""

    def charge(self, nanoseconds: int) -> None:
        """Account for emulated work."""

    def skip(self, nanoseconds: int) -> None:
        """Nothing can happen for this long: be there."""


class HostClock:
    """The host's clock plus the skipped sleep."""

    def __init__(self) -> None:
        self._offset = _BOOT_NS - time.monotonic_ns()
        self.epoch = time.time_ns() - _BOOT_NS

    def now(self) -> int:
        return time.monotonic_ns() + self._offset

    def charge(self, nanoseconds: int) -> None:
        """The host's clock runs by itself."""

    def skip(self, nanoseconds: int) -> None:
        self._offset += nanoseconds


class CountingClock:
    """Counts emulated work: the same run, the same times."""

    def __init__(self) -> None:
        self._now = _BOOT_NS
        self.epoch = _SEEDED_EPOCH_NS - _BOOT_NS

    def now(self) -> int:
        return self._now

    def charge(self, nanoseconds: int) -> None:
        self._now += nanoseconds

    def skip(self, nanoseconds: int) -> None:
        self._now += nanoseconds
