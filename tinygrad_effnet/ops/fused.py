"""Fused operations: several steps of a network in one, which passes over memory less often and keeps less of it.

Each is *defined* by ``composed``, the same thing in small operations; what it saves is its raw input, and everything
between is computed anew in the backward pass. They have no second derivative.

Batch norm stands at the start of each, in one of two forms: with the batch's statistics, in training, or with
``given`` ones, which are constants. μ and v below are whichever it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends import Array, Backend, Given, Statistics, Window, backend_of
from ..backends.device import is_on_device
from ..backends.dtypes import is_half
from ..op import Op, Shape, function, register
from ..tensor import Tensor, wrap
from .activation import sigmoid, silu
from .arithmetic import add, mul
from .convolution import DepthwiseConv2d
from .elementwise import sqrt
from .matmul import linear
from .normalization import BatchNorm, ScaleShift, check_norm, move_statistics, refuse_single
from .random import StochasticDepth, checked_probability, default_generator
from .reduction import mean
from .shape import reshape
from .window import PaddingLike, PairLike, window_of


class _Fused(Op):
    """What all have in common: batch norm first, and one derivative only.

    Parameters
    ----------
    eps : float
        Added to the variance.
    given : (mean, variance), arrays (C,), or None
        What to normalise with; None for the batch's own.
    """

    symbols = "gamma: γ, beta: β"
    once_differentiable = True
    instead = "; use the small operations it is made of: build the network with fused=False, or call composed()"
    statistics: Statistics  # after forward: what was normalised with

    def __init__(self, eps: float, given: Given = None) -> None:
        self.eps, self.given = eps, given

    def given_as(self, dtype: Any) -> Given:
        """The given statistics in the dtype that is computed with, if that is one of numbers; a GPU computes with wider
        ones than half.
        """
        if self.given is None or dtype.kind == "O" or (is_half(dtype) and is_on_device(self.given[0])):
            return self.given
        return self.given[0].astype(dtype), self.given[1].astype(dtype)

    def normalised(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """The first step of ``composed``: batch norm."""
        if self.given is None:
            return BatchNorm(self.eps)(x, gamma, beta)
        centre, var = (wrap(v) for v in self.given_as(x.dtype) or ())
        return ScaleShift()(x - reshape(centre, (1, -1, 1, 1)), gamma / sqrt(var + self.eps), beta)

    def gradients(self, kernels: Backend, *arrays: Array) -> tuple[Array | None, ...]:
        """A gradient for each input, from what was saved and the gradient of the result, which comes last."""
        raise TypeError(f"{type(self).__name__} has no derivative")

    def backward(self, dy: Tensor) -> tuple[Tensor | None, ...]:
        arrays = [tensor.array for tensor in (*self.saved(), dy)]
        found = self.gradients(backend_of(arrays), *arrays)
        return tuple([None if gradient is None else wrap(gradient) for gradient in found])


@register
class NormSiLU(_Fused):
    """Batch norm and SiLU."""

    formula = "y = silu(x̂ · γ + β),  x̂ = (x − μ) / √(v + ε)"
    rule = "as of silu and batch_norm: t̄ = silu_grad(t, ȳ) for t = x̂ · γ + β, computed anew from x"
    shapes = "x: N C H W, gamma: C, beta: C -> N C H W"

    def composed(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return silu(self.normalised(x, gamma, beta))

    def forward(self, kernels: Backend, x: Array, gamma: Array, beta: Array) -> Array:
        y, self.statistics = kernels.norm_silu(x, gamma, beta, self.eps, self.given_as(x.dtype))
        self.save(x, gamma, beta)
        return y

    def gradients(self, kernels: Backend, *arrays: Array) -> tuple[Array | None, ...]:
        x, gamma, beta, dy = arrays
        return kernels.norm_silu_grad(x, gamma, beta, dy, self.statistics)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return _norm_flops(self, inputs) + 6 * math.prod(inputs[0])


@register
class NormSiLUDepthwise(_Fused):
    """Batch norm, SiLU and a convolution of each channel by itself: the first half of an MBConv's inside."""

    formula = "y = depthwise_conv2d(silu(x̂ · γ + β), w),  x̂ = (x − μ) / √(v + ε)"
    rule = "as of depthwise_conv2d, silu and batch_norm, from x; w̄ from silu(x̂ · γ + β), computed anew"
    shapes = "x: N C H W, gamma: C, beta: C, w: C 1 kh kw -> N C Ho Wo"

    def __init__(self, window: Window, eps: float, given: Given = None) -> None:
        super().__init__(eps, given)
        self.window = window

    def composed(self, x: Tensor, gamma: Tensor, beta: Tensor, w: Tensor) -> Tensor:
        h = silu(self.normalised(x, gamma, beta))
        return DepthwiseConv2d(self.window, (x.shape[2], x.shape[3]))(h, w)

    def forward(self, kernels: Backend, x: Array, gamma: Array, beta: Array, w: Array) -> Array:
        y, self.statistics = kernels.norm_silu_depthwise(
            x, gamma, beta, w, self.window, self.eps, self.given_as(x.dtype)
        )
        self.save(x, gamma, beta, w)
        return y

    def gradients(self, kernels: Backend, *arrays: Array) -> tuple[Array | None, ...]:
        x, gamma, beta, w, dy = arrays
        return kernels.norm_silu_depthwise_grad(x, gamma, beta, w, dy, self.window, self.statistics)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        size = inputs[0][2], inputs[0][3]
        depthwise = DepthwiseConv2d(self.window, size).flops([inputs[0], inputs[3]], outputs)
        return _norm_flops(self, inputs) + 6 * math.prod(inputs[0]) + depthwise


