"""Operations that draw random numbers, all from one generator that `manual_seed` starts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Array, Backend
from ..op import Op, Shape, function, register
from ..tensor import Tensor

_generator = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Start the random numbers of initialisation, dropout and stochastic depth anew; returns the generator itself."""
    global _generator
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"manual_seed(seed): {seed!r}; expected a whole number >= 0")
    _generator = np.random.default_rng(seed)
    return _generator


def default_generator() -> np.random.Generator:
    """The generator that initialisation, dropout and stochastic depth draw from."""
    return _generator


@register
class Dropout(Op):
    """Entries set to 0 with probability p, the others enlarged to keep the mean (Srivastava et al. 2014)."""

    formula = "y = x · m / (1 − p),  m = 0 with probability p, else 1"
    rule = "x̄ = ȳ · m / (1 − p)"
    shapes = "x: ... -> ..."

    def __init__(self, p: float, generator: np.random.Generator) -> None:
        self.p, self.generator = p, generator

    def mask_shape(self, x: Array) -> Shape:
        return x.shape

    def draw_mask(self, kernels: Backend, x: Array) -> Array:
        """What x is multiplied by: 0 or 1 / (1 - p)."""
        kept = kernels.uniform(self.generator, self.mask_shape(x), x.dtype) >= self.p
        mask = kept.astype(x.dtype)
        if self.p < 1:
            mask /= 1 - self.p
        return mask

    def forward(self, kernels: Backend, x: Array) -> Array:
        mask = self.draw_mask(kernels, x)
        self.save(mask)
        return kernels.multiply(x, mask)

    def backward(self, dy: Tensor) -> Tensor:
        (mask,) = self.saved()
        return dy * mask


@register
class StochasticDepth(Dropout):
    """Whole samples set to 0 with probability p, so that a residual block is skipped (Huang et al. 2016)."""

    formula = "y[n] = x[n] · m[n] / (1 − p),  m[n] = 0 with probability p, else 1"
    rule = "x̄[n] = ȳ[n] · m[n] / (1 − p)"
    shapes = "x: N ... -> N ..."

    def mask_shape(self, x: Array) -> Shape:
        return (len(x),) + (1,) * (x.ndim - 1)


def checked_probability(name: str, p: Any) -> float:
    if not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ValueError(f"{name}(p): {p!r}; expected a probability between 0 and 1")
    return float(p)


@function
def dropout(x: Tensor, p: float = 0.5, training: bool = True, generator: np.random.Generator | None = None) -> Tensor:
    """In training, each entry of x is 0 with probability ``p`` and x / (1 - p) otherwise; else x itself."""
    if not checked_probability("dropout", p) or not training:
        return x
    return Dropout(float(p), generator or _generator)(x)


@function
def stochastic_depth(
    x: Tensor, p: float, training: bool = True, generator: np.random.Generator | None = None
) -> Tensor:
    """In training, each sample of x (N, ...) is 0 with probability ``p`` and x / (1 - p) otherwise; else x itself."""
    if not checked_probability("stochastic_depth", p) or not training:
        return x
    return StochasticDepth(float(p), generator or _generator)(x)
