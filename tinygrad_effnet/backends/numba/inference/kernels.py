"""Blocks and layers of a network in use, one parallel kernel each, and how threads share the work.

Where there are images enough, a thread carries an image through a whole block by itself, and nothing but the block's
result leaves its cache. Else the threads share an image: groups of channels until squeeze-and-excitation, where all
channels meet, and pixels or groups of the result after it. The numbers are the same either way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ...base import Array, Window
from ..jit import inner, kernel
from ..layout import empty, plain
from ..threads import get_num_threads
from .pack import PackedBlock, PackedLayer
from .passes import (
    band,
    inside,
    look,
    multiply,
    multiply_pixels,
    scale,
    scale_channels,
    see,
    weigh,
    weigh_channels,
    widen_and_convolve,
)
from .tiles import ADD, GROUP, PIXELS

ROOM = 32 << 10  # numbers of what a product reads that are made at once
F32 = np.dtype(np.float32)


@inner
def project(
    at: Any, z: Any, first: int, last: int, start: int, stop: int, p: Any, gate: Any, scaled: Any, y: Any, iy: int,
    skip: Any,
) -> None:  # fmt: skip
    """Pixels ``first`` to ``last`` of an image, groups ``start`` to ``stop`` of the result."""
    if not p.gates:
        multiply_pixels(
            at[3], z, first * p.hidden, p.hidden, last - first, p.project_w, p.project_shift, start, stop, p.channels,
            p.finish, y, iy + first * p.channels, skip,
        )  # fmt: skip
        return
    room = scaled.size // p.hidden
    for q in range(first, last, room):
        count = min(room, last - q)
        scale_channels(at[2], z, q, count, p.hidden, gate, scaled)
        multiply_pixels(
            at[3], scaled, 0, p.hidden, count, p.project_w, p.project_shift, start, stop, p.channels, p.finish,
            y, iy + q * p.channels, skip,
        )  # fmt: skip


@kernel
def own_images_kernel(
    workers: int, x: Any, n: int, p: Any, sizes: Any, tall: int, y: Any, h: Any, z: Any, sums: Any, gate: Any,
    scaled: Any, at: Any,
) -> None:  # fmt: skip
    """y = project(gate * act(depthwise(act(widen(x))))) (+ x), all N H W C and flat; a thread owns images."""
    out_height, area = sizes[4], sizes[4] * sizes[5]
    groups, padded = (p.hidden + GROUP - 1) // GROUP, (p.hidden + GROUP - 1) // GROUP * GROUP
    for worker in prange(workers):
        for image in range(n * worker // workers, n * (worker + 1) // workers):
            for group in range(groups):
                widen_and_convolve(
                    at[0], x, image, sizes, group, 0, out_height, tall, p.widen_w, p.widen_shift, p.taps, p.taps_shift,
                    z[worker], sums[worker], h[worker],
                )  # fmt: skip
            if p.gates:
                weigh_channels(
                    at[1], sums[worker], out_height, area, p.hidden, padded, p.squeezed, p.reduce_w, p.reduce_b,
                    p.expand_w, p.expand_b, gate[worker],
                )  # fmt: skip
            project(
                at, z[worker], 0, area, 0, (p.channels + GROUP - 1) // GROUP, p, gate[worker], scaled[worker],
                y, image * area * p.channels, x,
            )  # fmt: skip


@kernel
def share_image_kernel(
    workers: int, x: Any, n: int, p: Any, sizes: Any, tall: int, y: Any, h: Any, z: Any, sums: Any, gate: Any,
    scaled: Any, at: Any,
) -> None:  # fmt: skip
    """The same; threads share every image. Groups that cannot be dealt out evenly are cut into rows."""
    out_height, area = sizes[4], sizes[4] * sizes[5]
    groups, padded = (p.hidden + GROUP - 1) // GROUP, (p.hidden + GROUP - 1) // GROUP * GROUP
    even = groups // workers * workers
    outs, tiles = (p.channels + GROUP - 1) // GROUP, (area + PIXELS - 1) // PIXELS
    by_group = outs >= workers and tiles < 4 * workers
    for image in range(n):
        for worker in prange(workers):
            for group in range(even * worker // workers, even * (worker + 1) // workers):
                widen_and_convolve(
                    at[0], x, image, sizes, group, 0, out_height, tall, p.widen_w, p.widen_shift, p.taps, p.taps_shift,
                    z[0], sums[0], h[worker],
                )  # fmt: skip
            top, bottom = out_height * worker // workers, out_height * (worker + 1) // workers
            for group in range(even, groups):
                widen_and_convolve(
                    at[0], x, image, sizes, group, top, bottom, tall, p.widen_w, p.widen_shift, p.taps, p.taps_shift,
                    z[0], sums[0], h[worker],
                )  # fmt: skip
        if p.gates:
            weigh_channels(
                at[1], sums[0], out_height, area, p.hidden, padded, p.squeezed, p.reduce_w, p.reduce_b,
                p.expand_w, p.expand_b, gate[0],
            )  # fmt: skip
        for worker in prange(workers):
            first, last = tiles * worker // workers * PIXELS, tiles * (worker + 1) // workers * PIXELS
            start, stop = 0, outs
            if by_group:
                first, last, start, stop = 0, area, outs * worker // workers, outs * (worker + 1) // workers
            project(
                at, z[0], first, min(last, area), start, stop, p, gate[0], scaled[worker],
                y, image * area * p.channels, x,
            )  # fmt: skip


@kernel
def layer_kernel(
    workers: int,
    x: Any,
    n: int,
    p: Any,
    sizes: Any,
    pointwise: bool,
    area: int,
    y: Any,
    skip: Any,
    finish: int,
    seen: Any,
    at: Any,
) -> None:
    """y = finish(convolution(x)), N H W C and flat; a thread owns pixels, or channels where pixels are few."""
    pixels, outs = n * area, (p.channels + GROUP - 1) // GROUP
    tiles = (pixels + PIXELS - 1) // PIXELS
    by_group = outs >= workers and tiles < 4 * workers
    for worker in prange(workers):
        first, last = tiles * worker // workers * PIXELS, tiles * (worker + 1) // workers * PIXELS
        start, stop = 0, outs
        if by_group:
            first, last, start, stop = 0, pixels, outs * worker // workers, outs * (worker + 1) // workers
        room = seen.shape[1] // p.depth // PIXELS * PIXELS
        q, last = first, min(last, pixels)
        while q < last:
            count = min(room, last - q)
            if pointwise:
                multiply_pixels(
                    at[1], x, q * p.depth, p.depth, count, p.w, p.shift, start, stop, p.channels, finish,
                    y, q * p.channels, skip,
                )  # fmt: skip
            else:
                count = min(count, area - q % area)  # of one image
                look(at[0], x, q // area, sizes, q % area, count, seen[worker])
                multiply_pixels(
                    at[1], seen[worker], 0, p.depth, count, p.w, p.shift, start, stop, p.channels, finish,
                    y, q * p.channels, skip,
                )  # fmt: skip
            q += count


def run_block(x: Array, packed: PackedBlock, window: Window) -> Array:
    """x: N C H W, float32, as channels lie in memory side by side -> the block's result, likewise."""
    p, act = packed.arrays, packed.act
    source = side_by_side(x)
    n, height, width, depth = source.shape
    out = window.output_size(height, width)
    (size, _), (stride, _), ((top, _), (left, _)) = window.kernel, window.stride, window.padding
    area, workers = out[0] * out[1], get_num_threads()
    pitch = max(left + width, (out[1] - 1) * stride + size)
    tall = band(size, stride, pitch, out[0])
    rows = (tall - 1) * stride + size
    padded = -(-p.hidden // GROUP) * GROUP
    room = max(PIXELS, min(ROOM // p.hidden, area + PIXELS - 1) // PIXELS * PIXELS)
    owns = n % workers == 0 or n >= 4 * workers
    own = workers if owns else 1
    y = empty((n, *out, p.channels), F32)
    kernel = own_images_kernel if owns else share_image_kernel
    kernel(
        workers, source.reshape(-1), n, p,
        (height, width, depth, p.hidden, *out, size, stride, top, left, act, int(packed.widens)), tall, y.reshape(-1),
        empty((workers, (rows * pitch + (PIXELS + 1) * stride + size) * GROUP), F32),
        empty((own, area * p.hidden), F32), empty((own, out[0] * padded), F32), empty((own, padded), F32),
        empty((workers, room * p.hidden if p.gates else 1), F32),
        (inside.address(F32), weigh.address(F32), scale.address(F32), multiply.address(F32)),
    )  # fmt: skip
    return y.transpose(0, 3, 1, 2)


def run_layer(x: Array, packed: PackedLayer, window: Window, skip: Array | None = None) -> Array:
    """x: N C H W -> finish(convolution(x) + shift), or that without ``finish`` plus ``skip``; channels side by side."""
    p, pointwise = packed.arrays, window.is_pointwise
    n, channels, height, width = x.shape
    out = window.output_size(height, width)
    (size, _), (stride, _), ((top, _), (left, _)) = window.kernel, window.stride, window.padding
    area, workers = out[0] * out[1], get_num_threads()
    y = empty((n, *out, p.channels), F32)
    flat, steps = (side_by_side(x).reshape(-1), (0, 0, 0, 0)) if pointwise else memory_of(x)
    room = max(PIXELS, min(ROOM // p.depth, area + PIXELS - 1) // PIXELS * PIXELS)
    layer_kernel(
        workers, flat, n, p,
        (height, width, channels, out[1], size, stride, top, left, steps[0], steps[2], steps[3], steps[1]),
        pointwise, area, y.reshape(-1), y.reshape(-1) if skip is None else side_by_side(skip).reshape(-1),
        packed.act if skip is None else ADD, empty((workers, room * p.depth), F32),
        (see.address(F32), multiply.address(F32)),
    )  # fmt: skip
    return y.transpose(0, 3, 1, 2)


def side_by_side(x: Array) -> Array:
    """N C H W -> plain N H W C: a view where a pixel's channels lie together already, else a copy."""
    return plain(x.transpose(0, 2, 3, 1))


def memory_of(x: Array) -> tuple[Array, tuple[int, ...]]:
    """(what holds the numbers of x: N C H W without gaps, flat, how far apart in it neighbours are along each axis)."""
    for axes in ((0, 1, 2, 3), (0, 2, 3, 1), (1, 0, 2, 3)):
        y = x.transpose(axes)
        if y.flags.carray:
            return y.reshape(-1), tuple([step // x.itemsize for step in x.strides])
    return memory_of(np.array(x, order="C"))
