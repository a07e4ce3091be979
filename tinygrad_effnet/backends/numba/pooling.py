"""Pooling, and moving numbers to and from places in a plane. A thread owns whole planes (c, n)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ..base import Array, Pair, Window
from ..layout import require_shape
from .convolution import Span, span
from .jit import inner, kernel
from .layout import channel_major

Sizes = tuple[int, ...]  # kernel height and width, then `span`


def sizes_of(window: Window) -> Span:
    """Kernel height and width, then stride, dilation and padding before, of rows and of columns."""
    return (*window.kernel, *span(window))


@inner
def real_taps(o: int, k: int, stride: int, dilation: int, before: int, size: int) -> tuple[int, int]:
    """First and past-the-last tap of output ``o`` that meets one of ``size`` real pixels."""
    start = o * stride - before
    first = 0 if start >= 0 else (-start + dilation - 1) // dilation
    last = 0 if start >= size else (size - 1 - start) // dilation + 1
    return first, max(first, min(last, k))


@kernel
def max_pool_kernel(x: Any, sizes: Any, y: Any, index: Any) -> None:
    """x: P H W -> y, index: P Ho Wo: the first largest of each window and its place h * W + w; -1 if all is padding."""
    kh, kw, sh, dh, top, sw, dw, left = sizes
    height, width = x.shape[1:]
    for p in prange(x.shape[0]):
        for ho in range(y.shape[1]):
            i0, i1 = real_taps(ho, kh, sh, dh, top, height)
            for wo in range(y.shape[2]):
                j0, j1 = real_taps(wo, kw, sw, dw, left, width)
                best = x.dtype.type(-math.inf)
                place = -1
                for i in range(i0, i1):
                    h = ho * sh - top + i * dh
                    for j in range(j0, j1):
                        w = wo * sw - left + j * dw
                        v = x[p, h, w]
                        # a NaN wins over numbers, and once it has won neither comparison holds again
                        if place < 0 or v > best or (v != v and best == best):
                            best = v
                            place = h * width + w
                y[p, ho, wo] = best
                index[p, ho, wo] = place


@kernel
def gather_kernel(x: Any, index: Any, y: Any) -> None:
    """y[p, q] = x[p, index[p, q]]; nothing, 0, comes from place -1."""
    for p in prange(x.shape[0]):
        for q in range(index.shape[1]):
            place = index[p, q]
            y[p, q] = x[p, place] if place >= 0 else x.dtype.type(0)


@kernel
def scatter_kernel(dy: Any, index: Any, x: Any) -> None:
    """x[p, index[p, q]] += dy[p, q]; nothing goes to place -1."""
    for p in prange(x.shape[0]):
        x[p, :] = x.dtype.type(0)
        for q in range(index.shape[1]):
            place = index[p, q]
            if place >= 0:
                x[p, place] += dy[p, q]


@kernel
def avg_pool_kernel(x: Any, sizes: Any, count_padding: bool, y: Any) -> None:
    """x: P H W -> y: P Ho Wo; sums in float64."""
    kh, kw, sh, dh, top, sw, dw, left = sizes
    for p in prange(x.shape[0]):
        for ho in range(y.shape[1]):
            i0, i1 = real_taps(ho, kh, sh, dh, top, x.shape[1])
            for wo in range(y.shape[2]):
                j0, j1 = real_taps(wo, kw, sw, dw, left, x.shape[2])
                total = 0.0
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        total += x[p, ho * sh - top + i * dh, wo * sw - left + j * dw]
                y[p, ho, wo] = total / (kh * kw if count_padding else (i1 - i0) * (j1 - j0))


@kernel
def avg_pool_grad_kernel(dy: Any, sizes: Any, count_padding: bool, x: Any) -> None:
    """dy: P Ho Wo -> x: P H W: each output's gradient in equal shares to the pixels it averaged."""
    kh, kw, sh, dh, top, sw, dw, left = sizes
    for p in prange(x.shape[0]):
        x[p] = x.dtype.type(0)
        for ho in range(dy.shape[1]):
            i0, i1 = real_taps(ho, kh, sh, dh, top, x.shape[1])
            for wo in range(dy.shape[2]):
                j0, j1 = real_taps(wo, kw, sw, dw, left, x.shape[2])
                share = x.dtype.type(dy[p, ho, wo] / (kh * kw if count_padding else (i1 - i0) * (j1 - j0)))
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        x[p, ho * sh - top + i * dh, wo * sw - left + j * dw] += share


def planes(x: Array) -> Array:
    """C N H W -> (C N) H W."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def lines(x: Array) -> Array:
    """C N H W -> (C N) (H W)."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2] * x.shape[3])


def max_pool2d(x: Array, window: Window) -> tuple[Array, Array]:
    """x: N C H W -> (largest, index), both N C Ho Wo."""
    source = channel_major(x)
    shape = (*source.shape[:2], *window.output_size(*x.shape[2:]))
    y, index = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    max_pool_kernel(planes(source), sizes_of(window), planes(y), planes(index))
    return y.swapaxes(0, 1), index.swapaxes(0, 1)


def checked_index(index: Array, leading: tuple[int, ...], size: Pair) -> Array:
    """``index`` N C Ho Wo as C N Ho Wo int64, every place within a plane of ``size`` (or -1: no pixel).

    Raises
    ------
    ValueError
        The leading shape differs from that of the planes.
    IndexError
        A place lies outside its plane.
    """
    require_shape("index", index, (*leading, *index.shape[2:]))
    area = size[0] * size[1]
    if index.size and (index.max() >= area or index.min() < -1):
        raise IndexError(
            f"index: got places {index.min()} to {index.max()}, expected 0 to {area - 1} in a plane of {size}"
        )
    return channel_major(index.astype(np.int64, copy=False))


def gather_planes(x: Array, index: Array) -> Array:
    """x: N C H W, index: N C Ho Wo of places h * W + w -> N C Ho Wo."""
    places = checked_index(index, x.shape[:2], (x.shape[2], x.shape[3]))
    y = np.empty(places.shape, x.dtype)
    gather_kernel(lines(channel_major(x)), lines(places), lines(y))
    return y.swapaxes(0, 1)


def scatter_planes(dy: Array, index: Array, size: Pair) -> Array:
    """The transpose of `gather_planes`: dy, index: N C Ho Wo -> N C H W with (H, W) = ``size``."""
    require_shape("dy", dy, index.shape)
    places = checked_index(index, dy.shape[:2], size)
    x = np.empty((*places.shape[:2], *size), dy.dtype)
    scatter_kernel(lines(channel_major(dy)), lines(places), lines(x))
    return x.swapaxes(0, 1)


def avg_pool2d(x: Array, window: Window, count_include_pad: bool) -> Array:
    """x: N C H W -> N C Ho Wo."""
    source = channel_major(x)
    y = np.empty((*source.shape[:2], *window.output_size(*x.shape[2:])), x.dtype)
    avg_pool_kernel(planes(source), sizes_of(window), bool(count_include_pad), planes(y))
    return y.swapaxes(0, 1)


def avg_pool2d_grad(dy: Array, window: Window, count_include_pad: bool, size: Pair) -> Array:
    """The transpose of `avg_pool2d`: dy: N C Ho Wo -> N C H W with (H, W) = ``size``."""
    require_shape("dy", dy, (*dy.shape[:2], *window.output_size(*size)))
    source = channel_major(dy)
    x = np.empty((*source.shape[:2], *size), dy.dtype)
    avg_pool_grad_kernel(planes(source), sizes_of(window), bool(count_include_pad), planes(x))
    return x.swapaxes(0, 1)
