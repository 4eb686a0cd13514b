"""Two pieces of work at the same time: NumPy computes without holding the interpreter's lock.

That pays where both spend their time in passes over long arrays. The module `threading` is not
needed for it, and costs as much to import as a pass over a small program takes.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable

from pielink.hints import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def together(
    first: Callable[[], A], second: Callable[[], B], *, threads: bool = True
) -> tuple[A, B]:
    """Do both, `second` in a thread of its own, and give what both return.

    When this returns or raises, both have ended. An error of `first` comes before one of `second`.
    Without `threads`, `second` comes after `first`, and only if that has not failed. That is better
    for many short arrays: handing the interpreter's lock over takes longer than they do.
    """
    if not threads:
        return first(), second()
    done = _thread.allocate_lock()
    results: list[B] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(second())
        except BaseException as error:
            errors.append(error)
        finally:
            done.release()

    done.acquire()
    _thread.start_new_thread(run, ())
    try:
        result = first()
    finally:
        done.acquire()
    if errors:
        raise errors[0]
    return result, results[0]
