"""Layers with parameters or buffers, and the containers that hold layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, overload

import numpy as np

from .. import ops, versions
from ..ops.random import checked_probability
from ..ops.window import PaddingLike, PairLike, check_window, pair
from ..tensor import Tensor
from . import init
from .module import Buffer, Module, Parameter


class Linear(Module):
    """x @ weight.T + bias: (..., in_features) -> (..., out_features).

    Initialised as PyTorch does: weight and bias uniform in ±1/sqrt(in_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(max(in_features, 1))
        self.weight = init.uniform_(Parameter(init.empty(out_features, in_features)), -bound, bound)
        self.bias = init.uniform_(Parameter(init.empty(out_features)), -bound, bound) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


class Conv2d(Module):
    """Two-dimensional convolution: (N, in_channels, H, W) -> (N, out_channels, Ho, Wo). The arguments are those of
    `ops.conv2d`.

    Initialised as PyTorch does: weight and bias uniform in ±1/sqrt(fan_in).

    Raises
    ------
    ValueError
        ``groups`` does not divide both numbers of channels, or a size makes no sense.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PairLike,
        stride: PairLike = 1,
        padding: PaddingLike = 0,
        dilation: PairLike = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d(groups): {groups} must divide in_channels = {in_channels} and out_channels = {out_channels}"
            )
        check_window("Conv2d", kernel_size, stride, padding, dilation)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = Parameter(init.empty(out_channels, in_channels // groups, *self.kernel_size))
        bound = 1 / math.sqrt(max(init.fans(self.weight)[0], 1))
        init.uniform_(self.weight, -bound, bound)
        self.bias = init.uniform_(Parameter(init.empty(out_channels)), -bound, bound) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}, padding={self.padding!r}"
        for name, value, usual in (("dilation", self.dilation, 1), ("groups", self.groups, 1)):
            text += f", {name}={value}" if value != usual else ""
        return text + ("" if self.bias is not None else ", bias=False")


class BatchNorm2d(Module):
    """Batch normalisation of images (N, C, H, W), channel by channel; see `ops.batch_norm`.

    Parameters
    ----------
    num_features : int
        Channels C.
    eps : float
        Added to the variance.
    momentum : float
        Share of the new batch in the running statistics (PyTorch's meaning; TensorFlow's "0.99" is 0.01 here).

    Raises
    ------
    ValueError
        ``eps`` is negative, or ``momentum`` is no share.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm2d(momentum): {momentum!r}; expected a share between 0 and 1")
        if not eps >= 0:
            raise ValueError(f"BatchNorm2d(eps): {eps!r}; expected a number >= 0")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean = Buffer(np.zeros(num_features, np.float32))
        self.running_var = Buffer(np.ones(num_features, np.float32))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(
                f"BatchNorm2d: x must have 4 axes (N C H W), but has shape {x.shape}; one image of its own needs a "
                "batch axis, x.unsqueeze(0)"
            )
        return ops.batch_norm(x, *self.begin())

    def begin(self) -> ops.Norm:
        """What `ops.batch_norm` and the fused operations ask of a norm; in training, one more batch is counted."""
        if self.training:
            versions.wrote("BatchNorm2d, counting batches,", self.num_batches_tracked.array)
            self.num_batches_tracked.array += 1
        return ops.Norm(
            self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class Dropout(Module):
    """In training, sets entries to 0 with probability ``p`` and enlarges the others; see `ops.dropout`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = checked_probability("Dropout", p)

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class StochasticDepth(Module):
    """In training, sets whole samples to 0 with probability ``p``; see `ops.stochastic_depth`."""

    def __init__(self, p: float) -> None:
        self.p = checked_probability("StochasticDepth", p)

    def forward(self, x: Tensor) -> Tensor:
        return ops.stochastic_depth(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class MaxPool2d(Module):
    """Largest pixel of each window; see `ops.max_pool2d`."""

    def __init__(
        self, kernel_size: PairLike, stride: PairLike | None = None, padding: PaddingLike = 0, dilation: PairLike = 1
    ) -> None:
        check_window("MaxPool2d", kernel_size, kernel_size if stride is None else stride, padding, dilation)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride or self.kernel_size}, padding={self.padding!r}"


class AvgPool2d(Module):
    """Mean of each window; see `ops.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: PairLike,
        stride: PairLike | None = None,
        padding: PaddingLike = 0,
        count_include_pad: bool = True,
    ) -> None:
        check_window("AvgPool2d", kernel_size, kernel_size if stride is None else stride, padding)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride or self.kernel_size}, padding={self.padding!r}"


class AdaptiveAvgPool2d(Module):
    """Means over a grid of ``output_size`` cells, 1 for global average pooling; see `ops.adaptive_avg_pool2d`."""

    def __init__(self, output_size: PairLike) -> None:
        self.output_size = pair("AdaptiveAvgPool2d", "output_size", output_size)

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _Container(Module):
    """Modules under the names 0, 1, 2, ..."""

    def __init__(self, modules: Iterable[Module]) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"{type(self).__name__}: item {i} is a {type(module).__name__}; expected a Module")
            setattr(self, str(i), module)

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        modules = list(self.children())
        return type(self)._of(modules[index]) if isinstance(index, slice) else modules[index]

    @classmethod
    def _of(cls, modules: list[Module]) -> _Container:
        return cls(modules)

    def append(self, module: Module) -> None:
        setattr(self, str(len(self)), module)


class Sequential(_Container):
    """Modules one after the other: the output of each is the input of the next."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    @classmethod
    def _of(cls, modules: list[Module]) -> Sequential:
        return cls(*modules)

    def forward(self, x: Any) -> Any:
        for module in self.children():
            x = module(x)
        return x


class ModuleList(_Container):
    """Modules to be called by the module that holds them, in whatever way it likes."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__(modules)
