"""EfficientNet B0 to B8 and L2 (Tan and Le 2019, Xie et al. 2020) and EfficientNetV2 (Tan and Le 2021), as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from .staged import Plan, Stage, StagedNet, round_channels, scaled

# EfficientNet-B0, the paper's table 1
STAGES = (
    Stage("mbconv", 1, 3, 1, 32, 16, 1),
    Stage("mbconv", 6, 3, 2, 16, 24, 2),
    Stage("mbconv", 6, 5, 2, 24, 40, 2),
    Stage("mbconv", 6, 3, 2, 40, 80, 3),
    Stage("mbconv", 6, 5, 1, 80, 112, 3),
    Stage("mbconv", 6, 5, 2, 112, 192, 4),
    Stage("mbconv", 6, 3, 1, 192, 320, 1),
)


class Variant(NamedTuple):
    """How a variant scales its family's table (2019, section 3.3), and the settings that it is trained with."""

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
    "b8": Variant(2.2, 3.6, 672, 0.5, 1e-3, 0.01),
    "l2": Variant(4.3, 5.3, 800, 0.5, 1e-3, 0.01),
}

# EfficientNetV2: the 2021 paper's table 4, and the authors' code for what the paper does not print
STAGES_V2 = {
    "s": (
        Stage("fused", 1, 3, 1, 24, 24, 2, 0),
        Stage("fused", 4, 3, 2, 24, 48, 4, 0),
        Stage("fused", 4, 3, 2, 48, 64, 4, 0),
        Stage("mbconv", 4, 3, 2, 64, 128, 6),
        Stage("mbconv", 6, 3, 1, 128, 160, 9),
        Stage("mbconv", 6, 3, 2, 160, 256, 15),
    ),
    "m": (
        Stage("fused", 1, 3, 1, 24, 24, 3, 0),
        Stage("fused", 4, 3, 2, 24, 48, 5, 0),
        Stage("fused", 4, 3, 2, 48, 80, 5, 0),
        Stage("mbconv", 4, 3, 2, 80, 160, 7),
        Stage("mbconv", 6, 3, 1, 160, 176, 14),
        Stage("mbconv", 6, 3, 2, 176, 304, 18),
        Stage("mbconv", 6, 3, 1, 304, 512, 5),
    ),
    "l": (
        Stage("fused", 1, 3, 1, 32, 32, 4, 0),
        Stage("fused", 4, 3, 2, 32, 64, 7, 0),
        Stage("fused", 4, 3, 2, 64, 96, 7, 0),
        Stage("mbconv", 4, 3, 2, 96, 192, 10),
        Stage("mbconv", 6, 3, 1, 192, 224, 19),
        Stage("mbconv", 6, 3, 2, 224, 384, 25),
        Stage("mbconv", 6, 3, 1, 384, 640, 7),
    ),
    "xl": (
        Stage("fused", 1, 3, 1, 32, 32, 4, 0),
        Stage("fused", 4, 3, 2, 32, 64, 8, 0),
        Stage("fused", 4, 3, 2, 64, 96, 8, 0),
        Stage("mbconv", 4, 3, 2, 96, 192, 16),
        Stage("mbconv", 6, 3, 1, 192, 256, 24),
        Stage("mbconv", 6, 3, 2, 256, 512, 32),
        Stage("mbconv", 6, 3, 1, 512, 640, 8),
    ),
    "": (  # B0 to B3
        Stage("fused", 1, 3, 1, 32, 16, 1, 0),
        Stage("fused", 4, 3, 2, 16, 32, 2, 0),
        Stage("fused", 4, 3, 2, 32, 48, 2, 0),
        Stage("mbconv", 4, 3, 2, 48, 96, 3),
        Stage("mbconv", 6, 3, 1, 96, 112, 5),
        Stage("mbconv", 6, 3, 2, 112, 192, 8),
    ),
}
VARIANTS_V2 = {
    "s": Variant(1.0, 1.0, 384, 0.2, 1e-3),
    "m": Variant(1.0, 1.0, 480, 0.3, 1e-3),
    "l": Variant(1.0, 1.0, 480, 0.4, 1e-3),
    "xl": Variant(1.0, 1.0, 512, 0.4, 1e-3),
    "b0": Variant(1.0, 1.0, 224, 0.2, 1e-3),
    "b1": Variant(1.0, 1.1, 240, 0.2, 1e-3),
    "b2": Variant(1.1, 1.2, 260, 0.3, 1e-3),
    "b3": Variant(1.2, 1.4, 300, 0.3, 1e-3),
}
HEAD_CHANNELS = 1280


