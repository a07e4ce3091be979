"""Cutting, resizing, mirroring and turning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .base import (
    BILINEAR,
    NOT_PLANNED,
    RESAMPLING,
    Picture,
    Rng,
    check_picture,
    checked_part,
    checked_range,
    checked_size,
)

if TYPE_CHECKING:
    from .plan import Plan


class Resize:
    """Resize so that the shorter side has ``size`` pixels, keeping the proportions; or to (height, width).

    Parameters
    ----------
    size
        Pixels, one number or two.
    interpolation
        "bilinear" or "bicubic"; where the picture becomes smaller, both take the mean over what a pixel covers.
    """

    turn = 0

    def __init__(self, size: int | tuple[int, int], interpolation: str = "bilinear") -> None:
        if interpolation not in RESAMPLING:
            raise ValueError(f"interpolation: got {interpolation!r}, expected one of {', '.join(RESAMPLING)}")
        for side in (size,) if isinstance(size, int) else size:
            checked_size(side)
        self.size, self.interpolation = size, interpolation
        if interpolation != "bilinear":
            self.turn = NOT_PLANNED

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        height, width = target = self._target(*picture.shape[:2])
        if target == picture.shape[:2]:
            return picture
        return np.asarray(Image.fromarray(picture).resize((width, height), RESAMPLING[self.interpolation]))

    def plan(self, plan: Plan, rng: Rng) -> None:
        """Enter the new size into a plan."""
        plan.resized = plan.size = self._target(*plan.size)

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size
        scale = self.size / min(height, width)
        return max(self.size, round(height * scale)), max(self.size, round(width * scale))


class CenterCrop:
    """Cut a square of ``size`` pixels from the middle; a picture smaller than that is a ValueError."""

    turn = 1

    def __init__(self, size: int) -> None:
        self.size = checked_size(size)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        top, left = self._corner(*picture.shape[:2])
        return picture[top : top + self.size, left : left + self.size]

    def plan(self, plan: Plan, rng: Rng) -> None:
        """Enter the cut into a plan."""
        plan.corner = self._corner(*plan.size)
        plan.size = (self.size, self.size)

    def _corner(self, height: int, width: int) -> tuple[int, int]:
        if min(height, width) < self.size:
            raise ValueError(f"picture: got {width}x{height}, too small for a crop of {self.size}; put Resize before")
        return (height - self.size) // 2, (width - self.size) // 2


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

    turn = 0

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

    def plan(self, plan: Plan, rng: Rng) -> None:
        """Enter the cut and its size into a plan."""
        plan.box = self._box(plan.size[1], plan.size[0], rng)
        plan.resized = plan.size = (self.size, self.size)

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

    turn = 2

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = checked_part("probability", probability)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        return picture[:, ::-1] if rng.random() < self.probability else picture

    def plan(self, plan: Plan, rng: Rng) -> None:
        """Enter whether to mirror into a plan."""
        plan.mirrored = bool(rng.random() < self.probability)
