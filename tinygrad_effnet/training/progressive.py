"""Small images first: most of what a network learns early it learns as well from images that cost a quarter.

Tan & Le 2021, "EfficientNetV2: Smaller Models and Faster Training", section 4. Theirs grow in four stages, and so do
these; augmentation and dropout, which they let grow too, stay as the settings have them.
"""

from __future__ import annotations

from .config import TrainConfig

STAGES = 4
_MULTIPLE = 16  # sides between the first and the last; odd ones leave borders that the next size does not have


def image_side(config: TrainConfig, epoch: int) -> int:
    """Side of the training images of ``epoch`` (from 0), pixels.

    It grows from ``config.progressive`` to ``config.size`` in equal stages, the last of which has the whole size; runs
    shorter than `STAGES` epochs have fewer.
    """
    stages = min(STAGES, config.epochs)
    if config.progressive is None or stages == 1:
        return config.size
    stage = min(epoch * stages // config.epochs, stages - 1)
    exact = config.progressive + (config.size - config.progressive) * stage / (stages - 1)
    if stage in (0, stages - 1):
        return round(exact)
    return min(max(round(exact / _MULTIPLE) * _MULTIPLE, config.progressive), config.size)


def epochs_to_come(config: TrainConfig, epoch: int) -> float:
    """Work of the epochs after ``epoch`` (from 0), where that of ``epoch`` is 1: it goes with the number of pixels."""
    here = image_side(config, epoch)
    return sum((image_side(config, later) / here) ** 2 for later in range(epoch + 1, config.epochs))
