"""The heap of a linking process: memory that is there early, and that is not given back."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# What a process prints: page faults of its main thread while it fills 16 MiB, for the first time
# and for the second.
FILL = """
import resource, sys, time
from pielink import heap
if sys.argv[1] == "prepared":
    heap.prepare()
    time.sleep(0.5)
def faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
for _ in range(2):
    before = faults()
    filled = b"x" * (16 << 20)
    print(faults() - before)
    del filled
"""
PAGES = (16 << 20) // 4096


def page_faults(how: str) -> list[int]:
    """The page faults of both fillings."""
    command = [sys.executable, "-c", FILL, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap is left alone")
def test_memory_is_provided_early_and_kept() -> None:
    if min(page_faults("as it is")) < PAGES // 2:
        pytest.skip("the kernel provides memory in huge pages")
    first, second = page_faults("prepared")
    assert second < PAGES // 20
    if len(os.sched_getaffinity(0)) > 1:
        assert first < PAGES // 20
