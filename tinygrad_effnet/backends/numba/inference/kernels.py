"""Blocks and layers of a network in use, one parallel kernel each, and how threads share the work.

Where there are images enough, a thread carries an image through a whole block by itself, and nothing but the block's
result leaves its cache. Else the threads share an image: groups of channels until squeeze-and-excitation, where all
channels meet, and pixels or groups of the result after it. The numbers are the same either way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from ...base import Array, Window
from ..jit import inner, kernel
from ..layout import plain
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
from .tiles import ADD, BYTES, GROUP, PIXELS

ROOM = 32 << 10  # numbers of what a product reads that are made at once
F32 = np.dtype(np.float32)
LINE = 16  # numbers in a line of the cache
H, Z, SUMS, GATE, SCALED, PARTS = range(6)  # a worker's arrays, see `passes`
SEEN = 0


@inner
def project(
    at: Any, z: Any, first: int, last: int, start: int, stop: int, p: Any, gate: Any, scaled: Any, y: Any, iy: int,
    skip: Any,
) -> None:  # fmt: skip
    """Pixels ``first`` to ``last`` of an image, groups ``start`` to ``stop`` of the result."""
    if not p.gates:
        multiply_pixels(
            at[3], z, first * p.hidden, p.hidden, 1, p.hidden, last - first, p.project_w, p.project_shift, start, stop,
            p.channels, p.finish, y, iy + first * p.channels, skip,
        )  # fmt: skip
        return
    room = scaled.size // p.hidden
    for q in range(first, last, room):
        count = min(room, last - q)
        scale_channels(at[2], z, q, count, p.hidden, gate, scaled)
        multiply_pixels(
            at[3], scaled, 0, p.hidden, 1, p.hidden, count, p.project_w, p.project_shift, start, stop, p.channels,
            p.finish, y, iy + q * p.channels, skip,
        )  # fmt: skip


@inner
def part(scratch: Any, places: Any, worker: int, which: int) -> Any:
    """One of a worker's arrays in ``scratch``: each begins where a line of the cache does."""
    start = (-scratch.ctypes.data % BYTES) // 4 + worker * places[PARTS]
    return scratch[start + places[which] : start + places[which + 1]]


