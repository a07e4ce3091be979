"""Activations, reshaping and losses as modules: each is the function of ``ops`` named in its docstring."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ops.loss import checked_reduction, checked_smoothing
from ..tensor import Tensor
from .module import Module


class Identity(Module):
    """Gives back its input."""

    def forward(self, x: Any) -> Any:
        return x


class ReLU(Module):
    """`ops.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class ReLU6(Module):
    """`ops.relu6`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu6(x)


class LeakyReLU(Module):
    """`ops.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope:g}"


class SiLU(Module):
    """`ops.silu`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class Sigmoid(Module):
    """`ops.sigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class Hardsigmoid(Module):
    """`ops.hardsigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardsigmoid(x)


class Hardswish(Module):
    """`ops.hardswish`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardswish(x)


class Tanh(Module):
    """`ops.tanh`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class GELU(Module):
    """`ops.gelu`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x)


class Softmax(Module):
    """`ops.softmax` along ``dim``."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Flatten(Module):
    """`ops.flatten`, by default of all axes but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, self.start_dim, self.end_dim)


class CrossEntropyLoss(Module):
    """`ops.cross_entropy` with these options."""

    def __init__(
        self, weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean", ignore_index: int = -100
    ) -> None:
        self.class_weight, self.ignore_index = weight, ignore_index
        self.label_smoothing = checked_smoothing("CrossEntropyLoss", label_smoothing)
        self.reduction = checked_reduction("CrossEntropyLoss", reduction)

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return ops.cross_entropy(
            logits, target, self.class_weight, self.label_smoothing, self.reduction, self.ignore_index
        )

    def extra_repr(self) -> str:
        return f"label_smoothing={self.label_smoothing:g}, reduction={self.reduction!r}"


class MSELoss(Module):
    """`ops.mse_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = checked_reduction("MSELoss", reduction)

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.mse_loss(x, target, self.reduction)


class BCEWithLogitsLoss(Module):
    """`ops.binary_cross_entropy_with_logits`."""

    def __init__(self, weight: Any = None, pos_weight: Any = None, reduction: str = "mean") -> None:
        self.entry_weight, self.pos_weight = weight, pos_weight
        self.reduction = checked_reduction("BCEWithLogitsLoss", reduction)

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return ops.binary_cross_entropy_with_logits(logits, target, self.entry_weight, self.pos_weight, self.reduction)
