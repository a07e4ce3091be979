"""The transpose of indexing: adding into an array where some places may be named twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..base import Array
from .launch import kernel
from .layout import THREADS, elementwise_grid, plain


def scatter_add(dy: Array, index: Any, shape: Sequence[int]) -> Array:
    """Zeros of ``shape`` with ``dy`` added at ``[index]``, an array of whole numbers or a tuple with one in it.

    The order of every sum is that of ``dy``: the result has the same bits in every run.
    """
    import cupy

    places = cupy.arange(math.prod(shape)).reshape(tuple(shape))[index].ravel()
    order = cupy.argsort(places)  # stable, as all of CuPy's sorting is
    total = cupy.zeros(tuple(shape), dy.dtype)
    args = places[order], order, plain(dy), places.size, total
    kernel("indexing", "add_runs", dy.dtype)(elementwise_grid(places.size, 1), (THREADS,), args)
    return total


def may_repeat(index: Any) -> bool:
    """Whether an index can name a place twice: slices, single numbers and masks cannot."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, list) or (hasattr(p, "dtype") and p.dtype.kind in "iu" and p.ndim) for p in parts)
