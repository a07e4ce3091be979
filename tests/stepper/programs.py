"""Programs for the tests of the stepper to record."""

from __future__ import annotations

import numpy as np

import tinygrad_effnet as tg
from tinygrad_effnet import nn


def small_network():
    """A little of everything that EfficientNet is made of."""
    tg.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.MBConv(4, 4, expand_ratio=2, stochastic_depth=0.5, fused=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(4, 3),
    )


def pictures(size=8, count=2):
    rng = np.random.default_rng(8)
    return tg.Tensor(rng.normal(size=(count, 3, size, size)).astype("f")), np.arange(count) % 3


def training_step(network, optimizer, images, labels):
    loss = tg.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
