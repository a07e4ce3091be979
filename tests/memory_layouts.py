"""One array in many orders in memory, for tests that the order must not matter to."""

from __future__ import annotations

import numpy as np

LAYOUTS = ("contiguous", "transposed", "channel-major", "sliced", "reversed")


def laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another order in memory; between those of a sliced array lies NaN, to show who reads it."""
    if x.ndim == 0 or layout == "contiguous":
        return np.array(x)
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "channel-major":
        return np.ascontiguousarray(x.swapaxes(0, min(1, x.ndim - 1))).swapaxes(0, min(1, x.ndim - 1))
    if layout == "reversed":
        flip = (slice(None, None, -1),) * x.ndim
        return np.ascontiguousarray(x[flip])[flip]
    wide = np.full([2 * size + 1 for size in x.shape], np.nan if x.dtype.kind == "f" else 1).astype(x.dtype)
    view = wide[(slice(1, None, 2),) * x.ndim]
    view[...] = x
    return view
