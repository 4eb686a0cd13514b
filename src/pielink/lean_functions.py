"""NumPy's wrappers of array methods, as thin as a process that only links needs them.

NumPy defines these functions in modules that take as long to import as a pass of a small link, for
arguments of every kind; they end in a method of the array. Here they take the arguments that the
passes give. lean_numpy puts them in NumPy's place until somebody wants more of NumPy.
"""

from __future__ import annotations

from importlib import import_module

from pielink.hints import Any

# The compiled functions themselves, without the wrapper that looks for other kinds of arrays.
_compiled: Any = import_module("numpy._core._multiarray_umath")
array, asarray, empty = _compiled.array, _compiled.asarray, _compiled.empty
concatenate, copyto, empty_like = _compiled.concatenate, _compiled.copyto, _compiled.empty_like
count_nonzero, logical_or, logical_and = (
    _compiled.count_nonzero,
    _compiled.logical_or,
    _compiled.logical_and,
)
add, maximum, minimum = _compiled.add, _compiled.maximum, _compiled.minimum
truth = type(array([False])[0])  # numpy.bool
COMPILED = (
    concatenate,
    copyto,
    empty_like,
    *(
        *(_compiled.bincount, count_nonzero, _compiled.lexsort),
        *(_compiled.packbits, _compiled.where),
    ),
)


def flatnonzero(values: Any) -> Any:
    return asarray(values).ravel().nonzero()[0]


def cumsum(values: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return asarray(values).cumsum(axis, dtype, out)


def cumprod(values: Any, axis: Any = None, dtype: Any = None) -> Any:
    return asarray(values).cumprod(axis, dtype)


def sum(values: Any, axis: Any = None, dtype: Any = None) -> Any:
    return asarray(values).sum(axis, dtype)


def argsort(values: Any, axis: Any = -1, kind: Any = None) -> Any:
    return asarray(values).argsort(axis, kind)


def sort(values: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Any:
    ordered = array(values)
    ordered.sort(axis, kind, order)
    return ordered


def repeat(values: Any, repeats: Any, axis: Any = None) -> Any:
    return asarray(values).repeat(repeats, axis)


def searchsorted(values: Any, wanted: Any, side: Any = "left") -> Any:
    return asarray(values).searchsorted(wanted, side)


def argmax(values: Any, axis: Any = None) -> Any:
    return asarray(values).argmax(axis)


def argmin(values: Any, axis: Any = None) -> Any:
    return asarray(values).argmin(axis)


def full(shape: Any, value: Any, dtype: Any = None) -> Any:
    made = empty(shape, asarray(value).dtype if dtype is None else dtype)
    copyto(made, value, casting="unsafe")
    return made


def ones(shape: Any, dtype: Any = None) -> Any:
    made = empty(shape, dtype)
    copyto(made, 1, casting="unsafe")
    return made


def zeros_like(values: Any, dtype: Any = None) -> Any:
    made = empty_like(values, dtype)
    copyto(made, 0, casting="unsafe")
    return made


def ones_like(values: Any, dtype: Any = None) -> Any:
    made = empty_like(values, dtype)
    copyto(made, 1, casting="unsafe")
    return made


def atleast_1d(values: Any) -> Any:
    found = asarray(values)
    return found if found.ndim else found.reshape(1)


def stack(arrays: Any, axis: int = 0) -> Any:
    parts = [asarray(each) for each in arrays]
    place = (slice(None),) * (axis % (parts[0].ndim + 1))
    return concatenate([part[(*place, None)] for part in parts], axis)


def _any(values: Any, axis: Any = None, dtype: Any = None, *more: Any, **named: Any) -> Any:
    if axis is None and dtype is None and not more and not named:
        return truth(count_nonzero(values) > 0)
    return logical_or.reduce(values, axis, dtype or bool, *more, **named)


def _all(values: Any, axis: Any = None, dtype: Any = None, *more: Any, **named: Any) -> Any:
    if axis is None and dtype is None and not more and not named:
        return truth(count_nonzero(values) == values.size)
    return logical_and.reduce(values, axis, dtype or bool, *more, **named)


def _sum(values: Any, axis: Any = None, dtype: Any = None, *more: Any, **named: Any) -> Any:
    return add.reduce(values, axis, dtype, *more, **named)


def _amax(values: Any, axis: Any = None, *more: Any, **named: Any) -> Any:
    return maximum.reduce(values, axis, None, *more, **named)


def _amin(values: Any, axis: Any = None, *more: Any, **named: Any) -> Any:
    return minimum.reduce(values, axis, None, *more, **named)


# What numpy._core._methods has for methods of arrays that are not compiled.
METHODS = (_any, _all, _sum, _amax, _amin)
WRAPPERS = (
    *(flatnonzero, cumsum, cumprod, sum, argsort, sort, repeat, searchsorted, argmax, argmin),
    *(full, ones, zeros_like, ones_like, atleast_1d, stack),
)
