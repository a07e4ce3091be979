"""Convolution as a matrix product: only the columns are made here, the product is BLAS's.

`columns` writes what each output pixel sees ("im2col"), `fold` adds columns back to the pixels that they came from
("col2im"). Both walk the window in the same way: tap (i, j) at output (ho, wo) meets the pixel

    h = ho * stride + i * dilation - top        w = wo * stride + j * dilation - left

so along a row the outputs that meet a real pixel are one run, found by `reach`, and need no test inside the loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ..base import Array, Pair, Window
from .jit import Index, inner, kernel
from .layout import channel_major, plain

Span = tuple[int, ...]  # (stride, dilation, padding before) for rows, then for columns


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
def copy_row(source: Any, start: int, stride: int, target: Any, first: int, last: int) -> None:
    """target[o] = source[start + o * stride] for first <= o < last, zero elsewhere."""
    zero = target.dtype.type(0)
    for o in range(Index(first)):
        target[o] = zero
    count = Index(last - first)
    begin = Index(first)
    at = Index(start + first * stride)
    if stride == 1:  # a constant stride is what vectorises
        for o in range(count):
            target[begin + o] = source[at + o]
    elif stride == 2:
        for o in range(count):
            target[begin + o] = source[at + Index(2) * o]
    else:
        for o in range(count):
            target[begin + o] = source[at + Index(stride) * o]
    for o in range(Index(last), Index(target.size)):
        target[o] = zero


@inner
def add_row(source: Any, target: Any, start: int, stride: int, first: int, last: int) -> None:
    """target[start + o * stride] += source[o] for first <= o < last."""
    count = Index(last - first)
    begin = Index(first)
    at = Index(start + first * stride)
    if stride == 1:
        for o in range(count):
            target[at + o] += source[begin + o]
    else:
        for o in range(count):
            target[at + Index(stride) * o] += source[begin + o]


@kernel
def columns_kernel(x: Any, kernel_width: int, sizes: Any, columns: Any) -> None:
    """x: C N H W -> columns: C (kh kw) N Ho Wo; a thread owns rows (c, tap) of it."""
    sh, dh, top, sw, dw, left = sizes
    channels, taps, n, out_height, out_width = columns.shape
    height, width = x.shape[2:]
    for row in prange(channels * taps):
        c = row // taps
        i = row % taps // kernel_width
        j = row % taps % kernel_width
        first, last = reach(j, sw, dw, left, width, out_width)
        for image in range(n):
            for ho in range(out_height):
                h = ho * sh + i * dh - top
                target = columns[c, row % taps, image, ho]
                if h < 0 or h >= height:
                    target[:] = x.dtype.type(0)
                else:
                    copy_row(x[c, image, h], j * dw - left, sw, target, first, last)


@kernel
def fold_kernel(columns: Any, kernel_width: int, sizes: Any, x: Any) -> None:
    """The transpose of `columns_kernel`; a thread owns planes (c, image) of x, so that no two add to one pixel."""
    sh, dh, top, sw, dw, left = sizes
    channels, taps, n, out_height, out_width = columns.shape
    height, width = x.shape[2:]
    for plane in prange(channels * n):
        c = plane // n
        image = plane % n
        x[c, image] = x.dtype.type(0)
        for tap in range(taps):
            i = tap // kernel_width
            j = tap % kernel_width
            first, last = reach(j, sw, dw, left, width, out_width)
            for ho in range(out_height):
                h = ho * sh + i * dh - top
                if h >= 0 and h < height:
                    add_row(columns[c, tap, image, ho], x[c, image, h], j * dw - left, sw, first, last)


def columns(x: Array, window: Window) -> Array:
    """x: N C H W -> C (kh kw) N Ho Wo, what each output pixel sees."""
    source = channel_major(x)
    channels, n, height, width = source.shape
    kh, kw = window.kernel
    seen = np.empty((channels, kh * kw, n, *window.output_size(height, width)), x.dtype)
    columns_kernel(source, kw, span(window), seen)
    return seen


def fold(seen: Array, window: Window, size: Pair) -> Array:
    """The transpose of `columns`: C (kh kw) N Ho Wo -> N C H W with (H, W) = ``size``."""
    x = np.empty((seen.shape[0], seen.shape[2], *size), seen.dtype)
    fold_kernel(plain(seen), window.kernel[1], span(window), x)
    return x.swapaxes(0, 1)
