"""Names for the types of arrays, for annotations.

A module that only names types need not import numpy.typing, which takes as long as a pass of a
small link: for a type checker these are its types, at run time they are stand-ins.
"""

from __future__ import annotations

import numpy as np

TYPE_CHECKING = False  # as typing's; type checkers take a variable of this name for true
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    Rows = NDArray[Any]  # structured
    Ints = NDArray[np.integer[Any]]
else:
    NDArray, ArrayLike, DTypeLike = np.ndarray, object, object
    Rows = Ints = np.ndarray

__all__ = ["I1", "I4", "I8", "U1", "U2", "U4", "U8", "ArrayLike", "Bool", "DTypeLike"]
__all__ += ["Ints", "NDArray", "Rows"]

U1 = NDArray[np.uint8]
U2 = NDArray[np.uint16]
U4 = NDArray[np.uint32]
U8 = NDArray[np.uint64]
I1 = NDArray[np.int8]
I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
Bool = NDArray[np.bool_]
