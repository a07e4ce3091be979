"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backends import Array, Backend
from ..contract import expect_arrays
from ..op import Op, Shape, function, register
from ..tensor import Tensor
from .shape import Permute, SumTo, reshape


@register
class Matmul(Op):
    """Matrix product; leading axes are batches and broadcast."""

    formula = "y_ij = Σₖ a_ik · b_kj"
    rule = "ā = ȳ · bᵀ,  b̄ = aᵀ · ȳ"
    shapes = "a: ... n k, b: ... k m -> ... n m"

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        self.save(a, b)
        return kernels.matmul(a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = self.saved()
        return (
            Matmul()(dy, _transposed(b)) if self.needed[0] else None,
            Matmul()(_transposed(a), dy) if self.needed[1] else None,
        )

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 2 * math.prod(outputs[0]) * inputs[0][-1]

    def hint(self, inputs: Sequence[Shape]) -> str:
        a, b = inputs
        if len(b) > 1 and a[-1:] == b[-1:]:
            return "Did you mean b transposed? Its last axis would fit."
        return "The last axis of a and the last but one of b are summed over, and those before them broadcast."


@register
class Linear(Op):
    """Rows times a matrix whose rows belong to outputs, plus one number an output: a layer in one operation."""

    formula = "y_io = Σₖ x_ik · w_ok + b_o"
    rule = "x̄ = ȳ · w,  w̄ = ȳᵀ · x,  b̄ = Σ ȳ over rows"
    shapes = "x: n k, weight: m k, bias: m -> n m"
    symbols = "weight: w, bias: b"

    def forward(self, kernels: Backend, x: Array, weight: Array, bias: Array) -> Array:
        self.save(x, weight)
        return kernels.add(kernels.matmul(x, weight.T), bias)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = self.saved()
        return (
            Matmul()(dy, weight) if self.needed[0] else None,
            Matmul()(_transposed(dy), x) if self.needed[1] else None,
            SumTo(weight.shape[:1])(dy) if self.needed[2] else None,
        )

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return math.prod(outputs[0]) * (2 * inputs[0][-1] + 1)


def _transposed(x: Tensor) -> Tensor:
    ndim = x.ndim
    return Permute((*range(ndim - 2), ndim - 1, ndim - 2))(x)


@function
def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product of a (..., n, k) and b (..., k, m); a vector (k,) counts as a row (left) or column (right).

    Raises
    ------
    ValueError
        The inner sizes differ, or an operand is a single number.
    """
    a = a if isinstance(a, Tensor) else Tensor(a)
    b = b if isinstance(b, Tensor) else Tensor(b)
    if a.ndim > 1 and b.ndim > 1:
        return Matmul()(a, b)
    if not a.ndim or not b.ndim:
        raise ValueError(
            f"matmul: shapes {a.shape} and {b.shape}; both need at least one axis, use * for a single number"
        )
    if 1 in (a.ndim, b.ndim) and a.shape[-1] != b.shape[-2:][0]:  # named here, before a vector becomes a matrix
        raise ValueError(
            f"matmul: a has shape {a.shape} and b {b.shape}; the last axis of a must be as long as the "
            f"{'only' if b.ndim == 1 else 'last but one'} axis of b, so transpose or reshape one of them"
        )
    y = Matmul()(reshape(a, (1, -1)) if a.ndim == 1 else a, reshape(b, (-1, 1)) if b.ndim == 1 else b)
    shape = y.shape
    if a.ndim == 1:
        shape = (*shape[:-2], shape[-1])
    if b.ndim == 1:
        shape = shape[:-1]
    return y if shape == y.shape else reshape(y, shape)


@function
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias. x: (..., inputs), weight: (outputs, inputs), bias: (outputs,) -> (..., outputs).

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    expect_arrays("linear", x=x, weight=weight)
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x has shape {x.shape} and weight {weight.shape}; the last axis of x must be weight.shape[1], "
            "since weight is (outputs, inputs)" + ("; weight.T would fit" if x.shape[-1:] == weight.shape[:1] else "")
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: bias has shape {bias.shape}; expected ({weight.shape[0]},), one number an output")
    if bias is not None and x.ndim == 2:
        return Linear()(x, weight, bias)
    y = matmul(x, weight.T)
    return y if bias is None else y + bias
