"""Batch normalisation: sums over each channel first, then one pass that normalises."""

from __future__ import annotations

from typing import Any

from ..base import Array, Statistics
from ..layout import require_shape
from .launch import computing, kernel
from .layout import THREADS, channel_first, channel_major, elementwise_grid, plain, rows_of, vector_width, widened


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """x: N C ..., not empty, gamma, beta: C -> (y, mean, var); of x in 16 bits these two are float32."""
    import cupy

    source = channel_major(x)
    mean, var = new_statistics(source)
    y = cupy.empty_like(source)
    normalise("PLAIN", source, gamma, beta, eps, channel_sums(source), mean, var, y)
    return channel_first(y), mean, var


def batch_norm_grad(
    x: Array, gamma: Array, dy: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """x, dy: N C ..., the rest C -> (dx, dgamma, dbeta), with mean and var taken as functions of x."""
    source = channel_major(x)
    require_shape("dy", dy, x.shape)
    dx, dgamma, dbeta = normalise_grad(
        "PLAIN", source, channel_major(dy), gamma, gamma, Statistics(mean, var, eps, False)
    )
    return channel_first(dx), dgamma, dbeta


def scale_shift(x: Array, scale: Array, shift: Array) -> Array:
    """x: N C ..., scale, shift: C -> x * scale + shift, channel by channel."""
    import cupy

    source = channel_major(x)
    y = cupy.empty_like(source)
    rows, width = rows_of(source), vector_width(source[0].size, source, y)
    factor, term = vectors(source, scale, shift)
    launch = kernel("normalization", "scale_shift", x.dtype, width)
    launch(rows.grid, rows.block(width), (source, rows.length, rows.chunk, factor, term, y))
    return channel_first(y)


def move_statistics(
    running_mean: Array, running_var: Array, mean: Array, var: Array, momentum: float, unbias: float
) -> None:
    """running += momentum (batch - running), in place, the batch's variance times ``unbias``; C each, of one dtype."""
    launch = kernel("normalization", "move_statistics", mean.dtype)
    for value in (var, running_mean, running_var):
        require_shape("a channel's statistic", value, mean.shape)
    args = plain(mean), plain(var), mean.size, momentum, unbias, running_mean, running_var
    launch(elementwise_grid(mean.size, 1), (THREADS,), args)


# -- of channel-major arrays: what the fused operations use as well ---------------------------------------------------


def vectors(source: Array, *values: Array) -> list[Array]:
    """Vectors of one number for each channel of ``source`` (C N ...), checked, as kernels take them."""
    for value in values:
        require_shape("a channel's parameter", value, source.shape[:1])
    return [widened(value, source) for value in values]


def new_statistics(source: Array) -> tuple[Array, Array]:
    """Room for the mean and the variance of each channel."""
    import cupy

    channels, dtype = source.shape[0], computing(source.dtype)
    return cupy.empty(channels, dtype), cupy.empty(channels, dtype)


def channel_sums(source: Array) -> Array:
    """C, parts, 2: the sums from which mean and variance are made, shared out as `rows_of` says."""
    import cupy

    rows, width = rows_of(source), vector_width(source[0].size, source)
    sums = cupy.empty((rows.channels, rows.parts, 2), "float64")
    launch = kernel("normalization", "moments", source.dtype, width)
    launch(rows.grid, rows.block(width), (source, rows.length, rows.chunk, sums))
    return sums


def normalise(
    mode: str,
    source: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    sums: Array | None,
    mean: Array,
    var: Array,
    y: Array,
    mask: Array | None = None,
    skip: Array | None = None,
) -> None:
    """Write y. Without ``sums`` mean and var are given, with them (see `channel_sums`) they are results."""
    rows, area = rows_of(source), area_of(source)
    images = [source, y] if skip is None else [source, y, skip]
    width = vector_width(source[0].size, *images)
    scale, shift = vectors(source, gamma, beta)
    launch = kernel("normalization", "normalise", source.dtype, width, mode)
    args = source, rows.length, rows.chunk, scale, shift, float(eps), sums, mask, area, skip, mean, var, y
    launch(rows.grid, rows.block(width), args)


def normalise_grad(
    mode: str,
    source: Array,
    dy: Array,
    gamma: Array,
    beta: Array,
    statistics: Statistics,
    mask: Array | None = None,
) -> tuple[Array, Array, Array]:
    """source, dy: C N ... -> (dx: C N ..., dgamma, dbeta: C)."""
    import cupy

    rows, area = rows_of(source), area_of(source)
    dx = cupy.empty_like(source)
    width = vector_width(source[0].size, source, dy, dx)
    sums = cupy.empty((rows.channels, rows.parts, 2), "float64")
    scale, shift, mean, var = vectors(source, gamma, beta, statistics.mean, statistics.var)
    dgamma, dbeta = cupy.empty_like(scale), cupy.empty_like(scale)
    common: tuple[Any, ...] = source, dy, rows.length, rows.chunk, scale, shift, mean, var, float(statistics.eps)
    launch = kernel("normalization", "gradient_sums", source.dtype, width, mode)
    launch(rows.grid, rows.block(width), (*common, mask, area, sums))
    launch = kernel("normalization", "gradient", source.dtype, width, mode)
    share = 0.0 if statistics.fixed else 1 / rows.length
    launch(rows.grid, rows.block(width), (*common, share, mask, area, sums, dx, dgamma, dbeta))
    return dx, dgamma.astype(gamma.dtype, copy=False), dbeta.astype(gamma.dtype, copy=False)


def area_of(source: Array) -> int:
    """Numbers in a plane of C N ...."""
    return max(1, source.size // (source.shape[0] * source.shape[1]))
