"""What holds for all tests: the same examples every time, no BLAS threads, and each file that is
linked in the tests' own process keeps the rules of dyld, as SDK 26 has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import hypothesis
import pytest

# Before NumPy is imported anywhere: two workers with a thread per core each slow one another down.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def linked_files_keep_the_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Judge each file that the test links."""
    from pielink import pipeline
    from pielink.check import check_bytes

    broken: list[str] = []
    write = pipeline.write

    def judged(path: str, parts: Iterable[bytes | memoryview]) -> None:
        made = list(parts)
        broken.extend(str(failure) for failure in check_bytes(b"".join(made), path, "26.0"))
        write(path, made)

    monkeypatch.setattr(pipeline, "write", judged)
    yield
    assert broken == []
