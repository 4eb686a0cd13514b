"""Import the core of NumPy alone, in a process that does nothing but link.

`import numpy` takes as long as Go's linker takes for a small program. Most of that is for parts
that no pass uses: linear algebra, masked arrays, files of text, the documentation. `install`
imports `numpy._core`, which holds arrays, dtypes and ufuncs, and puts a package in the place of
`numpy` whose own code has not run. It finds the names of the core there. The first name that is not
there makes it the whole of NumPy: whoever asks sees the same objects, only later.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader, module_from_spec
from types import ModuleType
from typing import Any

# What NumPy's core imports but does not use until it is asked for something special.
_UNUSED = {
    *("ast", "linecache", "pickle", "tokenize"),
    *("numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars"),
}
_CORE = "numpy._core"


class _Unused:
    """A finder: modules of _UNUSED are loaded when one of their names is wanted."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None leaves the module to the other finders."""
        spec = PathFinder.find_spec(name, path) if name in _UNUSED else None
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


class _Package(ModuleType):
    """A package whose own code has not run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if PathFinder.find_spec(full, self.__path__):
            return import_module(full)
        homes = (_CORE, f"{_CORE}.multiarray") if self.__name__ == "numpy" else ()
        for home in homes:
            value = getattr(sys.modules.get(home), name, None)
            if value is not None and type(value) is not ModuleType:
                setattr(self, name, value)
                return value
        _complete()
        return getattr(import_module(self.__name__), name)


def _package(name: str, path: Sequence[str] | None = None) -> Any:
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        return None
    package = module_from_spec(spec)
    package.__class__ = _Package
    sys.modules[name] = package
    return package


class _Matrix:
    """In the place of numpy.matrix, which the core looks for: there is none yet."""


def _complete() -> None:
    """Run the code of the packages, as if they had been imported in the ordinary way."""
    numpy: Any = sys.modules["numpy"]
    numpy.__class__ = ModuleType
    if type(sys.modules["numpy.lib"]) is _Package:  # imported by the code of numpy
        del sys.modules["numpy.lib"], numpy.lib
    numpy.__spec__.loader.exec_module(numpy)


def install() -> None:
    """Let `import numpy` give the core; no effect if NumPy is imported already, or not found."""
    if "numpy" in sys.modules or (numpy := _package("numpy")) is None:
        return
    marks = import_module("numpy._globals")
    numpy._NoValue, numpy._CopyMode = marks._NoValue, marks._CopyMode
    numpy.matrix = _Matrix
    numpy.lib = _package("numpy.lib", numpy.__path__)
    sys.meta_path.insert(0, _Unused)
    try:
        core: Any = import_module(_CORE)
        # As NumPy's own code does: large arrays ask the kernel for huge pages.
        core.multiarray._set_madvise_hugepage(os.environ.get("NUMPY_MADVISE_HUGEPAGE", "1") != "0")
    except (ImportError, AttributeError):  # another release, made of other parts
        _complete()
    finally:
        sys.meta_path.remove(_Unused)
