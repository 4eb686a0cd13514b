"""Modules that wait to be run: whoever asks them for a name sees what the module has."""

from __future__ import annotations

import collections
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PATH = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1] / 'src')!r}); "
INSTALL = "import sys; from pielink import late; late.install(); "
# Whether the code of a module has run.
RUN = "print(*(type(sys.modules[n]) is not late.LateModule for n in ('collections', 'functools')))"


def run(code: str) -> list[str]:
    command = [sys.executable, "-I", "-S", "-c", f"{PATH}{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_modules_that_nobody_asks_are_not_run() -> None:
    code = "import collections, functools; from collections.abc import Sequence; "
    code += "assert isinstance([], Sequence); functools.partial(int, base=2); "
    assert run(INSTALL + code + RUN) == ["False", "False"]


@pytest.mark.parametrize(
    ("code", "ran"),
    [
        ("from collections import deque; assert deque([1]).pop() == 1; ", "True False"),
        ("import functools; functools.lru_cache(len)('x'); ", "True True"),
        ("import dataclasses, inspect, typing, pickle; ", "True True"),
        ("from collections import *; assert Counter('aa') == {'a': 2}; ", "True False"),
    ],
)
def test_the_first_name_that_is_wanted_runs_them(code: str, ran: str) -> None:
    assert run(INSTALL + code + RUN) == ran.split()


def test_they_have_the_names_of_the_modules() -> None:
    code = "import collections, functools; collections.deque, functools.wraps; "
    code += "print(*sorted(dir(collections)), *sorted(dir(functools)))"
    plain = run(code)
    assert run(INSTALL + code) == plain
    assert set(collections.__all__) | set(functools.__all__) <= set(plain)


def test_a_module_that_is_not_there_is_none() -> None:
    code = "print(late.put('no_such_module'), 'no_such_module' in sys.modules)"
    assert run(INSTALL + code) == ["None", "False"]