@register
class NormSiLUSqueezeExcite(_Fused):
    """Batch norm, SiLU and squeeze-excitation (Hu et al. 2018, section 3): the second half of an MBConv's inside."""

    formula = "z = h · σ(expand(silu(reduce(mean h)))),  h = silu(ŷ · γ + β),  ŷ = (y − μ) / √(v + ε)"
    rule = "h̄ = z̄ · gate + (gradient of mean h) / (H·W), where that of gate is Σ z̄ · h; then as of silu and batch_norm"
    shapes = "y: N C H W, gamma: C, beta: C, reduce_w: S C 1 1, reduce_b: S, expand_w: C S 1 1, expand_b: C -> N C H W"

    def composed(
        self,
        y: Tensor,
        gamma: Tensor,
        beta: Tensor,
        reduce_w: Tensor,
        reduce_b: Tensor,
        expand_w: Tensor,
        expand_b: Tensor,
    ) -> Tensor:
        h = silu(self.normalised(y, gamma, beta))
        active = silu(linear(mean(h, (2, 3)), reshape(reduce_w, reduce_w.shape[:2]), reduce_b))
        gate = sigmoid(linear(active, reshape(expand_w, expand_w.shape[:2]), expand_b))
        return h * reshape(gate, (*gate.shape, 1, 1))

    def forward(self, kernels: Backend, y: Array, gamma: Array, beta: Array, *squeeze: Array) -> Array:
        z, self.statistics = kernels.norm_silu_squeeze_excite(y, gamma, beta, squeeze, self.eps, self.given_as(y.dtype))
        self.save(y, gamma, beta, *squeeze)
        return z

    def gradients(self, kernels: Backend, *arrays: Array) -> tuple[Array | None, ...]:
        y, gamma, beta, *squeeze, dz = arrays
        return kernels.norm_silu_squeeze_excite_grad(y, gamma, beta, tuple(squeeze), dz, self.statistics)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        n, channels = inputs[0][:2]
        squeezed = inputs[3][0]
        gate = n * (4 * channels * squeezed + 7 * squeezed + 6 * channels)
        return _norm_flops(self, inputs) + 8 * math.prod(inputs[0]) + gate


@register
class NormAdd(_Fused):
    """Batch norm, stochastic depth and a skip connection: the end of a residual block.

    ``mask`` (N,) holds 0 for the samples whose block is skipped and 1 / (1 − p) for the others; None for no dropping.
    """

    formula = "y[n] = (v̂ · γ + β)[n] · m[n] + skip[n],  v̂ = (v − μ) / √(v's variance + ε)"
    rule = "as of batch_norm from ȳ · m;  skip's gradient = ȳ"
    shapes = "v: N C H W, gamma: C, beta: C, skip: N C H W -> N C H W"

    def __init__(self, mask: Array | None, eps: float, given: Given = None) -> None:
        super().__init__(eps, given)
        self.mask = mask

    def mask_as(self, dtype: Any) -> Array | None:
        return None if self.mask is None else self.mask.astype(dtype)

    def composed(self, v: Tensor, gamma: Tensor, beta: Tensor, skip: Tensor) -> Tensor:
        t = self.normalised(v, gamma, beta)
        mask = self.mask_as(v.dtype)
        return add(t if mask is None else mul(t, wrap(mask.reshape(-1, 1, 1, 1))), skip)

    def forward(self, kernels: Backend, v: Array, gamma: Array, beta: Array, skip: Array) -> Array:
        y, self.statistics = kernels.norm_add(
            v, gamma, beta, skip, self.mask_as(v.dtype), self.eps, self.given_as(v.dtype)
        )
        self.save(v, gamma)
        return y

    def gradients(self, kernels: Backend, *arrays: Array) -> tuple[Array | None, ...]:
        v, gamma, dy = arrays
        if not any(self.needed[:-1]):
            return None, None, None, dy
        dv, dgamma, dbeta = kernels.norm_add_grad(v, gamma, dy, self.mask_as(v.dtype), self.statistics)
        return dv, dgamma, dbeta, dy

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return _norm_flops(self, inputs) + (1 if self.mask is None else 2) * math.prod(inputs[0])


