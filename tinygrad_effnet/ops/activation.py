"""Activation functions, and softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backends import Array, Backend
from ..op import Op, Shape, function, register
from ..tensor import Tensor, wrap
from .arithmetic import where
from .elementwise import erf, exp
from .reduction import sum
from .shape import checked_axis


@register
class ReLU(Op):
    """Rectifier: negative entries become 0 (Nair and Hinton 2010)."""

    formula = "y = max(x, 0)"
    rule = "x̄ = ȳ · [x > 0]"
    shapes = "x: ... -> ..."
    kinks = "x = 0: x̄ = 0 (PyTorch: the same)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        y = kernels.maximum(x, 0.0)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved()
        return where(wrap(y.array > 0), dy, 0.0)


@register
class ReLU6(Op):
    """Rectifier that saturates at 6 (Krizhevsky 2010), as in MobileNetV2."""

    formula = "y = min(max(x, 0), 6)"
    rule = "x̄ = ȳ · [0 < x < 6]"
    shapes = "x: ... -> ..."
    kinks = "x = 0 and x = 6: x̄ = 0 (PyTorch: the same)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        y = kernels.clip(x, 0.0, 6.0)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved()
        return where(wrap((y.array > 0) & (y.array < 6)), dy, 0.0)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 2 * math.prod(inputs[0])


@register
class LeakyReLU(Op):
    """Rectifier with a small slope below 0 (Maas et al. 2013)."""

    formula = "y = x where x > 0, slope · x elsewhere"
    rule = "x̄ = ȳ where x > 0, slope · ȳ elsewhere"
    shapes = "x: ... -> ..."
    kinks = "x = 0: x̄ = slope · ȳ (PyTorch: the same)"

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.where(x > 0, x, kernels.multiply(x, self.slope))

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return where(x > 0, dy, dy * self.slope)


@register
class Sigmoid(Op):
    """Logistic function."""

    formula = "y = σ(x) = 1 / (1 + e⁻ˣ)"
    rule = "x̄ = ȳ · y · (1 − y)"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        y = kernels.sigmoid(x)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved()
        return dy * (y * (1.0 - y))

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 5 * math.prod(inputs[0])


@register
class SiLU(Op):
    """x times its sigmoid (Elfwing et al. 2017; "swish" in Ramachandran et al. 2017)."""

    formula = "y = x · σ(x)"
    rule = "x̄ = ȳ · σ(x) · (1 + x · (1 − σ(x)))"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.silu(x)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return SiLUGrad()(x, dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 6 * math.prod(inputs[0])


@register
class SiLUGrad(Op):
    """The rule of `SiLU`, as an operation of its own so that it is computed in one pass."""

    formula = "g = ȳ · σ(x) · (1 + x · (1 − σ(x)))"
    rule = "x̄ = ḡ · ȳ · σ' · (2 + x · (1 − 2σ)) with σ' = σ · (1 − σ),  ȳ's gradient = ḡ · σ · (1 + x · (1 − σ))"
    shapes = "x: ..., dy: ... -> ..."

    def forward(self, kernels: Backend, x: Array, dy: Array) -> Array:
        self.save(x, dy)
        return kernels.silu_grad(x, dy)

    def backward(self, dg: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, dy = self.saved()
        dx = None
        if self.needed[0]:
            s = sigmoid(x)
            dx = dg * dy * (s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s)))
        return dx, SiLUGrad()(x, dg) if self.needed[1] else None

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 10 * math.prod(inputs[0])


@register
class Hardsigmoid(Op):
    """Piecewise linear sigmoid (Courbariaux et al. 2015, with MobileNetV3's slope)."""

    formula = "y = min(max(x + 3, 0), 6) / 6"
    rule = "x̄ = ȳ / 6 · [−3 < x < 3]"
    shapes = "x: ... -> ..."
    kinks = "x = −3 and x = 3: x̄ = 0 (PyTorch: the same)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.divide(kernels.clip(kernels.add(x, 3.0), 0.0, 6.0), 6.0)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return where(wrap((x.array > -3) & (x.array < 3)), dy / 6.0, 0.0)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 4 * math.prod(inputs[0])


@register
class Hardswish(Op):
    """x times its hard sigmoid (Howard et al. 2019, MobileNetV3, section 5.2)."""

    formula = "y = x · min(max(x + 3, 0), 6) / 6"
    rule = "x̄ = ȳ · (x / 3 + 1/2) for −3 < x < 3, 0 below, ȳ above"
    shapes = "x: ... -> ..."
    kinks = "x = −3: x̄ = 0; x = 3: x̄ = ȳ (PyTorch: the same)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.multiply(x, kernels.divide(kernels.clip(kernels.add(x, 3.0), 0.0, 6.0), 6.0))

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return where(x >= 3, dy, where(x <= -3, 0.0, dy * (x / 3.0 + 0.5)))

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 5 * math.prod(inputs[0])


@register
class Tanh(Op):
    """Hyperbolic tangent."""

    formula = "y = tanh x"
    rule = "x̄ = ȳ · (1 − y²)"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        y = kernels.tanh(x)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved()
        return dy * (1.0 - y * y)


@register
class GELU(Op):
    """x times the normal distribution's cumulative function (Hendrycks and Gimpel 2016)."""

    formula = "y = x · Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2"
    rule = "x̄ = ȳ · (Φ(x) + x · φ(x)),  φ(x) = e^(−x²/2) / √(2π)"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        cumulative = kernels.multiply(kernels.add(kernels.erf(kernels.multiply(x, math.sqrt(0.5))), 1.0), 0.5)
        return kernels.multiply(x, cumulative)

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        cumulative = (erf(x * math.sqrt(0.5)) + 1.0) * 0.5
        density = exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
        return dy * (cumulative + x * density)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 5 * math.prod(inputs[0])


@register
class Softplus(Op):
    """Smooth rectifier."""

    formula = "y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^(−|x|))"
    rule = "x̄ = ȳ · σ(x)"
    shapes = "x: ... -> ..."

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.save(x)
        return kernels.add(kernels.maximum(x, 0.0), kernels.log1p(kernels.exp(kernels.negative(kernels.absolute(x)))))

    def backward(self, dy: Tensor) -> Tensor:
        (x,) = self.saved()
        return dy * sigmoid(x)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 6 * math.prod(inputs[0])


class _AlongAxis(Op):
    shapes = "x: ... -> ..."

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 5 * math.prod(inputs[0])


@register
class Softmax(_AlongAxis):
    """Positive numbers that sum to 1 along an axis."""

    formula = "yᵢ = e^xᵢ / Σⱼ e^xⱼ"
    rule = "x̄ = y · (ȳ − Σ ȳ · y)"

    def forward(self, kernels: Backend, x: Array) -> Array:
        y = kernels.softmax(x, self.axis)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved()
        return y * (dy - sum(dy * y, self.axis, keepdim=True))


@register
class LogSoftmax(_AlongAxis):
    """Logarithm of softmax, computed so that it cannot overflow."""

    formula = "y = x − ln Σ eˣ"
    rule = "x̄ = ȳ − e^y · Σ ȳ"

    def forward(self, kernels: Backend, x: Array) -> Array:
        y = kernels.log_softmax(x, self.axis)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved()
        return dy - exp(y) * sum(dy, self.axis, keepdim=True)


# -- functions -----------------------------------------------------------------------------------------------------


@function
def relu(x: Any) -> Tensor:
    """max(x, 0); gradient 0 at 0."""
    return ReLU()(x)


@function
def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6)."""
    return ReLU6()(x)


@function
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, negative_slope * x elsewhere."""
    return LeakyReLU(negative_slope)(x)


