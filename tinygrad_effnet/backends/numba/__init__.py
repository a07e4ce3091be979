"""The ``numba`` backend: compiled, parallel kernels for training on a CPU.

It inherits from ``numpy`` whatever it does not override, and hands back to it what no kernel is compiled for: other
dtypes than float32 and float64, operands of different dtypes, empty arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import Array, Axes, Given, Pair, Squeeze, Statistics, Window
from ..vectorized import NumPy
from . import cache, jit, threads
from .layout import real, watch_conversions
from .threads import get_num_threads, set_num_threads, threading_layer

with cache.caching_in(cache.kernel_cache()):
    from . import (
        activation,
        convolution,
        depthwise,
        elementwise,
        fused,
        inference,
        loss,
        normalization,
        optimiser,
        pooling,
        products,
    )

__all__ = ["Numba", "get_num_threads", "set_num_threads", "threading_layer", "watch_conversions"]


class Numba(NumPy):
    """Parallel kernels for convolution, pooling, batch normalisation and activations; images stay channel-major.

    Each kernel is compiled at its first use for a dtype, kept on disk, and gives the same numbers for any number of
    threads. Making the backend starts the threads.
    """

    name = "numba"
    has_fused = True
    inference = None if cache.config.DISABLE_JIT else inference  # its tiles have no form in Python

    def __init__(self) -> None:
        threads.start()
        jit.announce_compilation()

    def updates_of(self, array: Array) -> Any:
        return optimiser if real(array) else None

    # -- elementwise and sums ------------------------------------------------------------------------------------
    def add(self, a: Array, b: Array) -> Array:
        if getattr(a, "size", 1) >= elementwise.LARGE and elementwise.alike(a, b):
            return elementwise.combine(elementwise.add_kernel, a, b)
        return np.add(a, b)

    def multiply(self, a: Array, b: Array) -> Array:
        if getattr(a, "size", 1) >= elementwise.LARGE or getattr(b, "size", 1) >= elementwise.LARGE:
            if elementwise.alike(a, b):
                return elementwise.combine(elementwise.multiply_kernel, a, b)
            if elementwise.gates(a, b):
                return elementwise.multiply_planes(a, b)
            if elementwise.gates(b, a):
                return elementwise.multiply_planes(b, a)
        return np.multiply(a, b)

    def sum(self, x: Array, axis: Axes, keepdims: bool) -> Array:
        if elementwise.large(x) and elementwise.sums_images(x, axis):
            return elementwise.sum_images(x, axis, keepdims)
        return super().sum(x, axis, keepdims)

    def sigmoid(self, x: Array) -> Array:
        return activation.sigmoid_of(x) if real(x) else super().sigmoid(x)

    def silu(self, x: Array) -> Array:
        return activation.silu(x) if real(x) else super().silu(x)

    def silu_grad(self, x: Array, dy: Array) -> Array:
        return activation.silu_grad(x, dy) if real(x, dy) else super().silu_grad(x, dy)

    # -- loss ----------------------------------------------------------------------------------------------------
    def label_cross_entropy(
        self, x: Array, labels: Array, smoothing: float, scale: float | None
    ) -> tuple[Array, Array]:
        if not x.size or not real(x):
            return super().label_cross_entropy(x, labels, smoothing, scale)
        return loss.label_cross_entropy(x, labels, smoothing, scale)

    # -- products ------------------------------------------------------------------------------------------------
    def matmul(self, a: Array, b: Array) -> Array:
        if a.size * b.shape[-1] < products.WORTH:
            return np.matmul(a, b)
        y = products.matmul(a, b, get_num_threads())
        return super().matmul(a, b) if y is None else y

    # -- convolution: of each group by itself --------------------------------------------------------------------
    def conv2d(self, x: Array, w: Array, window: Window, groups: int) -> Array:
        if not convolution.compiled(x, w, window, x.size * len(w) // groups):
            return super().conv2d(x, w, window, groups)
        parts = convolution.groups_of(groups, 1, x, 0, w)
        return convolution.joined([convolution.conv2d(*part, window, get_num_threads()) for part in parts], 1)

    def conv2d_input_grad(self, dy: Array, w: Array, window: Window, groups: int, size: Pair) -> Array:
        if not convolution.compiled(dy, w, window, dy.size * w.shape[1]) or 0 in size:
            return super().conv2d_input_grad(dy, w, window, groups, size)
        parts = convolution.groups_of(groups, 1, dy, 0, w)
        threads = get_num_threads()
        return convolution.joined([convolution.conv2d_input_grad(*part, window, size, threads) for part in parts], 1)

    def conv2d_weight_grad(self, x: Array, dy: Array, window: Window, groups: int) -> Array:
        if not convolution.compiled(x, dy, window, x.size * dy.shape[1] // groups):
            return super().conv2d_weight_grad(x, dy, window, groups)
        parts = convolution.groups_of(groups, 1, x, 1, dy)
        threads = get_num_threads()
        return convolution.joined([convolution.conv2d_weight_grad(*part, window, threads) for part in parts], 0)

    def depthwise_conv2d(self, x: Array, w: Array, window: Window) -> Array:
        if not x.size or not real(x, w):
            return super().depthwise_conv2d(x, w, window)
        return depthwise.depthwise_conv2d(x, w, window)

    def depthwise_conv2d_input_grad(self, dy: Array, w: Array, window: Window, size: Pair) -> Array:
        if not dy.size or 0 in size or not real(dy, w):
            return super().depthwise_conv2d_input_grad(dy, w, window, size)
        return depthwise.depthwise_conv2d_input_grad(dy, w, window, size)

    def depthwise_conv2d_weight_grad(self, x: Array, dy: Array, window: Window) -> Array:
        if not x.size or not dy.size or not real(x, dy):
            return super().depthwise_conv2d_weight_grad(x, dy, window)
        return depthwise.depthwise_conv2d_weight_grad(x, dy, window)

    # -- pooling -------------------------------------------------------------------------------------------------
    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        return pooling.max_pool2d(x, window) if x.size and real(x) else super().max_pool2d(x, window)

    def gather_planes(self, x: Array, index: Array) -> Array:
        return pooling.gather_planes(x, index) if index.size and real(x) else super().gather_planes(x, index)

    def scatter_planes(self, dy: Array, index: Array, size: Pair) -> Array:
        return (
            pooling.scatter_planes(dy, index, size) if dy.size and real(dy) else super().scatter_planes(dy, index, size)
        )

    def avg_pool2d(self, x: Array, window: Window, count_include_pad: bool) -> Array:
        if not x.size or not real(x):
            return super().avg_pool2d(x, window, count_include_pad)
        return pooling.avg_pool2d(x, window, count_include_pad)

    def avg_pool2d_grad(self, dy: Array, window: Window, count_include_pad: bool, size: Pair) -> Array:
        if not dy.size or not real(dy):
            return super().avg_pool2d_grad(dy, window, count_include_pad, size)
        return pooling.avg_pool2d_grad(dy, window, count_include_pad, size)

    # -- normalisation -------------------------------------------------------------------------------------------
    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        if not x.size or not real(x, gamma, beta):
            return super().batch_norm(x, gamma, beta, eps)
        return normalization.batch_norm(x, gamma, beta, eps)

    def batch_norm_grad(
        self, x: Array, gamma: Array, dy: Array, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        if not x.size or not real(x, gamma, dy, mean, var):
            return super().batch_norm_grad(x, gamma, dy, mean, var, eps)
        return normalization.batch_norm_grad(x, gamma, dy, mean, var, eps)

    def scale_shift(self, x: Array, scale: Array, shift: Array) -> Array:
        if not x.size or not real(x, scale, shift):
            return super().scale_shift(x, scale, shift)
        return normalization.scale_shift(x, scale, shift)

    # -- fused ---------------------------------------------------------------------------------------------------
    def norm_silu(self, x: Array, gamma: Array, beta: Array, eps: float, given: Given) -> tuple[Array, Statistics]:
        if not x.size or not real(x, gamma, beta, *given or ()):
            return super().norm_silu(x, gamma, beta, eps, given)
        return fused.norm_silu(x, gamma, beta, eps, given)

    def norm_silu_grad(
        self, x: Array, gamma: Array, beta: Array, dy: Array, statistics: Statistics
    ) -> tuple[Array, Array, Array]:
        if not x.size or not real(x, gamma, beta, dy, *statistics[:2]):
            return super().norm_silu_grad(x, gamma, beta, dy, statistics)
        return fused.norm_silu_grad(x, gamma, beta, dy, statistics)

    def norm_silu_depthwise(
        self, x: Array, gamma: Array, beta: Array, w: Array, window: Window, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        if not x.size or not real(x, gamma, beta, w, *given or ()):
            return super().norm_silu_depthwise(x, gamma, beta, w, window, eps, given)
        return depthwise.norm_silu_depthwise(x, gamma, beta, w, window, eps, given)

    def norm_silu_depthwise_grad(
        self, x: Array, gamma: Array, beta: Array, w: Array, dy: Array, window: Window, statistics: Statistics
    ) -> tuple[Array, Array, Array, Array]:
        if not x.size or not dy.size or not real(x, gamma, beta, w, dy, *statistics[:2]):
            return super().norm_silu_depthwise_grad(x, gamma, beta, w, dy, window, statistics)
        return depthwise.norm_silu_depthwise_grad(x, gamma, beta, w, dy, window, statistics)

    def norm_silu_squeeze_excite(
        self, y: Array, gamma: Array, beta: Array, squeeze: Squeeze, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        if not y.size or not real(y, gamma, beta, *squeeze, *given or ()):
            return super().norm_silu_squeeze_excite(y, gamma, beta, squeeze, eps, given)
        pooled, statistics = fused.pooled_activation(y, gamma, beta, eps, given)
        *_, gate = self.gate(pooled, squeeze)
        return fused.excite(y, gamma, beta, gate, statistics), statistics

    def norm_silu_squeeze_excite_grad(
        self, y: Array, gamma: Array, beta: Array, squeeze: Squeeze, dz: Array, statistics: Statistics
    ) -> tuple[Array, ...]:
        if not y.size or not real(y, gamma, beta, *squeeze, dz, *statistics[:2]):
            return super().norm_silu_squeeze_excite_grad(y, gamma, beta, squeeze, dz, statistics)
        sums = fused.excite_sums(y, gamma, beta, dz, statistics)
        pooled = sums[:, :, 0].T / y.dtype.type(y.shape[2] * y.shape[3])
        reduced, active, gate = self.gate(pooled, squeeze)
        dpooled, *weights = self.gate_grad(pooled, reduced, active, gate, sums[:, :, 1].T, squeeze)
        return *fused.excite_grad(y, gamma, beta, gate, dpooled, dz, sums, statistics), *weights

    def norm_add(
        self, v: Array, gamma: Array, beta: Array, skip: Array, mask: Array | None, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        if not v.size or not real(v, gamma, beta, skip, *given or ()):
            return super().norm_add(v, gamma, beta, skip, mask, eps, given)
        return fused.norm_add(v, gamma, beta, skip, mask, eps, given)

    def norm_add_grad(
        self, v: Array, gamma: Array, dy: Array, mask: Array | None, statistics: Statistics
    ) -> tuple[Array, Array, Array]:
        if not v.size or not real(v, gamma, dy, *statistics[:2]):
            return super().norm_add_grad(v, gamma, dy, mask, statistics)
        return fused.norm_add_grad(v, gamma, dy, mask, statistics)
