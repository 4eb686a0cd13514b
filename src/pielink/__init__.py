"""pielink links macOS position-independent executables on any machine.

    import pielink
    result = pielink.link(pielink.LinkOptions(main="main.a", output="hello", importcfg="cfg"))
    print(result.output, result.timings)

Names are imported when they are first used: `import pielink` is quick, and NumPy is loaded only
for a link. pielink.dyld (codecs), pielink.check and pielink.emulator are packages of their own.
"""

from __future__ import annotations

import importlib

from pielink.hints import TYPE_CHECKING, Any
from pielink.version import __version__

if TYPE_CHECKING:
    from pielink.errors import FormatError, LinkError, PielinkError, Problem, UsageError
    from pielink.options import (
        BindTime,
        BuildConfig,
        BuildMode,
        Definition,
        DyldInfoFormat,
        LinkOptions,
        Version,
    )
    from pielink.pipeline import LinkResult

__all__ = [
    "BindTime",
    "BuildConfig",
    "BuildMode",
    "Definition",
    "DyldInfoFormat",
    "FormatError",
    "LinkError",
    "LinkOptions",
    "LinkResult",
    "PielinkError",
    "Problem",
    "UsageError",
    "Version",
    "__version__",
    "link",
]

# Public name -> the module that defines it.
_HOMES = {
    **dict.fromkeys(
        ("FormatError", "LinkError", "PielinkError", "Problem", "UsageError"), "errors"
    ),
    **dict.fromkeys(
        (
            "BindTime",
            "BuildConfig",
            "BuildMode",
            "Definition",
            "DyldInfoFormat",
            "LinkOptions",
            "Version",
        ),
        "options",
    ),
    "LinkResult": "pipeline",
}


def link(options: LinkOptions) -> LinkResult:
    """Link as `options` say and write the output file.

    Returns the tables, the time of each pass in seconds and the output's path. Raises LinkError
    with every problem found (a file that cannot be read or written among them), or FormatError for
    a malformed input; then no output is left.
    """
    from pielink.errors import LinkError, Problem
    from pielink.pipeline import link as run

    try:
        return run(options)
    except OSError as error:
        problem = Problem(error.strerror or str(error), file=str(error.filename or ""))
        raise LinkError([problem]) from None


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pielink' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pielink.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
