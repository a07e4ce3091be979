"""The ``numpy`` backend: every kernel as whole-array code, written against ``xp`` so that CuPy can run the same lines.

Convolution and pooling share one idea: for each tap (i, j) of the window, the pixels that the tap meets form a strided
*view* of the padded input, as large as the output. Everything is a sum, product or maximum over those kh*kw views.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .base import Array, Axes, Backend, Pair, Window


def channel_first(x: Array) -> Array:
    """N C ... -> C N ... as a view."""
    return x.swapaxes(0, 1)


def per_channel(v: Array, ndim: int) -> Array:
    """C -> 1 C 1 ... so that it broadcasts against N C ... of ``ndim`` axes."""
    return v.reshape((1, -1) + (1,) * (ndim - 2))


class NumPy(Backend):
    """Vectorised kernels; the readable form of every algorithm that `loops` spells out scalar by scalar."""

    name = "numpy"
    xp = np

    # -- elementwise ---------------------------------------------------------------------------------------------
    def add(self, a: Array, b: Array) -> Array:
        return self.xp.add(a, b)

    def subtract(self, a: Array, b: Array) -> Array:
        return self.xp.subtract(a, b)

    def multiply(self, a: Array, b: Array) -> Array:
        return self.xp.multiply(a, b)

    def divide(self, a: Array, b: Array) -> Array:
        return self.xp.divide(a, b)

    def power(self, a: Array, b: Array) -> Array:
        return a**b  # the operator has fast paths for small whole exponents

    def maximum(self, a: Array, b: Array) -> Array:
        return self.xp.maximum(a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        return self.xp.minimum(a, b)

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        return self.xp.where(condition, a, b)

    def negative(self, x: Array) -> Array:
        return self.xp.negative(x)

    def absolute(self, x: Array) -> Array:
        return self.xp.absolute(x)

    def sign(self, x: Array) -> Array:
        return self.xp.sign(x)

    def exp(self, x: Array) -> Array:
        return self.xp.exp(x)

    def log(self, x: Array) -> Array:
        return self.xp.log(x)

    def log1p(self, x: Array) -> Array:
        return self.xp.log1p(x)

    def sqrt(self, x: Array) -> Array:
        return self.xp.sqrt(x)

    def sin(self, x: Array) -> Array:
        return self.xp.sin(x)

    def cos(self, x: Array) -> Array:
        return self.xp.cos(x)

    def tanh(self, x: Array) -> Array:
        return self.xp.tanh(x)

    def erf(self, x: Array) -> Array:
        try:
            from scipy.special import erf
        except ImportError:  # NumPy has no erf and must be enough on its own
            erf = np.vectorize(math.erf, otypes=[np.result_type(x.dtype, np.float16)])
        return erf(x)

    def clip(self, x: Array, low: float, high: float) -> Array:
        return self.xp.clip(x, low, high)

    def sigmoid(self, x: Array) -> Array:
        # exp only of what is not positive, so that nothing overflows: for x < 0, 1/(1+e^-x) = e^x/(1+e^x)
        e = self.xp.exp(-self.xp.absolute(x))
        return self.xp.where(x >= 0, 1, e) / (1 + e)

    def silu(self, x: Array) -> Array:
        return x * self.sigmoid(x)

    def silu_grad(self, x: Array, dy: Array) -> Array:
        s = self.sigmoid(x)
        return dy * s * (1 + x * (1 - s))

    # -- reductions ----------------------------------------------------------------------------------------------
    def sum(self, x: Array, axis: Axes, keepdims: bool) -> Array:
        return x.sum(axis=axis, keepdims=keepdims)

    def max(self, x: Array, axis: Axes, keepdims: bool) -> Array:
        return x.max(axis=axis, keepdims=keepdims)

    def argmax(self, x: Array, axis: int | None, keepdims: bool) -> Array:
        return self.xp.asarray(self.xp.argmax(x, axis=axis, keepdims=keepdims))

    def logsumexp(self, x: Array, axis: Axes, keepdims: bool) -> Array:
        largest = self._finite_max(x, axis)
        total = self.xp.log(self.xp.exp(x - largest).sum(axis=axis, keepdims=True)) + largest
        return total if keepdims else total.squeeze(axis=axis)

    def softmax(self, x: Array, axis: int) -> Array:
        e = self.xp.exp(x - self._max_or_zeros(x, axis))
        return e / e.sum(axis=axis, keepdims=True)

    def log_softmax(self, x: Array, axis: int) -> Array:
        # not x - logsumexp(x): in float32 a logit of 1000 would leave only four digits of the result
        shifted = x - self._max_or_zeros(x, axis)
        return shifted - self.xp.log(self.xp.exp(shifted).sum(axis=axis, keepdims=True))

    def softmax_cross_entropy(self, x: Array, goal: Array) -> tuple[Array, Array]:
        log_shares = self.log_softmax(x, 1)
        loss = -(goal * log_shares).sum(axis=1)
        return loss, self.xp.exp(log_shares) * goal.sum(axis=1, keepdims=True) - goal

    def label_cross_entropy(
        self, x: Array, labels: Array, smoothing: float, scale: float | None
    ) -> tuple[Array, Array]:
        log_shares, kept, even = self.log_softmax(x, 1), labels >= 0, smoothing / x.shape[1]
        places = self.xp.arange(len(x)), self.xp.maximum(labels, 0)
        loss, slope = (smoothing - 1) * log_shares[places], self.xp.exp(log_shares)
        if smoothing:  # or an infinite score would count, zero times
            loss -= even * log_shares.sum(axis=1)
            slope -= even
        slope[places] -= 1 - smoothing
        loss, slope = self.xp.where(kept, loss, 0), self.xp.where(kept[:, None], slope, 0)
        return (loss, slope) if scale is None else (self.xp.asarray(loss.sum() * scale), slope * scale)

    def _max_or_zeros(self, x: Array, axis: Axes) -> Array:
        if x.size == 0:
            return x.sum(axis=axis, keepdims=True)  # zeros of the right shape: there is no maximum of nothing
        return x.max(axis=axis, keepdims=True)

    def _finite_max(self, x: Array, axis: Axes) -> Array:
        # an infinite maximum cannot be subtracted from itself (NaN); 0 leaves exp(-inf) = 0 and exp(inf) = inf
        largest = self._max_or_zeros(x, axis)
        return self.xp.where(self.xp.isfinite(largest), largest, 0).astype(x.dtype)

    # -- products ------------------------------------------------------------------------------------------------
    def matmul(self, a: Array, b: Array) -> Array:
        return self.xp.matmul(a, b)

    def conv2d(self, x: Array, w: Array, window: Window, groups: int) -> Array:
        n, _, height, width = x.shape
        out_channels = len(w)
        columns = self._columns(x, window, groups)  # G (C/G kh kw) (N Ho Wo)
        y = self.matmul(self._matrices(w, groups), columns)  # G O/G (N Ho Wo)
        return channel_first(y.reshape(out_channels, n, *window.output_size(height, width)))

    def conv2d_input_grad(self, dy: Array, w: Array, window: Window, groups: int, size: Pair) -> Array:
        gradient = self._matrices(channel_first(dy), groups)  # G O/G (N Ho Wo)
        columns = self.matmul(self._matrices(w, groups).swapaxes(1, 2), gradient)  # G (C/G kh kw) (N Ho Wo)
        return self._fold(columns, len(dy), w.shape[1] * groups, window, size)

    def conv2d_weight_grad(self, x: Array, dy: Array, window: Window, groups: int) -> Array:
        columns = self._columns(x, window, groups)
        dw = self.matmul(self._matrices(channel_first(dy), groups), columns.swapaxes(1, 2))  # G O/G (C/G kh kw)
        return dw.reshape(dy.shape[1], x.shape[1] // groups, *window.kernel)

    def _matrices(self, w: Array, groups: int) -> Array:
        """O ... -> G O/G (...): one matrix a group. Without -1, which reshape cannot resolve where a size is 0."""
        return w.reshape(groups, len(w) // groups, math.prod(w.shape[1:]))

    def _columns(self, x: Array, window: Window, groups: int) -> Array:
        """N C H W -> G (C/G kh kw) (N Ho Wo): what each output pixel sees, a column each ("im2col")."""
        n, channels, height, width = x.shape
        if window.is_pointwise:
            return channel_first(x).reshape(groups, channels // groups, n * height * width)
        out = window.output_size(height, width)
        columns = self.xp.empty((channels, math.prod(window.kernel), n, *out), x.dtype)
        for tap, (_, _, seen) in enumerate(self._taps(self._pad(x, window), window, out)):
            columns[:, tap] = channel_first(seen)
        return columns.reshape(groups, channels // groups * math.prod(window.kernel), n * math.prod(out))

    def _fold(self, columns: Array, n: int, channels: int, window: Window, size: Pair) -> Array:
        """The transpose of `_columns`: every pixel sums what its columns hold."""
        if window.is_pointwise:
            return channel_first(columns.reshape(channels, n, *size))
        out = window.output_size(*size)
        columns = columns.reshape(channels, math.prod(window.kernel), n, *out)
        return self._sum_taps(lambda tap: channel_first(columns[:, tap]), (n, channels), columns.dtype, window, size)

    def depthwise_conv2d(self, x: Array, w: Array, window: Window) -> Array:
        out = window.output_size(*x.shape[2:])
        y = self._image_zeros((*x.shape[:2], *out), x.dtype)
        for i, j, seen in self._taps(self._pad(x, window), window, out):
            y += seen * per_channel(w[:, 0, i, j], 4)
        return y

    def depthwise_conv2d_input_grad(self, dy: Array, w: Array, window: Window, size: Pair) -> Array:
        taps = w.reshape(len(w), math.prod(window.kernel))
        return self._sum_taps(lambda tap: dy * per_channel(taps[:, tap], 4), dy.shape[:2], dy.dtype, window, size)

    def depthwise_conv2d_weight_grad(self, x: Array, dy: Array, window: Window) -> Array:
        dw = self.xp.empty((x.shape[1], 1, *window.kernel), x.dtype)
        for i, j, seen in self._taps(self._pad(x, window), window, dy.shape[2:]):
            dw[:, 0, i, j] = (seen * dy).sum(axis=(0, 2, 3))
        return dw

    # -- the window ----------------------------------------------------------------------------------------------
    def _pad(self, x: Array, window: Window, value: float = 0.0) -> Array:
        if window.padding == ((0, 0), (0, 0)):
            return x
        n, channels, height, width = x.shape
        (top, bottom), (left, right) = window.padding
        padded = self._image_zeros((n, channels, height + top + bottom, width + left + right), x.dtype)
        if value:
            padded[...] = value
        padded[:, :, top : top + height, left : left + width] = x
        return padded

    def _taps(self, padded: Array, window: Window, out: Pair) -> Iterator[tuple[int, int, Array]]:
        """For each tap (i, j): the view, N C Ho Wo, of the padded pixels that it meets."""
        (sh, sw), (dh, dw) = window.stride, window.dilation
        for i in range(window.kernel[0]):
            for j in range(window.kernel[1]):
                rows = slice(i * dh, i * dh + sh * out[0], sh)
                columns = slice(j * dw, j * dw + sw * out[1], sw)
                yield i, j, padded[:, :, rows, columns]

    def _sum_taps(self, contribution: Any, leading: Sequence[int], dtype: Any, window: Window, size: Pair) -> Array:
        """Zeros N C H W to which every tap adds its ``contribution(tap)``, N C Ho Wo, where it meets them."""
        (top, bottom), (left, right) = window.padding
        padded = self._image_zeros((*leading, size[0] + top + bottom, size[1] + left + right), dtype)
        out = window.output_size(*size)
        for tap, (_, _, seen) in enumerate(self._taps(padded, window, out)):
            seen += contribution(tap)
        return padded[:, :, top : top + size[0], left : left + size[1]]

    def _image_zeros(self, shape: Sequence[int], dtype: Any) -> Array:
        """Zeros N C H W, channel-major in memory."""
        n, channels, *size = shape
        return channel_first(self.xp.zeros((channels, n, *size), dtype))

    # -- pooling -------------------------------------------------------------------------------------------------
    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        out = window.output_size(*x.shape[2:])
        (top, _), (left, _) = window.padding
        largest = self._image_zeros((*x.shape[:2], *out), x.dtype)
        largest[...] = -math.inf
        index = self._image_zeros(largest.shape, self.xp.int64)
        index[...] = -1  # until a real pixel is seen: even one of -inf then beats the padding
        for i, j, seen in self._taps(self._pad(x, window, -math.inf), window, out):
            row = self.xp.arange(out[0])[:, None] * window.stride[0] + i * window.dilation[0] - top
            column = self.xp.arange(out[1])[None, :] * window.stride[1] + j * window.dilation[1] - left
            inside = (row >= 0) & (row < x.shape[2]) & (column >= 0) & (column < x.shape[3])
            # "not <=" rather than ">": a NaN wins, and once it has won nothing replaces it
            better = inside & (~(seen <= largest) & ~self.xp.isnan(largest) | (index < 0))
            self.xp.copyto(largest, seen, where=better)
            self.xp.copyto(index, row * x.shape[3] + column, where=better)
        return largest, index

    def gather_planes(self, x: Array, index: Array) -> Array:
        planes = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        places = index.reshape(*index.shape[:2], math.prod(index.shape[2:]))
        return self.xp.take_along_axis(planes, places, axis=2).reshape(index.shape)

    def scatter_planes(self, dy: Array, index: Array, size: Pair) -> Array:
        n, channels = dy.shape[:2]
        area = math.prod(size)
        plane = self.xp.arange(n * channels).reshape(n, channels, 1, 1) * area
        places = (plane + index).ravel()
        return self.scatter_add(dy.ravel(), (places,), (n * channels * area,)).reshape(n, channels, *size)

    def avg_pool2d(self, x: Array, window: Window, count_include_pad: bool) -> Array:
        out = window.output_size(*x.shape[2:])
        total = self._image_zeros((*x.shape[:2], *out), x.dtype)
        for _, _, seen in self._taps(self._pad(x, window), window, out):
            total += seen
        return total / self._divisor(window, count_include_pad, x.shape[2:], x.dtype)

    def avg_pool2d_grad(self, dy: Array, window: Window, count_include_pad: bool, size: Pair) -> Array:
        share = dy / self._divisor(window, count_include_pad, size, dy.dtype)
        return self._sum_taps(lambda tap: share, dy.shape[:2], dy.dtype, window, size)

    def _divisor(self, window: Window, count_include_pad: bool, size: Pair, dtype: Any) -> Array:
        """How many pixels each output averages, Ho Wo."""
        out = window.output_size(*size)
        if count_include_pad:
            return self.xp.full(out, math.prod(window.kernel), dtype)
        real = self._pad(self.xp.ones((1, 1, *size), dtype), window)
        return sum(seen[0, 0] for _, _, seen in self._taps(real, window, out))

    # -- normalisation -------------------------------------------------------------------------------------------
    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        axes = (0, *range(2, x.ndim))
        mean = x.mean(axis=axes)
        centred = x - per_channel(mean, x.ndim)
        var = self.xp.square(centred).mean(axis=axes)
        scale = gamma / self.xp.sqrt(var + eps)
        return self.scale_shift(centred, scale, beta), mean, var

    def batch_norm_grad(
        self, x: Array, gamma: Array, dy: Array, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        axes = (0, *range(2, x.ndim))
        count = len(x) * math.prod(x.shape[2:])
        inv_std = 1 / self.xp.sqrt(var + eps)
        normal = (x - per_channel(mean, x.ndim)) * per_channel(inv_std, x.ndim)
        dbeta = dy.sum(axis=axes)
        dgamma = (dy * normal).sum(axis=axes)
        centred = dy - per_channel(dbeta / count, x.ndim) - normal * per_channel(dgamma / count, x.ndim)
        return centred * per_channel(gamma * inv_std, x.ndim), dgamma, dbeta

    def scale_shift(self, x: Array, scale: Array, shift: Array) -> Array:
        return x * per_channel(scale, x.ndim) + per_channel(shift, x.ndim)

    # -- indexing and random numbers -----------------------------------------------------------------------------
    def scatter_add(self, dy: Array, index: Any, shape: Sequence[int]) -> Array:
        total = self.xp.zeros(shape, dy.dtype)
        self.xp.add.at(total, index, dy)
        return total

    def uniform(self, generator: Any, shape: Sequence[int], dtype: Any) -> Array:
        return self.xp.asarray(generator.random(tuple(shape), dtype=dtype))