def _norm_flops(op: _Fused, inputs: Sequence[Shape]) -> int:
    """Of batch norm, or of centring, scaling and shifting by what is given."""
    return (6 if op.given is None else 3) * math.prod(inputs[0])


# -- what layers call ----------------------------------------------------------------------------------------------


class Norm(NamedTuple):
    """What `batch_norm` takes beside x, in its order, for a fused operation to begin with."""

    running_mean: Tensor
    running_var: Tensor
    weight: Tensor
    bias: Tensor
    training: bool
    momentum: float
    eps: float

    def check(self, name: str, x: Tensor) -> None:
        """Raise what `batch_norm` would."""
        check_norm(name, x, self.running_mean, self.running_var, self.weight, self.bias)
        if self.training:
            refuse_single(name, x)

    @property
    def settings(self) -> tuple[float, Given]:
        """``eps`` and the statistics given."""
        return self.eps, None if self.training else (self.running_mean.array, self.running_var.array)

    def moved(self, name: str, x: Tensor, op: _Fused) -> None:
        """In training, move the running statistics."""
        if self.training:
            batch = op.statistics
            move_statistics(name, x, self.running_mean, self.running_var, batch.mean, batch.var, self.momentum)


@function
def norm_silu(x: Tensor, norm: Norm) -> Tensor:
    """silu(batch_norm(x)): x (N, C, H, W) -> (N, C, H, W). Raises what `batch_norm` does."""
    norm.check("norm_silu", x)
    op = NormSiLU(*norm.settings)
    y = op(x, norm.weight, norm.bias)
    norm.moved("norm_silu", x, op)
    return y


@function
def norm_silu_depthwise(
    x: Tensor, norm: Norm, weight: Tensor, stride: PairLike = 1, padding: PaddingLike = 0, dilation: PairLike = 1
) -> Tensor:
    """depthwise_conv2d(silu(batch_norm(x)), weight): x (N, C, H, W), weight (C, 1, kh, kw) -> (N, C, Ho, Wo).

    Raises what `batch_norm` and `depthwise_conv2d` do.
    """
    name = "norm_silu_depthwise"
    norm.check(name, x)
    window = Window((1, 1))  # where there are other than four axes, the operation's contract says what is wrong
    if x.ndim == 4 and weight.ndim == 4:
        window = window_of(name, weight.shape[2:], stride, padding, dilation, (x.shape[2], x.shape[3]))
    op = NormSiLUDepthwise(window, *norm.settings)
    y = op(x, norm.weight, norm.bias, weight)
    norm.moved(name, x, op)
    return y


@function
def norm_silu_squeeze_excite(
    y: Tensor, norm: Norm, reduce_w: Tensor, reduce_b: Tensor, expand_w: Tensor, expand_b: Tensor
) -> Tensor:
    """h · σ(expand(silu(reduce(mean h)))) with h = silu(batch_norm(y)): (N, C, H, W) -> (N, C, H, W).

    Parameters
    ----------
    y : Tensor (N, C, H, W)
    norm : Norm
    reduce_w, reduce_b : Tensor (S, C, 1, 1), (S,)
        The first 1x1 convolution, to S squeezed channels.
    expand_w, expand_b : Tensor (C, S, 1, 1), (C,)
        The second, back to C.

    Raises
    ------
    ValueError
        Shapes do not fit, or what `batch_norm` raises.
    """
    norm.check("norm_silu_squeeze_excite", y)
    op = NormSiLUSqueezeExcite(*norm.settings)
    z = op(y, norm.weight, norm.bias, reduce_w, reduce_b, expand_w, expand_b)
    norm.moved("norm_silu_squeeze_excite", y, op)
    return z


@function
def norm_add(
    v: Tensor,
    norm: Norm,
    skip: Tensor,
    p: float = 0.0,
    training: bool = True,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """stochastic_depth(batch_norm(v), p, training, generator) + skip: v, skip (N, C, H, W) -> (N, C, H, W).

    Draws the same random numbers as `stochastic_depth`. Raises what that and `batch_norm` do.
    """
    norm.check("norm_add", v)
    mask = None
    if checked_probability("norm_add", p) and training:
        drop = StochasticDepth(float(p), generator or default_generator())
        mask = drop.draw_mask(backend_of([v.array]), v.array).reshape(-1)
    op = NormAdd(mask, *norm.settings)
    y = op(v, norm.weight, norm.bias, skip)
    norm.moved("norm_add", v, op)
    return y
