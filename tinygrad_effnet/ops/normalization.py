"""Batch normalisation (Ioffe and Szegedy 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import versions
from ..backends import Array, Backend, backend_of
from ..contract import expect_arrays
from ..op import Op, Shape, differentiate, function, register
from ..tensor import Tensor, wrap
from .elementwise import sqrt
from .reduction import mean, sum
from .shape import reshape


@register
class BatchNorm(Op):
    """Each channel brought to mean ``beta`` and standard deviation ``gamma`` over the batch (algorithm 1)."""

    formula = "y = γ · x̂ + β,  x̂ = (x − μ) / √(v + ε),  μ and v the channel's mean and variance"
    rule = "x̄ = γ/√(v + ε) · (ȳ − mean ȳ − x̂ · mean(ȳ · x̂)),  γ̄ = Σ ȳ · x̂,  β̄ = Σ ȳ"
    shapes = "x: N C ..., gamma: C, beta: C -> N C ..."
    symbols = "gamma: γ, beta: β"

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, kernels: Backend, x: Array, gamma: Array, beta: Array) -> Array:
        y, self.mean, self.var = kernels.batch_norm(x, gamma, beta, self.eps)
        self.save(x, gamma)
        return y

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, gamma = self.saved()
        return BatchNormGrad(self.eps, self.mean, self.var)(x, gamma, dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 6 * math.prod(inputs[0])


@register
class BatchNormGrad(Op):
    """The rule of `BatchNorm`: three gradients in one pass. ``mean`` and ``var`` are those of x, computed before."""

    formula = "x̄ = γ/√(v + ε) · (ȳ − mean ȳ − x̂ · mean(ȳ · x̂)),  γ̄ = Σ ȳ · x̂,  β̄ = Σ ȳ"
    rule = "by differentiating the formula, written with operations (BatchNormGrad.composed)"
    shapes = "x: N C ..., gamma: C, dy: N C ... -> N C ..., C, C"

    def __init__(self, eps: float, mean: Array, var: Array) -> None:
        self.eps, self.mean, self.var = eps, mean, var

    def forward(self, kernels: Backend, x: Array, gamma: Array, dy: Array) -> tuple[Array, Array, Array]:
        self.save(x, gamma, dy)
        return kernels.batch_norm_grad(x, gamma, dy, self.mean, self.var, self.eps)

    def composed(self, x: Tensor, gamma: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The formula, step by step."""
        axes = (0, *range(2, x.ndim))
        centred = x - mean(x, axes, keepdim=True)
        inv_std = 1.0 / sqrt(mean(centred * centred, axes, keepdim=True) + self.eps)
        normal = centred * inv_std
        dx = (
            reshape(gamma, inv_std.shape)
            * inv_std
            * (dy - mean(dy, axes, keepdim=True) - normal * mean(dy * normal, axes, keepdim=True))
        )
        return dx, sum(dy * normal, axes), sum(dy, axes)

    def backward(self, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return differentiate(self.composed, self.saved(), gradients)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 11 * math.prod(inputs[0])


@register
class ScaleShift(Op):
    """One multiplication and one addition a channel: what batch norm becomes once its statistics are fixed."""

    formula = "y = x · a + b, channel by channel"
    rule = "x̄ = ȳ · a,  ā = Σ ȳ · x,  b̄ = Σ ȳ"
    shapes = "x: N C ..., scale: C, shift: C -> N C ..."
    symbols = "scale: a, shift: b"

    def forward(self, kernels: Backend, x: Array, scale: Array, shift: Array) -> Array:
        self.save(x, scale)
        return kernels.scale_shift(x, scale, shift)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, scale = self.saved()
        axes = (0, *range(2, x.ndim))
        return (
            dy * reshape(scale, (1, -1) + (1,) * (x.ndim - 2)) if self.needed[0] else None,
            sum(dy * x, axes) if self.needed[1] else None,
            sum(dy, axes) if self.needed[2] else None,
        )

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 2 * math.prod(inputs[0])


@function
def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of x, by the batch's statistics in training and by the running ones otherwise.

    Parameters
    ----------
    x : Tensor (N, C) or (N, C, ...)
    running_mean, running_var : Tensor (C,) or None
        In training both are moved, in place, towards the batch's mean and unbiased variance:
        ``running = (1 - momentum) * running + momentum * batch``. Without them the batch's own are always used.
    weight, bias : Tensor (C,) or None
        Scale and shift; 1 and 0 when left out.
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        Shapes do not fit, or there is one value a channel only, whose variance says nothing.
    """
    check_norm("batch_norm", x, running_mean, running_var, weight, bias)
    channels = x.shape[1]
    xp = backend_of([x.array]).xp
    gamma = weight if weight is not None else wrap(xp.ones(channels, x.dtype))
    beta = bias if bias is not None else wrap(xp.zeros(channels, x.dtype))
    if not training and running_mean is not None and running_var is not None:
        scale = gamma / sqrt(running_var + eps)
        return ScaleShift()(x, scale, beta - running_mean * scale)
    if training:
        refuse_single("batch_norm", x)
    norm = BatchNorm(eps)
    y = norm(x, gamma, beta)
    if training and running_mean is not None and running_var is not None:
        move_statistics("batch_norm", x, running_mean, running_var, norm.mean, norm.var, momentum)
    return y


def check_norm(name: str, x: Tensor, *vectors: Tensor | None) -> None:
    """Refuse what batch norm cannot normalise; ``vectors``: running mean and variance, weight and bias."""
    expect_arrays(name, x=x)
    if x.ndim < 2:
        raise ValueError(
            f"{name}(x): expected at least 2 axes (N C ...), got shape {x.shape}; one sample of its own needs a "
            "batch axis, x.unsqueeze(0)"
        )
    channels = x.shape[1]
    for argument, v in zip(("running_mean", "running_var", "weight", "bias"), vectors, strict=True):
        if v is not None and v.shape != (channels,):
            raise ValueError(
                f"{name}({argument}): its shape is {v.shape}; expected ({channels},), since x (N C ...) is {x.shape}"
            )


def refuse_single(name: str, x: Tensor) -> None:
    """Raise ValueError where there is one value a channel, whose variance says nothing."""
    if math.prod(x.shape) // max(x.shape[1], 1) == 1:
        raise ValueError(
            f"{name}: one value a channel (shape {x.shape}) has no variance to train with; use a larger batch or "
            "image, or eval()"
        )


def move_statistics(
    name: str, x: Tensor, running_mean: Tensor, running_var: Tensor, mean: Array, var: Array, momentum: float
) -> None:
    """Move the running statistics towards the batch's mean and unbiased variance, in place."""
    count = math.prod(x.shape) // max(x.shape[1], 1)
    if not count:
        return
    versions.wrote(f"{name}(), moving its running statistics,", running_mean.array, running_var.array)
    kernels = backend_of([x.array])
    kernels.move_statistics(running_mean.array, running_var.array, mean, var, momentum, count / (count - 1))
