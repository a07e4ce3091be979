"""Depthwise convolution: y[c] = x[c] correlated with w[c]. A thread owns a channel, and with it that filter's gradient.

Small planes make short rows, and short rows do not vectorise. So a channel's planes are laid end to end in one *strip*
with zeros between them, as wide apart as the filter reaches; then tap (i, j) is one offset into the strip, the same for
every output, and the whole convolution is

    out[p] = sum over taps of w[tap] * strip[p + offset[tap]]         p = one long run over all planes

of which the places between planes are thrown away. A stride s splits the strip into s*s *phases*, the pixels with equal
(h mod s, w mod s): within a phase the convolution has stride 1 again. One algorithm serves every window.

The gradients use the same strip with dy in it: by x, each phase of dx gathers the taps that lead to it, with the
offsets negative; by w, each tap is the dot product of dy with the strip at that tap's offset.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from ..base import Array, Pair, Window
from .jit import Index, inner, kernel
from .layout import channel_major, plain, require_shape
from .threads import get_num_threads

STRIP = 8192  # numbers in a strip, about: source and result together should fit the first or second level of cache
SHORT_ROW = 8  # rows shorter than this are copied number by number through a table


class Strip(NamedTuple):
    """How a strip is laid out; lengths in numbers, for one channel and ``planes`` images at a time."""

    planes: int  # images in a strip
    pitch: int  # from a row to the next
    plane: int  # from an image to the next
    phase: int  # from a phase to the next
    phases: int
    lead: int  # zeros before the first image of dy, as far as a tap reaches


class Rows(NamedTuple):
    """Where an image's rows go in a strip. A table beside it, unless empty, holds every number's place."""

    height: int
    width: int
    start: int  # of the first row


class Plan(NamedTuple):
    """All that kernels need to know of a window and an image size."""

    layout: tuple[Strip, Rows, Array, Rows, Array]  # pixels of x and their table, outputs and their table
    phase: Array  # of each tap, int64, kh*kw
    offset: Array  # of each tap within its phase, int64, kh*kw

    @property
    def taps(self) -> Array:
        """Each tap's offset in a strip of x."""
        return self.phase * self.layout[0].phase + self.offset


