"""Import a part of NumPy alone, in a process that does nothing but link.

`import numpy` takes as long as Go's linker takes for a small program. Most of that is for parts
that no pass uses: linear algebra, masked arrays, files of text, the documentation. `install` puts
packages whose own code has not run in the place of `numpy` and `numpy._core`, and imports the
modules that define arrays, dtypes and ufuncs. Their names are found there. The first name that is
not there makes it the whole of NumPy: whoever asks sees the same objects, only later. Until then
functions have neither documentation nor signature, and some are those of lean_functions.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType

from pielink import late
from pielink.hints import TYPE_CHECKING, Any
from pielink.late import LateModule, put, run
from pielink.record import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_CORE = "numpy._core"
# Where the names of numpy are looked for: in modules that are there from the beginning, in others
# that `install` allows to be imported, at last in a package, whose code runs at need.
_HOMES = ["numpy._core.multiarray", "numpy._core.umath", "numpy._core.numerictypes", _CORE]
_AT_NEED = ("numpy._core.numeric", "numpy._core.shape_base")  # the first imports the second
_ARRAYPRINT = "numpy._core.arrayprint"
_METHODS = "numpy._core._methods"  # NumPy's compiled code asks for it at the first call of one
# What is left to do for whole functions, in this order.
_rest: list[Callable[[], object]] = []


class _Package(ModuleType):
    """A package of NumPy whose own code has not run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for home in _HOMES if self.__name__ == "numpy" else ():
            if home in _AT_NEED:
                _import_numeric()
            value = getattr(sys.modules.get(home), name, None)
            if value is not None and type(value) is not ModuleType:
                setattr(self, name, value)
                return value
        full = f"{self.__name__}.{name}"
        if PathFinder.find_spec(full, self.__path__):
            return import_module(full)
        if self.__name__ == _CORE:
            _complete_core()
        else:
            _complete()
        return getattr(import_module(self.__name__), name)


class _Printing(ModuleType):
    """In the place of numpy._core.arrayprint, which can be imported by numpy._core.numeric alone.

    NumPy's compiled code asks for it when an array is to be shown.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _import_numeric()
        return getattr(sys.modules[_ARRAYPRINT], name)


class _Matrix:
    """In the place of numpy.matrix, which the core looks for: there is none yet."""


def _import_numeric() -> None:
    if type(sys.modules.get(_ARRAYPRINT)) is _Printing:
        del sys.modules[_ARRAYPRINT]
    import_module(_AT_NEED[0])


def _complete_core() -> None:
    """Run the code of numpy._core, as if it had been imported in the ordinary way."""
    _import_numeric()
    for step in _rest:
        step()
    _rest.clear()
    if type(methods := sys.modules.get(_METHODS)) is LateModule:
        run(methods)
    if type(core := sys.modules[_CORE]) is _Package:
        run(core)


def _complete() -> None:
    """Run the code of numpy and numpy._core."""
    _complete_core()
    numpy: Any = sys.modules["numpy"]
    if type(sys.modules["numpy.lib"]) is _Package:  # imported by the code of numpy
        del sys.modules["numpy.lib"], numpy.lib
    run(numpy)


def _make_bare_functions(overrides: Any) -> None:
    """Let the decorators of numpy._core.overrides make functions that work, and no more.

    Documentation and signatures, and the check that these agree, wait for `_complete`.
    """
    dispatch, finalize = overrides.array_function_dispatch, overrides.finalize_array_function_like
    make = overrides._ArrayFunctionDispatcher

    def bare(dispatcher: Any = None, *values: Any, **named: Any) -> Callable[[Any], Any]:
        def decorate(implementation: Any) -> Any:
            function = make(dispatcher, implementation)
            function.__wrapped__ = implementation

            def finish() -> None:
                overrides._ArrayFunctionDispatcher = lambda *_: function
                dispatch(dispatcher, *values, **named)(implementation)
                overrides._ArrayFunctionDispatcher = make

            _rest.append(finish)
            return function

        return decorate

    def finalize_later(function: Any) -> Any:
        _rest.append(lambda: finalize(function))
        return function

    def put(one: object, other: object) -> None:
        overrides.array_function_dispatch, overrides.finalize_array_function_like = one, other

    put(bare, finalize_later)
    _rest.append(lambda: put(dispatch, finalize))


class _Members(type):
    """Makes a class of named values: what NumPy's one enumeration needs of enum.Enum."""

    def __new__(mcs, title: str, bases: tuple[type, ...], own: dict[str, Any]) -> Any:
        made: Any = super().__new__(mcs, title, bases, own)
        for name, value in own.items():
            if not name.startswith("_"):
                member = object.__new__(made)
                member.name, member.value = name, value
                setattr(made, name, member)
        return made

    def __call__(cls, value: object) -> Any:
        found = [one for one in vars(cls).values() if isinstance(one, cls) and one.value is value]
        if not found:
            raise ValueError(f"{value!r} is not a valid {cls.__name__}")
        return found[0]


def _import_marks() -> Any:
    """numpy._globals, without the module enum, which takes as long to import as a pass."""
    if "enum" in sys.modules:
        return import_module("numpy._globals")
    stand_in: Any = ModuleType("enum")
    stand_in.Enum = _Members("Enum", (), {})
    sys.modules["enum"] = stand_in
    try:
        return import_module("numpy._globals")
    finally:
        del sys.modules["enum"]


def _named(title: str, fields: str) -> Any:
    """In the place of collections.namedtuple, as far as NumPy uses it."""
    kind: Any = type(NamedTuple)
    return kind(title, (NamedTuple,), {"__annotations__": dict.fromkeys(fields.split())})


def _import_overrides() -> Any:
    """numpy._core.overrides, which makes one named tuple, without the module collections."""
    collections: Any = sys.modules.get("collections")
    if not isinstance(collections, LateModule):
        return import_module(f"{_CORE}.overrides")
    vars(collections)["namedtuple"] = _named
    try:
        return import_module(f"{_CORE}.overrides")
    finally:
        if isinstance(collections, LateModule):
            del vars(collections)["namedtuple"]


def install() -> None:
    """Let `import numpy` give a part of it; no effect if it is imported already, or not found."""
    if "numpy" in sys.modules or (numpy := put("numpy", _Package)) is None:
        return
    late.install()
    marks = _import_marks()
    numpy._NoValue, numpy._CopyMode = marks._NoValue, marks._CopyMode
    numpy.matrix = _Matrix
    numpy.lib, numpy._core = put("numpy.lib", _Package), put(_CORE, _Package)
    flags = sys.getdlopenflags()
    try:
        # Most functions of the library that multiplies matrices are never called.
        sys.setdlopenflags(os.RTLD_LAZY)
        _make_bare_functions(_import_overrides())
        arrays, types = import_module(f"{_CORE}.multiarray"), import_module(f"{_CORE}.numerictypes")
        arrays.set_typeDict(types.sctypeDict)
        # As NumPy's own code does: large arrays ask the kernel for huge pages.
        arrays._set_madvise_hugepage(os.environ.get("NUMPY_MADVISE_HUGEPAGE", "1") != "0")
        lean = import_module("pielink.lean_functions")
        for function in (*lean.COMPILED, *lean.WRAPPERS):
            setattr(numpy, function.__name__, function)
        methods = put(_METHODS)
        for function in lean.METHODS:
            setattr(methods, function.__name__, function)
        put(_ARRAYPRINT, _Printing)
        _HOMES[-1:-1] = _AT_NEED
    except (AttributeError, ImportError, TypeError):  # another release, made of other parts
        _complete()
    finally:
        sys.setdlopenflags(flags)
