"""Arithmetic and choice, entry by entry. Two operands broadcast as in NumPy.

Notation in the rules: ȳ is the gradient of the result, ā that of the input a; [...] is 1 where that holds, else 0.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends import Array, Backend, backend_of
from ..backends.device import is_array, require_one_place
from ..backends.dtypes import dtype_of, is_floating
from ..contract import broadcastable, refuse_broadcast
from ..op import Op, Shape, function, register
from ..tensor import Tensor, wrap
from .elementwise import log


@register
class Add(Op):
    """Sum of two tensors."""

    formula = "y = a + b"
    rule = "ā = ȳ,  b̄ = ȳ"
    shapes = "a: ..., b: ... -> ..."
    integers = True

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        return kernels.add(a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        return dy, dy


@register
class Sub(Op):
    """Difference of two tensors."""

    formula = "y = a − b"
    rule = "ā = ȳ,  b̄ = −ȳ"
    shapes = "a: ..., b: ... -> ..."
    integers = True

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        return kernels.subtract(a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor | None]:
        return dy, -dy if self.needed[1] else None


@register
class Mul(Op):
    """Product of two tensors, entry by entry."""

    formula = "y = a · b"
    rule = "ā = ȳ · b,  b̄ = ȳ · a"
    shapes = "a: ..., b: ... -> ..."
    integers = True

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        self.save(a, b)
        return kernels.multiply(a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = self.saved()
        return dy * b if self.needed[0] else None, dy * a if self.needed[1] else None


@register
class Div(Op):
    """Quotient of two tensors."""

    formula = "y = a / b"
    rule = "ā = ȳ / b,  b̄ = −ȳ · a / b²"
    shapes = "a: ..., b: ... -> ..."
    kinks = "b = 0: infinite or NaN, as in NumPy and PyTorch"

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        self.save(a, b)
        return kernels.divide(a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = self.saved()
        da = dy / b
        return da if self.needed[0] else None, -(da * (a / b)) if self.needed[1] else None


@register
class Pow(Op):
    """Power: a to the b."""

    formula = "y = aᵇ"
    rule = "ā = ȳ · b · aᵇ⁻¹,  b̄ = ȳ · y · ln a"
    shapes = "a: ..., b: ... -> ..."
    kinks = "b = 0: ā = 0 even where a = 0; a = 0 and b ≥ 0: b̄ = 0 (PyTorch: the same); a < 0: b̄ is NaN"
    integers = True

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        self.save(a, b)
        return kernels.power(a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = self.saved()
        da = dy * b * a ** where(b == 0, 1.0, b - 1.0) if self.needed[0] else None
        if not self.needed[1]:
            return da, None
        flat = wrap((a.array == 0) & (b.array >= 0))
        return da, where(flat, 0.0, dy * a**b * log(where(flat, 1.0, a)))


@register
class Neg(Op):
    """Negative."""

    formula = "y = −x"
    rule = "x̄ = −ȳ"
    shapes = "x: ... -> ..."
    integers = True

    def forward(self, kernels: Backend, x: Array) -> Array:
        return kernels.negative(x)

    def backward(self, dy: Tensor) -> Tensor:
        return -dy


@register
class Abs(Op):
    """Absolute value."""

    formula = "y = |x|"
    rule = "x̄ = ȳ · sign x"
    shapes = "x: ... -> ..."
    kinks = "x = 0: x̄ = 0 (PyTorch: the same)"
    integers = True

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.absolute(x)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return dy * Tensor(backend_of([x.array]).sign(x.array))


@register
class Clip(Op):
    """Limit to an interval."""

    formula = "y = min(max(x, low), high)"
    rule = "x̄ = ȳ · [low ≤ x ≤ high]"
    shapes = "x: ... -> ..."
    kinks = "x = low and x = high: x̄ = ȳ (PyTorch's clamp: the same)"

    def __init__(self, low: float = -math.inf, high: float = math.inf) -> None:
        self.low, self.high = low, high

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.clip(x, self.low, self.high)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return where(wrap((x.array >= self.low) & (x.array <= self.high)), dy, 0.0)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return (math.isfinite(self.low) + math.isfinite(self.high)) * math.prod(inputs[0])


@register
class Maximum(Op):
    """The larger of two tensors, entry by entry."""

    formula = "y = max(a, b)"
    rule = "ā = ȳ · [a > b],  b̄ = ȳ · [b > a]"
    shapes = "a: ..., b: ... -> ..."
    kinks = "a = b: half to each (PyTorch: the same)"
    integers = True

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        self.save(a, b)
        return kernels.maximum(a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.saved()
        return _share(dy, a > b, a == b), _share(dy, b > a, a == b)


@register
class Minimum(Op):
    """The smaller of two tensors, entry by entry."""

    formula = "y = min(a, b)"
    rule = "ā = ȳ · [a < b],  b̄ = ȳ · [b < a]"
    shapes = "a: ..., b: ... -> ..."
    kinks = "a = b: half to each (PyTorch: the same)"
    integers = True

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        self.save(a, b)
        return kernels.minimum(a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.saved()
        return _share(dy, a < b, a == b), _share(dy, b < a, a == b)


def _share(dy: Tensor, wins: Tensor, ties: Tensor) -> Tensor:
    return where(wins, dy, where(ties, dy * 0.5, 0.0))


@register
class Where(Op):
    """Choose between two tensors, entry by entry."""

    formula = "y = a where the condition holds, b elsewhere"
    rule = "ā = ȳ · [condition],  b̄ = ȳ · [not condition]"
    shapes = "a: ..., b: ... -> ..."
    integers = True

    def __init__(self, condition: Array) -> None:
        self.condition = condition

    def forward(self, kernels: Backend, a: Array, b: Array) -> Array:
        shapes = self.condition.shape, a.shape, b.shape
        if not broadcastable(shapes):
            refuse_broadcast(self.name, dict(zip(("condition", "a", "b"), shapes, strict=True)))
        self.save(self.condition)  # the user's own array, perhaps: somebody may write to it
        return kernels.where(self.condition, a, b)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        condition = self.saved()[0].array
        return (
            Where(condition)(dy, 0.0) if self.needed[0] else None,
            Where(condition)(0.0, dy) if self.needed[1] else None,
        )

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 0


@register
class Cast(Op):
    """Another dtype."""

    formula = "y = x in another dtype"
    rule = "x̄ = ȳ in the dtype of x"
    shapes = "x: ... -> ..."
    integers = True

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.source = x.dtype
        return x.astype(self.dtype)

    def backward(self, dy: Tensor) -> Tensor:
        return Cast(self.source)(dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 0


# -- functions --------------------------------------------------------------------------------------------------


@function
def add(a: Any, b: Any) -> Tensor:
    """a + b. Shapes broadcast; the wider dtype wins."""
    return Add()(a, b)


@function
def sub(a: Any, b: Any) -> Tensor:
    """a - b. Shapes broadcast; the wider dtype wins."""
    return Sub()(a, b)


@function
def mul(a: Any, b: Any) -> Tensor:
    """a * b, entry by entry. Shapes broadcast; the wider dtype wins."""
    return Mul()(a, b)


@function
def div(a: Any, b: Any) -> Tensor:
    """a / b, entry by entry. Shapes broadcast; floating-point only (convert integers with ``.float()``)."""
    return Div()(a, b)


@function
def pow(a: Any, b: Any) -> Tensor:
    """a ** b, entry by entry; both may require gradients. Shapes broadcast."""
    return Pow()(a, b)


@function
def neg(x: Any) -> Tensor:
    """-x."""
    return Neg()(x)


@function
def abs(x: Any) -> Tensor:
    """Absolute value; gradient 0 at 0."""
    return Abs()(x)


@function
def clip(x: Any, min: float | None = None, max: float | None = None) -> Tensor:
    """x limited to [min, max]; None leaves that side open.

    Raises
    ------
    ValueError
        ``min`` is larger than ``max``.
    """
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    if low > high:
        raise ValueError(f"clip(min, max): min = {low} is larger than max = {high}; swap them")
    return Clip(low, high)(x)


@function
def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, entry by entry; where they tie each receives half of the gradient."""
    return Maximum()(a, b)


