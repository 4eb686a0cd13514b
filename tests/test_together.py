"""Two pieces of work at the same time: what comes back, and whose error counts."""

from __future__ import annotations

import threading

import pytest

from pielink.together import together


def fail(error: Exception) -> None:
    raise error


def test_both_results_come_back() -> None:
    met = threading.Barrier(2, timeout=60)
    assert together(lambda: (met.wait() >= 0, "a"), lambda: (met.wait() >= 0, "b")) == (
        (True, "a"),
        (True, "b"),
    )


def test_an_error_of_either_is_raised_when_both_have_ended() -> None:
    ended: list[str] = []
    with pytest.raises(ValueError, match="first"):
        together(lambda: fail(ValueError("first")), lambda: ended.append("second"))
    with pytest.raises(KeyError, match="second"):
        together(lambda: ended.append("first"), lambda: fail(KeyError("second")))
    with pytest.raises(ValueError, match="first"):
        together(lambda: fail(ValueError("first")), lambda: fail(KeyError("second")))
    assert ended == ["second", "first"]
