"""Depthwise convolution: y[c] = x[c] correlated with w[c]. A thread owns a channel, and with it that filter's gradient.

How a channel becomes long runs of numbers is told in strip.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ..base import Array, Pair, Window
from .jit import kernel
from .layout import channel_major, plain, require_shape
from .strip import correlate, dots, enter, leave, plan_of, taps_by_phase
from .threads import get_num_threads


@kernel
def forward_kernel(
    workers: int,
    x: Any,
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
    """x: C (N H W), w: C (kh kw), offset: (kh kw), phase included -> y: C (N Ho Wo)."""
    for worker in prange(workers):
        strip = np.zeros(shape.phase * shape.phases, x.dtype)
        out = np.empty(shape.planes * shape.plane, x.dtype)
        for c in range(worker * len(x) // workers, (worker + 1) * len(x) // workers):
            for first in range(0, n, shape.planes):
                planes = min(shape.planes, n - first)
                enter(x[c], first, planes, pixels, pixel_table, shape, strip, 0)
                correlate(strip, w[c], offset, out, 0, planes * shape.plane)
                leave(out, outputs, output_table, shape, y[c], first, planes)


@kernel
def input_grad_kernel(
    workers: int,
    dy: Any,
    w: Any,
    n: int,
    shape: Any,
    pixels: Any,
    pixel_table: Any,
    outputs: Any,
    output_table: Any,
    order: Any,
    begins: Any,
    offset: Any,
    dx: Any,
) -> None:
    """dy: C (N Ho Wo), w: C (kh kw) -> dx: C (N H W). ``order`` sorts taps by phase, each from ``begins[phase]`` on."""
    for worker in prange(workers):
        g = np.zeros(shape.phase, dx.dtype)
        back = np.empty(shape.phase * shape.phases, dx.dtype)
        taps = np.empty(order.size, dx.dtype)
        for c in range(worker * len(dx) // workers, (worker + 1) * len(dx) // workers):
            for t in range(order.size):
                taps[t] = w[c, order[t]]
            for first in range(0, n, shape.planes):
                planes = min(shape.planes, n - first)
                enter(dy[c], first, planes, outputs, output_table, shape, g, shape.lead)
                for phase in range(shape.phases):
                    a, b = begins[phase], begins[phase + 1]
                    correlate(g, taps[a:b], offset[a:b], back, phase * shape.phase, planes * shape.plane)
                leave(back, pixels, pixel_table, shape, dx[c], first, planes)


@kernel
def weight_grad_kernel(
    workers: int,
    x: Any,
    dy: Any,
    n: int,
    shape: Any,
    pixels: Any,
    pixel_table: Any,
    outputs: Any,
    output_table: Any,
    offset: Any,
    dw: Any,
) -> None:
    """x: C (N H W), dy: C (N Ho Wo) -> dw: C (kh kw). A strip is summed in the dtype, the strips in float64."""
    for worker in prange(workers):
        strip = np.zeros(shape.phase * shape.phases, x.dtype)
        g = np.zeros(shape.planes * shape.plane, x.dtype)
        total = np.empty(offset.size, np.float64)
        for c in range(worker * len(x) // workers, (worker + 1) * len(x) // workers):
            total[:] = 0.0
            for first in range(0, n, shape.planes):
                planes = min(shape.planes, n - first)
                enter(x[c], first, planes, pixels, pixel_table, shape, strip, 0)
                enter(dy[c], first, planes, outputs, output_table, shape, g, 0)
                dots(g, 0, strip, offset, planes * shape.plane, total)
            for t in range(offset.size):
                dw[c, t] = total[t]


def rows(x: Array) -> Array:
    """N C H W -> C (N H W), plain: a channel a row."""
    source = channel_major(x)
    return source.reshape(len(source), source[0].size)


def filters(w: Array, channels: int, window: Window) -> Array:
    """w: C 1 kh kw -> C (kh kw), its shape checked."""
    require_shape("w", w, (channels, 1, *window.kernel))
    return plain(w.reshape(channels, window.kernel[0] * window.kernel[1]))


def depthwise_conv2d(x: Array, w: Array, window: Window) -> Array:
    """x: N C H W, not empty, w: C 1 kh kw -> N C Ho Wo."""
    n, channels, height, width = x.shape
    plan = plan_of(window, n, (height, width))
    weights = filters(w, channels, window)
    y = np.empty((channels, n, *window.output_size(height, width)), x.dtype)
    forward_kernel(get_num_threads(), rows(x), weights, n, *plan.layout, plan.taps, y.reshape(channels, -1))
    return y.swapaxes(0, 1)


def depthwise_conv2d_input_grad(dy: Array, w: Array, window: Window, size: Pair) -> Array:
    """dy: N C Ho Wo, not empty, w: C 1 kh kw -> N C H W with (H, W) = ``size``."""
    n, channels = dy.shape[:2]
    require_shape("dy", dy, (n, channels, *window.output_size(*size)))
    plan = plan_of(window, n, size)
    taps = taps_by_phase(plan)
    weights = filters(w, channels, window)
    dx = np.empty((channels, n, *size), dy.dtype)
    input_grad_kernel(get_num_threads(), rows(dy), weights, n, *plan.layout, *taps, dx.reshape(channels, -1))
    return dx.swapaxes(0, 1)


def depthwise_conv2d_weight_grad(x: Array, dy: Array, window: Window) -> Array:
    """x: N C H W, dy: N C Ho Wo, neither empty -> C 1 kh kw."""
    n, channels, height, width = x.shape
    require_shape("dy", dy, (n, channels, *window.output_size(height, width)))
    plan = plan_of(window, n, (height, width))
    dw = np.empty((channels, window.kernel[0] * window.kernel[1]), x.dtype)
    weight_grad_kernel(get_num_threads(), rows(x), rows(dy), n, *plan.layout, plan.taps, dw)
    return dw.reshape(channels, 1, *window.kernel)
