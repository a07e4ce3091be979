"""Mixing the pictures of a batch, and their labels with them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .base import Rng


class MixBatch:
    """Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): each picture with another one of its batch.

    Mixup blends two pictures, x = r a + (1 - r) b; CutMix puts a rectangle of b into a, whose area is 1 - r of the
    picture's. Both mix the labels by the same r, which is drawn from Beta(alpha, alpha), one for the batch. With both
    switched on a coin chooses for each batch.

    Parameters
    ----------
    num_classes
        Width of the mixed labels.
    mixup, cutmix
        The alpha of each, 0 to switch it off; published recipes have 0.2 and 1.
    probability
        How often a batch is mixed at all.

    Raises
    ------
    ValueError
        If an argument is out of its range, or both are switched off.
    """

    def __init__(self, num_classes: int, mixup: float = 0.0, cutmix: float = 0.0, probability: float = 1.0) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: got {num_classes}, expected at least 1")
        for name, value in (("mixup", mixup), ("cutmix", cutmix)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, expected 0 or more")
        if not (mixup or cutmix):
            raise ValueError("mixup, cutmix: both are 0, so that nothing would be mixed; leave MixBatch out")
        if not 0 < probability <= 1:
            raise ValueError(f"probability: got {probability}, expected more than 0 and at most 1")
        self.num_classes, self.mixup, self.cutmix, self.probability = num_classes, mixup, cutmix, probability

    def __call__(
        self, images: NDArray[np.float32], labels: NDArray[np.int64], rng: Rng
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mixed images, (N, 3, H, W) float32, and the share of each class in each, (N, K) float32."""
        hot = np.eye(self.num_classes, dtype=np.float32)[labels]
        if rng.random() >= self.probability:
            return images, hot
        partner = rng.permutation(len(images))
        cut = bool(self.cutmix) and (not self.mixup or rng.random() < 0.5)
        alpha = self.cutmix if cut else self.mixup
        ratio = float(rng.beta(alpha, alpha))
        if cut:
            images, ratio = _paste(images, images[partner], ratio, rng)
        else:
            images = np.float32(ratio) * images + np.float32(1.0 - ratio) * images[partner]
        return images, np.float32(ratio) * hot + np.float32(1.0 - ratio) * hot[partner]


def _paste(
    images: NDArray[np.float32], others: NDArray[np.float32], ratio: float, rng: Rng
) -> tuple[NDArray[np.float32], float]:
    """A rectangle of ``others`` in ``images``, at one place for all, and the share of the picture that is left."""
    height, width = images.shape[2:]
    side = math.sqrt(1.0 - ratio)
    down, across = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = (min(max(round(down + s * side * height / 2), 0), height) for s in (-1, 1))
    left, right = (min(max(round(across + s * side * width / 2), 0), width) for s in (-1, 1))
    mixed = images.copy()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    # The rectangle may have been cut by the edge, so its area is measured.
    return mixed, 1.0 - (bottom - top) * (right - left) / (height * width)
