"""Depthwise convolution: which kernel does a window, and how planes are cut into tiles for it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ..base import Array, Pair, Window
from ..layout import require_shape
from .launch import computing, kernel
from .layout import FILLING, THREADS, VECTOR_BYTES, block_for, channel_first, channel_major, plain

TILE = 4608  # numbers in shared memory, about: 18 KiB of float32, so that several blocks share a multiprocessor
WIDEST = 64  # outputs in a row of a tile


class Tiles(NamedTuple):
    """How the planes of a channel are cut; heights and widths in results, or in squares of them."""

    planes: int  # together in one tile
    across: int  # tiles in a row of a plane
    down: int  # rows of tiles in a plane
    height: int
    width: int
    number: int  # of tiles of a channel
    staged: int  # numbers that a tile puts into shared memory
    block: tuple[int]  # threads
    packed: int  # whether rows come in accesses of 16 bytes (`Rows` in depthwise.cu)

    @property
    def cut(self) -> tuple[int, int, int, int, int, int]:
        """As kernels take it."""
        return self.planes, self.across, self.down, self.height, self.width, self.packed


def has_kernel(window: Window) -> bool:
    """Whether depthwise.cu has kernels for this window."""
    return window.kernel in ((3, 3), (5, 5)) and window.stride in ((1, 1), (2, 2)) and window.dilation == (1, 1)


def strip(stride: int) -> int:
    """Results that a thread computes below one another (`Strip` in depthwise.cu)."""
    return 4 if stride == 1 else 2


@lru_cache(maxsize=256)
def tiles_of(images: int, size: Pair, step: int, extra: int, long: int, full: int) -> Tiles:
    """Cut planes of ``size`` results.

    ``n`` results of a row need ``(n - 1) * step + extra`` numbers in shared memory, rounded up to whole accesses of
    ``full`` that may begin early; so with a column, whose length is rounded up to a multiple of ``long``.
    """

    def rows(height: int) -> int:
        return (-(-height // long) * long - 1) * step + extra

    across = -(-size[1] // WIDEST)
    width = -(-size[1] // across)
    pitch = ((width - 1) * step + extra + 2 * full - 2) // full * full
    down = 1
    while rows(-(-size[0] // down)) * pitch > TILE and down < size[0]:
        down += 1
    height = -(-size[0] // down)
    down = -(-size[0] // height)
    staged = rows(height) * pitch
    planes = max(1, min(images, TILE // staged)) if across * down == 1 else 1
    count = -(-images // planes) * across * down
    block = block_for(planes * -(-height // long) * width)
    return Tiles(planes, across, down, height, width, count, staged * planes, block, int(full > 1))


def access(staged: Array) -> int:
    """Numbers in an access to an array, C N H W, whose rows are put into shared memory (`FULL` in common.cuh), or 1."""
    full: int = VECTOR_BYTES // computing(staged.dtype).itemsize
    return 1 if staged.shape[3] % full or staged.data.ptr % VECTOR_BYTES else full


def output_tiles(window: Window, images: int, out: Pair, full: int) -> Tiles:
    """Tiles of outputs, for which pixels of x are put into shared memory in accesses of ``full``."""
    stride, taps = window.stride[0], window.kernel[0]
    return tiles_of(images, out, stride, taps, strip(stride), full)


def input_tiles(window: Window, images: int, size: Pair, full: int) -> Tiles:
    """Tiles of squares of pixels (see `depthwise_input_grad`), for which outputs are put there; likewise."""
    stride, taps = window.stride[0], window.kernel[0]
    (top, _), (left, _) = window.padding
    squares = [(before + n - 1) // stride - before // stride + 1 for n, before in zip(size, (top, left), strict=True)]
    return tiles_of(images, (squares[0], squares[1]), 1, -(-taps // stride), strip(stride), full)


def planes_of(window: Window, x: Array, size: Pair, out: Pair) -> tuple[int, ...]:
    """Images, sizes and padding, as kernels take them; x: C N ...."""
    (top, _), (left, _) = window.padding
    return x.shape[1], *size, *out, top, left


def bytes_of(tiles: Tiles, x: Array) -> int:
    """Shared memory for a block, bytes."""
    return tiles.staged * int(computing(x.dtype).itemsize)


def filters(w: Array, channels: int, window: Window) -> Array:
    """w: C 1 kh kw, checked, as C (kh kw)."""
    require_shape("w", w, (channels, 1, *window.kernel))
    return plain(w.reshape(channels, window.kernel[0] * window.kernel[1]))


def depthwise_conv2d(x: Array, w: Array, window: Window) -> Array:
    """x: N C H W, not empty, w: C 1 kh kw -> N C Ho Wo."""
    import cupy

    source, size, out = channel_major(x), (x.shape[2], x.shape[3]), window.output_size(*x.shape[2:])
    taps = filters(w, source.shape[0], window)
    y = cupy.empty((*source.shape[:2], *out), x.dtype)
    if not has_kernel(window):
        launch = kernel("depthwise_any", "any_forward", x.dtype)
        launch(_blocks(y), (THREADS,), (source, taps, *_window_numbers(window, source, size, out), y))
        return channel_first(y)
    tiles = output_tiles(window, source.shape[1], out, access(source))
    launch = kernel("depthwise", "depthwise_forward", x.dtype, window.kernel[0], window.stride[0], False)
    no_norm = None, None, 0.0, None, 0, None, None
    args = source, taps, *planes_of(window, source, size, out), *tiles.cut, *no_norm, y
    launch((tiles.number, len(source)), tiles.block, args, bytes_of(tiles, x))
    return channel_first(y)


def depthwise_conv2d_input_grad(dy: Array, w: Array, window: Window, size: Pair) -> Array:
    """dy: N C Ho Wo, w: C 1 kh kw -> N C H W with (H, W) = ``size``, not empty."""
    import cupy

    up, out = channel_major(dy), (dy.shape[2], dy.shape[3])
    require_shape("dy", dy, (*dy.shape[:2], *window.output_size(*size)))
    taps = filters(w, up.shape[0], window)
    dx = cupy.empty((*up.shape[:2], *size), dy.dtype)
    if not has_kernel(window):
        launch = kernel("depthwise_any", "any_input_grad", dy.dtype)
        launch(_blocks(dx), (THREADS,), (up, taps, *_window_numbers(window, up, size, out), dx))
        return channel_first(dx)
    tiles = input_tiles(window, up.shape[1], size, access(up))
    launch = kernel("depthwise", "depthwise_input_grad", dy.dtype, window.kernel[0], window.stride[0], False)
    no_norm = None, None, None, 0.0, None, None, None
    args = up, taps, *planes_of(window, up, size, out), *tiles.cut, *no_norm, dx
    launch((tiles.number, len(up)), tiles.block, args, bytes_of(tiles, dy))
    return channel_first(dx)


def depthwise_conv2d_weight_grad(x: Array, dy: Array, window: Window) -> Array:
    """x: N C H W, dy: N C Ho Wo, neither empty -> C 1 kh kw."""
    import cupy

    source, up = channel_major(x), channel_major(dy)
    size, out = (x.shape[2], x.shape[3]), window.output_size(*x.shape[2:])
    require_shape("dy", dy, (*x.shape[:2], *out))
    if not has_kernel(window):
        dw = cupy.empty((len(source), window.kernel[0] * window.kernel[1]), x.dtype)
        launch = kernel("depthwise_any", "any_weight_grad", x.dtype)
        launch(dw.shape[::-1], (THREADS,), (source, up, *_window_numbers(window, source, size, out), dw))
        return dw.reshape(len(source), 1, *window.kernel)
    no_norm = None, None, 0.0, None, None
    return weight_grad(source, up, window, False, no_norm)


def weight_grad(source: Array, up: Array, window: Window, norm: bool, norm_args: tuple[object, ...]) -> Array:
    """source: C N H W, up: C N Ho Wo -> C 1 kh kw; with ``norm`` of silu(normalise(source))."""
    import cupy

    channels = len(source)
    size, out, side = source.shape[2:], up.shape[2:], window.kernel[0]
    tiles = output_tiles(window, source.shape[1], out, access(source))
    parts = max(1, min(tiles.number, FILLING // channels))
    shares = cupy.empty((channels, parts, side * side), computing(source.dtype))
    launch = kernel("depthwise", "depthwise_weight_grad", source.dtype, side, window.stride[0], norm)
    args = source, up, *planes_of(window, source, size, out), *tiles.cut, tiles.number, *norm_args, shares
    launch((parts, channels), tiles.block, args, bytes_of(tiles, source))
    dw = cupy.empty((channels, 1, side, side), source.dtype)
    add = kernel("depthwise", "add_shares", source.dtype)
    add((-(-dw.size // THREADS),), (THREADS,), (shares, dw.size, side * side, parts, dw))
    return dw


def _blocks(y: Array) -> tuple[int, int]:
    """A grid of a thread for each number of y, C N ..., within limits."""
    channels = y.shape[0]
    return min(2**16, -(-(y.size // channels) // THREADS)), channels


def _window_numbers(window: Window, x: Array, size: Pair, out: Pair) -> tuple[int, ...]:
    (top, _), (left, _) = window.padding
    return x.shape[1], *size, *out, *window.kernel, *window.stride, *window.dilation, top, left
