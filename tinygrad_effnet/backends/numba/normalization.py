"""Batch normalisation: a thread owns a channel, whose numbers are contiguous and mostly fit its cache.

Sums are taken in float64 whatever the dtype: the loops wait for memory, not for arithmetic.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ..base import Array
from ..layout import require_shape
from .jit import Index, inner, kernel, pointwise
from .layout import channel_major, plain


@inner
def moments(x: Any) -> Any:
    """Mean and biased variance, float64.

    In one pass, with d = x - x[0]: mean = x[0] + mean(d), var = mean(d**2) - mean(d)**2. The shift by a number out of x
    bounds what cancellation can lose: (x[0] - mean)**2 is at most n times the variance.
    """
    shift = np.float64(x[0])
    s = 0.0
    q = 0.0
    for i in range(Index(x.size)):
        d = np.float64(x[i]) - shift
        s += d
        q += d * d
    s /= x.size
    var = q / x.size - s * s
    return shift + s, 0.0 if var < 0.0 else var  # a NaN is not less than 0 and stays


@pointwise
def scale_shift_channel(x: Any, scale: Any, shift: Any, y: Any) -> None:
    for i in range(Index(x.size)):
        y[i] = x[i] * scale + shift


@pointwise
def normalise_channel(x: Any, mean: Any, scale: Any, shift: Any, y: Any) -> None:
    """(x - mean) * scale + shift; the difference first, because x * scale and mean * scale may be large and alike."""
    for i in range(Index(x.size)):
        y[i] = x.dtype.type(np.float64(x[i]) - mean) * scale + shift


@inner
def gradient_sums(x: Any, dy: Any, mean: Any) -> Any:
    """sum of dy and of dy * (x - mean), float64."""
    s = 0.0
    q = 0.0
    for i in range(Index(x.size)):
        g = np.float64(dy[i])
        s += g
        q += g * (np.float64(x[i]) - mean)
    return s, q


@pointwise
def gradient_channel(x: Any, dy: Any, mean: Any, a: Any, b: Any, c: Any, dx: Any) -> None:
    """a * (dy - b - (x - mean) * c)"""
    for i in range(Index(x.size)):
        dx[i] = a * ((dy[i] - b) - (x[i] - mean) * c)


@kernel
def batch_norm_kernel(x: Any, gamma: Any, beta: Any, eps: Any, y: Any, mean: Any, var: Any) -> None:
    number = x.dtype.type
    for c in prange(x.shape[0]):
        m, v = moments(x[c])
        normalise_channel(x[c], m, number(gamma[c] / math.sqrt(v + eps)), beta[c], y[c])
        mean[c] = m
        var[c] = v


@kernel
def batch_norm_grad_kernel(
    x: Any, gamma: Any, dy: Any, mean: Any, var: Any, eps: Any, dx: Any, dgamma: Any, dbeta: Any
) -> None:
    number = x.dtype.type
    for c in prange(x.shape[0]):
        inv_std = 1.0 / math.sqrt(var[c] + eps)
        s, q = gradient_sums(x[c], dy[c], np.float64(mean[c]))
        q *= inv_std
        count = x.shape[1]
        a = number(gamma[c] * inv_std)
        gradient_channel(x[c], dy[c], mean[c], a, number(s / count), number(q * inv_std / count), dx[c])
        dgamma[c] = q
        dbeta[c] = s


@kernel
def scale_shift_kernel(x: Any, scale: Any, shift: Any, y: Any) -> None:
    for c in prange(x.shape[0]):
        scale_shift_channel(x[c], scale[c], shift[c], y[c])


def rows(x: Array) -> Array:
    """C N ... -> C (N ...): a channel a row."""
    return x.reshape(x.shape[0], x.size // max(x.shape[0], 1))


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """x: N C ..., not empty; gamma, beta: C -> y like x, mean, var: C."""
    channels = x.shape[1:2]
    require_shape("gamma", gamma, channels)
    require_shape("beta", beta, channels)
    source = channel_major(x)
    y, mean, var = np.empty_like(source), np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    batch_norm_kernel(rows(source), plain(gamma), plain(beta), float(eps), rows(y), mean, var)
    return y.swapaxes(0, 1), mean, var


def batch_norm_grad(
    x: Array, gamma: Array, dy: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """x, dy: N C ..., not empty; the rest C -> dx like x, dgamma, dbeta: C."""
    channels = x.shape[1:2]
    require_shape("dy", dy, x.shape)
    for name, value in (("gamma", gamma), ("mean", mean), ("var", var)):
        require_shape(name, value, channels)
    source = channel_major(x)
    dx, dgamma, dbeta = np.empty_like(source), np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    statistics = plain(mean), plain(var), float(eps)
    batch_norm_grad_kernel(rows(source), plain(gamma), rows(channel_major(dy)), *statistics, rows(dx), dgamma, dbeta)
    return dx.swapaxes(0, 1), dgamma, dbeta


def scale_shift(x: Array, scale: Array, shift: Array) -> Array:
    """x: N C ..., scale, shift: C -> x * scale + shift like x."""
    require_shape("scale", scale, x.shape[1:2])
    require_shape("shift", shift, x.shape[1:2])
    source = channel_major(x)
    y = np.empty_like(source)
    scale_shift_kernel(rows(source), plain(scale), plain(shift), rows(y))
    return y.swapaxes(0, 1)
