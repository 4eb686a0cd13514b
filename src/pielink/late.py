"""Modules whose code runs when the first name is wanted that they do not have yet.

Imports name modules that most processes do not need: what they are imported for is asked for later
or never. In their place is an object that stands for the module and becomes it at need; whoever
asks sees the same names.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType

from pielink.hints import Any

# Parts of the standard library that NumPy and this package import and mostly do not use, with the
# name that they are asked for at once, where another module has it. Modules in packages, such as
# collections.abc, are there anyway.
_STANDARD = {
    "ast": "",
    "collections": "",
    "datetime": "_datetime.datetime_CAPI",
    "functools": "_functools.partial",
    "inspect": "",
    "pickle": "",
}


class LateModule(ModuleType):
    """A module whose code has not run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        run(self)
        return getattr(self, name)


def put(name: str, kind: type[ModuleType] = LateModule, path: list[str] | None = None) -> Any:
    """Put a module whose code has not run into sys.modules; None if there is no such module.

    It is looked for in the package that its name says, else in `path` (default: sys.path).
    """
    parent, _, _ = name.rpartition(".")
    spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else path)
    if spec is None or spec.loader is None:
        return None
    module: Any = kind(name)
    module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
    module.__package__, module.__cached__ = spec.parent, spec.cached
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    sys.modules[name] = module
    return module


def run(module: Any) -> None:
    """Run the code of a module that is in sys.modules without it."""
    module.__class__ = ModuleType
    module.__spec__.loader.exec_module(module)


def install() -> None:
    """Let modules of the standard library wait that a link imports and does not use."""
    library = [os.path.dirname(os.__file__)]
    for name, given in _STANDARD.items():
        if name not in sys.modules and (module := put(name, path=library)) and given:
            home, _, own = given.partition(".")
            setattr(module, own, getattr(import_module(home), own))
