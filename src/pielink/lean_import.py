"""Import modules by fewer steps, in a process that is the command `pielink` and nothing else.

A link imports some ninety small modules. For each of them Python asks several finders, asks whether
directories have changed, and reads the compiled code through a buffer that asks what kind of file
it is. The finder here takes a module from its compiled code at once if that is there and is that of
the source as it is now (its header has the source's time and size); it leaves all else to Python.
What is imported is the same.

Source of the format: importlib/_bootstrap_external.py, SourceLoader.get_code.
"""

from __future__ import annotations

import os
import sys
from importlib._bootstrap_external import MAGIC_NUMBER  # importlib.util takes long to import
from importlib.machinery import ModuleSpec, SourceFileLoader
from marshal import loads

from pielink.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGES = ("pielink.", "numpy.")  # no module of theirs has the name of a package beside it
_HEADER = 16  # bytes before the code: magic, flags (none), the source's time and size
_WORD = 0xFFFFFFFF


class _Compiled(SourceFileLoader):
    """Loads a module whose compiled code was read already."""

    def __init__(self, name: str, path: str, compiled: bytes) -> None:
        super().__init__(name, path)
        self._compiled = compiled

    def get_code(self, fullname: str) -> Any:
        """The code object of the module."""
        compiled, self._compiled = self._compiled, b""
        return loads(memoryview(compiled)[_HEADER:]) if compiled else super().get_code(fullname)


class _Finder:
    """Finds modules with compiled code; for sys.meta_path."""

    def __init__(self, magic: bytes) -> None:
        self._start, self._end = magic + bytes(4), f".{sys.implementation.cache_tag}.pyc"

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        """The module of a package, None if it is to be looked for in another way."""
        if path is None or not name.startswith(_PACKAGES):
            return None
        folder, leaf = path[0], name.rpartition(".")[2]
        source, cached = f"{folder}/{leaf}.py", f"{folder}/__pycache__/{leaf}{self._end}"
        try:
            found, compiled = os.stat(source), _read(cached)
        except OSError:
            return None
        now = (int(found.st_mtime) & _WORD) | (found.st_size & _WORD) << 32
        if compiled[:_HEADER] != self._start + now.to_bytes(8, "little"):
            return None
        spec = ModuleSpec(name, _Compiled(name, source, compiled), origin=source)
        spec.cached, spec.has_location = cached, True
        return spec


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)


def install() -> None:
    """Let this process import so, if Python keeps compiled code where it does by default."""
    if not (sys.flags.optimize or sys.pycache_prefix or sys.implementation.cache_tag is None):
        sys.meta_path.insert(0, _Finder(MAGIC_NUMBER))
