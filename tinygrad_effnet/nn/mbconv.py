"""The blocks that EfficientNet is built from (Tan and Le 2019; MBConv is Sandler et al. 2018 with Hu et al. 2018)."""

from __future__ import annotations

from functools import partial

from ..ops import mean
from ..ops.window import PaddingLike
from ..tensor import Tensor
from .activations import SiLU
from .layers import BatchNorm2d, Conv2d, StochasticDepth
from .module import Module


class ConvNormAct(Module):
    """Convolution without bias, batch norm, and an activation unless ``act`` is None.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, groups
        As in `Conv2d`.
    padding : "symmetric", "same" or anything `Conv2d` takes
        "symmetric" pads (kernel_size - 1) // 2 on every side, as PyTorch models do; "same" is TensorFlow's.
    act : Module or None
    norm_eps, norm_momentum : float
        As in `BatchNorm2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        padding: PaddingLike = "symmetric",
        act: Module | None = None,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        pixels = (kernel_size - 1) // 2 if padding == "symmetric" else padding
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, pixels, groups=groups, bias=False)
        self.norm = BatchNorm2d(out_channels, norm_eps, norm_momentum)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return y if self.act is None else self.act(y)


class SqueezeExcitation(Module):
    """Weighs each channel by what the whole image holds: x · σ(expand(silu(reduce(mean x)))) (Hu et al. 2018, section
    3).

    Parameters
    ----------
    channels : int
        Channels of x: (N, C, H, W) -> (N, C, H, W).
    squeeze_channels : int
        Width of the bottleneck between the two 1x1 convolutions.
    """

    def __init__(self, channels: int, squeeze_channels: int) -> None:
        self.reduce = Conv2d(channels, squeeze_channels, 1)
        self.act = SiLU()
        self.expand = Conv2d(squeeze_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = mean(x, (2, 3), keepdim=True)
        gate = self.expand(self.act(self.reduce(squeezed))).sigmoid()
        return x * gate


class MBConv(Module):
    """Inverted residual: widen, convolve each channel by itself, weigh the channels, narrow, add the input.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int
        Of the depthwise convolution.
    expand_ratio : int
        How many times wider the inside is; with 1 the widening convolution is left out.
    se_ratio : float
        Squeeze width as a share of ``in_channels``, the block's input before widening; 0 leaves squeeze-and-excitation
        out.
    stochastic_depth : float
        Probability that training skips the block, where there is a skip connection: stride 1 and as many channels out
        as in.
    padding, norm_eps, norm_momentum
        As in `ConvNormAct`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        expand_ratio: int = 6,
        se_ratio: float = 0.25,
        stochastic_depth: float = 0.0,
        padding: PaddingLike = "symmetric",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        hidden = in_channels * expand_ratio
        layer = partial(ConvNormAct, norm_eps=norm_eps, norm_momentum=norm_momentum)
        self.expand = layer(in_channels, hidden, 1, act=SiLU()) if expand_ratio != 1 else None
        self.depthwise = layer(hidden, hidden, kernel_size, stride, groups=hidden, padding=padding, act=SiLU())
        squeeze = max(1, int(in_channels * se_ratio))
        self.squeeze_excite = SqueezeExcitation(hidden, squeeze) if se_ratio else None
        self.project = layer(hidden, out_channels, 1)
        self.has_skip = stride == 1 and in_channels == out_channels
        self.drop_path = StochasticDepth(stochastic_depth) if self.has_skip and stochastic_depth else None

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        y = self.project(y)
        if self.drop_path is not None:
            y = self.drop_path(y)
        return x + y if self.has_skip else y
