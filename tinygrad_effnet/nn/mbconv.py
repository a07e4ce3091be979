"""The blocks that EfficientNet is built from (Tan and Le 2019; MBConv is Sandler et al. 2018 with Hu et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .. import ops
from ..ops.window import PaddingLike
from ..tensor import Tensor
from .activations import SiLU
from .folding import whole_block, whole_layer
from .fusing import is_plain, is_unwatched, wants_fused
from .layers import BatchNorm2d, Conv2d, StochasticDepth
from .module import Module, around_calls


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
    fused : bool, optional
        Compute batch norm and SiLU in one operation. When left out: where the backend has kernels for it. False runs,
        and shows, each of the inner modules; so does a hook on one of them.
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
        fused: bool | None = None,
    ) -> None:
        pixels = (kernel_size - 1) // 2 if padding == "symmetric" else padding
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, pixels, groups=groups, bias=False)
        self.norm = BatchNorm2d(out_channels, norm_eps, norm_momentum)
        self.act = act
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        fused = wants_fused(self.fused, x)
        whole = whole_layer(self, x) if fused else None
        if whole is not None:
            return whole
        y = self.conv(x)
        if self.act is not None and fused and is_plain(self.norm) and is_plain(self.act):
            return ops.norm_silu(y, self.norm.begin())
        y = self.norm(y)
        return y if self.act is None else self.act(y)

    @property
    def is_plain(self) -> bool:
        """Whether a fused operation of a larger block may stand for all of this."""
        act = self.act is None or is_plain(self.act)
        return act and is_plain(self.conv) and is_plain(self.norm) and is_unwatched(self) and self.conv.bias is None


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
        squeezed = ops.mean(x, (2, 3), keepdim=True)
        gate = self.expand(self.act(self.reduce(squeezed))).sigmoid()
        return x * gate

    @property
    def weights(self) -> Sequence[Any]:
        """Weight and bias of both convolutions."""
        return self.reduce.weight, self.reduce.bias, self.expand.weight, self.expand.bias

    @property
    def is_plain(self) -> bool:
        """Whether a fused operation may stand for this."""
        parts = self.reduce, self.act, self.expand
        biased = all([weight is not None for weight in self.weights])
        return biased and all([is_plain(part) for part in parts]) and is_unwatched(self)


class _Residual(Module):
    """How both blocks below end: narrow, and add the block's input where it has the result's shape."""

    project: ConvNormAct | None
    drop_path: StochasticDepth | None

    def _skip(self, in_channels: int, out_channels: int, stride: int, stochastic_depth: float) -> None:
        self.has_skip = stride == 1 and in_channels == out_channels
        self.drop_path = StochasticDepth(stochastic_depth) if self.has_skip and stochastic_depth else None

    def _end(self, z: Tensor, x: Tensor, fused: bool) -> Tensor:
        """z: what is narrowed; x: the block's input; fused: whether one operation may stand for the modules here."""
        project, drop = self.project, self.drop_path
        if fused and project is not None and self.has_skip:
            whole = None if drop is not None and drop.training else whole_layer(project, z, x)
            if whole is not None:
                return whole
            p, training = (0.0, False) if drop is None else (drop.p, drop.training)
            return ops.norm_add(project.conv(z), project.norm.begin(), x, p, training)
        y = z if project is None else project(z)
        if drop is not None:
            y = drop(y)
        return x + y if self.has_skip else y

    @property
    def _end_is_plain(self) -> bool:
        project, drop = self.project, self.drop_path
        return project is not None and project.is_plain and project.act is None and (drop is None or is_plain(drop))


