"""Pooling: the largest or the mean of what a window sees."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..backends import Array, Backend, Pair, Window
from ..backends.device import array_like
from ..contract import expect_arrays
from ..op import Op, Shape, function, register
from ..tensor import Tensor, wrap
from .matmul import matmul
from .reduction import mean
from .window import PaddingLike, PairLike, pair, window_of


@register
class MaxPool2d(Op):
    """Largest pixel of each window."""

    formula = "y[n,c,i,j] = max_p,q x[n, c, i·s + p·d − pad, j·s + q·d − pad]"
    rule = "x̄ = ȳ, added at the pixel that was largest"
    shapes = "x: N C H W -> N C Ho Wo"
    kinks = "several pixels tie: the first, row by row, receives all (PyTorch: the same)"

    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, kernels: Backend, x: Array) -> Array:
        y, index = kernels.max_pool2d(x, self.window)
        self.size = x.shape[2:]
        self.save(index)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (index,) = self.saved()
        return ScatterPlanes(index.array, self.size)(dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return math.prod(outputs[0]) * math.prod(self.window.kernel)


@register
class ScatterPlanes(Op):
    """Zero planes with x added at given pixels: the rule of `MaxPool2d`, and the transpose of `GatherPlanes`."""

    formula = "y[n, c, index[n,c,i,j]] = Σ x[n,c,i,j]"
    rule = "x̄ = ȳ at the given pixels"
    shapes = "x: N C Ho Wo -> N C H W"

    def __init__(self, index: Array, size: Pair) -> None:
        self.index, self.size = index, size

    def forward(self, kernels: Backend, x: Array) -> Array:
        return kernels.scatter_planes(x, self.index, self.size)

    def backward(self, dy: Tensor) -> Tensor:
        return GatherPlanes(self.index)(dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return math.prod(inputs[0])


@register
class GatherPlanes(Op):
    """The pixels of each plane at given places."""

    formula = "y[n,c,i,j] = x[n, c, index[n,c,i,j]]"
    rule = "x̄ = zeros with ȳ added at the given pixels"
    shapes = "x: N C H W -> N C Ho Wo"

    def __init__(self, index: Array) -> None:
        self.index = index

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.size = x.shape[2:]
        return kernels.gather_planes(x, self.index)

    def backward(self, dy: Tensor) -> Tensor:
        return ScatterPlanes(self.index, self.size)(dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 0


class _Average(Op):
    def __init__(self, window: Window, count_include_pad: bool, size: Pair) -> None:
        self.window, self.count_include_pad, self.size = window, count_include_pad, size

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        n, channels = inputs[0][:2]
        return n * channels * math.prod(self.window.output_size(*self.size)) * (math.prod(self.window.kernel) + 1)


@register
class AvgPool2d(_Average):
    """Mean of the pixels of each window."""

    formula = "y[n,c,i,j] = Σ_p,q x[n, c, i·s + p − pad, j·s + q − pad] / (kh · kw)"
    rule = "x̄ = ȳ / (kh · kw), to every pixel that was averaged"
    shapes = "x: N C H W -> N C Ho Wo"

    def forward(self, kernels: Backend, x: Array) -> Array:
        return kernels.avg_pool2d(x, self.window, self.count_include_pad)

    def backward(self, dy: Tensor) -> Tensor:
        return AvgPool2dGrad(self.window, self.count_include_pad, self.size)(dy)


@register
class AvgPool2dGrad(_Average):
    """The rule of `AvgPool2d`, its transpose."""

    formula = "x̄ = Σ ȳ / (kh · kw) over the windows that saw the pixel"
    rule = "ȳ's gradient = avg_pool2d(g)  for the gradient g of x̄"
    shapes = "dy: N C Ho Wo -> N C H W"

    def forward(self, kernels: Backend, dy: Array) -> Array:
        return kernels.avg_pool2d_grad(dy, self.window, self.count_include_pad, self.size)

    def backward(self, g: Tensor) -> Tensor:
        return AvgPool2d(self.window, self.count_include_pad, self.size)(g)


@function
def max_pool2d(
    x: Tensor,
    kernel_size: PairLike,
    stride: PairLike | None = None,
    padding: PaddingLike = 0,
    dilation: PairLike = 1,
) -> Tensor:
    """Largest pixel of each window. x: (N, C, H, W) -> (N, C, Ho, Wo).

    ``stride`` defaults to ``kernel_size``; padding never wins. Ties give the gradient to the first pixel.

    Raises
    ------
    ValueError
        x has not four axes, or the window does not fit.
    """
    window, _ = _window("max_pool2d", x, kernel_size, stride, padding, dilation)
    return MaxPool2d(window)(x)


@function
def avg_pool2d(
    x: Tensor,
    kernel_size: PairLike,
    stride: PairLike | None = None,
    padding: PaddingLike = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window. x: (N, C, H, W) -> (N, C, Ho, Wo).

    ``stride`` defaults to ``kernel_size``. Without ``count_include_pad`` padding is not counted as pixels.

    Raises
    ------
    ValueError
        x has not four axes, or the window does not fit.
    """
    window, size = _window("avg_pool2d", x, kernel_size, stride, padding, 1)
    return AvgPool2d(window, count_include_pad, size)(x)


