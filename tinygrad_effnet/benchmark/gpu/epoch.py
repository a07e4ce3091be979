"""An epoch of as many pictures as Stanford Cars has, from bytes in memory, finished on the card, trained on.

The pictures are noise of the size that a run keeps (`training.build`): what they show does not change the time.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from ... import optim
from ...backends.cupy.availability import require_device
from ...data import DataLoader, train_transform
from ...training import Trainer
from ...training import precision as precisions
from ...training.build import CACHE_MARGIN
from .. import ours
from ..settings import CLASSES, Settings

WARM_UPS = 3  # batches before the epoch that counts


class Epoch(NamedTuple):
    """What was done in so many seconds; the last batch, which is not full, is left out."""

    precision: str
    images: int
    size: int
    batch: int
    seconds: float


class Noise:
    """A data set of uint8 pictures in memory, 4:3, the shorter side ``side`` pixels."""

    def __init__(self, count: int, side: int) -> None:
        rng = np.random.default_rng(0)
        shape = count, side, round(side * 4 / 3), 3
        self.pictures = rng.integers(0, 256, shape, np.uint8)
        self.labels = rng.integers(0, CLASSES, count)
        self.class_names = [str(number) for number in range(CLASSES)]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.pictures[index], int(self.labels[index])

    def source(self, index: int) -> str:
        return f"picture {index} of noise"

    def describe(self) -> str:
        return f"{len(self)} pictures of noise"


def measure(precision: str, images: int, size: int, batch: int, threads: int, model: str = "b0") -> Epoch:
    """Train for an epoch of ``images`` pictures of ``size`` px: crop, mirror, colours; forward, backward, NAdam."""
    cupy = require_device("benchmark --device cuda")
    net = ours.build(Settings(model, size, batch)).to("cupy")
    optimizer = optim.NAdam(net.parameters(), lr=1e-3)
    half = precisions.prepare(precision, net)
    trainer = Trainer(net, optimizer, optim.WarmupCosine(optimizer, 10, 1000), CLASSES, half=half)
    loader = DataLoader(
        Noise(images, round(size * CACHE_MARGIN)),
        batch,
        train_transform(size),
        shuffle=True,
        workers=max(1, min(threads, 8)),
        drop_last=True,
        as_bytes=True,
    )
    trainer.train_epoch(loader, limit=WARM_UPS)
    cupy.cuda.Device().synchronize()
    begin = time.perf_counter()
    trainer.train_epoch(loader)
    cupy.cuda.Device().synchronize()
    return Epoch(precision, len(loader) * batch, size, batch, time.perf_counter() - begin)
