"""EfficientNet B0 to B7 (Tan and Le 2019), from one table of stages and one of scaling coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..ops.window import PaddingLike
from ..tensor import Tensor
from . import init
from .activations import Flatten, SiLU
from .layers import AdaptiveAvgPool2d, Conv2d, Dropout, Linear, Sequential
from .mbconv import ConvNormAct, MBConv
from .module import Module


class Stage(NamedTuple):
    """One line of the paper's table 1; the stride is that of the stage's first block."""

    expand_ratio: int
    kernel_size: int
    stride: int
    in_channels: int
    out_channels: int
    repeats: int


STAGES = (
    Stage(1, 3, 1, 32, 16, 1),
    Stage(6, 3, 2, 16, 24, 2),
    Stage(6, 5, 2, 24, 40, 2),
    Stage(6, 3, 2, 40, 80, 3),
    Stage(6, 5, 1, 80, 112, 3),
    Stage(6, 5, 2, 112, 192, 4),
    Stage(6, 3, 1, 192, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


class Variant(NamedTuple):
    """How a variant scales B0 (section 3.3), the image size it is meant for, and its settings."""

    width: float
    depth: float
    size: int
    dropout: float
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1


VARIANTS = {
    "b0": Variant(1.0, 1.0, 224, 0.2),
    "b1": Variant(1.0, 1.1, 240, 0.2),
    "b2": Variant(1.1, 1.2, 260, 0.3),
    "b3": Variant(1.2, 1.4, 300, 0.3),
    "b4": Variant(1.4, 1.8, 380, 0.4),
    "b5": Variant(1.6, 2.2, 456, 0.4, 1e-3, 0.01),
    "b6": Variant(1.8, 2.6, 528, 0.5, 1e-3, 0.01),
    "b7": Variant(2.0, 3.1, 600, 0.5, 1e-3, 0.01),
}


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, but never less than 90 % of ``channels`` (the authors' round_filters)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class EfficientNet(Module):
    """EfficientNet: images (N, in_channels, H, W) -> logits (N, num_classes).

    Parts: ``stem``, ``stages`` (seven, each of several `MBConv`), ``head``, ``pool``, ``dropout``, ``classifier``.

    Parameters
    ----------
    variant : "b0" to "b7"
    num_classes : int
    in_channels : int
    dropout : float, optional
        Before the classifier; the variant's own (0.2 to 0.5) when left out.
    stochastic_depth : float
        Block i of n is skipped in training with probability ``stochastic_depth * i / n``, where it has a skip
        connection.
    padding : "symmetric" or "same"
        As PyTorch's models pad, or as the original TensorFlow ones do.
    norm_eps, norm_momentum : float, optional
        Of batch norm; when left out torchvision's: 1e-5 and 0.1 for B0 to B4, 1e-3 and 0.01 for B5 to B7.
    fused : bool, optional
        As in `MBConv`, for every block: None, the default, where the backend has fused kernels; False to step through
        each small operation, or for second derivatives.

    Notes
    -----
    Initialised as the authors do: convolutions normal with standard deviation sqrt(2 / fan_out), with the fan-out of
    one group, so
    that a depthwise 3x3 filter has sqrt(2/9); the classifier's weight uniform in ±1/sqrt(num_classes); biases 0.

    Raises
    ------
    ValueError
        There is no such variant, or a number makes no sense.

    Examples
    --------
    >>> from tinygrad_effnet import nn
    >>> sum(p.size for p in nn.EfficientNet("b0").parameters())
    5288548
    """

    def __init__(
        self,
        variant: str = "b0",
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float | None = None,
        stochastic_depth: float = 0.2,
        padding: PaddingLike = "symmetric",
        norm_eps: float | None = None,
        norm_momentum: float | None = None,
        fused: bool | None = None,
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"EfficientNet(variant): {variant!r}; choose one of {', '.join(VARIANTS)}")
        if num_classes < 1 or in_channels < 1:
            raise ValueError(
                f"EfficientNet: num_classes = {num_classes} and in_channels = {in_channels} must both be at least 1"
            )
        if padding not in ("symmetric", "same"):
            raise ValueError(f"EfficientNet(padding): {padding!r}; expected 'symmetric' or 'same'")
        if not 0 <= stochastic_depth < 1:
            raise ValueError(f"EfficientNet(stochastic_depth): {stochastic_depth}; expected a probability below 1")
        self.variant = variant
        scale = VARIANTS[variant]
        eps = scale.norm_eps if norm_eps is None else norm_eps
        momentum = scale.norm_momentum if norm_momentum is None else norm_momentum
        layer = partial(ConvNormAct, norm_eps=eps, norm_momentum=momentum, fused=fused)
        block = partial(MBConv, padding=padding, norm_eps=eps, norm_momentum=momentum, fused=fused)
        stem = round_channels(STEM_CHANNELS * scale.width)
        self.stem = layer(in_channels, stem, 3, stride=2, padding=padding, act=SiLU())
        self.stages = _stages(scale, stochastic_depth, block)
        last = round_channels(STAGES[-1].out_channels * scale.width)
        head = round_channels(HEAD_CHANNELS * scale.width)
        self.head = layer(last, head, 1, act=SiLU())
        self.pool = Sequential(AdaptiveAvgPool2d(1), Flatten())
        self.dropout = Dropout(scale.dropout if dropout is None else dropout)
        self.classifier = Linear(head, num_classes)
        self.apply(_initialise)
        bound = 1 / math.sqrt(num_classes)
        init.uniform_(self.classifier.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.pool(self.forward_features(x))))

    def forward_features(self, x: Tensor) -> Tensor:
        """The head's feature maps, (N, head channels, H/32, W/32), before pooling."""
        return self.head(self.stages(self.stem(x)))

    def extra_repr(self) -> str:
        return f"variant={self.variant!r}"


def _stages(scale: Variant, stochastic_depth: float, block: Callable[..., MBConv]) -> Sequential:
    repeats = [math.ceil(scale.depth * stage.repeats) for stage in STAGES]
    index, total = 0, sum(repeats)
    stages = []
    for stage, count in zip(STAGES, repeats, strict=True):
        blocks = []
        out_channels = round_channels(stage.out_channels * scale.width)
        for j in range(count):
            blocks.append(
                block(
                    round_channels(stage.in_channels * scale.width) if j == 0 else out_channels,
                    out_channels,
                    stage.kernel_size,
                    stage.stride if j == 0 else 1,
                    stage.expand_ratio,
                    stochastic_depth=stochastic_depth * index / total,
                )
            )
            index += 1
        stages.append(Sequential(*blocks))
    return Sequential(*stages)


def _initialise(module: Module) -> None:
    if isinstance(module, Conv2d):
        init.kaiming_normal_(module.weight, "fan_out", groups=module.groups)
    if isinstance(module, (Conv2d, Linear)) and module.bias is not None:
        init.zeros_(module.bias)