class MBConv(_Residual):
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
    act : class of Module
        After the first two convolutions: `SiLU`, or `ReLU6` in MobileNetV2, which has no fused form.
    padding, norm_eps, norm_momentum
        As in `ConvNormAct`.
    fused : bool, optional
        Compute in fused operations (ops/fused.py): the same numbers to rounding, faster and in less memory. When left
        out: where the backend has kernels for them. In eval mode under `no_grad` the whole block may be one kernel
        (folding.py). False runs, and shows, each of the inner modules, and allows second derivatives; a hook on one of
        the inner modules has the same effect.
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
        act: type[Module] = SiLU,
        fused: bool | None = None,
    ) -> None:
        hidden = in_channels * expand_ratio
        layer = partial(ConvNormAct, norm_eps=norm_eps, norm_momentum=norm_momentum, fused=fused)
        self.expand = layer(in_channels, hidden, 1, act=act()) if expand_ratio != 1 else None
        self.depthwise = layer(hidden, hidden, kernel_size, stride, groups=hidden, padding=padding, act=act())
        squeeze = max(1, int(in_channels * se_ratio))
        self.squeeze_excite = SqueezeExcitation(hidden, squeeze) if se_ratio else None
        self.project = layer(hidden, out_channels, 1)
        self._skip(in_channels, out_channels, stride, stochastic_depth)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        fused = wants_fused(self.fused, x)
        whole = whole_block(self, x) if fused else None
        if whole is not None:
            return whole
        if fused and self.is_plain:
            return self._end(self._fused(x, self.expand), x, True)
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        return self._end(y, x, False)

    @property
    def is_plain(self) -> bool:
        """Whether fused operations may stand for the inner modules: they are those of ``__init__``, and unwatched."""
        layers = self.depthwise, self.expand, self.squeeze_excite
        return (
            all([layer is None or layer.is_plain for layer in layers])
            and self.depthwise.act is not None
            and (self.expand is None or self.expand.act is not None)
            and self._end_is_plain
        )

    def takes_over(self, stem: ConvNormAct, x: Tensor) -> bool:
        """Whether `after` may stand for ``stem`` and this: in training, and where nobody watches either."""
        fused = wants_fused(stem.fused, x) and wants_fused(self.fused, x)
        begins = self.expand is None and not self.has_skip and stem.is_plain and stem.act is not None
        return fused and begins and self.training and self.is_plain and is_unwatched(self) and not around_calls

    def after(self, stem: ConvNormAct, x: Tensor) -> Tensor:
        """self(stem(x)): a block that does not widen begins with a depthwise convolution, whose fused operation has
        room for the batch norm and the SiLU before it."""
        return self._end(self._fused(x, stem), x, True)

    def _fused(self, x: Tensor, before: ConvNormAct | None) -> Tensor:
        """All that comes before the end; ``before``: the layer before the depthwise convolution, if x is its input."""
        depthwise, se, conv = self.depthwise, self.squeeze_excite, self.depthwise.conv
        if before is None:
            y = conv(x)
        else:
            raw, norm = before.conv(x), before.norm.begin()
            y = ops.norm_silu_depthwise(raw, norm, conv.weight, conv.stride, conv.padding, conv.dilation)
        if se is None:
            return ops.norm_silu(y, depthwise.norm.begin())
        return ops.norm_silu_squeeze_excite(y, depthwise.norm.begin(), *se.weights)


class FusedMBConv(_Residual):
    """MBConv with its first two convolutions made into one full convolution (Tan and Le 2021, section 3.2): more
    multiply-adds, but of a kind that machines are quick at.

    Parameters
    ----------
    in_channels, out_channels, stochastic_depth, act, padding, norm_eps, norm_momentum, fused
        As in `MBConv`.
    kernel_size, stride : int
        Of the full convolution.
    expand_ratio : int
        With 1 the full convolution gives ``out_channels`` at once, and there is no narrowing one.
    se_ratio : float
        Squeeze-and-excitation between the two convolutions, as in `MBConv`; the published networks have 0 in these
        blocks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        expand_ratio: int = 4,
        se_ratio: float = 0.0,
        stochastic_depth: float = 0.0,
        padding: PaddingLike = "symmetric",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        act: type[Module] = SiLU,
        fused: bool | None = None,
    ) -> None:
        hidden = in_channels * expand_ratio if expand_ratio != 1 else out_channels
        layer = partial(ConvNormAct, norm_eps=norm_eps, norm_momentum=norm_momentum, fused=fused)
        self.expand = layer(in_channels, hidden, kernel_size, stride, padding=padding, act=act())
        squeeze = max(1, int(in_channels * se_ratio))
        self.squeeze_excite = SqueezeExcitation(hidden, squeeze) if se_ratio else None
        self.project = layer(hidden, out_channels, 1) if expand_ratio != 1 else None
        self._skip(in_channels, out_channels, stride, stochastic_depth)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        return self._end(y, x, wants_fused(self.fused, x) and self._end_is_plain)
