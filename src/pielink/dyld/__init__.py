"""What a Mach-O file tells dyld, as columns: rebase and bind streams, export trie, chained fixups.

Each codec is a module with `encode` (columns -> bytes) and `decode` (bytes -> columns). Columns are
NumPy structured arrays; their dtypes are `REBASE` and `BIND` here. A malformed stream raises
`DyldInfoError` with the byte offset. Nothing of the linker is imported.
"""

from __future__ import annotations

from importlib import import_module

from pielink.dyld.columns import BIND, REBASE
from pielink.dyld.errors import DyldInfoError
from pielink.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pielink.dyld import bind, chained, exports, lazy_bind, rebase, weak_bind
    from pielink.dyld.exports import EXPORT

__all__ = [
    "BIND",
    "EXPORT",
    "REBASE",
    "DyldInfoError",
    "bind",
    "chained",
    "exports",
    "lazy_bind",
    "rebase",
    "weak_bind",
]


def __getattr__(name: str) -> Any:
    """Load a codec when it is first asked for: a link needs few of them, and starts sooner."""
    if name == "EXPORT":
        return import_module("pielink.dyld.exports").EXPORT
    if name in __all__:
        return import_module(f"pielink.dyld.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
