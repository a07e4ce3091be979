"""Sums, means and extremes over some axes. ``dim`` is an int, a tuple of ints, or None for all axes, as in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends import Array, Backend, backend_of
from ..op import Op, Shape, function, register
from ..tensor import Tensor, wrap
from .arithmetic import where
from .elementwise import exp, sqrt
from .shape import BroadcastTo, Reshape

Dim = int | Sequence[int] | None


class Reduction(Op):
    """What reductions share: which axes go, and how a gradient is spread over them again."""

    shapes = "x: ... -> ..."

    def __init__(self, axis: tuple[int, ...] | None = None, keepdims: bool = False) -> None:
        self.axis, self.keepdims = axis, keepdims

    def _remember(self, x: Array) -> None:
        self.full = x.shape

    @property
    def kept(self) -> Shape:
        """Shape of the result with the reduced axes in place, as size 1."""
        return tuple([1 if self.axis is None or i in self.axis else n for i, n in enumerate(self.full)])

    @property
    def count(self) -> int:
        """How many entries go into one of the result."""
        return math.prod(self.full if self.axis is None else [self.full[i] for i in self.axis])

    def _spread(self, v: Tensor) -> Tensor:
        """A result-shaped tensor in a shape that broadcasts against the input; a single number does so already."""
        return v if self.axis is None and not self.keepdims else Reshape(self.kept)(v)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return math.prod(inputs[0])


@register
class Sum(Reduction):
    """Sum over some axes."""

    formula = "y = Σ x"
    rule = "x̄ = ȳ, to every entry that was summed"
    integers = True

    def forward(self, kernels: Backend, x: Array) -> Array:
        self._remember(x)
        return kernels.sum(x, self.axis, self.keepdims)

    def backward(self, dy: Tensor) -> Tensor:
        return BroadcastTo(self.full)(self._spread(dy))


@register
class Mean(Reduction):
    """Mean over some axes."""

    formula = "y = Σ x / n"
    rule = "x̄ = ȳ / n"

    def forward(self, kernels: Backend, x: Array) -> Array:
        self._remember(x)
        return kernels.divide(kernels.sum(x, self.axis, self.keepdims), self.count)

    def backward(self, dy: Tensor) -> Tensor:
        return BroadcastTo(self.full)(self._spread(dy) / float(self.count))


class _Extreme(Reduction):
    integers = True
    kinks = "several entries tie: they share the gradient evenly (PyTorch's amax and amin: the same)"

    def backward(self, dy: Tensor) -> Tensor:
        x, y = self.saved()
        ties = x.array == y.array.reshape(self.kept)
        count = ties.sum(axis=self.axis, keepdims=True)
        return where(wrap(ties), self._spread(dy) / Tensor(count, dtype=x.dtype), 0.0)


@register
class Amax(_Extreme):
    """Largest entry over some axes."""

    formula = "y = max x"
    rule = "x̄ = ȳ · [x = y] / (number of x = y)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        self._remember(x)
        y = kernels.max(x, self.axis, self.keepdims)
        self.save(x, y)
        return y


@register
class Amin(_Extreme):
    """Smallest entry over some axes."""

    formula = "y = min x"
    rule = "x̄ = ȳ · [x = y] / (number of x = y)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        self._remember(x)
        y = kernels.negative(kernels.max(kernels.negative(x), self.axis, self.keepdims))
        self.save(x, y)
        return y

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 2 * math.prod(inputs[0])  # every entry changes its sign first


@register
class Logsumexp(Reduction):
    """Logarithm of the sum of exponentials, computed so that it cannot overflow."""

    formula = "y = ln Σ eˣ = m + ln Σ e^(x − m),  m = max x"
    rule = "x̄ = ȳ · e^(x − y)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        self._remember(x)
        y = kernels.logsumexp(x, self.axis, self.keepdims)
        self.save(x, y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        x, y = self.saved()
        return self._spread(dy) * exp(x - self._spread(y))

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 4 * math.prod(inputs[0])


def _axes(name: str, x: Any, dim: Dim) -> tuple[int, ...] | None:
    """``dim`` as a sorted tuple of non-negative axes, or None for all of them."""
    if dim is None:
        return None
    ndim = x.ndim if isinstance(x, Tensor) else np.ndim(x)
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    for axis in axes:
        if not -ndim <= axis < ndim:
            raise ValueError(
                f"{name}(dim): axis {axis} does not exist in a tensor of {ndim} axes; use {-ndim} to {ndim - 1}"
            )
    axes = tuple(sorted(axis % ndim for axis in axes))
    if len(set(axes)) < len(axes):
        raise ValueError(f"{name}(dim): {dim} names an axis twice (of {ndim}); name each once")
    return axes


def _not_empty(name: str, x: Any, axes: tuple[int, ...] | None) -> None:
    shape = np.shape(x.array if isinstance(x, Tensor) else x)
    if 0 in (shape if axes is None else [shape[i] for i in axes]):
        raise ValueError(
            f"{name}: nothing to choose from: x has shape {shape}, so the reduced axes hold no entry; "
            "reduce other axes, or leave empty tensors out"
        )


@function
def sum(x: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Sum over ``dim``; with ``keepdim`` the summed axes stay, with size 1."""
    return Sum(_axes("sum", x, dim), keepdim)(x)


@function
def mean(x: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Mean over ``dim``; NaN where there is nothing to average."""
    return Mean(_axes("mean", x, dim), keepdim)(x)


@function
def var(x: Tensor, dim: Dim = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """Variance over ``dim``: the sum of squared distances from the mean, divided by count - ``correction``.

    ``correction=1`` (Bessel's, PyTorch's default) estimates the variance of what x was drawn from; 0 gives that of x.
    """
    axes = _axes("var", x, dim)
    distance = x - mean(x, axes, keepdim=True)
    count = math.prod(x.shape if axes is None else [x.shape[i] for i in axes])
    if count <= correction:
        raise ValueError(
            f"var(correction): {count} entries with correction {correction} leave nothing to divide by; give more "
            "entries, or correction=0"
        )
    return sum(distance * distance, axes, keepdim) / float(count - correction)


@function
def std(x: Tensor, dim: Dim = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """Standard deviation: square root of `var`; its gradient is infinite where all entries are equal."""
    return sqrt(var(x, _axes("std", x, dim), correction, keepdim))


@function
def amax(x: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Largest entry over ``dim``. Entries that tie share the gradient. ValueError where there is no entry."""
    axes = _axes("amax", x, dim)
    _not_empty("amax", x, axes)
    return Amax(axes, keepdim)(x)


@function
def amin(x: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Smallest entry over ``dim``. Entries that tie share the gradient. ValueError where there is no entry."""
    axes = _axes("amin", x, dim)
    _not_empty("amin", x, axes)
    return Amin(axes, keepdim)(x)


@function
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index (int64) of the first largest entry along ``dim``, or into the flattened tensor; it has no gradient."""
    axes = _axes("argmax", x, dim)
    _not_empty("argmax", x, axes)
    return wrap(backend_of([x.array]).argmax(x.array, None if axes is None else axes[0], keepdim))


@function
def logsumexp(x: Any, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Logarithm of the sum of exp(x) over ``dim``, without overflow; inf where one is inf, -inf where all are -inf."""
    return Logsumexp(_axes("logsumexp", x, dim), keepdim)(x)
