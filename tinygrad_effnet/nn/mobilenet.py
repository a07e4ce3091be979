"""MobileNetV2 (Sandler et al. 2018), where EfficientNet's block comes from: ReLU6 and no squeeze-and-excitation."""

from __future__ import annotations

from typing import Any

from . import init
from .activations import ReLU6
from .staged import Plan, Stage, StagedNet, round_channels, scaled

# The paper's table 2
STAGES = (
    Stage("mbconv", 1, 3, 1, 32, 16, 1, 0),
    Stage("mbconv", 6, 3, 2, 16, 24, 2, 0),
    Stage("mbconv", 6, 3, 2, 24, 32, 3, 0),
    Stage("mbconv", 6, 3, 2, 32, 64, 4, 0),
    Stage("mbconv", 6, 3, 1, 64, 96, 3, 0),
    Stage("mbconv", 6, 3, 2, 96, 160, 3, 0),
    Stage("mbconv", 6, 3, 1, 160, 320, 1, 0),
)
HEAD_CHANNELS = 1280


class MobileNetV2(StagedNet):
    """MobileNetV2: images (N, in_channels, H, W) -> logits (N, num_classes).

    Parameters
    ----------
    num_classes, in_channels, dropout, stochastic_depth, padding, norm_eps, norm_momentum, features_only, fused
        As in `StagedNet`; dropout is 0.2 when left out.
    width : float
        Multiple of the table's channels; the head stays at 1280 below 1 (section 3.4's footnote and the authors' code).
    depth : float
        Multiple of the table's blocks.

    Raises
    ------
    ValueError
        A number makes no sense.

    Examples
    --------
    >>> from tinygrad_effnet import nn
    >>> sum(p.size for p in nn.MobileNetV2().parameters())
    3504872
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float | None = None,
        stochastic_depth: float = 0.0,
        *,
        width: float = 1.0,
        depth: float = 1.0,
        **settings: Any,
    ) -> None:
        for argument, value in (("width", width), ("depth", depth)):
            if not 0 < value < float("inf"):
                raise ValueError(f"MobileNetV2({argument}): {value}; expected a multiple above 0")
        plan = Plan(
            stem=round_channels(STAGES[0].in_channels * width),
            stages=scaled(STAGES, width, depth),
            head=round_channels(HEAD_CHANNELS * max(1.0, width)),
            size=224,
            dropout=0.2,
            act=ReLU6,
        )
        super().__init__(plan, num_classes, in_channels, dropout, stochastic_depth, **settings)
        if self.classifier is not None:
            init.normal_(self.classifier.weight, 0.0, 0.01)
