"""The synthetic car set: every picture a pure function of (seed, split, index)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fleet import CAR_MODELS, car_models
from .render import render

CLASS_NAMES: tuple[str, ...] = tuple(model.name for model in CAR_MODELS)
"""Names of the ten models that are drawn by hand, in the order of their labels."""

_SPLITS = {"train": 0, "val": 1}
_DEFAULT_COUNT = {"train": 200, "val": 40}


class SyntheticCars:
    """Procedural pictures of fictional car models: ten that were drawn by hand, or as many as are asked for.

    Picture ``i`` depends on (seed, split, i) alone: the same bytes in every run, order and process with the same
    versions of NumPy and Pillow, and a smaller set is the beginning of a larger one. Labels go round the classes, so
    classes are balanced. Different splits draw from different random streams.

    Parameters
    ----------
    split
        "train" or "val".
    images_per_class
        Default 200 for "train", 40 for "val".
    size
        Side of the pictures, pixels, at least 16.
    seed
        A different seed gives another set of pictures of the same models.
    models
        How many models there are. Those after the tenth have the bodies of the ten, with measures drawn from their
        number, and are as hard to tell apart as a maker's successive models: 196 are for the size of Stanford Cars.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """

    def __init__(
        self,
        split: str = "train",
        images_per_class: int | None = None,
        size: int = 96,
        seed: int = 0,
        models: int = len(CAR_MODELS),
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f"split: got {split!r}, expected one of {', '.join(map(repr, _SPLITS))}")
        count = _DEFAULT_COUNT[split] if images_per_class is None else images_per_class
        if count < 1:
            raise ValueError(f"images_per_class: got {count}, expected at least 1")
        if size < 16:
            raise ValueError(f"size: got {size}, expected at least 16 pixels")
        if seed < 0:
            raise ValueError(f"seed: got {seed}, expected a number of at least 0")
        self.split = split
        self.images_per_class = count
        self.size = size
        self.seed = seed
        self.models = car_models(models)
        self.class_names: list[str] = [model.name for model in self.models]
        self.labels: NDArray[np.int64] = np.arange(count * models, dtype=np.int64) % models

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Picture (size, size, 3) uint8 RGB and its label."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: got {index}, expected less than {len(self)} (the number of pictures)")
        index = index % len(self)
        label = int(self.labels[index])
        # A spawn key keeps the streams of all (split, index) apart whatever the seed.
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(_SPLITS[self.split], index)))
        return render(self.models[label], self.size, rng)[0], label

    def source(self, index: int) -> str:
        """What error messages call picture ``index``."""
        return f"synthetic {self.split} picture {index} (seed {self.seed})"

    def describe(self) -> str:
        """A short report of the set."""
        return (
            f"synthetic cars ({self.split}): {len(self)} rendered pictures of "
            f"{len(self.class_names)} fictional models, "
            f"{self.images_per_class} each, {self.size}x{self.size} pixels, seed {self.seed}"
        )
