"""Pieces of fused kernels: what is done to one channel, a block of whole images at a time.

    t = (x - centre) * scale + shift        batch norm, scale = gamma / sqrt(var + eps)
    act = t * s, s = sigmoid(t)             SiLU
    slope = s * (1 + t * (1 - s))           its derivative

The gradient of batch norm needs two sums over the channel, of g and of g * (x - centre), where g is the gradient of t:

    dx = scale * (g - mean(g) - (x - mean) / (var + eps) * mean(g * (x - mean)))

A block is summed in the arrays' dtype, the blocks in float64; statistics are float64 throughout (`moments`).
With fixed statistics the two means fall away: ``share``, 1/count, is then 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..base import Array, Given, Statistics
from ..layout import require_shape
from .activation import sigmoid
from .fetch import fetch_run
from .jit import Index, inner, pointwise
from .layout import plain
from .normalization import moments

BLOCK = 4096  # numbers in a block, about: a handful of them fit the first two levels of cache


FETCH = 512  # numbers that are fetched while as many are computed with


@inner
def block_images(n: int, area: int) -> int:
    """How many whole images make a block."""
    return max(1, min(n, BLOCK // area))


@inner
def channel_form(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any) -> Any:
    """centre, scale and shift in the dtype of x; what rounding the mean to it loses goes into the shift."""
    number = x.dtype.type
    centre = number(mean)
    scale = gamma / math.sqrt(var + eps)
    return centre, number(scale), number(beta - (mean - np.float64(centre)) * scale)


@inner
def channel_statistics(x: Any, fixed: bool, mean: Any, var: Any, c: int) -> Any:
    """Mean and variance of a channel, float64: those given, or the batch's, which are then written down."""
    if fixed:
        return np.float64(mean[c]), np.float64(var[c])
    m, v = moments(x)
    mean[c] = m
    var[c] = v
    return m, v


@inner
def gradient_form(x: Any, gamma: Any, var: Any, eps: Any, s: Any, q: Any, share: Any) -> Any:
    """scale, a, b of dx = scale * (g - a - (x - centre) * b), and the gradient of gamma, from the sums s and q."""
    number = x.dtype.type
    inv_std = 1.0 / math.sqrt(np.float64(var) + eps)
    dgamma = q * inv_std
    return number(gamma * inv_std), number(s * share), number(dgamma * inv_std * share), dgamma


@pointwise
def activate(x: Any, first: int, n: int, centre: Any, scale: Any, shift: Any, act: Any, start: int) -> None:
    """act[start...] = silu(t) of the ``n`` numbers of x from ``first`` on."""
    z = Index(first)
    out = Index(start)
    for i in range(Index(n)):
        t = (x[z + i] - centre) * scale + shift
        act[out + i] = t * sigmoid(t)


@pointwise
def activate_slope(
    x: Any, first: int, n: int, centre: Any, scale: Any, shift: Any, act: Any, slope: Any, start: int
) -> None:
    """act = silu(t), slope = its derivative."""
    one = x.dtype.type(1)
    z, out = Index(first), Index(start)
    for i in range(Index(n)):
        t = (x[z + i] - centre) * scale + shift
        s = sigmoid(t)
        act[out + i] = t * s
        slope[out + i] = s * (one + t * (one - s))


