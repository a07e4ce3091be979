"""EfficientNet in PyTorch, written apart from the package, as an oracle. Tensors come in the same order as in ours."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

STAGES = [  # expansion, kernel, stride, in, out, repeats
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
]
VARIANTS = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4)}


def round_width(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNormAct(nn.Sequential):
    def __init__(self, cin, cout, kernel, stride=1, groups=1, act=True):
        conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(cout), *([nn.SiLU()] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, channels, squeeze):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeeze, 1), nn.Conv2d(squeeze, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))))


class MBConv(nn.Module):
    def __init__(self, cin, cout, kernel, stride, expansion):
        super().__init__()
        hidden = cin * expansion
        layers = [ConvNormAct(cin, hidden, 1)] if expansion != 1 else []
        layers += [ConvNormAct(hidden, hidden, kernel, stride, hidden), SqueezeExcite(hidden, max(1, cin // 4))]
        self.block = nn.Sequential(*layers, ConvNormAct(hidden, cout, 1, act=False))
        self.residual = stride == 1 and cin == cout

    def forward(self, x):
        y = self.block(x)
        return x + y if self.residual else y


class EfficientNet(nn.Module):
    """No dropout and no stochastic depth, so that its numbers can be compared."""

    def __init__(self, variant="b0", classes=10):
        super().__init__()
        width, depth = VARIANTS[variant]
        features = [ConvNormAct(3, round_width(32 * width), 3, 2)]
        for e, k, s, i, o, repeats in STAGES:
            i, o = round_width(i * width), round_width(o * width)
            for j in range(math.ceil(repeats * depth)):
                features.append(MBConv(i if j == 0 else o, o, k, s if j == 0 else 1, e))
        features.append(ConvNormAct(o, 4 * o, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(4 * o, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))