@function
def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x)), without overflow."""
    return Sigmoid()(x)


@function
def silu(x: Any) -> Tensor:
    """x * sigmoid(x), also called swish."""
    return SiLU()(x)


@function
def hardsigmoid(x: Any) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    return Hardsigmoid()(x)


@function
def hardswish(x: Any) -> Tensor:
    """x * hardsigmoid(x)."""
    return Hardswish()(x)


@function
def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent."""
    return Tanh()(x)


@function
def gelu(x: Any) -> Tensor:
    """x * Phi(x), in the exact form with erf."""
    return GELU()(x)


@function
def softplus(x: Any) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    return Softplus()(x)


@function
def logsigmoid(x: Any) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    return -softplus(-x)


@function
def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along axis ``dim``. ValueError if there is no such axis.

    Where the largest number is infinite, of either sign, shares are not defined: the whole line is NaN, as PyTorch's.
    """
    return Softmax(checked_axis("softmax", x, dim))(x)


@function
def log_softmax(x: Tensor, dim: int) -> Tensor:
    """log(softmax(x)) along axis ``dim``, without overflow. ValueError if there is no such axis.

    NaN along the whole line where the largest number is infinite, as for `softmax`.
    """
    return LogSoftmax(checked_axis("log_softmax", x, dim))(x)
