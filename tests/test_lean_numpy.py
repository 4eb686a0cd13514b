"""A process that only links imports a part of NumPy; whoever wants more gets all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from go_inputs import go_inputs

from pielink import lean_functions


def run(code: str, *argv: str) -> str:
    command = [sys.executable, "-c", code, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


INSTALL = "import sys; from pielink import lean_numpy; lean_numpy.install(); import numpy as np; "


def test_arrays_work_without_the_rest_of_the_package() -> None:
    code = """
a = np.arange(12, dtype=np.int32).reshape(3, 4)
assert a.sum() == 66 and (a[a > 5] == np.flatnonzero(a > 5)).all()
assert np.bincount(a[0]).tolist() == [1, 1, 1, 1] and np.cumsum(a[0]).tolist() == [0, 1, 3, 6]
b = np.array([(1, 2)], np.dtype([("x", "<u4"), ("y", "u1")]))
assert b["y"].tolist() == [2] and np.sort(b, order="y").itemsize == 5
assert repr(a[0]) == "array([0, 1, 2, 3], dtype=int32)"
print("numpy.linalg" in sys.modules)
"""
    assert run(INSTALL + code) == "False\n"


def test_the_first_other_name_completes_the_package() -> None:
    code = """
early = {name: getattr(np, name) for name in ("zeros", "dtype", "maximum", "iinfo", "uint8")}
assert np.linalg.norm([3.0, 4.0]) == 5
assert np.fft.fft([1, 0]).tolist() == [1, 1] and np.ma.array([1], mask=[1]).sum() is np.ma.masked
assert np.unique([2, 1, 2]).tolist() == [1, 2] and np.random.default_rng(1).integers(9) < 9
assert isinstance(np.asmatrix([1]), np.matrix) and np.isscalar(1) and np.lib.stride_tricks
assert all(getattr(np, name) is value for name, value in early.items())
import pickle, inspect, ast, tokenize, linecache
assert (pickle.loads(pickle.dumps(np.arange(3))) == [0, 1, 2]).all()
assert str(inspect.signature(lambda x: 0)) == "(x)" and ast.literal_eval("[1]") == [1]
print(*sorted(np.__all__), *sorted(dir(np)))
for early in (np.stack, np.concatenate, np.zeros_like, np.bincount):
    print(early.__doc__, early.__name__, early.__module__, inspect.signature(early))
"""
    plain = "import sys, numpy as np; "
    assert run(INSTALL + code) == run(plain + code)


@pytest.mark.parametrize("function", [f.__name__ for f in lean_functions.WRAPPERS])
def test_thin_functions_give_what_those_of_numpy_give(function: str) -> None:
    table = np.array([[3, 1, 2], [0, 2, 1]], np.int32)
    arguments: dict[str, list[tuple[Any, ...]]] = {
        "repeat": [(table[0], 2), (table, [1, 2], 0), (7, 3)],
        "searchsorted": [([1, 2, 2, 3], 2), (np.arange(4), [0, 9], "right")],
        "full": [(3, 7), ((2, 2), 1.5, np.uint8), (0, 1)],
        "ones": [(3,), ((2, 1), np.bool_)],
        "stack": [([table, table],), ([table, table], 1), ([table, table], -1), ([1, 2],)],
        "sort": [(table,), (table, 0), (table[0], -1, "stable")],
        "argsort": [(table,), (table, 0), (table[0], -1, "stable")],
        "zeros_like": [(table,), (table, np.int8)],
        "ones_like": [(table,), (table, np.int8)],
        "atleast_1d": [(table,), (5,), ([1, 2],)],
    }
    for given in arguments.get(function, [(table,), (table[0],), ([1, 0, 2],)]):
        thin, whole = getattr(lean_functions, function)(*given), getattr(np, function)(*given)
        assert np.array_equal(thin, whole)
        assert (thin.dtype, thin.shape) == (whole.dtype, whole.shape)


@pytest.mark.parametrize("function", [f.__name__ for f in lean_functions.METHODS])
@pytest.mark.parametrize(
    "how",
    [{}, {"axis": 0}, {"axis": 1, "keepdims": True}, {"where": np.array([True, False, True])}],
)
def test_thin_methods_give_what_those_of_numpy_give(function: str, how: dict[str, Any]) -> None:
    from numpy._core import _methods

    if "where" in how and function in ("_amax", "_amin"):
        how = how | {"initial": 1}
    for values in ([[3, 0, 2], [0, 0, 1]], [[True, False, True]], [[0, 0, 0]], [[4, 5, 6]]):
        for table in (np.array(values), np.array(values, np.uint8)):
            thin = getattr(lean_functions, function)(table, **how)
            whole = getattr(_methods, function)(table, **how)
            assert np.array_equal(thin, whole)
            assert type(thin) is type(whole)
            assert (thin.dtype, thin.shape) == (whole.dtype, whole.shape)


def test_other_methods_are_numpys_own() -> None:
    code = "print(np.arange(5).sum(), np.arange(5).mean(), np.arange(3).any(), np.ones(0).all())"
    assert run(INSTALL + code) == "10 2.0 True True\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    code = "print(hasattr(np, 'nosuch'), hasattr(np.lib, 'nosuch'), hasattr(np, '__nosuch__'))"
    assert run(INSTALL + code) == "False False False\n"


def test_nothing_happens_after_numpy_was_imported() -> None:
    code = "import numpy; before = vars(numpy).copy(); " + INSTALL
    assert run(code + "print(type(np).__name__, vars(np) == before)") == "module True\n"


@pytest.mark.parametrize("program", ["hello", "cgo-callbacks"])
def test_a_link_needs_the_core_alone(program: str, tmp_path: Path) -> None:
    inputs = go_inputs(program, cgo=program.startswith("cgo"))
    code = """
import sys
from pielink import cli
cli.owns_process = True
status = cli.main(["link", *sys.argv[1:]])
heavy = ["ast", "collections", "dataclasses", "functools", "hashlib", "inspect"]
heavy += ["shutil", "subprocess", "typing"]
heavy += ["numpy.linalg", "numpy.typing", "numpy._core.records", "numpy._core._internal"]
heavy += ["contextlib", "enum", "numpy._core._methods", "numpy._core.numeric", "pathlib", "re"]
if "hello" in sys.argv[-1]:
    heavy += ["json"]
print(status, [name for name in heavy if type(sys.modules.get(name)).__name__ == "module"])
"""
    assert run(code, *inputs.link_argv(tmp_path / "out")) == "0 []\n"
