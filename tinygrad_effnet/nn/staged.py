"""Networks that are a table of stages: a stem, stages of blocks, a head, and a classifier.

EfficientNet, EfficientNetV2 and MobileNetV2 differ in nothing but their tables, and in the names that their users give
to the settings; what they share is here.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

from ..ops.window import PaddingLike
from ..tensor import Tensor
from . import init
from .activations import Flatten, SiLU
from .fusing import is_unwatched
from .layers import AdaptiveAvgPool2d, Conv2d, Dropout, Linear, Sequential
from .mbconv import ConvNormAct, FusedMBConv, MBConv
from .module import Module

BLOCKS = {"mbconv": MBConv, "fused": FusedMBConv}


class Stage(NamedTuple):
    """One line of a network's table; the stride is that of the stage's first block, the others have 1."""

    block: str  # "mbconv" or "fused"
    expand_ratio: int
    kernel_size: int
    stride: int
    in_channels: int
    out_channels: int
    repeats: int
    se_ratio: float = 0.25


class Plan(NamedTuple):
    """A network before anything is built: its table, already scaled, and its settings."""

    stem: int
    stages: tuple[Stage, ...]
    head: int
    size: int  # of the images it is meant for, in pixels a side
    dropout: float
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    act: type[Module] = SiLU


def round_channels(channels: float, least_share: float = 0.9) -> int:
    """The nearest multiple of 8, but never less than ``least_share`` of ``channels`` (the authors' round_filters)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < least_share * channels else rounded


def scaled(stages: tuple[Stage, ...], width: float, depth: float, least_share: float = 0.9) -> tuple[Stage, ...]:
    """The table with ``width`` times the channels, rounded, and ``depth`` times the blocks, rounded up."""
    wider = partial(round_channels, least_share=least_share)
    return tuple(
        stage._replace(
            in_channels=wider(stage.in_channels * width),
            out_channels=wider(stage.out_channels * width),
            repeats=math.ceil(stage.repeats * depth),
        )
        for stage in stages
    )


class StagedNet(Module):
    """A network built from a `Plan`: images (N, in_channels, H, W) -> logits (N, num_classes).

    Parts: ``stem``, ``stages`` (of blocks), ``head``, ``pool``, ``dropout``, ``classifier``.

    Parameters
    ----------
    plan : Plan
    num_classes : int
        0 leaves the classifier out: the result is what it would be given, the embedding (N, head channels).
    in_channels : int
    dropout : float, optional
        Before the classifier; the plan's own when left out.
    stochastic_depth : float
        Block i of n is skipped in training with probability ``stochastic_depth * i / n``, where it has a skip
        connection.
    padding : "symmetric" or "same"
        As PyTorch's models pad, or as TensorFlow's do.
    norm_eps, norm_momentum : float, optional
        Of batch norm; the plan's own when left out.
    features_only : bool
        Give the feature maps that detectors and segmenters start from: a list of the last map at each scale, at 1/2,
        1/4, ... 1/32 of the image's side. There is no head and no classifier then.
    fused : bool, optional
        As in `MBConv`, for every block: None, the default, where the backend has fused kernels; False to step through
        each small operation, or for second derivatives.

    Raises
    ------
    ValueError
        A setting makes no sense.
    """

    def __init__(
        self,
        plan: Plan,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float | None = None,
        stochastic_depth: float = 0.0,
        padding: PaddingLike = "symmetric",
        norm_eps: float | None = None,
        norm_momentum: float | None = None,
        features_only: bool = False,
        fused: bool | None = None,
    ) -> None:
        _check(type(self).__name__, num_classes, in_channels, padding, stochastic_depth)
        self.plan, self.features_only = plan, features_only
        settings: dict[str, Any] = {
            "padding": padding,
            "norm_eps": plan.norm_eps if norm_eps is None else norm_eps,
            "norm_momentum": plan.norm_momentum if norm_momentum is None else norm_momentum,
            "fused": fused,
        }
        self.stem = ConvNormAct(in_channels, plan.stem, 3, stride=2, act=plan.act(), **settings)
        self.stages = Sequential(*_stages(plan, stochastic_depth, settings))
        self.head: ConvNormAct | None = None
        self.classifier: Linear | None = None
        if not features_only:
            self.head = ConvNormAct(plan.stages[-1].out_channels, plan.head, 1, act=plan.act(), **settings)
            self.pool = Sequential(AdaptiveAvgPool2d(1), Flatten())
            if num_classes:
                self.dropout = Dropout(plan.dropout if dropout is None else dropout)
                self.classifier = Linear(plan.head, num_classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Any:
        if self.features_only:
            return self.forward_pyramid(x)
        embedding = self.pool(self.forward_features(x))
        return embedding if self.classifier is None else self.classifier(self.dropout(embedding))

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature maps before pooling, (N, channels, H/32, W/32)."""
        x = self._staged(x)
        return x if self.head is None else self.head(x)

    def _staged(self, x: Tensor) -> Tensor:
        """The stages' result on images."""
        stage, *stages = self.stages
        block, *blocks = stage.children()
        unwatched = is_unwatched(self.stages) and is_unwatched(stage)
        if not (unwatched and isinstance(block, MBConv) and block.takes_over(self.stem, x)):
            return self.stages(self.stem(x))
        x = block.after(self.stem, x)
        for layer in (*blocks, *stages):
            x = layer(x)
        return x

    def forward_pyramid(self, x: Tensor) -> list[Tensor]:
        """The last feature maps at each scale, largest first; see ``features_only``."""
        x = self.stem(x)
        maps = []
        for stage, line in zip(self.stages, self.plan.stages, strict=True):
            if line.stride > 1:
                maps.append(x)
            x = stage(x)
        return [*maps, x]


def _check(name: str, num_classes: int, in_channels: int, padding: PaddingLike, stochastic_depth: float) -> None:
    if num_classes < 0 or in_channels < 1:
        raise ValueError(
            f"{name}: num_classes = {num_classes} and in_channels = {in_channels} must both be at least 1 (or "
            "num_classes 0, for the embedding without a classifier)"
        )
    if padding not in ("symmetric", "same"):
        raise ValueError(f"{name}(padding): {padding!r}; expected 'symmetric' or 'same'")
    if not 0 <= stochastic_depth < 1:
        raise ValueError(f"{name}(stochastic_depth): {stochastic_depth}; expected a probability below 1")


def _stages(plan: Plan, stochastic_depth: float, settings: dict[str, Any]) -> list[Sequential]:
    index, total = 0, sum(stage.repeats for stage in plan.stages)
    stages = []
    for stage in plan.stages:
        blocks = []
        for j in range(stage.repeats):
            blocks.append(
                BLOCKS[stage.block](
                    stage.in_channels if j == 0 else stage.out_channels,
                    stage.out_channels,
                    stage.kernel_size,
                    stage.stride if j == 0 else 1,
                    stage.expand_ratio,
                    stage.se_ratio,
                    stochastic_depth * index / total,
                    act=plan.act,
                    **settings,
                )
            )
            index += 1
        stages.append(Sequential(*blocks))
    return stages


def _initialise(module: Module) -> None:
    """As EfficientNet's authors do; the fan-out is that of one group."""
    if isinstance(module, Conv2d):
        init.kaiming_normal_(module.weight, "fan_out", groups=module.groups)
    if isinstance(module, Linear):
        bound = 1 / math.sqrt(module.out_features)
        init.uniform_(module.weight, -bound, bound)
    if isinstance(module, (Conv2d, Linear)) and module.bias is not None:
        init.zeros_(module.bias)
