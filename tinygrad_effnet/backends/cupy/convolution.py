"""Convolution as matrix products, by cuBLAS, between columns that our kernels make; or by the kernels of `implicit`.

Channel-major images are a matrix C x (N H W) as they lie in memory, so that a 1x1 convolution and both its gradients
are one product each, of arrays that nobody had to move.

Other windows have a choice (`is_thin`). Columns are taps times as large as the images; they are written once and read
once, 8 bytes a number in float32, for 2 O/G operations each. What that traffic costs, cuBLAS must win back: it
multiplies perhaps twice as fast as our kernel, which has no columns. On devices that do some 20 operations in the time
of a byte (T4 27, A100 13, H100 20, by their data sheets) it does so from O/G = 4 x 20 on: a stem of 32 filters and
narrow fused blocks are ours, wide ones cuBLAS's. The threshold is reckoned so, and not measured.
"""

from __future__ import annotations

import math

import numpy as np

from ..base import Array, Pair, Window
from ..layout import require_shape
from . import implicit
from .launch import LARGEST_INDEX, kernel
from .layout import THREADS, channel_first, channel_major, plain
from .products import product

MOST_BLOCKS_A_ROW = 1024
THIN = 64  # outputs of a group, up to which columns cost more than they bring


def conv2d(x: Array, w: Array, window: Window, groups: int) -> Array:
    """Cross-correlation, nothing empty. x: N C H W, w: O C/G kh kw -> N O Ho Wo."""
    out = window.output_size(*x.shape[2:])
    if is_thin(len(x), w.shape[1] * groups, len(w) // groups, window, out):
        return implicit.conv2d(x, w, window, groups)
    y = product(_matrices(w, groups), _columns(x, window, groups))  # G O/G (N Ho Wo)
    return channel_first(y.reshape(len(w), len(x), *out))


def conv2d_input_grad(dy: Array, w: Array, window: Window, groups: int, size: Pair) -> Array:
    """dy: N O Ho Wo, w: O C/G kh kw -> N C H W with (H, W) = ``size``."""
    require_shape("dy", dy, (len(dy), len(w), *window.output_size(*size)))
    channels, out = w.shape[1] * groups, (dy.shape[2], dy.shape[3])
    # a stride leaves most of what our kernel multiplies zeros, so there it counts for more
    if is_thin(len(dy), channels, len(w) // groups * math.prod(window.stride), window, out):
        return implicit.conv2d_input_grad(dy, w, window, groups, size)
    up = _matrices(channel_major(dy), groups)  # G O/G (N Ho Wo)
    seen = product(_matrices(w, groups).swapaxes(1, 2), up)  # G (C/G kh kw) (N Ho Wo)
    if window.is_pointwise:
        return channel_first(seen.reshape(channels, len(dy), *size))
    return fold(seen, len(dy), channels, window, size)


def conv2d_weight_grad(x: Array, dy: Array, window: Window, groups: int) -> Array:
    """x: N C H W, dy: N O Ho Wo -> O C/G kh kw."""
    require_shape("dy", dy, (len(x), dy.shape[1], *window.output_size(*x.shape[2:])))
    if is_thin(len(x), x.shape[1], dy.shape[1] // groups, window, (dy.shape[2], dy.shape[3])):
        return implicit.conv2d_weight_grad(x, dy, window, groups)
    up = _matrices(channel_major(dy), groups)
    dw = product(up, _columns(x, window, groups).swapaxes(1, 2))  # G O/G (C/G kh kw)
    return dw.reshape(dy.shape[1], x.shape[1] // groups, *window.kernel)


def use_tf32(allowed: bool) -> None:
    """Let cuBLAS round the factors of float32 products to TF32's 10 binary places, for all that follows, or not.

    Our own kernels do not: they compute in float32.
    """
    from cupy._core import _routines_linalg as products

    kind = products.COMPUTE_TYPE_TF32 if allowed else products.COMPUTE_TYPE_DEFAULT
    products.set_compute_type(np.dtype(np.float32), kind)


def is_thin(images: int, channels: int, outputs: int, window: Window, out: Pair) -> bool:
    """Whether columns would cost more than they bring, or be more than a kernel can index."""
    if window.is_pointwise:
        return False
    return outputs <= THIN or channels * math.prod(window.kernel) * images * math.prod(out) > LARGEST_INDEX


def _matrices(w: Array, groups: int) -> Array:
    """O ... -> G O/G (...)."""
    return plain(w).reshape(groups, len(w) // groups, math.prod(w.shape[1:]))


def _columns(x: Array, window: Window, groups: int) -> Array:
    """N C H W -> G (C/G kh kw) (N Ho Wo)."""
    source = channel_major(x)
    if not window.is_pointwise:
        source = columns(source, window)
    taps = math.prod(window.kernel)
    return source.reshape(groups, x.shape[1] // groups * taps, len(x) * math.prod(window.output_size(*x.shape[2:])))


def columns(source: Array, window: Window) -> Array:
    """C N H W -> (C kh kw) (N Ho Wo): what each output pixel sees, a column each."""
    import cupy

    channels, images, height, width = source.shape
    out = window.output_size(height, width)
    seen = cupy.empty((channels * math.prod(window.kernel), images * math.prod(out)), source.dtype)
    launch = kernel("convolution", "columns", source.dtype)
    args = source, images, height, width, *out, *window_numbers(window), seen
    launch((len(seen), _blocks(seen.shape[1])), (THREADS,), args)
    return seen


def fold(seen: Array, images: int, channels: int, window: Window, size: Pair) -> Array:
    """The transpose of `columns`: (C kh kw) (N Ho Wo), in groups or not -> N C H W with (H, W) = ``size``."""
    import cupy

    x = cupy.empty((channels, images, *size), seen.dtype)
    launch = kernel("convolution", "fold", seen.dtype)
    args = plain(seen), images, *size, *window.output_size(*size), *window_numbers(window), x
    launch((channels, _blocks(images * math.prod(size))), (THREADS,), args)
    return channel_first(x)


def window_numbers(window: Window) -> tuple[int, ...]:
    """A window as kernels take it: sizes, strides, dilations, padding before."""
    (top, _), (left, _) = window.padding
    return *window.kernel, *window.stride, *window.dilation, top, left


def _blocks(length: int) -> int:
    return min(MOST_BLOCKS_A_ROW, -(-length // THREADS))
