"""Which dtypes hold floating-point numbers: NumPy's own, and bfloat16, which NumPy knows from the package ml_dtypes.

Sixteen bits are for storing on a GPU: kernels read and write them, and compute in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def is_floating(dtype: np.dtype[Any]) -> bool:
    """True for real and complex floating-point numbers, bfloat16 included."""
    return dtype.kind in "fc" or dtype.name == "bfloat16"


def is_half(dtype: np.dtype[Any]) -> bool:
    """True for float16 and bfloat16."""
    return dtype.itemsize == 2 and is_floating(dtype)


def dtype_of(target: Any) -> np.dtype[Any]:
    """The dtype of a name, as NumPy has it, or "bfloat16".

    Raises
    ------
    ImportError
        It is bfloat16, and ml_dtypes is not installed.
    """
    if isinstance(target, str) and target == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise ImportError("bfloat16 needs the package ml_dtypes: pip install ml_dtypes") from None
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(target)