@lru_cache(maxsize=128)
def plan_of(window: Window, n: int, size: Pair) -> Plan:
    """The plan for ``n`` images of ``size``.

    Rows are as far apart as keeps an output's taps, where they leave the row, within zeros: what hangs over on the
    right falls into the padding on the left of the next row. Planes likewise.
    """
    out = window.output_size(*size)
    apart, reaches = [], []
    for length, o, k, s, d, (before, _) in zip(
        size, out, window.kernel, window.stride, window.dilation, window.padding, strict=True
    ):
        reach = (k - 1) * d // s
        apart.append(max(-(-(before + length) // s), o, o + reach - before // s))
        reaches.append(reach)
    pitch = apart[1]
    plane = apart[0] * pitch
    planes = max(1, min(n, STRIP // plane))
    lead = reaches[0] * pitch + reaches[1]
    phase = planes * plane + lead

    (sh, sw), (dh, dw), ((top, _), (left, _)) = window.stride, window.dilation, window.padding
    m = np.arange(planes)[:, None, None] * plane
    r = np.arange(size[0])[:, None] + top
    c = np.arange(size[1]) + left
    pixels = (r % sh * sw + c % sw) * phase + m + r // sh * pitch + c // sw
    outputs = m + np.arange(out[0])[:, None] * pitch + np.arange(out[1])
    i = np.arange(window.kernel[0])[:, None] * dh
    j = np.arange(window.kernel[1]) * dw

    def places(table: Array, by_rows: bool) -> tuple[Rows, Array]:
        rows = Rows(table.shape[1], table.shape[2], int(table[0, 0, 0]))
        return rows, np.empty(0, np.uint32) if by_rows else table.astype(np.uint32).ravel()

    layout = (
        Strip(planes, pitch, plane, phase, sh * sw, lead),
        *places(pixels, size[1] >= SHORT_ROW and sh * sw == 1),
        *places(outputs, out[1] >= SHORT_ROW),
    )
    return Plan(layout, (i % sh * sw + j % sw).ravel(), (i // sh * pitch + j // sw).ravel())


# -- images into a strip and out of it ---------------------------------------------------------------------------------


@inner
def enter(x: Any, first: int, planes: int, rows: Any, table: Any, shape: Any, strip: Any, lead: int) -> None:
    """strip <- images ``first``... of x, a channel's numbers in one row; ``lead`` numbers further on than planned."""
    numbers = rows.height * rows.width
    source = Index(first * numbers)
    if table.size:
        z = Index(lead)
        for q in range(Index(planes * numbers)):
            strip[z + Index(table[q])] = x[source + q]
    else:
        for m in range(planes):
            target = Index(lead + rows.start + m * shape.plane)
            for _ in range(rows.height):
                for q in range(Index(rows.width)):
                    strip[target + q] = x[source + q]
                source += Index(rows.width)
                target += Index(shape.pitch)


@inner
def leave(strip: Any, rows: Any, table: Any, shape: Any, x: Any, first: int, planes: int) -> None:
    """Images ``first``... of x <- strip."""
    numbers = rows.height * rows.width
    target = Index(first * numbers)
    if table.size:
        for q in range(Index(planes * numbers)):
            x[target + q] = strip[Index(table[q])]
    else:
        for m in range(planes):
            source = Index(rows.start + m * shape.plane)
            for _ in range(rows.height):
                for q in range(Index(rows.width)):
                    x[target + q] = strip[source + q]
                target += Index(rows.width)
                source += Index(shape.pitch)


# -- runs over a strip: five taps, three taps or one at a time, unrolled so that a pass vectorises ---------------------


@inner
def correlate(source: Any, w: Any, offset: Any, out: Any, start: int, n: Any) -> None:
    """out[start + p] = sum over taps of w[tap] * source[p + offset[tap]], p < n."""
    z = Index(start)
    n = Index(n)
    for p in range(n):
        out[z + p] = out.dtype.type(0)
    t = 0
    while t < w.size:
        left = w.size - t
        if left % 5 == 0:
            o0, o1, o2 = Index(offset[t]), Index(offset[t + 1]), Index(offset[t + 2])
            o3, o4 = Index(offset[t + 3]), Index(offset[t + 4])
            w0, w1, w2, w3, w4 = w[t], w[t + 1], w[t + 2], w[t + 3], w[t + 4]
            for p in range(n):
                s = w0 * source[o0 + p] + w1 * source[o1 + p] + w2 * source[o2 + p]
                out[z + p] += s + w3 * source[o3 + p] + w4 * source[o4 + p]
            t += 5
        elif left >= 3:
            o0, o1, o2 = Index(offset[t]), Index(offset[t + 1]), Index(offset[t + 2])
            w0, w1, w2 = w[t], w[t + 1], w[t + 2]
            for p in range(n):
                out[z + p] += w0 * source[o0 + p] + w1 * source[o1 + p] + w2 * source[o2 + p]
            t += 3
        else:
            o0, w0 = Index(offset[t]), w[t]
            for p in range(n):
                out[z + p] += w0 * source[o0 + p]
            t += 1


@inner
def dots(g: Any, source: Any, offset: Any, n: Any, total: Any) -> None:
    """total[tap] += sum over p < n of g[p] * source[p + offset[tap]]."""
    n = Index(n)
    zero = source.dtype.type(0)
    t = 0
    while t < offset.size:
        left = offset.size - t
        if left % 5 == 0:
            o0, o1, o2 = Index(offset[t]), Index(offset[t + 1]), Index(offset[t + 2])
            o3, o4 = Index(offset[t + 3]), Index(offset[t + 4])
            s0, s1, s2, s3, s4 = zero, zero, zero, zero, zero
            for p in range(n):
                s0 += g[p] * source[o0 + p]
                s1 += g[p] * source[o1 + p]
                s2 += g[p] * source[o2 + p]
                s3 += g[p] * source[o3 + p]
                s4 += g[p] * source[o4 + p]
            total[t] += s0
            total[t + 1] += s1
            total[t + 2] += s2
            total[t + 3] += s3
            total[t + 4] += s4
            t += 5
        elif left >= 3:
            o0, o1, o2 = Index(offset[t]), Index(offset[t + 1]), Index(offset[t + 2])
            s0, s1, s2 = zero, zero, zero
            for p in range(n):
                s0 += g[p] * source[o0 + p]
                s1 += g[p] * source[o1 + p]
                s2 += g[p] * source[o2 + p]
            total[t] += s0
            total[t + 1] += s1
            total[t + 2] += s2
            t += 3
        else:
            o0 = Index(offset[t])
            s0 = zero
            for p in range(n):
                s0 += g[p] * source[o0 + p]
            total[t] += s0
            t += 1


# -- kernels: each thread takes its share of the channels, and makes its strips once -----------------------------------


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
                dots(g, strip, offset, planes * shape.plane, total)
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
    strip = plan.layout[0]
    order = np.argsort(plan.phase, kind="stable")
    begins = np.searchsorted(plan.phase[order], np.arange(strip.phases + 1))
    taps = order, begins, strip.lead - plan.offset[order]
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
