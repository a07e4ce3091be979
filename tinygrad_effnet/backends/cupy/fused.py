"""The fused operations: batch norm, SiLU and what follows, with only raw arrays read and written.

The sums that batch norm needs are one pass over the channel, what follows is another; everything between is computed
anew where it is needed. Shapes are those of the contract (backends/base.py), with nothing empty.
"""

from __future__ import annotations

from ..base import Array, Given, Statistics, Window
from ..layout import require_shape
from . import depthwise
from .launch import kernel
from .layout import THREADS, WARP, channel_first, channel_major, plain, rows_of, vector_width, widened
from .normalization import area_of, channel_sums, new_statistics, normalise, normalise_grad, vectors

PLANE_BLOCKS = 4096  # blocks among which all planes are shared out, about
LARGE_PLANE = 512  # numbers from which a whole block does a plane, not one warp of it


def start(source: Array, eps: float, given: Given) -> tuple[Statistics, Array | None]:
    """Statistics in the dtype that kernels compute with, and the sums to make them of where they are not given."""
    if given is None:
        mean, var = new_statistics(source)
        return Statistics(mean, var, eps, False), channel_sums(source)
    mean, var = vectors(source, *given)
    return Statistics(mean, var, eps, True), None


def norm_silu(x: Array, gamma: Array, beta: Array, eps: float, given: Given) -> tuple[Array, Statistics]:
    """silu(normalise(x))."""
    import cupy

    source = channel_major(x)
    (mean, var, _, _), sums = found = start(source, eps, given)
    y = cupy.empty_like(source)
    normalise("SILU", source, gamma, beta, eps, sums, mean, var, y)
    return channel_first(y), found[0]


def norm_silu_grad(
    x: Array, gamma: Array, beta: Array, dy: Array, statistics: Statistics
) -> tuple[Array, Array, Array]:
    """(dx, dgamma, dbeta)."""
    require_shape("dy", dy, x.shape)
    dx, *rest = normalise_grad("SILU", channel_major(x), channel_major(dy), gamma, beta, statistics)
    return channel_first(dx), rest[0], rest[1]


def norm_add(
    v: Array, gamma: Array, beta: Array, skip: Array, mask: Array | None, eps: float, given: Given
) -> tuple[Array, Statistics]:
    """normalise(v) * mask + skip."""
    import cupy

    require_shape("skip", skip, v.shape)
    source = channel_major(v)
    (mean, var, _, _), sums = found = start(source, eps, given)
    y = cupy.empty_like(source)
    normalise("ADD", source, gamma, beta, eps, sums, mean, var, y, mask=_mask(v, mask), skip=channel_major(skip))
    return channel_first(y), found[0]


def norm_add_grad(
    v: Array, gamma: Array, dy: Array, mask: Array | None, statistics: Statistics
) -> tuple[Array, Array, Array]:
    """(dv, dgamma, dbeta)."""
    require_shape("dy", dy, v.shape)
    dv, *rest = normalise_grad(
        "ADD", channel_major(v), channel_major(dy), gamma, gamma, statistics, mask=_mask(v, mask)
    )
    return channel_first(dv), rest[0], rest[1]


def _mask(v: Array, mask: Array | None) -> Array | None:
    if mask is not None:
        require_shape("mask", mask, v.shape[:1])
        return widened(mask, v)
    return None


# -- with a depthwise convolution -------------------------------------------------------------------------------------