class _Scaled(StagedNet):
    """A network whose variants scale a table."""

    variants: ClassVar[Mapping[str, Variant]]  # the first is taken where none is named
    least_share: ClassVar[float]  # of the channels, that rounding must leave
    table: ClassVar[Mapping[str, tuple[Stage, ...]]]  # of a variant, or of all others under ""

    def __init__(
        self,
        variant: str | None = None,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float | None = None,
        stochastic_depth: float = 0.2,
        *,
        width: float | None = None,
        depth: float | None = None,
        **settings: Any,
    ) -> None:
        name = type(self).__name__
        variant = next(iter(self.variants)) if variant is None else variant
        if variant not in self.variants:
            raise ValueError(f"{name}(variant): {variant!r}; choose one of {', '.join(self.variants)}")
        for argument, value in (("width", width), ("depth", depth)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name}({argument}): {value}; expected a multiple above 0")
        self.variant, own = variant, self.variants[variant]
        stages = self.table.get(variant, self.table[""])
        width, depth = own.width if width is None else width, own.depth if depth is None else depth
        plan = Plan(
            stem=round_channels(stages[0].in_channels * width, self.least_share),
            stages=scaled(stages, width, depth, self.least_share),
            head=round_channels(HEAD_CHANNELS * width, self.least_share),
            size=own.size,
            dropout=own.dropout,
            norm_eps=own.norm_eps,
            norm_momentum=own.norm_momentum,
        )
        super().__init__(plan, num_classes, in_channels, dropout, stochastic_depth, **settings)

    def extra_repr(self) -> str:
        return f"variant={self.variant!r}"


class EfficientNet(_Scaled):
    """EfficientNet: images (N, in_channels, H, W) -> logits (N, num_classes).

    Parameters
    ----------
    variant : "b0", the default, to "b8", or "l2"
    num_classes, in_channels, dropout, stochastic_depth, padding, norm_eps, norm_momentum, features_only, fused
        As in `StagedNet`. Batch norm's settings are torchvision's when left out: 1e-5 and 0.1 for B0 to B4, 1e-3 and
        0.01 from B5 on.
    width, depth : float, optional
        Other multiples of B0's channels and blocks than the variant's own.

    Notes
    -----
    Initialised as the authors do: convolutions normal with standard deviation sqrt(2 / fan_out), with the fan-out of
    one group, so that a depthwise 3x3 filter has sqrt(2/9); the classifier's weight uniform in ±1/sqrt(num_classes);
    biases 0.

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

    variants = VARIANTS
    least_share = 0.9
    table: ClassVar = {"": STAGES}


class EfficientNetV2(_Scaled):
    """EfficientNetV2: smaller expansions and, in the early stages, blocks with one full convolution (`FusedMBConv`).

    Parameters
    ----------
    variant : "s", the default, "m", "l", "xl" or "b0" to "b3"
    num_classes, in_channels, dropout, stochastic_depth, padding, norm_eps, norm_momentum, features_only, fused
        As in `StagedNet`; batch norm's epsilon is 1e-3 when left out.
    width, depth : float, optional
        Other multiples of the table's channels and blocks than the variant's own.

    Raises
    ------
    ValueError
        There is no such variant, or a number makes no sense.

    Examples
    --------
    >>> from tinygrad_effnet import nn
    >>> sum(p.size for p in nn.EfficientNetV2("b0").parameters())
    7139704
    """

    variants = VARIANTS_V2
    least_share = 0.0  # the second version's code dropped the rule that rounding may not take more than a tenth
    table = STAGES_V2
