"""Cross-entropy of class numbers: each row once from memory, and no row of zeros with a one in it.

A row's loss is ln Σ exp(x) − x[label], by its maximum; what softmax it takes on the way is the gradient already.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ..base import Array
from ..layout import require_shape
from .activation import exponential
from .elementwise import sum_row
from .jit import Index, inner, kernel, pointwise, serial
from .layout import plain

SHARED = 1 << 14  # scores from which a second thread pays for itself


@inner
def largest(x: Any) -> Any:
    """The maximum, or where there is a NaN any number: less that, NaN stays NaN."""
    most = x[0]
    for k in range(Index(x.size)):
        most = x[k] if x[k] > most else most
    return most


@inner
def sum_below(x: Any, most: Any) -> float:
    total = 0.0
    for k in range(Index(x.size)):
        total += np.float64(x[k] - most)
    return total


@pointwise
def exp_row(x: Any, most: Any, y: Any) -> None:
    for k in range(Index(x.size)):
        y[k] = exponential(x[k] - most)


@pointwise
def slope_row(shares: Any, factor: Any, even: Any, scale: Any) -> None:
    for k in range(Index(shares.size)):
        shares[k] = (shares[k] * factor - even) * scale


@inner
def row_loss(x: Any, most: Any, label: int, smoothing: float, scale: float, slope: Any) -> float:
    """Loss of a row; slope = scale * (softmax(x) - (1 - smoothing) [k = label] - smoothing / K). Zeros of no label."""
    if label < 0:
        slope[:] = scale * 0
        return 0.0
    real = x.dtype.type
    exp_row(x, most, slope)
    total = sum_row(slope)
    share, factor, even = slope[label], real(1 / total), real(smoothing / x.size)
    slope_row(slope, factor, even, real(scale))
    slope[label] = (share * factor - real(1 - smoothing) - even) * real(scale)
    loss = (1 - smoothing) * (math.log(total) - np.float64(x[label] - most))
    if smoothing != 0:  # nothing may come of infinite scores that count for nothing
        loss += smoothing * (math.log(total) - sum_below(x, most) / x.size)
    return loss


@kernel
def cross_entropy_kernel(
    x: Any, most: Any, labels: Any, smoothing: float, scale: float, loss: Any, slope: Any
) -> float:
    """x: N K, its maxima most: N, labels: N -> loss: N, float64, slope: N K, times scale; returns the sum of loss."""
    for n in prange(x.shape[0]):
        loss[n] = row_loss(x[n], most[n], labels[n], smoothing, scale, slope[n])
    return sum_row(loss)


@serial
def small_cross_entropy_kernel(x: Any, labels: Any, smoothing: float, scale: float, loss: Any, slope: Any) -> float:
    """The same for few scores."""
    for n in range(x.shape[0]):
        loss[n] = row_loss(x[n], largest(x[n]), labels[n], smoothing, scale, slope[n])
    return sum_row(loss)


def label_cross_entropy(x: Array, labels: Array, smoothing: float, scale: float | None) -> tuple[Array, Array]:
    """See `base.Backend`; x is not empty."""
    require_shape("labels", labels, x.shape[:1])
    x, loss, slope = plain(x), np.empty(len(x)), np.empty(x.shape, x.dtype)
    options = smoothing, 1.0 if scale is None else scale
    if x.size < SHARED:
        total = small_cross_entropy_kernel(x, labels, *options, loss, slope)
    else:  # NumPy finds maxima by vectors, which LLVM does not where there may be a NaN
        total = cross_entropy_kernel(x, x.max(axis=1), labels, *options, loss, slope)
    return loss.astype(x.dtype) if scale is None else np.array(total * scale, x.dtype), slope
