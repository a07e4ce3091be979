"""Convolution as a matrix product, a block of columns at a time.

`see` writes what some output pixels see, a column each ("im2col"), `fold` adds columns back to the pixels that they
came from ("col2im"). The columns of all outputs together would take kh·kw times the memory of the image; a thread makes
a block of them that fits its cache, multiplies it (`panels`), and forgets it. A 1x1 convolution needs no columns: it
is one product, and so are its gradients.

Tap (i, j) at output (ho, wo) meets the pixel

    h = ho * stride + i * dilation - top        w = wo * stride + j * dilation - left

so along a row the outputs that meet a real pixel are one run, found by `reach`, and need no test inside the loop.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ..base import Array, Pair, Window
from ..layout import require_shape
from . import products
from .block import block
from .jit import Index, inner, kernel
from .layout import channel_major, empty, plain, real
from .panels import (
    add_dots,
    add_tiles,
    dot_block,
    multiply,
    multiply_block,
    panel_width,
    scratch_size,
    sum_tiles,
    tile_counts,
)
from .products import NEAR, streams
from .tile import BYTES, dot_shape

Images = tuple[int, int, int, int, int, int, int, int]  # C N H W, kh kw, Ho Wo
Sizes = tuple[int, int, int, int, int, int]  # `span`
Span = tuple[int, ...]  # (stride, dilation, padding before) for rows, then for columns
SEGMENT = 512  # outputs whose sum is worth a partial gradient of the weights


def span(window: Window) -> Span:
    """The numbers of ``window`` that kernels need."""
    (sh, sw), (dh, dw), ((top, _), (left, _)) = window.stride, window.dilation, window.padding
    return sh, dh, top, sw, dw, left


@inner
def reach(tap: int, stride: int, dilation: int, before: int, size: int, out: int) -> tuple[int, int]:
    """First and past-the-last output whose tap meets one of ``size`` real pixels: 0 <= o * stride + shift < size."""
    shift = tap * dilation - before
    first = 0 if shift >= 0 else (-shift + stride - 1) // stride
    last = 0 if shift >= size else (size - 1 - shift) // stride + 1
    first = min(first, out)
    return first, max(first, min(last, out))


@inner
def clear(x: Any, start: int, count: int) -> None:
    for o in range(Index(start), Index(start) + Index(count)):
        x[o] = 0


@inner
def copy_run(source: Any, start: int, stride: int, count: int, target: Any, to: int) -> None:
    """target[to + o] = source[start + o stride]."""
    at, begin = Index(start), Index(to)
    if stride == 1:  # a constant stride is what vectorises
        for o in range(Index(count)):
            target[begin + o] = source[at + o]
    elif stride == 2:
        for o in range(Index(count)):
            target[begin + o] = source[at + Index(2) * o]
    else:
        for o in range(Index(count)):
            target[begin + o] = source[at + Index(stride) * o]


@inner
def add_run(source: Any, start: int, count: int, target: Any, to: int, stride: int) -> None:
    """target[to + o stride] += source[start + o]."""
    at, begin = Index(start), Index(to)
    if stride == 1:
        for o in range(Index(count)):
            target[begin + o] += source[at + o]
    else:
        for o in range(Index(count)):
            target[begin + Index(stride) * o] += source[at + o]


@block
def see(x: Any, images: Images, sizes: Sizes, output: int, count: int, seen: Any, pitch: int) -> None:
    """seen[((c kh + i) kw + j) pitch + q] = what output number ``output`` + q sees, q < count; x: C N H W, flat."""
    channels, n, height, width, kh, kw, out_height, out_width = images
    sh, dh, top, sw, dw, left = sizes
    done = 0
    while done < count:  # the outputs of one row at a time
        row, wo = (output + done) // out_width, (output + done) % out_width
        image, ho = row // out_height, row % out_height
        run = min(out_width - wo, count - done)
        for c in range(channels):
            for i in range(kh):
                h = ho * sh + i * dh - top
                for j in range(kw):
                    to = ((c * kh + i) * kw + j) * pitch + done
                    first, last = reach(j, sw, dw, left, width, out_width)
                    first, last = min(max(first, wo), wo + run), max(wo, min(last, wo + run))
                    if h < 0 or h >= height or first >= last:
                        clear(seen, to, run)
                        continue
                    start = ((c * n + image) * height + h) * width + first * sw + j * dw - left
                    clear(seen, to, first - wo)
                    copy_run(x, start, sw, last - first, seen, to + first - wo)
                    clear(seen, to + last - wo, wo + run - last)
        done += run


@block
def fold(
    seen: Any, pitch: int, images: Images, sizes: Sizes, first_channel: int, last_channel: int,
    output: int, count: int, x: Any,
) -> None:  # fmt: skip
    """The transpose of `see` for some channels, the columns of which begin at seen[0]."""
    _, n, height, width, kh, kw, out_height, out_width = images
    sh, dh, top, sw, dw, left = sizes
    done = 0
    while done < count:
        row, wo = (output + done) // out_width, (output + done) % out_width
        image, ho = row // out_height, row % out_height
        run = min(out_width - wo, count - done)
        for c in range(first_channel, last_channel):
            for i in range(kh):
                h = ho * sh + i * dh - top
                for j in range(kw):
                    first, last = reach(j, sw, dw, left, width, out_width)
                    first, last = max(first, wo), min(last, wo + run)
                    if 0 <= h < height and first < last:
                        start = (((c - first_channel) * kh + i) * kw + j) * pitch + done + first - wo
                        to = ((c * n + image) * height + h) * width + first * sw + j * dw - left
                        add_run(seen, start, last - first, x, to, sw)
        done += run


look = see.call
fold_back = fold.call


@kernel
def conv2d_kernel(
    w: Any, rows: int, x: Any, images: Any, sizes: Any, block: int, y: Any, stream: bool, seen: Any, scratch: Any,
    at: Any,
) -> None:  # fmt: skip
    """y: O (N Ho Wo) from w: O (C kh kw) and x: C N H W, all flat; a thread owns a range of outputs."""
    channels, n, _, _, kh, kw, out_height, out_width = images
    depth, total = channels * kh * kw, n * out_height * out_width
    blocks, threads = (total + block - 1) // block, len(seen)
    for thread in prange(threads):
        for b in range(blocks * thread // threads, blocks * (thread + 1) // threads):
            count = min(block, total - b * block)
            look(at[0], x, images, sizes, b * block, count, seen[thread], block)
            multiply(
                at[1], w, 0, depth, 1, rows, seen[thread], 0, block, depth, count,
                y, b * block, total, stream, scratch[thread],
            )  # fmt: skip


@kernel
def input_grad_kernel(
    w: Any, rows: int, dy: Any, images: Any, sizes: Any, block: int, groups: int, x: Any, seen: Any, scratch: Any,
    at: Any,
) -> None:  # fmt: skip
    """x: C N H W from w: O (C kh kw) and dy: O (N Ho Wo), all flat; a thread owns an image's planes, of all channels or
    of a group."""
    channels, n, height, width, kh, kw, out_height, out_width = images
    taps, area, plane = kh * kw, out_height * out_width, height * width
    items, threads = n * groups, len(seen)
    for thread in prange(threads):
        for item in range(items * thread // threads, items * (thread + 1) // threads):
            image, group = item // groups, item % groups
            first, last = channels * group // groups, channels * (group + 1) // groups
            for c in range(first, last):
                clear(x, (c * n + image) * plane, plane)
            for start in range(image * area, (image + 1) * area, block):
                count = min(block, (image + 1) * area - start)
                multiply(
                    at[0], w, first * taps, 1, channels * taps, (last - first) * taps, dy, start, n * area, rows, count,
                    seen[thread], 0, block, False, scratch[thread],
                )  # fmt: skip
                fold_back(at[1], seen[thread], block, images, sizes, first, last, start, count, x)


@kernel
def weight_grad_kernel(
    x: Any, images: Any, sizes: Any, dy: Any, rows: int, block: int, segments: int, threads: int, shape: Any,
    seen: Any, tiles: Any, edges: Any, dw: Any, at: Any,
) -> None:  # fmt: skip
    """dw: O (C kh kw) from x: C N H W and dy: O (N Ho Wo), all flat; a thread owns a range of outputs."""
    channels, n, _, _, kh, kw, out_height, out_width = images
    depth, total = channels * kh * kw, n * out_height * out_width
    blocks, size = (total + block - 1) // block, tiles.size // segments
    tall, wide = max(rows, depth), min(rows, depth)  # the smaller matrix is what stays in the cache
    down = (tall + shape[0] - 1) // shape[0]
    for segment in prange(segments):
        start = blocks * segment // segments
        for b in range(start, blocks * (segment + 1) // segments):
            count = min(block, total - b * block)
            look(at[0], x, images, sizes, b * block, count, seen[segment], block)
            if rows >= depth:
                first, from_first, pitch, second, from_second, pitch2 = dy, b * block, total, seen[segment], 0, block
            else:
                first, from_first, pitch, second, from_second, pitch2 = seen[segment], 0, block, dy, b * block, total
            add_dots(
                at[1], first, from_first, pitch, tall, second, from_second, pitch2, wide, count, shape, 0, down,
                tiles, segment * size, b == start, edges[segment],
            )  # fmt: skip
    across, along = (depth, 1) if rows >= depth else (1, depth)
    for thread in prange(threads):
        first_row, last_row = down * thread // threads, down * (thread + 1) // threads
        sum_tiles(at[2], tiles, segments, size, shape, first_row, last_row, tall, wide, dw, across, along)


def compiled(a: Array, b: Array, window: Window, multiply_adds: int) -> bool:
    """Whether a convolution of these two (images, filters or gradients) is done here: not where a small product is all
    there is to it."""
    return real(a, b) and bool(a.size and b.size) and not (window.is_pointwise and not products.worth(multiply_adds))


def groups_of(groups: int, axis: int, a: Array, other: int, b: Array) -> list[tuple[Array, Array]]:
    """``a`` and ``b`` cut into groups of channels, each along its axis."""
    if groups == 1:
        return [(a, b)]
    return list(zip(np.split(a, groups, axis), np.split(b, groups, other), strict=True))


def joined(parts: list[Array], axis: int) -> Array:
    """The groups' results along ``axis``; images stay channel-major."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.swapaxes(0, axis) for part in parts]).swapaxes(0, axis)


