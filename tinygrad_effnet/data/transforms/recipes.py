"""The chains that training and evaluation use."""

from __future__ import annotations

from collections.abc import Sequence

from .affine import RandomAffine
from .base import Compose, Transform
from .colour import IMAGENET_MEAN, IMAGENET_STD, ColorJitter, Normalize, RandomErasing
from .geometry import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize
from .randaugment import RandAugment


def train_transform(
    size: int,
    scale: tuple[float, float] = (0.8, 1.0),
    flip: float = 0.5,
    jitter: float = 0.1,
    erasing: float = 0.0,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    rotate: float = 0.0,
    shear: float = 0.0,
    randaugment: float = 0.0,
) -> Compose:
    """Augmentation for cars: cut and resize, mirror, turn, change of light, cover, normalise.

    Cars stand on their wheels, so there is no vertical flip; colour tells little about the model, so it may change.

    Parameters
    ----------
    size
        Side of the result, pixels.
    scale
        Part of the area that is cut.
    flip, erasing
        Probabilities.
    jitter
        Amount for brightness, contrast and saturation.
    mean, std
        Normalisation, see :class:`Normalize`.
    rotate, shear
        Greatest angles, degrees, see :class:`RandomAffine`.
    randaugment
        Magnitude of two changes by :class:`RandAugment`; 0 for none.
    """
    steps: list[Transform] = [RandomResizedCrop(size, scale), RandomHorizontalFlip(flip)]
    # After the cut, so that its cost does not depend on the photograph's size.
    if rotate or shear:
        steps.append(RandomAffine(rotate, shear))
    if randaugment:
        steps.append(RandAugment(2, randaugment))
    steps.append(ColorJitter(jitter, jitter, jitter))
    if erasing:
        steps.append(RandomErasing(erasing))
    return Compose([*steps, Normalize(mean, std)])


def eval_transform(
    size: int, margin: float = 1.0, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Compose:
    """Without chance: shorter side to ``margin`` times ``size``, middle square, normalise.

    Parameters
    ----------
    size
        Side of the result, pixels.
    margin
        At least 1. ImageNet's usual 1.14 cuts away edges; cars often fill the picture, hence 1.
    mean, std
        Normalisation, see :class:`Normalize`.
    """
    if margin < 1.0:
        raise ValueError(f"margin: got {margin}, expected at least 1")
    return Compose([Resize(round(size * margin)), CenterCrop(size), Normalize(mean, std)])
