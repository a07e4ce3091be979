"""Depthwise convolution, y[c] = x[c] correlated with w[c], by itself and fused with the batch norm and SiLU before it.

A thread owns channels. It takes a channel's statistics, then carries it through in blocks of whole images, as many as a
strip of strip.py holds: normalise, SiLU, into the strip, convolve, out. Only raw arrays are read and written. Without
batch norm and SiLU it is the same with a copy in their place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from ..base import Array, Given, Pair, Statistics, Window
from ..layout import require_shape
from .channel import (
    activate,
    activate_slope_fetching,
    block_sums,
    channel_form,
    channel_statistics,
    finish,
    gradient_form,
    parameters,
    share_of,
    start,
    weigh,
)
from .jit import kernel
from .layout import channel_major, plain
from .strip import copy, correlate, correlate_back, covered, dots, enter, leave, plan_of
from .threads import get_num_threads
from .vectors import LANES


class Norm(NamedTuple):
    """Batch norm before SiLU, as kernels take it; not ``on`` where there is neither."""

    on: bool
    gamma: Array
    beta: Array
    mean: Array  # filled unless ``fixed``
    var: Array
    eps: float
    fixed: bool


@kernel
def forward_kernel(
    workers: int,
    x: Any,
    norm: Any,
    w: Any,
    n: int,
    shape: Any,
    pixels: Any,
    outputs: Any,
    places: Any,
    pieces: Any,
    order: Any,
    back_order: Any,
    y: Any,
) -> None:
    """y = depthwise(silu(t)); x: C (N H W), w: C (kh kw) -> y: C (N Ho Wo)"""
    numbers = pixels.height * pixels.width
    for worker in prange(workers):
        strip = np.zeros(shape.phase * shape.phases, x.dtype)
        act = np.empty(shape.planes * numbers + 2 * LANES, x.dtype)
        evens, odds = np.empty(act.size, x.dtype), np.empty(act.size, x.dtype)
        out = np.empty(shape.phase, x.dtype)
        taps = np.empty(order.size, x.dtype)
        for c in range(worker * len(x) // workers, (worker + 1) * len(x) // workers):
            for t in range(order.size):
                taps[t] = w[c, order[t]]
            if norm.on:
                m, v = channel_statistics(x[c], norm.fixed, norm.mean, norm.var, c)
                centre, scale, shift = channel_form(x, norm.gamma[c], norm.beta[c], m, v, norm.eps)
            for first in range(0, n, shape.planes):
                planes = min(shape.planes, n - first)
                begin, count = first * numbers, planes * numbers
                if norm.on:
                    activate(x[c], begin, count, centre, scale, shift, act, 0)
                else:
                    copy(x[c], begin, count, act, 0)
                enter(act, planes, pixels, places[0], shape, strip, evens, odds)
                correlate(strip, taps, pieces, shape, covered(planes, outputs.width, shape), out)
                leave(out, outputs, places[2], shape, y[c], first, planes, evens, odds)


@kernel
def backward_kernel(
    workers: int,
    x: Any,
    norm: Any,
    share: Any,
    w: Any,
    dy: Any,
    n: int,
    shape: Any,
    pixels: Any,
    outputs: Any,
    places: Any,
    pieces: Any,
    order: Any,
    back_order: Any,
    wants_dx: bool,
    wants_dw: bool,
    dx: Any,
    dgamma: Any,
    dbeta: Any,
    dw: Any,
) -> None:
    """dw from silu(t) and dy; g = depthwise_input_grad(dy) * slope, and dx of g"""
    numbers = pixels.height * pixels.width
    for worker in prange(workers):
        strip = np.zeros(shape.phase * shape.phases, w.dtype)
        up = np.zeros(shape.phase, w.dtype)
        back = np.zeros(shape.phase * shape.phases, w.dtype)
        act = np.empty(shape.planes * numbers + 2 * LANES, w.dtype)
        slope = np.empty(shape.planes * numbers, w.dtype)
        upstream = np.empty(shape.planes * outputs.height * outputs.width + 2 * LANES, w.dtype)
        evens, odds = np.empty(act.size, w.dtype), np.empty(act.size, w.dtype)
        taps = np.empty(order.size, w.dtype)
        total = np.empty(order.size, np.float64)
        for c in range(worker * len(w) // workers, (worker + 1) * len(w) // workers):
            total[:] = 0.0
            for t in range(order.size):
                taps[t] = w[c, back_order[t]]
            if norm.on:
                m, v = np.float64(norm.mean[c]), np.float64(norm.var[c])
                centre, scale, shift = channel_form(w, norm.gamma[c], norm.beta[c], m, v, norm.eps)
            s, q = 0.0, 0.0
            for first in range(0, n, shape.planes):
                planes = min(shape.planes, n - first)
                begin, count = first * numbers, planes * numbers
                if planes < shape.planes:
                    up[:] = 0
                sent = planes * outputs.height * outputs.width
                at = first * outputs.height * outputs.width
                copy(dy[c], at, sent, upstream, 0)
                enter(upstream, planes, outputs, places[3], shape, up, evens, odds)
                if norm.on:
                    activate_slope_fetching(
                        x[c], begin, count, centre, scale, shift, act, slope, dy[c], at + sent, sent
                    )
                elif wants_dw:
                    copy(x[c], begin, count, act, 0)
                if wants_dw:
                    enter(act, planes, pixels, places[0], shape, strip, evens, odds)
                    dots(up, strip, pieces, shape, covered(planes, outputs.width, shape), total)
                if wants_dx:
                    correlate_back(up, taps, pieces, shape, covered(planes, shape.back_width, shape), back)
                    leave(back, pixels, places[1], shape, act, 0, planes, evens, odds)
                    if norm.on:
                        weigh(begin, count, act, 0, slope, dx[c])
                        ds, dq = block_sums(x[c], begin, count, dx[c], centre)
                        s += ds
                        q += dq
                    else:
                        copy(act, 0, count, dx[c], begin)
            if norm.on:
                scale_back, a, b, dscale = gradient_form(w, norm.gamma[c], norm.var[c], norm.eps, s, q, share)
                finish(x[c], centre, scale_back, a, b, dx[c])
                dgamma[c] = dscale
                dbeta[c] = s
            for t in range(order.size):
                dw[c, order[t]] = total[t]


def rows(x: Array) -> Array:
    """N C H W -> C (N H W), plain: a channel a row."""
    source = channel_major(x)
    return source.reshape(len(source), source[0].size)


def filters(w: Array, channels: int, window: Window) -> Array:
    """w: C 1 kh kw -> C (kh kw), its shape checked."""
    require_shape("w", w, (channels, 1, *window.kernel))
    return plain(w.reshape(channels, window.kernel[0] * window.kernel[1]))


def no_norm(x: Array) -> Norm:
    nothing = np.empty(0, x.dtype)
    return Norm(False, nothing, nothing, nothing, nothing, 0.0, True)


def _forward(x: Array, norm: Norm, w: Array, window: Window) -> Array:
    n, channels, height, width = x.shape
    plan = plan_of(window, n, (height, width))
    weights = filters(w, channels, window)
    y = np.empty((channels, n, *window.output_size(height, width)), x.dtype)
    forward_kernel(get_num_threads(), rows(x), norm, weights, n, *plan, y.reshape(channels, -1))
    return y.swapaxes(0, 1)


def _backward(
    x: Array, norm: Norm, share: float, weights: Array, dy: Array, window: Window, dx: Array, wants: tuple[bool, bool]
) -> tuple[Array, Array, Array]:
    """Fill dx and return the gradients of gamma, beta and the weights, those that are wanted: (dx, weights).

    x, dx: C N H W, weights: C (kh kw), dy: N C Ho Wo. What is not wanted, or not needed for what is, is neither read
    nor written.
    """
    channels, n, height, width = x.shape
    require_shape("dy", dy, (n, channels, *window.output_size(height, width)))
    plan = plan_of(window, n, (height, width))
    dgamma, dbeta, dw = np.empty_like(norm.gamma), np.empty_like(norm.beta), np.empty_like(weights)
    flat = [a.reshape(channels, -1) for a in (x, dx)]
    backward_kernel(
        get_num_threads(), flat[0], norm, share, weights, rows(dy), n, *plan, *wants, flat[1], dgamma, dbeta, dw
    )
    return dgamma, dbeta, dw


def depthwise_conv2d(x: Array, w: Array, window: Window) -> Array:
    """x: N C H W, not empty, w: C 1 kh kw -> N C Ho Wo."""
    return _forward(x, no_norm(x), w, window)


def depthwise_conv2d_input_grad(dy: Array, w: Array, window: Window, size: Pair) -> Array:
    """dy: N C Ho Wo, not empty, w: C 1 kh kw -> N C H W with (H, W) = ``size``."""
    n, channels = dy.shape[:2]
    dx = np.empty((channels, n, *size), dy.dtype)
    weights = filters(w, channels, window)
    _backward(dx, no_norm(dy), 0.0, weights, dy, window, dx, (True, False))
    return dx.swapaxes(0, 1)


def depthwise_conv2d_weight_grad(x: Array, dy: Array, window: Window) -> Array:
    """x: N C H W, dy: N C Ho Wo, neither empty -> C 1 kh kw."""
    channels = x.shape[1]
    weights = np.zeros((channels, window.kernel[0] * window.kernel[1]), x.dtype)
    source = channel_major(x)
    *_, dw = _backward(source, no_norm(x), 0.0, weights, dy, window, source, (False, True))
    return dw.reshape(channels, 1, *window.kernel)


def norm_silu_depthwise(
    x: Array, gamma: Array, beta: Array, w: Array, window: Window, eps: float, given: Given
) -> tuple[Array, Statistics]:
    """x: N C H W, not empty, w: C 1 kh kw -> N C Ho Wo."""
    mean, var, fixed = start(x, given)
    gamma, beta = parameters(x, gamma, beta)
    norm = Norm(True, gamma, beta, mean, var, float(eps), fixed)
    return _forward(x, norm, w, window), Statistics(mean, var, eps, fixed)


def norm_silu_depthwise_grad(
    x: Array, gamma: Array, beta: Array, w: Array, dy: Array, window: Window, statistics: Statistics
) -> tuple[Array, Array, Array, Array]:
    """x: N C H W, dy: N C Ho Wo, neither empty -> (dx, dgamma, dbeta, dw)."""
    source = channel_major(x)
    dx = np.empty_like(source)
    gamma, beta, mean, var = parameters(x, gamma, beta, statistics.mean, statistics.var)
    norm = Norm(True, gamma, beta, mean, var, float(statistics.eps), True)
    weights = filters(w, x.shape[1], window)
    dgamma, dbeta, dw = _backward(source, norm, share_of(x, statistics), weights, dy, window, dx, (True, True))
    return dx.swapaxes(0, 1), dgamma, dbeta, dw.reshape(w.shape)