@function
def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, entry by entry; where they tie each receives half of the gradient."""
    return Minimum()(a, b)


@function
def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where ``condition`` (boolean tensor or array) holds, b elsewhere; all three broadcast.

    Raises
    ------
    TypeError
        ``condition`` is not boolean.
    """
    mask = condition.array if isinstance(condition, Tensor) else condition
    mask = mask if type(mask) is np.ndarray or is_array(mask) else np.asarray(mask)
    if mask.dtype != np.bool_:
        raise TypeError(
            f"where(condition): expected booleans, got {mask.dtype}; compare first, e.g. where(x > 0, a, b)"
        )
    for name, x in (("a", a), ("b", b)):
        if isinstance(x, Tensor) and not type(x.array) is type(mask) is np.ndarray:
            require_one_place("where", condition=mask, **{name: x.array})
    return Where(mask)(a, b)


@function
def cast(x: Tensor, dtype: Any) -> Tensor:
    """x converted to ``dtype``; x itself where it has that dtype already. Integers and booleans have no gradient."""
    if x.dtype == (dtype := dtype_of(dtype)):
        return x
    return Cast(dtype)(x) if is_floating(dtype) else wrap(x.array.astype(dtype))


def _require_together(name: str, a: Any, b: Any) -> None:
    if is_array(a) and is_array(b):
        require_one_place(name, a=a, b=b)


def _comparison(name: str, symbol: str) -> Any:
    holds = getattr(operator, name)

    def compare(a: Any, b: Any) -> Tensor:
        left = a.array if isinstance(a, Tensor) else a
        right = b.array if isinstance(b, Tensor) else b
        try:
            if type(left) is not np.ndarray or type(right) not in (np.ndarray, float, int):  # seldom, so looked at
                _require_together(name, left, right)
            result = holds(left, right)
            return wrap(np.asarray(result) if isinstance(result, (bool, np.generic)) else result)
        except ValueError:
            shapes = np.shape(left), np.shape(right)
            if not broadcastable(shapes):
                refuse_broadcast(name, dict(zip("ab", shapes, strict=True)))
            raise

    compare.__name__ = name
    compare.__doc__ = f"a {symbol} b, entry by entry, as a boolean tensor; it has no gradient."
    return function(compare)


eq, ne = _comparison("eq", "=="), _comparison("ne", "!=")
lt, le = _comparison("lt", "<"), _comparison("le", "<=")
gt, ge = _comparison("gt", ">"), _comparison("ge", ">=")
