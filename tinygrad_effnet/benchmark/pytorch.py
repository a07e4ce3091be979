"""The workload in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from . import ours
from .settings import Settings
from .torch_twin import twin_with_weights


def prepare(settings: Settings, task: str, channels_last: bool, compiled: bool) -> Callable[[], float]:
    """As `ours.prepare`; ``channels_last`` and ``compiled`` are PyTorch's two ways to be faster."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    model = twin_with_weights(ours.build(settings))
    images, labels = torch.from_numpy(settings.images()), torch.from_numpy(settings.labels())
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.to(memory_format=torch.channels_last)
    model.train(task == "training")
    net = torch.compile(model) if compiled else model

    if task == "inference":

        def infer() -> float:
            with torch.inference_mode():
                return float(net(images)[0, 0])

        return infer

    optimizer = torch.optim.NAdam(model.parameters(), lr=1e-3)

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def check(settings: Settings) -> dict[str, float]:
    """Is it the same network? Parameters of both, and the largest difference of logits as a share of the largest.

    Compared in eval mode and in training (without dropout, whose random numbers differ), on two small images.
    """
    from ..nn import EfficientNet
    from ..tensor import from_numpy

    small = settings._replace(batch=2, size=64)
    model = EfficientNet(settings.model, settings.classes, dropout=0.0, stochastic_depth=0.0)
    other = twin_with_weights(model)
    images, difference = small.images(), 0.0
    for training in (False, True):
        mine = model.train(training)(from_numpy(images)).array
        theirs = other.train(training)(torch.from_numpy(images)).detach().numpy()
        difference = max(difference, float(abs(mine - theirs).max() / abs(theirs).max()))
    return {
        "parameters": sum(p.size for p in model.parameters()),
        "torch_parameters": sum(p.numel() for p in other.parameters()),
        "difference": difference,
    }