def norm_silu_depthwise(
    x: Array, gamma: Array, beta: Array, w: Array, window: Window, eps: float, given: Given
) -> tuple[Array, Statistics]:
    """depthwise_conv2d(silu(normalise(x)), w)."""
    import cupy

    if not depthwise.has_kernel(window):
        h, statistics = norm_silu(x, gamma, beta, eps, given)
        return depthwise.depthwise_conv2d(h, w, window), statistics
    source, size, out = channel_major(x), (x.shape[2], x.shape[3]), window.output_size(*x.shape[2:])
    channels, images = source.shape[:2]
    taps = depthwise.filters(w, channels, window)
    statistics, sums = start(source, eps, given)
    y = cupy.empty((channels, images, *out), x.dtype)
    tiles = depthwise.output_tiles(window, images, out, depthwise.access(source))
    norm = *vectors(source, gamma, beta), float(eps), sums, rows_of(source).parts, statistics.mean, statistics.var
    launch = kernel("depthwise", "depthwise_forward", x.dtype, window.kernel[0], window.stride[0], True)
    args = source, taps, *depthwise.planes_of(window, source, size, out), *tiles.cut, *norm, y
    launch((tiles.number, channels), tiles.block, args, depthwise.bytes_of(tiles, x))
    return channel_first(y), statistics


def norm_silu_depthwise_grad(
    x: Array, gamma: Array, beta: Array, w: Array, dy: Array, window: Window, statistics: Statistics
) -> tuple[Array, Array, Array, Array]:
    """(dx, dgamma, dbeta, dw)."""
    import cupy

    size, out = (x.shape[2], x.shape[3]), window.output_size(*x.shape[2:])
    require_shape("dy", dy, (*x.shape[:2], *out))
    if not depthwise.has_kernel(window):
        h, _ = norm_silu(x, gamma, beta, statistics.eps, (statistics.mean, statistics.var))
        dw = depthwise.depthwise_conv2d_weight_grad(h, dy, window)
        dh = depthwise.depthwise_conv2d_input_grad(dy, w, window, size)
        return *norm_silu_grad(x, gamma, beta, dh, statistics), dw

    source, up = channel_major(x), channel_major(dy)
    channels, images = source.shape[:2]
    taps = depthwise.filters(w, channels, window)
    scale, shift, mean, var = vectors(source, gamma, beta, statistics.mean, statistics.var)
    eps = float(statistics.eps)
    dw = depthwise.weight_grad(source, up, window, True, (scale, shift, eps, mean, var))

    g = cupy.empty_like(source)
    tiles = depthwise.input_tiles(window, images, size, depthwise.access(up))
    sums = cupy.empty((channels, tiles.number, 2), "float64")
    launch = kernel("depthwise", "depthwise_input_grad", x.dtype, window.kernel[0], window.stride[0], True)
    norm = source, scale, shift, eps, mean, var, sums
    args = up, taps, *depthwise.planes_of(window, source, size, out), *tiles.cut, *norm, g
    launch((tiles.number, channels), tiles.block, args, depthwise.bytes_of(tiles, x))

    rows = rows_of(source)
    dgamma, dbeta = cupy.empty_like(scale), cupy.empty_like(scale)
    share = 0.0 if statistics.fixed else 1 / rows.length
    width = vector_width(source[0].size, source, g)
    finish = kernel("depthwise", "gradient_of_norm", x.dtype, width)
    args = source, g, rows.length, rows.chunk, scale, mean, var, eps, share, sums, tiles.number, dgamma, dbeta
    finish(rows.grid, rows.block(width), args)
    return channel_first(g), dgamma.astype(gamma.dtype, copy=False), dbeta.astype(gamma.dtype, copy=False), dw


# -- with squeeze-excitation; gates and pooled means are N C for the caller, C N for kernels ---------------------------


def pooled_activation(y: Array, gamma: Array, beta: Array, eps: float, given: Given) -> tuple[Array, Statistics]:
    """The mean of each plane of silu(normalise(y)), N C."""
    source = channel_major(y)
    statistics, sums = start(source, eps, given)
    pooled = plane_means(source, gamma, beta, eps, statistics, sums)
    return pooled.T.astype(y.dtype, copy=False), statistics


