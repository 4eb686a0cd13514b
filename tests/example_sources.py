"""The C libraries that examples are built with: fetched once, by examples/sources.py."""

from __future__ import annotations

import importlib.util
import sys

from go_inputs import CACHE, EXAMPLES, locked


def fetch_sources(name: str) -> None:
    """Fetch the library of an example, such as cgo-lua, if it has one."""
    spec = importlib.util.spec_from_file_location("sources", EXAMPLES / "sources.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["sources"] = module
    spec.loader.exec_module(module)
    library = name.removeprefix("cgo-")
    if library in module.LIBRARIES:
        with locked(CACHE / "cgo" / f"{name}.sources"):
            module.fetch(library)