@kernel
def own_images_kernel(
    workers: int, x: Any, n: int, p: Any, sizes: Any, tall: int, y: Any, scratch: Any, places: Any, at: Any
) -> None:
    """y = project(gate * act(depthwise(act(widen(x))))) (+ x), all N H W C and flat; a thread owns images."""
    out_height, area = sizes[4], sizes[4] * sizes[5]
    groups, padded = (p.hidden + GROUP - 1) // GROUP, (p.hidden + GROUP - 1) // GROUP * GROUP
    for worker in prange(workers):
        h, z = part(scratch, places, worker, H), part(scratch, places, worker, Z)
        sums, gate = part(scratch, places, worker, SUMS), part(scratch, places, worker, GATE)
        scaled = part(scratch, places, worker, SCALED)
        for image in range(n * worker // workers, n * (worker + 1) // workers):
            for group in range(groups):
                widen_and_convolve(
                    at[0], x, image, sizes, group, 0, out_height, tall, p.widen_w, p.widen_shift, p.taps, p.taps_shift,
                    z, sums, h,
                )  # fmt: skip
            if p.gates:
                weigh_channels(
                    at[1], sums, out_height, area, p.hidden, padded, p.squeezed, p.reduce_w, p.reduce_b,
                    p.expand_w, p.expand_b, gate,
                )  # fmt: skip
            groups_out = (p.channels + GROUP - 1) // GROUP
            project(at, z, 0, area, 0, groups_out, p, gate, scaled, y, image * area * p.channels, x)


@kernel
def share_image_kernel(
    workers: int, x: Any, n: int, p: Any, sizes: Any, tall: int, y: Any, scratch: Any, places: Any, at: Any
) -> None:
    """The same; threads share every image. Groups that cannot be dealt out evenly are cut into rows."""
    out_height, area = sizes[4], sizes[4] * sizes[5]
    groups, padded = (p.hidden + GROUP - 1) // GROUP, (p.hidden + GROUP - 1) // GROUP * GROUP
    even = groups // workers * workers
    outs, tiles = (p.channels + GROUP - 1) // GROUP, (area + PIXELS - 1) // PIXELS
    by_group = outs >= workers and tiles < 4 * workers
    z, sums, gate = part(scratch, places, 0, Z), part(scratch, places, 0, SUMS), part(scratch, places, 0, GATE)
    for image in range(n):
        for worker in prange(workers):
            h = part(scratch, places, worker, H)
            for group in range(even * worker // workers, even * (worker + 1) // workers):
                widen_and_convolve(
                    at[0], x, image, sizes, group, 0, out_height, tall, p.widen_w, p.widen_shift, p.taps, p.taps_shift,
                    z, sums, h,
                )  # fmt: skip
            top, bottom = out_height * worker // workers, out_height * (worker + 1) // workers
            for group in range(even, groups):
                widen_and_convolve(
                    at[0], x, image, sizes, group, top, bottom, tall, p.widen_w, p.widen_shift, p.taps, p.taps_shift,
                    z, sums, h,
                )  # fmt: skip
        if p.gates:
            weigh_channels(
                at[1], sums, out_height, area, p.hidden, padded, p.squeezed, p.reduce_w, p.reduce_b,
                p.expand_w, p.expand_b, gate,
            )  # fmt: skip
        for worker in prange(workers):
            first, last = tiles * worker // workers * PIXELS, tiles * (worker + 1) // workers * PIXELS
            start, stop = 0, outs
            if by_group:
                first, last, start, stop = 0, area, outs * worker // workers, outs * (worker + 1) // workers
            scaled = part(scratch, places, worker, SCALED)
            project(at, z, first, min(last, area), start, stop, p, gate, scaled, y, image * area * p.channels, x)


@kernel
def layer_kernel(
    workers: int, x: Any, n: int, p: Any, sizes: Any, pointwise: bool, area: int, y: Any, skip: Any, finish: int,
    scratch: Any, places: Any, at: Any,
) -> None:  # fmt: skip
    """y = finish(convolution(x)), N H W C and flat; a thread owns pixels, or channels where pixels are few."""
    pixels, outs = n * area, (p.channels + GROUP - 1) // GROUP
    tiles = (pixels + PIXELS - 1) // PIXELS
    by_group = outs >= workers and tiles < 4 * workers
    for worker in prange(workers):
        first, last = tiles * worker // workers * PIXELS, tiles * (worker + 1) // workers * PIXELS
        start, stop = 0, outs
        if by_group:
            first, last, start, stop = 0, pixels, outs * worker // workers, outs * (worker + 1) // workers
        seen = part(scratch, places, worker, SEEN)
        room = seen.size // p.depth
        pixel, term = (p.depth, 1) if sizes[11] == 1 else (1, room)  # as numbers lie in x, so that runs are copied
        q, last = first, min(last, pixels)
        while q < last:
            count = min(room, last - q)
            if pointwise:
                multiply_pixels(
                    at[1], x, q * p.depth, p.depth, 1, p.depth, count, p.w, p.shift, start, stop, p.channels, finish,
                    y, q * p.channels, skip,
                )  # fmt: skip
            else:
                count = min(count, area - q % area)  # of one image
                look(at[0], x, q // area, sizes, q % area, count, seen, pixel, term)
                multiply_pixels(
                    at[1], seen, 0, pixel, term, p.depth, count, p.w, p.shift, start, stop, p.channels, finish,
                    y, q * p.channels, skip,
                )  # fmt: skip
            q += count


class Plan(NamedTuple):
    """What a kernel needs to know beside the images and the weights, for images of one shape."""

    owns: bool  # a thread has images of its own
    workers: int
    shape: tuple[int, ...]  # of the result, N Ho Wo O
    sizes: tuple[int, ...]
    tall: int
    places: tuple[int, ...]  # of a worker's arrays in what it works in, and how far the next worker's is from there
    scratch: int  # numbers for all workers
    at: tuple[int, ...]  # addresses of the passes


def placed(workers: int, *lengths: int) -> tuple[tuple[int, ...], int]:
    """``places`` and ``scratch`` of a plan for arrays of so many numbers."""
    places = [0]
    for length in lengths:
        places.append(places[-1] + -(-length // LINE) * LINE)
    places += [places[-1]] * (PARTS + 1 - len(places))
    return tuple(places), workers * places[-1] + LINE


def plan_block(packed: PackedBlock, window: Window, images: tuple[int, ...], workers: int) -> Plan:
    p = packed.arrays
    n, height, width, depth = images
    out = window.output_size(height, width)
    (size, _), (stride, _), ((top, _), (left, _)) = window.kernel, window.stride, window.padding
    pitch = max(left + width, (out[1] - 1) * stride + size)
    tall = band(size, stride, pitch, out[0])
    rows = (tall - 1) * stride + size
    padded, area = -(-p.hidden // GROUP) * GROUP, out[0] * out[1]
    room = max(PIXELS, min(ROOM // p.hidden, area + PIXELS - 1) // PIXELS * PIXELS)
    places, scratch = placed(
        workers, (rows * pitch + (PIXELS + 1) * stride + size) * GROUP, area * p.hidden, out[0] * padded, padded,
        room * p.hidden if p.gates else 0,
    )  # fmt: skip
    return Plan(
        n % workers == 0 or n >= 4 * workers,
        workers, (n, *out, p.channels),
        (height, width, depth, p.hidden, *out, size, stride, top, left, packed.act, int(packed.widens)), tall,
        places, scratch, (inside.address(F32), weigh.address(F32), scale.address(F32), multiply.address(F32)),
    )  # fmt: skip


def plan_layer(
    packed: PackedLayer, window: Window, images: tuple[int, ...], steps: tuple[int, ...], workers: int
) -> Plan:
    """``images``: N C H W, ``steps``: how far apart in memory neighbours are along each axis."""
    p = packed.arrays
    n, channels, height, width = images
    out = window.output_size(height, width)
    (size, _), (stride, _), ((top, _), (left, _)) = window.kernel, window.stride, window.padding
    room = max(PIXELS, min(ROOM // p.depth, out[0] * out[1] + PIXELS - 1) // PIXELS * PIXELS)
    places, scratch = placed(workers, room * p.depth)
    return Plan(
        False, workers, (n, *out, p.channels),
        (height, width, channels, out[1], size, stride, top, left, steps[0], steps[2], steps[3], steps[1]), 0,
        places, scratch, (see.address(F32), multiply.address(F32)),
    )  # fmt: skip


def run_block(x: Array, packed: PackedBlock, window: Window) -> Array:
    """x: N C H W, float32, as channels lie in memory side by side -> the block's result, likewise."""
    source, workers = side_by_side(x), get_num_threads()
    key = window, source.shape, workers
    plan = packed.plans.get(key)
    if plan is None:
        plan = packed.plans[key] = plan_block(packed, *key)
    y = np.empty(plan.shape, F32)
    kernel = own_images_kernel if plan.owns else share_image_kernel
    kernel(
        workers, source.reshape(-1), len(source), packed.arrays, plan.sizes, plan.tall, y.reshape(-1),
        np.empty(plan.scratch, F32), plan.places, plan.at,
    )  # fmt: skip
    return y.transpose(0, 3, 1, 2)


def run_layer(x: Array, packed: PackedLayer, window: Window, skip: Array | None = None) -> Array:
    """x: N C H W -> finish(convolution(x) + shift), or that without ``finish`` plus ``skip``; channels side by side."""
    flat, steps = (side_by_side(x).reshape(-1), (0, 0, 0, 0)) if window.is_pointwise else memory_of(x)
    key = window, x.shape, steps, get_num_threads()
    plan = packed.plans.get(key)
    if plan is None:
        plan = packed.plans[key] = plan_layer(packed, *key)
    y = np.empty(plan.shape, F32)
    result = y.reshape(-1)
    layer_kernel(
        plan.workers, flat, len(x), packed.arrays, plan.sizes, window.is_pointwise, plan.shape[1] * plan.shape[2],
        result, result if skip is None else side_by_side(skip).reshape(-1), packed.act if skip is None else ADD,
        np.empty(plan.scratch, F32), plan.places, plan.at,
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
