"""The workload in this package."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import backends, nn, ops, optim, tape
from ..tensor import Tensor, from_numpy
from .settings import Settings


def prepare(settings: Settings, task: str, backend: str, fused: bool | None = None) -> Callable[[], float]:
    """A function that does one step and returns a number made from its result, which must be finite."""
    backends.use_backend(backend)
    if backend == "numba":
        backends.set_num_threads(settings.threads)
    model = build(settings, fused)
    images, labels = from_numpy(settings.images()), settings.labels()
    return trainer(model, images, labels) if task == "training" else inferrer(model, images)


def build(settings: Settings, fused: bool | None = None) -> nn.EfficientNet:
    """The network that all contestants run, with the same weights each time."""
    ops.manual_seed(0)
    return nn.EfficientNet(settings.model, settings.classes, fused=fused)


def trainer(model: nn.Module, images: Tensor, labels: np.ndarray) -> Callable[[], float]:
    """Forward, cross-entropy, backward, NAdam."""
    optimizer = optim.NAdam(model.parameters(), lr=1e-3)

    def step() -> float:
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    model.train()
    return step


def inferrer(model: nn.Module, images: Tensor) -> Callable[[], float]:
    """Forward in eval mode, nothing recorded."""

    def step() -> float:
        with tape.no_grad():
            return float(model(images).array[0, 0])

    model.eval()
    return step
