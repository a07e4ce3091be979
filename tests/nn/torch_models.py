"""The networks in PyTorch, written apart from the package and its tables, with torchvision's names of parameters."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

# kind, expansion, kernel, stride, in, out, repeats
V1 = [
    ("mb", 1, 3, 1, 32, 16, 1), ("mb", 6, 3, 2, 16, 24, 2), ("mb", 6, 5, 2, 24, 40, 2), ("mb", 6, 3, 2, 40, 80, 3),
    ("mb", 6, 5, 1, 80, 112, 3), ("mb", 6, 5, 2, 112, 192, 4), ("mb", 6, 3, 1, 192, 320, 1),
]  # fmt: skip
V2_S = [
    ("fused", 1, 3, 1, 24, 24, 2), ("fused", 4, 3, 2, 24, 48, 4), ("fused", 4, 3, 2, 48, 64, 4),
    ("mb", 4, 3, 2, 64, 128, 6), ("mb", 6, 3, 1, 128, 160, 9), ("mb", 6, 3, 2, 160, 256, 15),
]  # fmt: skip
MOBILE = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class Conv(nn.Conv2d):
    """A convolution padded as PyTorch's models pad, or as TensorFlow does with "SAME"."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, groups: int, same: bool) -> None:
        super().__init__(cin, cout, kernel, stride, 0 if same else kernel // 2, groups=groups, bias=False)
        self.same = same

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.same:
            needed = [
                max((math.ceil(n / s) - 1) * s + k - n, 0)
                for n, s, k in zip(x.shape[2:], self.stride, self.kernel_size, strict=True)
            ]
            (top, left), (down, right) = [n // 2 for n in needed], [n - n // 2 for n in needed]
            x = F.pad(x, (left, right, top, down))
        return super().forward(x)


class Maker:
    def __init__(self, act: type[nn.Module], eps: float, same: bool) -> None:
        self.act, self.eps, self.same = act, eps, same

    def layer(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Module:
        parts = [Conv(cin, cout, kernel, stride, groups, self.same), nn.BatchNorm2d(cout, self.eps)]
        return nn.Sequential(*parts, *([self.act()] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeeze, 1), nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Block(nn.Module):
    def __init__(self, make: Maker, kind: str, e: int, kernel: int, stride: int, cin: int, cout: int) -> None:
        super().__init__()
        hidden = cin * e
        if kind == "fused":
            parts = [make.layer(cin, hidden if e > 1 else cout, kernel, stride)]
        else:
            parts = [make.layer(cin, hidden, 1)] if e > 1 else []
            parts += [make.layer(hidden, hidden, kernel, stride, hidden), SqueezeExcite(hidden, max(1, cin // 4))]
        if kind == "mb" or e > 1:
            parts.append(make.layer(hidden, cout, 1, act=False))
        self.block, self.skip = nn.Sequential(*parts), stride == 1 and cin == cout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x) if self.skip else self.block(x)


class InvertedResidual(nn.Module):
    """MobileNetV2's block, whose narrowing convolution and batch norm are not in a folder of their own."""

    def __init__(self, make: Maker, e: int, stride: int, cin: int, cout: int) -> None:
        super().__init__()
        hidden = cin * e
        parts = [make.layer(cin, hidden, 1)] if e > 1 else []
        parts += [make.layer(hidden, hidden, 3, stride, hidden), *make.layer(hidden, cout, 1, act=False)]
        self.conv, self.skip = nn.Sequential(*parts), stride == 1 and cin == cout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


class Net(nn.Module):
    def __init__(self, features: list[nn.Module], head: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(head, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def rounded(channels: float) -> int:
    n = max(8, int(channels + 4) // 8 * 8)
    return n + 8 if n < 0.9 * channels else n


def efficientnet(width: float, depth: float, classes: int, same: bool) -> Net:
    make = Maker(nn.SiLU, 1e-5, same)
    stages = [
        (kind, e, k, s, rounded(i * width), rounded(o * width), math.ceil(r * depth)) for kind, e, k, s, i, o, r in V1
    ]
    return _net(make, stages, rounded(1280 * width), classes)


def efficientnet_v2_s(classes: int, same: bool) -> Net:
    return _net(Maker(nn.SiLU, 1e-3, same), V2_S, 1280, classes)


def _net(make: Maker, stages: list[tuple], head: int, classes: int) -> Net:
    features = [make.layer(3, stages[0][4], 3, 2)]
    for kind, e, k, s, cin, cout, repeats in stages:
        blocks = [Block(make, kind, e, k, s if j == 0 else 1, cin if j == 0 else cout, cout) for j in range(repeats)]
        features.append(nn.Sequential(*blocks))
    features.append(make.layer(stages[-1][5], head, 1))
    return Net(features, head, classes)


def mobilenet_v2(classes: int, same: bool) -> Net:
    make, cin = Maker(nn.ReLU6, 1e-5, same), 32
    features = [make.layer(3, 32, 3, 2)]
    for e, cout, repeats, stride in MOBILE:
        for j in range(repeats):
            features.append(InvertedResidual(make, e, stride if j == 0 else 1, cin, cout))
            cin = cout
    features.append(make.layer(320, 1280, 1))
    return Net(features, 1280, classes)
