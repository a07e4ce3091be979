"""What is measured: the network, its input, the step. The same for every contestant."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ..nn.efficientnet import VARIANTS

CLASSES = 196  # of Stanford Cars
TASKS = ("training", "inference")


class Settings(NamedTuple):
    """A workload. ``threads`` is what each contestant may use; images are float32, (batch, 3, size, size)."""

    model: str = "b0"
    size: int = 224
    batch: int = 16
    threads: int = 0  # 0: as many as this process may run on
    classes: int = CLASSES

    def checked(self) -> Settings:
        """These settings with ``threads`` filled in.

        Raises
        ------
        ValueError
            There is no such model, or a number makes no sense.
        """
        if self.model not in VARIANTS:
            raise ValueError(f"--model {self.model}: expected one of {', '.join(VARIANTS)}")
        if self.size < 32:
            raise ValueError(f"--size {self.size}: expected at least 32 pixels, which five halvings leave one of")
        for name in ("batch", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: expected at least 1")
        most = cores()
        if not 0 <= self.threads <= most:
            raise ValueError(f"--threads {self.threads}: expected 1 to {most}, the cores that this process may run on")
        return self._replace(threads=self.threads or most)

    def images(self) -> np.ndarray:
        """Random images: their numbers do not change the time."""
        shape = self.batch, 3, self.size, self.size
        return np.random.default_rng(0).standard_normal(shape, np.float32)

    def labels(self) -> np.ndarray:
        """Random labels, int64."""
        return np.random.default_rng(1).integers(0, self.classes, self.batch)


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
