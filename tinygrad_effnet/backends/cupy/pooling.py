"""Pooling, and moving numbers to and from places in a plane. Nothing is empty."""

from __future__ import annotations

import math

from ..base import Array, Pair, Window
from ..layout import require_shape
from .convolution import window_numbers
from .launch import kernel
from .layout import THREADS, channel_first, channel_major, elementwise_grid


def max_pool2d(x: Array, window: Window) -> tuple[Array, Array]:
    """x: N C H W -> (largest, index), both N C Ho Wo."""
    import cupy

    source, out = channel_major(x), window.output_size(*x.shape[2:])
    y = cupy.empty((*source.shape[:2], *out), x.dtype)
    index = cupy.empty(y.shape, "int64")
    launch = kernel("pooling", "max_pool", x.dtype)
    launch(elementwise_grid(y.size, 1), (THREADS,), (source, *_numbers(window, x.shape[2:]), y.size, y, index))
    return channel_first(y), channel_first(index)


def gather_planes(x: Array, index: Array) -> Array:
    """x: N C H W, index: N C Ho Wo of places ``h * W + w``, -1 for none -> N C Ho Wo.

    Places are not looked at before they are used, which would make the host wait: they must come from `max_pool2d`.
    """
    import cupy

    require_shape("index", index, (*x.shape[:2], *index.shape[2:]))
    source, places = channel_major(x), channel_major(index.astype("int64", copy=False))
    y = cupy.empty(places.shape, x.dtype)
    launch = kernel("pooling", "gather", x.dtype)
    area, count = math.prod(x.shape[2:]), math.prod(index.shape[2:])
    launch(elementwise_grid(y.size, 1), (THREADS,), (source, places, area, count, y.size, y))
    return channel_first(y)


def scatter_planes(dy: Array, index: Array, size: Pair) -> Array:
    """The transpose of `gather_planes`: dy, index: N C Ho Wo -> N C H W with (H, W) = ``size``."""
    import cupy

    require_shape("dy", dy, index.shape)
    up, places = channel_major(dy), channel_major(index.astype("int64", copy=False))
    x = cupy.empty((*up.shape[:2], *size), dy.dtype)
    launch = kernel("pooling", "scatter", dy.dtype)
    launch((up.shape[0] * up.shape[1],), (THREADS,), (up, places, math.prod(size), math.prod(dy.shape[2:]), x))
    return channel_first(x)


def avg_pool2d(x: Array, window: Window, count_include_pad: bool) -> Array:
    """x: N C H W -> N C Ho Wo."""
    import cupy

    source, out = channel_major(x), window.output_size(*x.shape[2:])
    y = cupy.empty((*source.shape[:2], *out), x.dtype)
    launch = kernel("pooling", "avg_pool", x.dtype, bool(count_include_pad))
    launch(elementwise_grid(y.size, 1), (THREADS,), (source, *_numbers(window, x.shape[2:]), y.size, y))
    return channel_first(y)


def avg_pool2d_grad(dy: Array, window: Window, count_include_pad: bool, size: Pair) -> Array:
    """The transpose of `avg_pool2d`: dy: N C Ho Wo -> N C H W with (H, W) = ``size``."""
    import cupy

    require_shape("dy", dy, (*dy.shape[:2], *window.output_size(*size)))
    up = channel_major(dy)
    x = cupy.empty((*up.shape[:2], *size), dy.dtype)
    launch = kernel("pooling", "avg_pool_grad", dy.dtype, bool(count_include_pad))
    launch(elementwise_grid(x.size, 1), (THREADS,), (up, *_numbers(window, size), x.size, x))
    return channel_first(x)


def _numbers(window: Window, size: tuple[int, ...]) -> tuple[int, ...]:
    return *size, *window.output_size(size[0], size[1]), *window_numbers(window)
