"""Names of typing, for annotations.

Annotations are never evaluated, so a module needs these names only for type checkers. Importing
typing takes as long as several passes of a small link: at run time stand-ins do.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's; type checkers take a variable of this name for true
if TYPE_CHECKING:
    from typing import Any as Any
    from typing import NoReturn as NoReturn
    from typing import Self as Self
    from typing import TypeVar as TypeVar
    from typing import dataclass_transform as dataclass_transform
else:
    Any = NoReturn = Self = object

    class TypeVar:
        """A name for a type in signatures."""

        def __init__(self, *_: object, **__: object) -> None:
            pass

    def dataclass_transform(**_: object):
        """No change to what it decorates."""
        return lambda decorator: decorator