@function
def adaptive_avg_pool2d(x: Tensor, output_size: PairLike) -> Tensor:
    """Means over a grid of ``output_size`` cells that cover the image. x: (N, C, H, W) -> (N, C, Ho, Wo).

    Cell i reaches from floor(i·H/Ho) to ceil((i+1)·H/Ho), as in PyTorch, so cells overlap where Ho does not divide H.
    With ``output_size=1`` it is global average pooling.
    """
    expect_arrays("adaptive_avg_pool2d", x=x)
    if x.ndim != 4:
        raise ValueError(
            f"adaptive_avg_pool2d: x must have 4 axes (N C H W), but has shape {x.shape}; one image of its own needs "
            "a batch axis, x.unsqueeze(0)"
        )
    rows, columns = pair("adaptive_avg_pool2d", "output_size", output_size)
    if (rows, columns) == (1, 1):
        return mean(x, (2, 3), keepdim=True)
    height, width = x.shape[2:]
    if height % rows == 0 and width % columns == 0:
        return avg_pool2d(x, (height // rows, width // columns))
    # a mean over rows and then over columns is a product with a matrix of weights from either side
    down = wrap(array_like(_cells(height, rows, x.dtype), x.array))
    across = wrap(array_like(_cells(width, columns, x.dtype).T, x.array))
    return matmul(matmul(down, x), across)


def _cells(size: int, cells: int, dtype: np.dtype) -> np.ndarray:
    """(cells, size): row i averages what cell i covers."""
    weights = np.zeros((cells, size), dtype)
    for i in range(cells):
        start, end = i * size // cells, -(-(i + 1) * size // cells)
        weights[i, start:end] = 1 / (end - start)
    return weights


def _window(
    name: str, x: Tensor, kernel: PairLike, stride: PairLike | None, padding: PaddingLike, dilation: PairLike
) -> tuple[Window, Pair]:
    expect_arrays(name, x=x)
    if x.ndim != 4:
        raise ValueError(
            f"{name}: x must have 4 axes (N C H W), but has shape {x.shape}; one image of its own needs a batch axis, "
            "x.unsqueeze(0)"
        )
    size = x.shape[2], x.shape[3]
    window = window_of(name, kernel, kernel if stride is None else stride, padding, dilation, size)
    if any(_sees_no_pixel(*axis) for axis in zip(size, *window, strict=True)):
        raise ValueError(
            f"{name}(padding): with padding {window.padding} a window of {window.kernel} sees no pixel of an image of "
            f"{size}; pad less"
        )
    return window, size


def _sees_no_pixel(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> bool:
    """Does some window along an axis lie in the padding altogether?"""
    if padding == (0, 0):
        return False
    starts = range(-padding[0], size + padding[1] - dilation * (kernel - 1), stride)
    return any(all(not 0 <= start + i * dilation < size for i in range(kernel)) for start in starts)