def plane_means(
    source: Array, gamma: Array, beta: Array, eps: float, statistics: Statistics, sums: Array | None
) -> Array:
    """The mean of each plane of silu(normalise(source)), C N H W -> C N, in the dtype that kernels compute with."""
    import cupy

    channels, images = source.shape[:2]
    pooled = cupy.empty((channels, images), statistics.mean.dtype)
    team, count, grid, block = _teams(source)
    launch = kernel("squeeze_excite", "pool", source.dtype, team, vector_width(0, source))
    norm = *vectors(source, gamma, beta), float(eps), sums, rows_of(source).parts, statistics.mean, statistics.var
    launch(grid, block, (source, images, area_of(source), count, *norm, pooled))
    return pooled


def excite(y: Array, gamma: Array, beta: Array, gate: Array, statistics: Statistics) -> Array:
    """silu(normalise(y)) * gate; gate: N C."""
    import cupy

    require_shape("gate", gate, y.shape[:2])
    source = channel_major(y)
    z = cupy.empty_like(source)
    rows, width = rows_of(source), vector_width(source[0].size, source, z)
    scale, shift, mean, var = vectors(source, gamma, beta, statistics.mean, statistics.var)
    launch = kernel("squeeze_excite", "excite", y.dtype, width)
    norm = scale, shift, float(statistics.eps), mean, var, widened(gate.T, y)
    launch(rows.grid, rows.block(width), (source, rows.length, rows.chunk, area_of(source), *norm, z))
    return channel_first(z)


def excite_sums(y: Array, gamma: Array, beta: Array, dz: Array, statistics: Statistics) -> Array:
    """C N 6: what `excite_grad` needs of each plane, first the sums of h and of dz * h, h = silu(normalise(y))."""
    import cupy

    require_shape("dz", dz, y.shape)
    source = channel_major(y)
    channels, images = source.shape[:2]
    scale, shift, mean, var = vectors(source, gamma, beta, statistics.mean, statistics.var)
    sums = cupy.empty((channels, images, 6), mean.dtype)
    team, count, grid, block = _teams(source)
    up = channel_major(dz)
    launch = kernel("squeeze_excite", "excite_sums", y.dtype, team, vector_width(0, source, up))
    planes = images, area_of(source), count
    launch(grid, block, (source, up, *planes, scale, shift, float(statistics.eps), mean, var, sums))
    return sums


def excite_grad(
    y: Array,
    gamma: Array,
    beta: Array,
    gate: Array,
    dpooled: Array,
    dz: Array,
    sums: Array,
    statistics: Statistics,
) -> tuple[Array, Array, Array]:
    """Gradients of y, gamma and beta from those of the result and of the pooled means; gate, dpooled: N C."""
    import cupy

    for name, value in (("gate", gate), ("dpooled", dpooled)):
        require_shape(name, value, y.shape[:2])
    source, up = channel_major(y), channel_major(dz)
    dy = cupy.empty_like(source)
    rows, width = rows_of(source), vector_width(source[0].size, source, up, dy)
    scale, shift, mean, var = vectors(source, gamma, beta, statistics.mean, statistics.var)
    dgamma, dbeta = cupy.empty_like(scale), cupy.empty_like(scale)
    share = 0.0 if statistics.fixed else 1 / rows.length
    norm = scale, shift, float(statistics.eps), mean, var, share
    planes = widened(gate.T, y), widened(dpooled.T, y), plain(sums)
    launch = kernel("squeeze_excite", "excite_gradient", y.dtype, width)
    images = source, up, rows.length, rows.chunk, area_of(source)
    launch(rows.grid, rows.block(width), (*images, *norm, *planes, dy, dgamma, dbeta))
    return channel_first(dy), dgamma.astype(gamma.dtype, copy=False), dbeta.astype(gamma.dtype, copy=False)


def _teams(source: Array) -> tuple[int, int, tuple[int, int], tuple[int]]:
    """Threads that do a plane together, planes for a block, the grid, and the block."""
    channels, images = source.shape[:2]
    if area_of(source) >= LARGE_PLANE:
        team, least = THREADS, 1
    else:
        team, least = WARP, min(THREADS // WARP, images)  # planes that keep every warp of a block busy
    count = max(least, -(-images // max(1, PLANE_BLOCKS // channels)))
    return team, count, (-(-images // count), channels), (team * least,)
