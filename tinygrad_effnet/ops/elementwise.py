"""Elementary functions, entry by entry.

Notation in the rules, here and in all of ``ops/``: ȳ is the gradient of the result, x̄ that of the input.
"""

from __future__ import annotations

import math
from typing import Any

from ..backends import Array, Backend
from ..op import Op, function, register
from ..tensor import Tensor


@register
class Exp(Op):
    """Exponential function."""

    formula = "y = eˣ"
    rule = "x̄ = ȳ · y"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        y = kernels.exp(x)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved()
        return dy * y


@register
class Log(Op):
    """Natural logarithm."""

    formula = "y = ln x"
    rule = "x̄ = ȳ / x"
    shapes = "x: ... -> ..."
    kinks = "x = 0: infinite; x < 0: y is NaN (PyTorch: the same)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.log(x)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return dy / x


@register
class Log1p(Op):
    """log(1 + x), exact for small x."""

    formula = "y = ln(1 + x)"
    rule = "x̄ = ȳ / (1 + x)"
    shapes = "x: ... -> ..."
    kinks = "x = −1: infinite; x < −1: y is NaN (PyTorch: the same)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.log1p(x)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return dy / (x + 1.0)


@register
class Sqrt(Op):
    """Square root."""

    formula = "y = √x"
    rule = "x̄ = ȳ / (2y)"
    shapes = "x: ... -> ..."
    kinks = "x = 0: infinite, and NaN where ȳ = 0 (PyTorch: the same)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        y = kernels.sqrt(x)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved()
        return dy / (y * 2.0)


@register
class Sin(Op):
    """Sine; x in radians."""

    formula = "y = sin x"
    rule = "x̄ = ȳ · cos x"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.sin(x)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return dy * cos(x)


@register
class Cos(Op):
    """Cosine; x in radians."""

    formula = "y = cos x"
    rule = "x̄ = −ȳ · sin x"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.cos(x)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return -(dy * sin(x))


@register
class Erf(Op):
    """Error function."""

    formula = "y = 2/√π ∫₀ˣ e^(−t²) dt"
    rule = "x̄ = ȳ · 2/√π · e^(−x²)"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.erf(x)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return dy * (exp(-(x * x)) * (2 / math.sqrt(math.pi)))


# -- functions --------------------------------------------------------------------------------------------------


@function
def exp(x: Any) -> Tensor:
    """e to the x."""
    return Exp()(x)


@function
def log(x: Any) -> Tensor:
    """Natural logarithm; -inf at 0 and NaN below."""
    return Log()(x)


@function
def log1p(x: Any) -> Tensor:
    """log(1 + x), exact for small x."""
    return Log1p()(x)


@function
def sqrt(x: Any) -> Tensor:
    """Square root; NaN below 0, and an infinite gradient at 0."""
    return Sqrt()(x)


@function
def sin(x: Any) -> Tensor:
    """Sine of x in radians."""
    return Sin()(x)


@function
def cos(x: Any) -> Tensor:
    """Cosine of x in radians."""
    return Cos()(x)


@function
def erf(x: Any) -> Tensor:
    """Error function."""
    return Erf()(x)
