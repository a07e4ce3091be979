"""Cutting, resizing, mirroring and turning."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .base import BILINEAR, RESAMPLING, Picture, Rng, check_picture, checked_part, checked_range, checked_size


class Resize:
    """Resize so that the shorter side has ``size`` pixels, keeping the proportions; or to (height, width).

    Parameters
    ----------
    size
        Pixels, one number or two.
    interpolation
        "bilinear" or "bicubic"; where the picture becomes smaller, both take the mean over what a pixel covers.
    """

    def __init__(self, size: int | tuple[int, int], interpolation: str = "bilinear") -> None:
        if interpolation not in RESAMPLING:
            raise ValueError(f"interpolation: got {interpolation!r}, expected one of {', '.join(RESAMPLING)}")
        for side in (size,) if isinstance(size, int) else size:
            checked_size(side)
        self.size, self.interpolation = size, interpolation

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        height, width = target = self._target(*picture.shape[:2])
        if target == picture.shape[:2]:
            return picture
        return np.asarray(Image.fromarray(picture).resize((width, height), RESAMPLING[self.interpolation]))

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size
        scale = self.size / min(height, width)
        return max(self.size, round(height * scale)), max(self.size, round(width * scale))


class CenterCrop:
    """Cut a square of ``size`` pixels from the middle; a picture smaller than that is a ValueError."""

    def __init__(self, size: int) -> None:
        self.size = checked_size(size)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        height, width = picture.shape[:2]
        if min(height, width) < self.size:
            raise ValueError(f"picture: got {width}x{height}, too small for a crop of {self.size}; put Resize before")
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return picture[top : top + self.size, left : left + self.size]


class RandomResizedCrop:
    """Cut a random rectangle and resize it to a square (Szegedy et al. 2015, section 6).

    Parameters
    ----------
    size
        Side of the result, pixels.
    scale
        Least and greatest part of the picture's area that is cut.
    ratio
        Least and greatest width / height of the cut, drawn log-uniformly.
    """

    def __init__(
        self, size: int, scale: tuple[float, float] = (0.5, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
    ) -> None:
        self.size = checked_size(size)
        self.scale = checked_range("scale", scale, 1.0)
        self.ratio = checked_range("ratio", ratio, math.inf)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        box = self._box(picture.shape[1], picture.shape[0], rng)
        # Cutting and resizing in one pass also allows cuts between pixels.
        return np.asarray(Image.fromarray(picture).resize((self.size, self.size), BILINEAR, box=box))

    def _box(self, width: int, height: int, rng: Rng) -> tuple[float, float, float, float]:
        for _ in range(10):
            area = width * height * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
            if w <= width and h <= height:
                left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
                return left, top, min(left + w, width), min(top + h, height)
        # No cut fits a very long picture: the largest with an allowed ratio, from the middle.
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, height * ratio), min(height, width / ratio)
        return (width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2


class RandomHorizontalFlip:
    """Mirror left and right with ``probability``."""

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = checked_part("probability", probability)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        return picture[:, ::-1] if rng.random() < self.probability else picture
