"""Convolution without a matrix of patches in memory: each block gathers the patches that it multiplies.

`convolution` chooses between this and patches with cuBLAS; both compute the same products, in another order.
"""

from __future__ import annotations

import math
from typing import Any

from ..base import Array, Pair, Window
from .launch import computing, kernel
from .layout import FILLING, THREADS, channel_first, channel_major, plain

# as in implicit.cu
ROWS = 32
COLUMNS = 128
CHUNK = 4096  # pixels that make a share of a weight's gradient worth a block


def conv2d(x: Array, w: Array, window: Window, groups: int) -> Array:
    """Cross-correlation, nothing empty. x: N C H W, w: O C/G kh kw -> N O Ho Wo."""
    import cupy

    size = x.shape[2:]
    out = window.output_size(*size)
    y = cupy.empty((len(w), len(x), *out), x.dtype)
    sizes = _sizes(len(x), w.shape[1], len(w) // groups, size, window)
    launch = kernel("implicit", "implicit_forward", x.dtype)
    grid = _pieces(y.size // len(w), COLUMNS), _pieces(len(w) // groups, ROWS), groups
    launch(grid, (THREADS,), (channel_major(x), plain(w), *sizes, y))
    return channel_first(y)


def conv2d_input_grad(dy: Array, w: Array, window: Window, groups: int, size: Pair) -> Array:
    """dy: N O Ho Wo, w: O C/G kh kw -> N C H W with (H, W) = ``size``."""
    import cupy

    inputs = w.shape[1]
    dx = cupy.empty((inputs * groups, len(dy), *size), dy.dtype)
    sizes = _sizes(len(dy), inputs, len(w) // groups, size, window)
    launch = kernel("implicit", "implicit_input_grad", dy.dtype)
    grid = _pieces(len(dy) * math.prod(size), COLUMNS), _pieces(inputs, ROWS), groups
    launch(grid, (THREADS,), (channel_major(dy), plain(w), *sizes, dx))
    return channel_first(dx)


def conv2d_weight_grad(x: Array, dy: Array, window: Window, groups: int) -> Array:
    """x: N C H W, dy: N O Ho Wo -> O C/G kh kw."""
    import cupy

    inputs, outputs = x.shape[1] // groups, dy.shape[1] // groups
    depth, pixels = inputs * math.prod(window.kernel), len(x) * math.prod(dy.shape[2:])
    tiles = _pieces(depth, COLUMNS) * _pieces(outputs, ROWS) * groups
    parts = max(1, min(_pieces(pixels, CHUNK), FILLING // tiles))
    chunk = _pieces(pixels, parts)
    parts = _pieces(pixels, chunk)
    shares = cupy.empty((parts, dy.shape[1], inputs, *window.kernel), computing(x.dtype))
    sizes = _sizes(len(x), inputs, outputs, x.shape[2:], window)
    launch = kernel("implicit", "implicit_weight_grad", x.dtype)
    grid = _pieces(depth, COLUMNS), _pieces(outputs, ROWS), groups * parts
    launch(grid, (THREADS,), (channel_major(x), channel_major(dy), *sizes, groups, chunk, shares))
    whole = shares[0] if parts == 1 else shares.sum(axis=0)
    return whole.astype(x.dtype, copy=False)


def _sizes(images: int, inputs: int, outputs: int, size: Any, window: Window) -> tuple[int, ...]:
    """Numbers in the order in which the kernels take them; inputs and outputs of one group."""
    (top, _), (left, _) = window.padding
    corner = *window.kernel, *window.stride, *window.dilation, top, left
    return images, inputs, outputs, *size, *window.output_size(*size), *corner


def _pieces(length: int, size: int) -> int:
    return -(-length // size)
