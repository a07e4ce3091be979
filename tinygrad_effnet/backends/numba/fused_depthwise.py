"""Fused kernels of batch norm, SiLU and depthwise convolution, forward and back.

A thread owns channels. It takes a channel's statistics, then carries it through in blocks of whole images, as many as a
strip of strip.py holds: normalise, SiLU, into the strip, convolve, out. Only raw arrays are read and written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ..base import Array, Given, Statistics, Window
from .channel import (
    activate,
    activate_slope,
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
from .depthwise import filters, rows
from .jit import kernel
from .layout import require_shape
from .strip import correlate, dots, enter, leave, plan_of, taps_by_phase
from .threads import get_num_threads


@kernel
def forward_kernel(
    workers: int,
    x: Any,
    gamma: Any,
    beta: Any,
    eps: Any,
    fixed: bool,
    mean: Any,
    var: Any,
    w: Any,
    n: int,
    shape: Any,
    pixels: Any,
    pixel_table: Any,
    outputs: Any,
    output_table: Any,
    offset: Any,
    y: Any,
) -> None:
    """y = depthwise(silu(t)); x: C (N H W), w: C (kh kw) -> y: C (N Ho Wo)"""
    numbers = pixels.height * pixels.width
    for worker in prange(workers):
        strip = np.zeros(shape.phase * shape.phases, x.dtype)
        act = np.empty(shape.planes * numbers, x.dtype)
        out = np.empty(shape.planes * shape.plane, x.dtype)
        for c in range(worker * len(x) // workers, (worker + 1) * len(x) // workers):
            m, v = channel_statistics(x[c], fixed, mean, var, c)
            centre, scale, shift = channel_form(x, gamma[c], beta[c], m, v, eps)
            for first in range(0, n, shape.planes):
                planes = min(shape.planes, n - first)
                activate(x[c], first * numbers, planes * numbers, centre, scale, shift, act, 0)
                enter(act, 0, planes, pixels, pixel_table, shape, strip, 0)
                correlate(strip, w[c], offset, out, 0, planes * shape.plane)
                leave(out, outputs, output_table, shape, y[c], first, planes)


@kernel
def backward_kernel(
    workers: int,
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    var: Any,
    eps: Any,
    share: Any,
    w: Any,
    dy: Any,
    n: int,
    shape: Any,
    pixels: Any,
    pixel_table: Any,
    outputs: Any,
    output_table: Any,
    offset: Any,
    order: Any,
    begins: Any,
    back_offset: Any,
    dx: Any,
    dgamma: Any,
    dbeta: Any,
    dw: Any,
) -> None:
    """dw from silu(t) and dy; g = depthwise_input_grad(dy) * slope, and dx of g"""
    numbers = pixels.height * pixels.width
    for worker in prange(workers):
        strip = np.zeros(shape.phase * shape.phases, x.dtype)
        up = np.zeros(shape.phase, x.dtype)
        back = np.empty(shape.phase * shape.phases, x.dtype)
        act = np.empty(shape.planes * numbers, x.dtype)
        slope = np.empty(shape.planes * numbers, x.dtype)
        taps = np.empty(order.size, x.dtype)
        total = np.empty(order.size, np.float64)
        for c in range(worker * len(x) // workers, (worker + 1) * len(x) // workers):
            centre, scale, shift = channel_form(x, gamma[c], beta[c], np.float64(mean[c]), np.float64(var[c]), eps)
            total[:] = 0.0
            for t in range(order.size):
                taps[t] = w[c, order[t]]
            s, q = 0.0, 0.0
            for first in range(0, n, shape.planes):
                planes = min(shape.planes, n - first)
                begin, count = first * numbers, planes * numbers
                activate_slope(x[c], begin, count, centre, scale, shift, act, slope)
                enter(act, 0, planes, pixels, pixel_table, shape, strip, 0)
                enter(dy[c], first, planes, outputs, output_table, shape, up, shape.lead)
                dots(up, shape.lead, strip, offset, planes * shape.plane, total)
                for phase in range(shape.phases):
                    a, b = begins[phase], begins[phase + 1]
                    correlate(up, taps[a:b], back_offset[a:b], back, phase * shape.phase, planes * shape.plane)
                leave(back, pixels, pixel_table, shape, act, 0, planes)
                weigh(begin, count, act, 0, slope, dx[c])
                ds, dq = block_sums(x[c], begin, count, dx[c], centre)
                s += ds
                q += dq
            scale_back, a, b, dscale = gradient_form(x, gamma[c], var[c], eps, s, q, share)
            finish(x[c], centre, scale_back, a, b, dx[c])
            dgamma[c] = dscale
            dbeta[c] = s
            for t in range(order.size):
                dw[c, t] = total[t]


def norm_silu_depthwise(
    x: Array, gamma: Array, beta: Array, w: Array, window: Window, eps: float, given: Given
) -> tuple[Array, Statistics]:
    """x: N C H W, not empty, w: C 1 kh kw -> N C Ho Wo."""
    n, channels, height, width = x.shape
    plan = plan_of(window, n, (height, width))
    mean, var, fixed = start(x, given)
    norm = *parameters(x, gamma, beta), float(eps), fixed, mean, var
    weights = filters(w, channels, window)
    y = np.empty((channels, n, *window.output_size(height, width)), x.dtype)
    out = y.reshape(channels, -1)
    forward_kernel(get_num_threads(), rows(x), *norm, weights, n, *plan.layout, plan.taps, out)
    return y.swapaxes(0, 1), Statistics(mean, var, eps, fixed)


def norm_silu_depthwise_grad(
    x: Array, gamma: Array, beta: Array, w: Array, dy: Array, window: Window, statistics: Statistics
) -> tuple[Array, Array, Array, Array]:
    """x: N C H W, dy: N C Ho Wo, neither empty -> (dx, dgamma, dbeta, dw)."""
    n, channels, height, width = x.shape
    require_shape("dy", dy, (n, channels, *window.output_size(height, width)))
    plan = plan_of(window, n, (height, width))
    weights = filters(w, channels, window)
    dx, dw = np.empty((channels, n, height, width), x.dtype), np.empty_like(weights)
    dgamma, dbeta = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    norm = *parameters(x, gamma, beta, statistics.mean, statistics.var), float(statistics.eps)
    backward_kernel(
        get_num_threads(),
        rows(x),
        *norm,
        share_of(x, statistics),
        weights,
        rows(dy),
        n,
        *plan.layout,
        plan.taps,
        *taps_by_phase(plan),
        dx.reshape(channels, -1),
        dgamma,
        dbeta,
        dw,
    )
    return dx.swapaxes(0, 1), dgamma, dbeta, dw.reshape(w.shape)