@inner
def activate_slope_fetching(
    x: Any, first: int, n: int, centre: Any, scale: Any, shift: Any, act: Any, slope: Any, dy: Any, at: int, m: int
) -> None:
    """`activate_slope`, while the next ``n`` numbers of x are fetched, and ``m`` of dy from ``at`` on.

    Otherwise a block's arithmetic and its way from memory would take turns.
    """
    parts = (n + FETCH - 1) // FETCH
    for part in range(parts):
        i = part * FETCH
        count = min(FETCH, n - i)
        fetch_run(x, first + n + i, count)
        fetch_run(dy, at + m * part // parts, m // parts)
        activate_slope(x, first + i, count, centre, scale, shift, act, slope, i)


@pointwise
def weigh(first: int, n: int, dh: Any, start: int, slope: Any, g: Any) -> None:
    """g[first...] = dh[start...] * slope."""
    z, r = Index(first), Index(start)
    for i in range(Index(n)):
        g[z + i] = dh[r + i] * slope[i]


@inner
def block_sums(x: Any, first: int, n: int, g: Any, centre: Any) -> Any:
    """Sums of g and of g * (x - centre)."""
    zero = x.dtype.type(0)
    s, q = zero, zero
    z = Index(first)
    for i in range(Index(n)):
        s += g[z + i]
        q += g[z + i] * (x[z + i] - centre)
    return np.float64(s), np.float64(q)


@pointwise
def finish(x: Any, centre: Any, scale: Any, a: Any, b: Any, g: Any) -> None:
    """g <- scale * (g - a - (x - centre) * b)."""
    for i in range(Index(x.size)):
        g[i] = scale * ((g[i] - a) - (x[i] - centre) * b)


@inner
def plane_sum(act: Any, start: int, n: int) -> Any:
    s = act.dtype.type(0)
    z = Index(start)
    for i in range(Index(n)):
        s += act[z + i]
    return s


@pointwise
def scale_plane(act: Any, start: int, n: int, factor: Any, z: Any, first: int) -> None:
    """z[first...] = act[start...] * factor."""
    source, target = Index(start), Index(first)
    for i in range(Index(n)):
        z[target + i] = act[source + i] * factor


@inner
def gate_sums(y: Any, dz: Any, first: int, n: int, act: Any, slope: Any, start: int, centre: Any, sums: Any) -> None:
    """What squeeze-excitation's gradient needs of a plane, into ``sums``.

    Of act, dz * act, slope, slope * d, dz * slope, dz * slope * d with d = y - centre.
    """
    zero = y.dtype.type(0)
    s0, s1, s2, s3, s4, s5 = zero, zero, zero, zero, zero, zero
    z, r = Index(first), Index(start)
    for i in range(Index(n)):
        d = y[z + i] - centre
        up = dz[z + i]
        h = act[r + i]
        p = slope[r + i]
        s0 += h
        s1 += up * h
        s2 += p
        s3 += p * d
        s4 += up * p
        s5 += up * p * d
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5] = s0, s1, s2, s3, s4, s5


@pointwise
def slopes(y: Any, first: int, n: int, centre: Any, scale: Any, shift: Any, slope: Any) -> None:
    one = y.dtype.type(1)
    z = Index(first)
    for i in range(Index(n)):
        t = (y[z + i] - centre) * scale + shift
        s = sigmoid(t)
        slope[i] = s * (one + t * (one - s))


@pointwise
def excite_plane(
    y: Any, dz: Any, first: int, n: int, slope: Any, start: int, centre: Any, gate: Any, extra: Any, back: Any, dy: Any
) -> None:
    """dy = scale * ((dz * gate + extra) * slope - a - (y - centre) * b) over a plane; back = scale, a, b."""
    scale, a, b = back
    z, r = Index(first), Index(start)
    for i in range(Index(n)):
        g = (dz[z + i] * gate + extra) * slope[r + i]
        dy[z + i] = scale * ((g - a) - (y[z + i] - centre) * b)


@pointwise
def add_plane(v: Any, skip: Any, first: int, n: int, centre: Any, scale: Any, shift: Any, y: Any) -> None:
    z = Index(first)
    for i in range(Index(n)):
        y[z + i] = (v[z + i] - centre) * scale + shift + skip[z + i]


@inner
def mask_sums(v: Any, dy: Any, first: int, n: int, factor: Any, centre: Any) -> Any:
    """Sums of g = dy * factor and of g * (v - centre)."""
    zero = v.dtype.type(0)
    s, q = zero, zero
    z = Index(first)
    for i in range(Index(n)):
        g = dy[z + i] * factor
        s += g
        q += g * (v[z + i] - centre)
    return np.float64(s), np.float64(q)


@pointwise
def mask_plane(v: Any, dy: Any, first: int, n: int, factor: Any, centre: Any, back: Any, dv: Any) -> None:
    """dv = scale * (dy * factor - a - (v - centre) * b); back = scale, a, b."""
    scale, a, b = back
    z = Index(first)
    for i in range(Index(n)):
        dv[z + i] = scale * ((dy[z + i] * factor - a) - (v[z + i] - centre) * b)


# -- around kernels ---------------------------------------------------------------------------------------------------


def start(x: Array, given: Given) -> tuple[Array, Array, bool]:
    """Arrays for a channel's mean and variance, filled where they are given, and whether they are."""
    channels = x.shape[1:2]
    if given is None:
        return np.empty(channels, x.dtype), np.empty(channels, x.dtype), False
    for name, value in zip(("mean", "var"), given, strict=True):
        require_shape(name, value, channels)
    return plain(given[0]), plain(given[1]), True


def parameters(x: Array, *vectors: Array) -> list[Array]:
    """Vectors of one number a channel, checked and plain."""
    for vector in vectors:
        require_shape("a channel's parameter", vector, x.shape[1:2])
    return [plain(vector) for vector in vectors]


def share_of(x: Array, statistics: Statistics) -> float:
    """1 / count, or 0 where the statistics do not depend on x."""
    return 0.0 if statistics.fixed else x.shape[1] / x.size
