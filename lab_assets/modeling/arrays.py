"""Array types shared by the modeling room.

Belongs here: names for numpy array types and the one way to code groups. Does not belong here: mathematics.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
TextArray: TypeAlias = NDArray[np.str_]
AnyArray: TypeAlias = NDArray[Any]


def group_codes(groups: AnyArray) -> tuple[AnyArray, IntArray]:
    """Return the distinct groups, sorted, and for each row the index of its group, ``(n,)``."""
    distinct, codes = np.unique(groups, return_inverse=True)
    return distinct, np.asarray(codes, dtype=np.int64).reshape(-1)
