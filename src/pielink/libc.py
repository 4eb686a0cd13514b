"""Functions of the C library, called by what the module ctypes is made of.

Importing ctypes itself takes as long as a pass of a small link.
"""

from __future__ import annotations

import _ctypes
from collections.abc import Callable

from pielink.hints import Any


def _simple(code: str) -> type[Any]:
    return type("Simple", (_ctypes._SimpleCData,), {"_type_": code})


# The types of arguments and results. A null pointer as a result is None; a string is of bytes.
INT, LONG, SIZE, POINTER, STRING = map(_simple, ("i", "l", "L", "P", "z"))


def function(name: str, result: type[Any] | None, *arguments: type[Any]) -> Callable[..., Any]:
    """The function `name` of this process; OSError if there is none. `errno` tells its error.

    It runs without the interpreter's lock. None for `result`: void.
    """
    own = {
        "_flags_": _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO,
        "_restype_": result,
        "_argtypes_": arguments,
    }
    process: Any = None
    made: Any = type("Function", (_ctypes.CFuncPtr,), own)
    found: Callable[..., Any] = made(_ctypes.dlsym(_ctypes.dlopen(process, 0), name))
    return found


def errno() -> int:
    """What the last function of this module called has left in errno."""
    return _ctypes.get_errno()
