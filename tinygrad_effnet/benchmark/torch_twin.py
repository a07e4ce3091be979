"""The same network in PyTorch, made module by module from ours, with a copy of its weights.

PyTorch is no dependency: this file is imported only where a contestant or a check asks for it. The modules have the
names that ours have, so that state dicts go both ways.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .. import nn as our


class SqueezeExcitation(nn.Module):
    def __init__(self, ours: our.SqueezeExcitation) -> None:
        super().__init__()
        self.reduce, self.act, self.expand = twin(ours.reduce), nn.SiLU(inplace=True), twin(ours.expand)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.expand(self.act(self.reduce(x.mean((2, 3), keepdim=True)))))


class StochasticDepth(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        keep = torch.empty(len(x), 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * (keep / (1 - self.p))


class MBConv(nn.Module):
    expand: Any
    depthwise: Any
    squeeze_excite: Any
    project: Any
    drop_path: Any

    def __init__(self, ours: our.MBConv) -> None:
        super().__init__()
        for name in ("expand", "depthwise", "squeeze_excite", "project", "drop_path"):
            part = getattr(ours, name)
            setattr(self, name, nn.Identity() if part is None else twin(part))
        self.has_skip = ours.has_skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.drop_path(self.project(self.squeeze_excite(self.depthwise(self.expand(x)))))
        return x + y if self.has_skip else y


class ConvNormAct(nn.Module):
    def __init__(self, ours: our.ConvNormAct) -> None:
        super().__init__()
        self.conv, self.norm = twin(ours.conv), twin(ours.norm)
        self.act = nn.Identity() if ours.act is None else twin(ours.act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.conv(x)))


class EfficientNet(nn.Module):
    stem: Any
    stages: Any
    head: Any
    dropout: Any
    classifier: Any

    def __init__(self, ours: our.EfficientNet) -> None:
        super().__init__()
        for name in ("stem", "stages", "head", "dropout", "classifier"):
            setattr(self, name, twin(getattr(ours, name)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.head(self.stages(self.stem(x)))
        return self.classifier(self.dropout(features.mean((2, 3))))


def _conv(ours: our.Conv2d) -> nn.Module:
    how: Any = ours.kernel_size, ours.stride, ours.padding, ours.dilation, ours.groups, ours.bias is not None
    return nn.Conv2d(ours.in_channels, ours.out_channels, *how)


_TWINS: dict[type, Any] = {
    our.EfficientNet: EfficientNet,
    our.MBConv: MBConv,
    our.ConvNormAct: ConvNormAct,
    our.SqueezeExcitation: SqueezeExcitation,
    our.StochasticDepth: lambda ours: StochasticDepth(ours.p),
    our.Sequential: lambda ours: nn.Sequential(*[twin(part) for part in ours]),
    our.Conv2d: _conv,
    our.BatchNorm2d: lambda ours: nn.BatchNorm2d(ours.num_features, ours.eps, ours.momentum),
    our.Linear: lambda ours: nn.Linear(ours.in_features, ours.out_features, ours.bias is not None),
    our.SiLU: lambda ours: nn.SiLU(inplace=True),
    our.Dropout: lambda ours: nn.Dropout(ours.p),
}


def twin(ours: our.Module) -> Any:
    """PyTorch's module of the same kind, freshly initialised.

    Raises
    ------
    TypeError
        There is no twin of this kind of module.
    """
    if type(ours) not in _TWINS:
        raise TypeError(f"twin(ours): no PyTorch twin is written for a {type(ours).__name__}")
    return _TWINS[type(ours)](ours)


def twin_with_weights(ours: our.Module) -> nn.Module:
    """A twin that computes the same: weights and running statistics are copied."""
    made = twin(ours)
    made.load_state_dict({name: torch.from_numpy(value.array.copy()) for name, value in ours.state_dict().items()})
    return made
