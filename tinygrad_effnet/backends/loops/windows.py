"""What slides a window over an image: convolution and pooling.

A window of kh x kw *taps* stands at every output pixel (p, q). Tap (i, j) lies on the input pixel

    row = p * stride - top  + i * dilation
    col = q * stride - left + j * dilation

or beside the image, in the padding, which is zero for convolution and does not exist for pooling. `taps` says just
that, and every kernel below is a loop over it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..base import Array, Backend, Pair, Window
from .scalars import Place, array, divide, numbers, total, zeros


def taps(window: Window, p: int, q: int, size: Pair) -> Iterator[tuple[int, int, int, int]]:
    """Each tap (i, j) of the window at output (p, q), with the input pixel (row, col) below it; padding is left out."""
    (top, _), (left, _) = window.padding
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            row = p * window.stride[0] - top + i * window.dilation[0]
            col = q * window.stride[1] - left + j * window.dilation[1]
            if 0 <= row < size[0] and 0 <= col < size[1]:
                yield i, j, row, col


def products(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], window: Window, groups: int
) -> Iterator[tuple[Place, Place, Place]]:
    """Every product of a convolution: which output it adds to, which pixel and which weight are multiplied.

    x: N C H W, w: O C/G kh kw, y: N O Ho Wo. An output channel sees the C/G input channels of its group only.
    """
    batch, _, *size = x_shape
    out_channels, channels_per_group = w_shape[:2]
    height, width = size
    out_height, out_width = window.output_size(height, width)
    for n in range(batch):
        for o in range(out_channels):
            group = o // (out_channels // groups)
            for p in range(out_height):
                for q in range(out_width):
                    for k in range(channels_per_group):
                        c = group * channels_per_group + k
                        for i, j, row, col in taps(window, p, q, (height, width)):
                            yield (n, o, p, q), (n, c, row, col), (o, k, i, j)


class Windows(Backend):
    """Convolution, its two gradients, and pooling."""

    # -- convolution: one list of products, and three ways to read it ----------------------------------------------
    def conv2d(self, x: Array, w: Array, window: Window, groups: int) -> Array:
        # y[n, o, p, q] = sum over k, i, j of x[n, c, row, col] * w[o, k, i, j]
        shape = (len(x), len(w), *window.output_size(*x.shape[2:]))
        xs, ws, y = numbers(x), numbers(w), zeros(shape)
        for out, pixel, weight in products(x.shape, w.shape, window, groups):
            y[out] += xs[pixel] * ws[weight]
        return array(y, shape, np.result_type(x, w))

    def conv2d_input_grad(self, dy: Array, w: Array, window: Window, groups: int, size: Pair) -> Array:
        # a pixel receives dy from every output it went into, through the weight it was multiplied by
        shape = (len(dy), w.shape[1] * groups, *size)
        dys, ws, dx = numbers(dy), numbers(w), zeros(shape)
        for out, pixel, weight in products(shape, w.shape, window, groups):
            dx[pixel] += dys[out] * ws[weight]
        return array(dx, shape, np.result_type(dy, w))

    def conv2d_weight_grad(self, x: Array, dy: Array, window: Window, groups: int) -> Array:
        # a weight receives dy from every output it was used for, through the pixel it was multiplied by
        shape = (dy.shape[1], x.shape[1] // groups, *window.kernel)
        xs, dys, dw = numbers(x), numbers(dy), zeros(shape)
        for out, pixel, weight in products(x.shape, shape, window, groups):
            dw[weight] += dys[out] * xs[pixel]
        return array(dw, shape, np.result_type(x, dy))

    # -- depthwise convolution: a group for every channel ----------------------------------------------------------
    def depthwise_conv2d(self, x: Array, w: Array, window: Window) -> Array:
        return self.conv2d(x, w, window, groups=len(w))

    def depthwise_conv2d_input_grad(self, dy: Array, w: Array, window: Window, size: Pair) -> Array:
        return self.conv2d_input_grad(dy, w, window, groups=len(w), size=size)

    def depthwise_conv2d_weight_grad(self, x: Array, dy: Array, window: Window) -> Array:
        return self.conv2d_weight_grad(x, dy, window, groups=x.shape[1])

    # -- pooling -------------------------------------------------------------------------------------------------
    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        # y[n, c, p, q] = largest x[n, c, row, col] below the window, index = row * W + col
        height, width = x.shape[2:]
        shape = (*x.shape[:2], *window.output_size(height, width))
        xs, y, index = numbers(x), zeros(shape), zeros(shape)
        for n, c, p, q in np.ndindex(*shape):
            largest, place = -math.inf, -1  # -1 until a real pixel is seen: even one of -inf then beats the padding
            for _, _, row, col in taps(window, p, q, (height, width)):
                value = xs[n, c, row, col]
                if value > largest or place == -1 or (math.isnan(value) and not math.isnan(largest)):
                    largest, place = value, row * width + col
            y[n, c, p, q], index[n, c, p, q] = largest, place
        return array(y, shape, x.dtype), array(index, shape, np.int64)

    def gather_planes(self, x: Array, index: Array) -> Array:
        # y[n, c, p, q] = x[n, c, index // W, index % W]
        xs, y = numbers(x), zeros(index.shape)
        for (n, c, p, q), place in numbers(index).items():
            row, col = divmod(int(place), x.shape[3])
            y[n, c, p, q] = xs[n, c, row, col]
        return array(y, index.shape, x.dtype)

    def scatter_planes(self, dy: Array, index: Array, size: Pair) -> Array:
        # dx[n, c, index // W, index % W] += dy[n, c, p, q]
        shape = (*dy.shape[:2], *size)
        dys, dx = numbers(dy), zeros(shape)
        for (n, c, p, q), place in numbers(index).items():
            row, col = divmod(int(place), size[1])
            dx[n, c, row, col] += dys[n, c, p, q]
        return array(dx, shape, dy.dtype)

    def avg_pool2d(self, x: Array, window: Window, count_include_pad: bool) -> Array:
        # y[n, c, p, q] = sum of x[n, c, row, col] below the window / how many
        size = x.shape[2:]
        shape = (*x.shape[:2], *window.output_size(*size))
        xs, y = numbers(x), zeros(shape)
        for n, c, p, q in np.ndindex(*shape):
            seen = [xs[n, c, row, col] for _, _, row, col in taps(window, p, q, size)]
            y[n, c, p, q] = divide(total(seen), math.prod(window.kernel) if count_include_pad else len(seen))
        return array(y, shape, x.dtype)

    def avg_pool2d_grad(self, dy: Array, window: Window, count_include_pad: bool, size: Pair) -> Array:
        # every pixel below the window receives an equal share of dy[n, c, p, q]
        shape = (*dy.shape[:2], *size)
        dx = zeros(shape)
        for (n, c, p, q), upstream in numbers(dy).items():
            seen = [(row, col) for _, _, row, col in taps(window, p, q, size)]
            for row, col in seen:
                dx[n, c, row, col] += upstream / (math.prod(window.kernel) if count_include_pad else len(seen))
        return array(dx, shape, dy.dtype)