def conv2d(x: Array, w: Array, window: Window, threads: int) -> Array:
    """x: N C H W, w: O C kh kw -> N O Ho Wo."""
    require_shape("w", w, (len(w), x.shape[1], *window.kernel))
    source, rows, n = channel_major(x), len(w), len(x)
    out = window.output_size(*x.shape[2:])
    y = empty((rows, n * math.prod(out)), x.dtype)
    if window.is_pointwise:
        products.outer(plain(w).reshape(rows, -1), matrix(source), threads, y)
    else:
        depth, block = _block(source, window)
        conv2d_kernel(
            plain(w).reshape(-1), rows, source.reshape(-1), _images(source, window, out), span(window), block,
            y.reshape(-1), streams(y), empty((threads, depth * block), x.dtype),
            empty((threads, scratch_size(depth, x.itemsize)), x.dtype),
            (see.address(x.dtype), multiply_block.address(x.dtype)),
        )  # fmt: skip
    return y.reshape(rows, n, *out).swapaxes(0, 1)


def conv2d_input_grad(dy: Array, w: Array, window: Window, size: Pair, threads: int) -> Array:
    """dy: N O Ho Wo, w: O C kh kw -> N C H W with (H, W) = ``size``."""
    require_shape("w", w, (dy.shape[1], w.shape[1], *window.kernel))
    require_shape("dy", dy, (*dy.shape[:2], *window.output_size(*size)))
    source, (rows, channels), n = channel_major(dy), w.shape[:2], len(dy)
    x = empty((channels, n, *size), dy.dtype)
    if window.is_pointwise:
        products.outer(plain(w).reshape(rows, channels).T, matrix(source), threads, matrix(x))
    else:
        depth, block = _block(x, window)
        groups = min(channels, 1 if n >= 4 * threads else threads // math.gcd(n, threads))
        input_grad_kernel(
            plain(w).reshape(-1), rows, source.reshape(-1), _images(x, window, source.shape[2:]), span(window), block,
            groups, x.reshape(-1), empty((threads, -(-channels // groups) * depth // channels * block), x.dtype),
            empty((threads, scratch_size(rows, x.itemsize)), x.dtype),
            (multiply_block.address(x.dtype), fold.address(x.dtype)),
        )  # fmt: skip
    return x.swapaxes(0, 1)


def conv2d_weight_grad(x: Array, dy: Array, window: Window, threads: int) -> Array:
    """x: N C H W, dy: N O Ho Wo -> O C kh kw."""
    require_shape("dy", dy, (len(x), dy.shape[1], *window.output_size(*x.shape[2:])))
    source, upstream = channel_major(x), channel_major(dy)
    rows, channels, total = len(upstream), len(source), upstream[0].size
    if window.is_pointwise:
        return products.dots(matrix(upstream), matrix(source), threads).reshape(rows, channels, 1, 1)
    depth, block = _block(source, window)
    dw = np.empty((rows, channels, *window.kernel), x.dtype)
    segments = max(1, min(16, total // SEGMENT, -(-total // block), (1 << 22) // dw.size))
    width = BYTES // x.itemsize
    count = math.prod(tile_counts(max(rows, depth), min(rows, depth), x.itemsize)) * width
    weight_grad_kernel(
        source.reshape(-1), _images(source, window, upstream.shape[2:]), span(window), upstream.reshape(-1), rows,
        block, segments, threads, dot_shape(width), empty((segments, depth * block), x.dtype),
        empty((segments * count,), x.dtype), empty((segments, (rows + depth) * width), x.dtype), dw.reshape(-1),
        (see.address(x.dtype), dot_block.address(x.dtype), add_tiles.address(x.dtype)),
    )  # fmt: skip
    return dw


def matrix(x: Array) -> Array:
    """C N H W -> C (N H W)."""
    return x.reshape(len(x), -1)


def _images(x: Array, window: Window, out: Pair) -> tuple[int, ...]:
    """What kernels need to know of the images: C N H W, the kernel, the output."""
    return (*x.shape, *window.kernel, *out)


def _block(x: Array, window: Window) -> tuple[int, int]:
    """(rows of a column, columns of a block that fits the second cache, whole panels of them)."""
    depth = len(x) * math.prod(window.kernel)
    panel = panel_width(x.itemsize)
    return depth, panel * max(1, min(NEAR // (depth * x.itemsize * panel), 1024 // panel))
