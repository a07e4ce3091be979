"""The table of kernels of the ``cupy`` backend: our own where they exist, CuPy's functions for the rest.

It inherits from the ``numpy`` backend with ``xp = cupy``. Empty arrays and dtypes without kernels take the inherited
way.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from ..base import Array, Given, Pair, Squeeze, Statistics, Window
from ..vectorized import NumPy
from . import (
    activation,
    convolution,
    depthwise,
    fused,
    indexing,
    inference,
    loss,
    normalization,
    optimiser,
    pooling,
    products,
)
from . import random as random_numbers
from .layout import normalisable, real


class CuPy(NumPy):
    """Kernels for arrays on a GPU. ``cupy`` is the imported module, on a machine with a device."""

    name = "cupy"
    has_fused = True
    updates = optimiser
    inference = inference

    def __init__(self, cupy: ModuleType) -> None:
        self.xp = cupy

    # -- elementwise ---------------------------------------------------------------------------------------------
    def erf(self, x: Array) -> Array:
        from cupyx.scipy.special import erf

        return erf(x)

    def clip(self, x: Array, low: float, high: float) -> Array:
        return super().clip(x, low, high).astype(x.dtype, copy=False)  # the bounds would widen bfloat16

    def sigmoid(self, x: Array) -> Array:
        return activation.sigmoid(x) if x.size and real(x) else super().sigmoid(x)

    def silu(self, x: Array) -> Array:
        return activation.silu(x) if x.size and real(x) else super().silu(x)

    def silu_grad(self, x: Array, dy: Array) -> Array:
        return activation.silu_grad(x, dy) if x.size and real(x, dy) else super().silu_grad(x, dy)

    # -- reductions ----------------------------------------------------------------------------------------------
    def softmax(self, x: Array, axis: int) -> Array:
        if not x.size or not real(x) or axis not in (-1, x.ndim - 1):
            return super().softmax(x, axis)
        return loss.softmax(x)

    def log_softmax(self, x: Array, axis: int) -> Array:
        if not x.size or not real(x) or axis not in (-1, x.ndim - 1):
            return super().log_softmax(x, axis)
        return loss.log_softmax(x)

    def softmax_cross_entropy(self, x: Array, goal: Array) -> tuple[Array, Array]:
        if not x.size or not real(x, goal):
            return super().softmax_cross_entropy(x, goal)
        return loss.softmax_cross_entropy(x, goal)

    # -- products ------------------------------------------------------------------------------------------------
    def matmul(self, a: Array, b: Array) -> Array:
        return products.matmul(a, b)

    # -- convolution ---------------------------------------------------------------------------------------------
    def conv2d(self, x: Array, w: Array, window: Window, groups: int) -> Array:
        if not x.size or not w.size or not real(x, w):
            return super().conv2d(x, w, window, groups)
        return convolution.conv2d(x, w, window, groups)

    def conv2d_input_grad(self, dy: Array, w: Array, window: Window, groups: int, size: Pair) -> Array:
        if not dy.size or not w.size or 0 in size or not real(dy, w):
            return super().conv2d_input_grad(dy, w, window, groups, size)
        return convolution.conv2d_input_grad(dy, w, window, groups, size)

    def conv2d_weight_grad(self, x: Array, dy: Array, window: Window, groups: int) -> Array:
        if not x.size or not dy.size or not real(x, dy):
            return super().conv2d_weight_grad(x, dy, window, groups)
        return convolution.conv2d_weight_grad(x, dy, window, groups)

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
        if not dy.size or not real(dy):
            return super().scatter_planes(dy, index, size)
        return pooling.scatter_planes(dy, index, size)

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
        if not x.size or not normalisable(x, gamma, beta):
            return super().batch_norm(x, gamma, beta, eps)
        return normalization.batch_norm(x, gamma, beta, eps)

    def batch_norm_grad(
        self, x: Array, gamma: Array, dy: Array, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        if not x.size or not (real(x, dy) and normalisable(x, gamma, mean, var)):
            return super().batch_norm_grad(x, gamma, dy, mean, var, eps)
        return normalization.batch_norm_grad(x, gamma, dy, mean, var, eps)

    def scale_shift(self, x: Array, scale: Array, shift: Array) -> Array:
        if not x.size or not normalisable(x, scale, shift):
            return super().scale_shift(x, scale, shift)
        return normalization.scale_shift(x, scale, shift)

    def move_statistics(
        self, running_mean: Array, running_var: Array, mean: Array, var: Array, momentum: float, unbias: float
    ) -> None:
        kept = running_mean, running_var
        if not mean.size or not real(mean, var, *kept) or not all([array.flags.c_contiguous for array in kept]):
            super().move_statistics(running_mean, running_var, mean, var, momentum, unbias)
        else:
            normalization.move_statistics(running_mean, running_var, mean, var, momentum, unbias)

    # -- indexing and random numbers -----------------------------------------------------------------------------
    def scatter_add(self, dy: Array, index: Any, shape: Sequence[int]) -> Array:
        if dy.size and real(dy) and indexing.may_repeat(index):
            return indexing.scatter_add(dy, index, shape)
        total = self.xp.zeros(tuple(shape), dy.dtype)
        total[index] += dy
        return total

    def uniform(self, generator: Any, shape: Sequence[int], dtype: Any) -> Array:
        return random_numbers.uniform(generator, shape, dtype)

    # -- fused ---------------------------------------------------------------------------------------------------
    def norm_silu(self, x: Array, gamma: Array, beta: Array, eps: float, given: Given) -> tuple[Array, Statistics]:
        if not x.size or not (real(x, gamma, beta) and normalisable(x, *given or ())):
            return super().norm_silu(x, gamma, beta, eps, given)
        return fused.norm_silu(x, gamma, beta, eps, given)

    def norm_silu_grad(
        self, x: Array, gamma: Array, beta: Array, dy: Array, statistics: Statistics
    ) -> tuple[Array, Array, Array]:
        if not x.size or not real(x, gamma, beta, dy):
            return super().norm_silu_grad(x, gamma, beta, dy, statistics)
        return fused.norm_silu_grad(x, gamma, beta, dy, statistics)

    def norm_silu_depthwise(
        self, x: Array, gamma: Array, beta: Array, w: Array, window: Window, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        if not x.size or not (real(x, gamma, beta, w) and normalisable(x, *given or ())):
            return super().norm_silu_depthwise(x, gamma, beta, w, window, eps, given)
        return fused.norm_silu_depthwise(x, gamma, beta, w, window, eps, given)

    def norm_silu_depthwise_grad(
        self, x: Array, gamma: Array, beta: Array, w: Array, dy: Array, window: Window, statistics: Statistics
    ) -> tuple[Array, Array, Array, Array]:
        if not x.size or not dy.size or not real(x, gamma, beta, w, dy):
            return super().norm_silu_depthwise_grad(x, gamma, beta, w, dy, window, statistics)
        return fused.norm_silu_depthwise_grad(x, gamma, beta, w, dy, window, statistics)

    def norm_silu_squeeze_excite(
        self, y: Array, gamma: Array, beta: Array, squeeze: Squeeze, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        if not y.size or not (real(y, gamma, beta, *squeeze) and normalisable(y, *given or ())):
            return super().norm_silu_squeeze_excite(y, gamma, beta, squeeze, eps, given)
        pooled, statistics = fused.pooled_activation(y, gamma, beta, eps, given)
        *_, gate = self.gate(pooled, squeeze)
        return fused.excite(y, gamma, beta, gate, statistics), statistics

    def norm_silu_squeeze_excite_grad(
        self, y: Array, gamma: Array, beta: Array, squeeze: Squeeze, dz: Array, statistics: Statistics
    ) -> tuple[Array, ...]:
        if not y.size or not real(y, gamma, beta, *squeeze, dz):
            return super().norm_silu_squeeze_excite_grad(y, gamma, beta, squeeze, dz, statistics)
        sums = fused.excite_sums(y, gamma, beta, dz, statistics)
        pooled = (sums[:, :, 0].T / (y.shape[2] * y.shape[3])).astype(y.dtype, copy=False)
        reduced, active, gate = self.gate(pooled, squeeze)
        dgate = sums[:, :, 1].T.astype(y.dtype, copy=False)
        dpooled, *weights = self.gate_grad(pooled, reduced, active, gate, dgate, squeeze)
        return *fused.excite_grad(y, gamma, beta, gate, dpooled, dz, sums, statistics), *weights

    def norm_add(
        self, v: Array, gamma: Array, beta: Array, skip: Array, mask: Array | None, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        if not v.size or not (real(v, gamma, beta, skip) and normalisable(v, *given or ())):
            return super().norm_add(v, gamma, beta, skip, mask, eps, given)
        return fused.norm_add(v, gamma, beta, skip, mask, eps, given)

    def norm_add_grad(
        self, v: Array, gamma: Array, dy: Array, mask: Array | None, statistics: Statistics
    ) -> tuple[Array, Array, Array]:
        if not v.size or not real(v, gamma, dy):
            return super().norm_add_grad(v, gamma, dy, mask, statistics)
        return fused.norm_add_grad(v, gamma, dy, mask, statistics)
