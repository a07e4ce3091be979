"""Memory layout: the form in which arrays enter compiled kernels.

Images N C H W are kept channel-major, as a C-contiguous array C N H W seen through a transpose. What comes in another
layout is copied, once: all that follows stays channel-major.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import Array

REAL = (np.dtype(np.float32), np.dtype(np.float64))


def real(*arrays: Any) -> bool:
    """Whether all are ndarrays of one real floating dtype that kernels are compiled for."""
    first = getattr(arrays[0], "dtype", None)
    return first in REAL and all(isinstance(a, np.ndarray) and a.dtype == first for a in arrays)


def plain(x: Array) -> Array:
    """``x`` C-contiguous, aligned and writable; itself where it is so already.

    Numba compiles anew for every other kind, read-only arrays included: the copy is cheaper.
    """
    if type(x) is np.ndarray and x.flags.carray:
        return x
    return np.require(x, requirements=["C_CONTIGUOUS", "ALIGNED", "WRITEABLE", "ENSUREARRAY"])


def channel_major(x: Array) -> Array:
    """N C ... -> a plain array C N ...: a view where ``x`` is channel-major already, else a copy."""
    return plain(x.swapaxes(0, 1))


def dense(x: Array) -> tuple[Array, bool]:
    """(a plain array with the numbers of ``x``, whether its first two axes are swapped).

    An elementwise kernel needs no order of axes, only memory without gaps; its result should lie as its operand does.
    """
    if x.ndim >= 2 and not x.flags.c_contiguous and x.swapaxes(0, 1).flags.c_contiguous:
        return plain(x.swapaxes(0, 1)), True
    return plain(x), False


def dense_like(x: Array, swapped: bool) -> Array:
    """A plain array with the numbers of ``x``, its first two axes swapped or not as asked."""
    return plain(x.swapaxes(0, 1) if swapped else x)


def restore(x: Array, swapped: bool) -> Array:
    """Undo the swap of `dense`."""
    return x.swapaxes(0, 1) if swapped else x


def require_shape(name: str, x: Array, shape: tuple[int, ...]) -> None:
    """Refuse an argument of another shape: compiled code would read past its end.

    Raises
    ------
    ValueError
        With the name of the argument, its shape, and the one that was expected.
    """
    if x.shape != shape:
        raise ValueError(f"{name}: got an array of shape {x.shape}, expected {shape}")
