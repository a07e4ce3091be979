"""Sums, products and reductions of whole images, where NumPy's one thread waits for memory.

Only the forms that a network spends time in: two large arrays alike, an image times a number for each of its planes
(the gate of squeeze-excitation), and sums over planes or over channels. All else is NumPy's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ..base import Array, Axes
from ..layout import swap
from .jit import Index, inner, kernel, pointwise
from .layout import channel_major, dense, dense_like, real

LARGE = 1 << 15  # numbers from which a second thread pays for itself
BLOCK = 4096


@pointwise
def add_block(a: Any, b: Any, first: int, last: int, y: Any) -> None:
    for i in range(Index(first), Index(last)):
        y[i] = a[i] + b[i]


@pointwise
def multiply_block(a: Any, b: Any, first: int, last: int, y: Any) -> None:
    for i in range(Index(first), Index(last)):
        y[i] = a[i] * b[i]


@pointwise
def multiply_row(x: Any, v: Any, y: Any) -> None:
    for i in range(Index(x.size)):
        y[i] = x[i] * v


@inner
def sum_row(x: Any) -> Any:
    s = 0.0
    for i in range(Index(x.size)):
        s += np.float64(x[i])
    return s


@kernel
def add_kernel(a: Any, b: Any, y: Any) -> None:
    for block in prange((a.size + BLOCK - 1) // BLOCK):
        add_block(a, b, block * BLOCK, min((block + 1) * BLOCK, a.size), y)


@kernel
def multiply_kernel(a: Any, b: Any, y: Any) -> None:
    for block in prange((a.size + BLOCK - 1) // BLOCK):
        multiply_block(a, b, block * BLOCK, min((block + 1) * BLOCK, a.size), y)


@kernel
def multiply_rows_kernel(x: Any, v: Any, y: Any) -> None:
    """x: R n, v: R -> y: R n."""
    for r in prange(x.shape[0]):
        multiply_row(x[r], v[r], y[r])


@kernel
def sum_rows_kernel(x: Any, y: Any) -> None:
    """x: R n -> y: R; sums in float64."""
    for r in prange(x.shape[0]):
        y[r] = sum_row(x[r])


def large(x: Any) -> bool:
    """Whether ``x``, an array or a number, is worth a kernel. Asked first, so that small ones wait for nothing else."""
    return getattr(x, "size", 1) >= LARGE


def alike(a: Any, b: Any) -> bool:
    """Whether ``a`` and ``b`` are alike enough for `combine`."""
    return real(a, b) and a.shape == b.shape


def combine(function: kernel, a: Array, b: Array) -> Array:
    """``function`` of two arrays of one shape, number by number; the result lies in memory as ``a`` does."""
    first, swapped = dense(a)
    y = np.empty_like(first)
    function(first.reshape(-1), dense_like(b, swapped).reshape(-1), y.reshape(-1))
    return swap(y, swapped)


def gates(x: Any, v: Any) -> bool:
    """Whether ``v``, N C 1 1, holds a number for each plane of a large image ``x``, N C H W."""
    return large(x) and real(x, v) and x.ndim == 4 and v.shape == (*x.shape[:2], 1, 1)


def multiply_planes(x: Array, v: Array) -> Array:
    """x: N C H W times v: N C 1 1."""
    source = channel_major(x)
    y = np.empty_like(source)
    rows = source.shape[0] * source.shape[1], source.shape[2] * source.shape[3]
    multiply_rows_kernel(source.reshape(rows), channel_major(v).reshape(-1), y.reshape(rows))
    return y.swapaxes(0, 1)


def sums_images(x: Any, axis: Axes) -> bool:
    """Whether a sum of ``x`` over ``axis`` is one over the planes or the channels of a large image, N C H W.

    Where channels lie side by side a sum over pixels is one of whole rows: NumPy does that well.
    """
    if not real(x) or x.ndim != 4 or axis not in ((2, 3), (-2, -1), (0, 2, 3)):
        return False
    return not x.transpose(0, 2, 3, 1).flags.c_contiguous or x.swapaxes(0, 1).flags.c_contiguous


def sum_images(x: Array, axis: Axes, keepdims: bool) -> Array:
    """x: N C H W summed over its planes, axis (2, 3), or channel by channel, axis (0, 2, 3)."""
    source = channel_major(x)
    channels, n, *size = source.shape
    if axis == (0, 2, 3):
        total = np.empty(channels, x.dtype)
        sum_rows_kernel(source.reshape(channels, -1), total)
        return total.reshape(1, channels, 1, 1) if keepdims else total
    total = np.empty((channels, n), x.dtype)
    sum_rows_kernel(source.reshape(channels * n, math.prod(size)), total.reshape(-1))
    total = total.swapaxes(0, 1)
    return total[:, :, None, None] if keepdims else total
