"""Fused kernels of batch norm, SiLU and what follows them, save for the convolution (see depthwise.py).

A thread owns channels. It carries a channel through in blocks (channel.py) that stay in its cache, and what it writes
to memory is the result alone. Beside each kernel stands what it computes, in the names of channel.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ..base import Array, Given, Statistics
from ..layout import require_shape
from .channel import (
    BLOCK,
    activate,
    activate_slope_fetching,
    add_plane,
    block_images,
    block_sums,
    channel_form,
    channel_statistics,
    excite_plane,
    finish,
    gate_sums,
    gradient_form,
    mask_plane,
    mask_sums,
    parameters,
    plane_sum,
    scale_plane,
    share_of,
    slopes,
    start,
    weigh,
)
from .jit import kernel
from .layout import channel_major, plain
from .normalization import rows

# -- kernels: x C (N H W) and the like; n images of ``area`` numbers --------------------------------------------------


@kernel
def norm_silu_kernel(x: Any, gamma: Any, beta: Any, eps: Any, fixed: bool, mean: Any, var: Any, y: Any) -> None:
    """y = silu(t)"""
    for c in prange(len(x)):
        m, v = channel_statistics(x[c], fixed, mean, var, c)
        centre, scale, shift = channel_form(x, gamma[c], beta[c], m, v, eps)
        activate(x[c], 0, x.shape[1], centre, scale, shift, y[c], 0)


@kernel
def norm_silu_grad_kernel(
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    var: Any,
    eps: Any,
    share: Any,
    dy: Any,
    dx: Any,
    dgamma: Any,
    dbeta: Any,
) -> None:
    """g = dy * slope, and dx of g"""
    length = x.shape[1]
    for c in prange(len(x)):
        slope = np.empty(BLOCK, x.dtype)
        centre, scale, shift = channel_form(x, gamma[c], beta[c], np.float64(mean[c]), np.float64(var[c]), eps)
        s, q = 0.0, 0.0
        for first in range(0, length, BLOCK):
            count = min(BLOCK, length - first)
            slopes(x[c], first, count, centre, scale, shift, slope)
            weigh(first, count, dy[c], first, slope, dx[c])
            ds, dq = block_sums(x[c], first, count, dx[c], centre)
            s += ds
            q += dq
        scale_back, a, b, total = gradient_form(x, gamma[c], var[c], eps, s, q, share)
        finish(x[c], centre, scale_back, a, b, dx[c])
        dgamma[c] = total
        dbeta[c] = s


@kernel
def pool_kernel(y: Any, gamma: Any, beta: Any, eps: Any, fixed: bool, n: int, mean: Any, var: Any, pooled: Any) -> None:
    """pooled = mean of silu(t) over each plane, C N"""
    area = y.shape[1] // n
    for c in prange(len(y)):
        m, v = channel_statistics(y[c], fixed, mean, var, c)
        centre, scale, shift = channel_form(y, gamma[c], beta[c], m, v, eps)
        images = block_images(n, area)
        act = np.empty(images * area, y.dtype)
        for first in range(0, n, images):
            count = min(images, n - first)
            activate(y[c], first * area, count * area, centre, scale, shift, act, 0)
            for i in range(count):
                pooled[c, first + i] = plane_sum(act, i * area, area) / area


@kernel
def excite_kernel(y: Any, gamma: Any, beta: Any, eps: Any, mean: Any, var: Any, gate: Any, z: Any) -> None:
    """z = silu(t) * gate; gate: C N"""
    n = gate.shape[1]
    area = y.shape[1] // n
    for c in prange(len(y)):
        centre, scale, shift = channel_form(y, gamma[c], beta[c], np.float64(mean[c]), np.float64(var[c]), eps)
        images = block_images(n, area)
        act = np.empty(images * area, y.dtype)
        for first in range(0, n, images):
            count = min(images, n - first)
            activate(y[c], first * area, count * area, centre, scale, shift, act, 0)
            for i in range(count):
                scale_plane(act, i * area, area, gate[c, first + i], z[c], (first + i) * area)


@kernel
def excite_sums_kernel(y: Any, gamma: Any, beta: Any, eps: Any, mean: Any, var: Any, dz: Any, sums: Any) -> None:
    """sums: C N 6, those of `gate_sums`"""
    n = sums.shape[1]
    area = y.shape[1] // n
    for c in prange(len(y)):
        centre, scale, shift = channel_form(y, gamma[c], beta[c], np.float64(mean[c]), np.float64(var[c]), eps)
        images = block_images(n, area)
        act = np.empty(images * area, y.dtype)
        slope = np.empty(images * area, y.dtype)
        for first in range(0, n, images):
            count = min(images, n - first)
            begin, length = first * area, count * area
            activate_slope_fetching(
                y[c], begin, length, centre, scale, shift, act, slope, dz[c], begin + length, length
            )
            for i in range(count):
                gate_sums(y[c], dz[c], (first + i) * area, area, act, slope, i * area, centre, sums[c, first + i])


@kernel
def excite_grad_kernel(
    y: Any,
    gamma: Any,
    beta: Any,
    eps: Any,
    mean: Any,
    var: Any,
    share: Any,
    sums: Any,
    gate: Any,
    dpooled: Any,
    dz: Any,
    dy: Any,
    dgamma: Any,
    dbeta: Any,
) -> None:
    """g = (dz * gate + dpooled / area) * slope, and dy of g: its two sums are known from `gate_sums`"""
    n = gate.shape[1]
    area = y.shape[1] // n
    for c in prange(len(y)):
        centre, scale, shift = channel_form(y, gamma[c], beta[c], np.float64(mean[c]), np.float64(var[c]), eps)
        s, q = 0.0, 0.0
        for i in range(n):
            extra = np.float64(dpooled[c, i]) / area
            s += gate[c, i] * np.float64(sums[c, i, 4]) + extra * sums[c, i, 2]
            q += gate[c, i] * np.float64(sums[c, i, 5]) + extra * sums[c, i, 3]
        scale_back, a, b, total = gradient_form(y, gamma[c], var[c], eps, s, q, share)
        images = block_images(n, area)
        slope = np.empty(images * area, y.dtype)
        for first in range(0, n, images):
            count = min(images, n - first)
            slopes(y[c], first * area, count * area, centre, scale, shift, slope)
            for i in range(count):
                extra_here = dpooled[c, first + i] / y.dtype.type(area)
                excite_plane(
                    y[c],
                    dz[c],
                    (first + i) * area,
                    area,
                    slope,
                    i * area,
                    centre,
                    gate[c, first + i],
                    extra_here,
                    (scale_back, a, b),
                    dy[c],
                )
        dgamma[c] = total
        dbeta[c] = s


@kernel
def norm_add_kernel(
    v: Any, gamma: Any, beta: Any, eps: Any, fixed: bool, mask: Any, skip: Any, mean: Any, var: Any, y: Any
) -> None:
    """y = t * mask + skip; mask: N"""
    area = v.shape[1] // len(mask)
    for c in prange(len(v)):
        m, w = channel_statistics(v[c], fixed, mean, var, c)
        centre, scale, shift = channel_form(v, gamma[c], beta[c], m, w, eps)
        for i in range(len(mask)):
            add_plane(v[c], skip[c], i * area, area, centre, scale * mask[i], shift * mask[i], y[c])


@kernel
def norm_add_grad_kernel(
    v: Any,
    gamma: Any,
    mean: Any,
    var: Any,
    eps: Any,
    share: Any,
    mask: Any,
    dy: Any,
    dv: Any,
    dgamma: Any,
    dbeta: Any,
) -> None:
    """g = dy * mask, and dv of g"""
    area = v.shape[1] // len(mask)
    for c in prange(len(v)):
        s, q = 0.0, 0.0
        for i in range(len(mask)):
            ds, dq = mask_sums(v[c], dy[c], i * area, area, mask[i], mean[c])
            s += ds
            q += dq
        scale, a, b, total = gradient_form(v, gamma[c], var[c], eps, s, q, share)
        for i in range(len(mask)):
            mask_plane(v[c], dy[c], i * area, area, mask[i], mean[c], (scale, a, b), dv[c])
        dgamma[c] = total
        dbeta[c] = s


# -- what the backend calls -------------------------------------------------------------------------------------------


def norm_silu(x: Array, gamma: Array, beta: Array, eps: float, given: Given) -> tuple[Array, Statistics]:
    source = channel_major(x)
    mean, var, fixed = start(x, given)
    y = np.empty_like(source)
    norm_silu_kernel(rows(source), *parameters(x, gamma, beta), float(eps), fixed, mean, var, rows(y))
    return y.swapaxes(0, 1), Statistics(mean, var, eps, fixed)


def norm_silu_grad(
    x: Array, gamma: Array, beta: Array, dy: Array, statistics: Statistics
) -> tuple[Array, Array, Array]:
    require_shape("dy", dy, x.shape)
    source = channel_major(x)
    dx, dgamma, dbeta = np.empty_like(source), np.empty_like(gamma), np.empty_like(gamma)
    gamma, beta, mean, var = parameters(x, gamma, beta, statistics.mean, statistics.var)
    norm = gamma, beta, mean, var, float(statistics.eps), share_of(x, statistics)
    norm_silu_grad_kernel(rows(source), *norm, rows(channel_major(dy)), rows(dx), dgamma, dbeta)
    return dx.swapaxes(0, 1), dgamma, dbeta


def pooled_activation(y: Array, gamma: Array, beta: Array, eps: float, given: Given) -> tuple[Array, Statistics]:
    """The mean of each plane of silu(normalise(y)), N C."""
    mean, var, fixed = start(y, given)
    pooled = np.empty((y.shape[1], len(y)), y.dtype)
    source = rows(channel_major(y))
    pool_kernel(source, *parameters(y, gamma, beta), float(eps), fixed, len(y), mean, var, pooled)
    return pooled.T, Statistics(mean, var, eps, fixed)


def excite(y: Array, gamma: Array, beta: Array, gate: Array, statistics: Statistics) -> Array:
    """silu(normalise(y)) * gate; gate: N C."""
    require_shape("gate", gate, y.shape[:2])
    source = channel_major(y)
    z = np.empty_like(source)
    gamma, beta, mean, var = parameters(y, gamma, beta, statistics.mean, statistics.var)
    excite_kernel(rows(source), gamma, beta, float(statistics.eps), mean, var, plain(gate.T), rows(z))
    return z.swapaxes(0, 1)


def excite_sums(y: Array, gamma: Array, beta: Array, dz: Array, statistics: Statistics) -> Array:
    """C N 6: the sums of `gate_sums` over each plane."""
    require_shape("dz", dz, y.shape)
    sums = np.empty((y.shape[1], len(y), 6), y.dtype)
    gamma, beta, mean, var = parameters(y, gamma, beta, statistics.mean, statistics.var)
    norm = gamma, beta, float(statistics.eps), mean, var
    excite_sums_kernel(rows(channel_major(y)), *norm, rows(channel_major(dz)), sums)
    return sums


def excite_grad(
    y: Array,
    gamma: Array,
    beta: Array,
    gate: Array,
    dpooled: Array,
    dz: Array,
    sums: Array,
    statistics: Statistics,
) -> tuple[Array, Array, Array]:
    """Gradients of y, gamma and beta from those of the result and of the pooled means; gate, dpooled: N C."""
    source = channel_major(y)
    dy, dgamma, dbeta = np.empty_like(source), np.empty_like(gamma), np.empty_like(gamma)
    gamma, beta, mean, var = parameters(y, gamma, beta, statistics.mean, statistics.var)
    norm = gamma, beta, float(statistics.eps), mean, var, share_of(y, statistics)
    planes = sums, plain(gate.T), plain(dpooled.T)
    excite_grad_kernel(rows(source), *norm, *planes, rows(channel_major(dz)), rows(dy), dgamma, dbeta)
    return dy.swapaxes(0, 1), dgamma, dbeta


def norm_add(
    v: Array, gamma: Array, beta: Array, skip: Array, mask: Array | None, eps: float, given: Given
) -> tuple[Array, Statistics]:
    require_shape("skip", skip, v.shape)
    source = channel_major(v)
    mean, var, fixed = start(v, given)
    y = np.empty_like(source)
    norm = *parameters(v, gamma, beta), float(eps), fixed, _mask(v, mask)
    norm_add_kernel(rows(source), *norm, rows(channel_major(skip)), mean, var, rows(y))
    return y.swapaxes(0, 1), Statistics(mean, var, eps, fixed)


def norm_add_grad(
    v: Array, gamma: Array, dy: Array, mask: Array | None, statistics: Statistics
) -> tuple[Array, Array, Array]:
    require_shape("dy", dy, v.shape)
    source = channel_major(v)
    dv, dgamma, dbeta = np.empty_like(source), np.empty_like(gamma), np.empty_like(gamma)
    gamma, mean, var = parameters(v, gamma, statistics.mean, statistics.var)
    norm = gamma, mean, var, float(statistics.eps), share_of(v, statistics), _mask(v, mask)
    norm_add_grad_kernel(rows(source), *norm, rows(channel_major(dy)), rows(dv), dgamma, dbeta)
    return dv.swapaxes(0, 1), dgamma, dbeta


def _mask(v: Array, mask: Array | None) -> Array:
    if mask is None:
        return np.ones(len(v), v.dtype)
    require_shape("mask", mask, v.shape[:1])
    return plain(mask)
