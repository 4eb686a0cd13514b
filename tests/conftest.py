"""What holds for all tests: the same examples every time, and no BLAS threads."""

from __future__ import annotations

import os

import hypothesis

# Before NumPy is imported anywhere: two workers with a thread per core each slow one another down.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")
