"""Turning and slanting: linear maps about the middle of the picture."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .base import BILINEAR, Picture, Rng, check_picture, checked_part

FILL: tuple[int, int, int] = (124, 116, 104)
"""Colour of what lay outside the picture: ImageNet's mean, which normalisation makes 0."""


class RandomAffine:
    """Turn and slant about the middle; what was outside becomes ImageNet's mean colour.

    Parameters
    ----------
    degrees
        Turn by an angle between minus and plus this, at most 180.
    shear
        Slant by angles between minus and plus this, across and down, at most 60 degrees.
    """

    def __init__(self, degrees: float = 0.0, shear: float = 0.0) -> None:
        self.degrees = checked_part("degrees", degrees, 180.0)
        self.shear = checked_part("shear", shear, 60.0)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        turn, across, down = np.radians(np.array([self.degrees, self.shear, self.shear]) * rng.uniform(-1.0, 1.0, 3))
        if not (self.degrees or self.shear):
            return picture
        matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        matrix = matrix @ np.array([[1.0, math.tan(across)], [math.tan(down), 1.0]])
        if abs(np.linalg.det(matrix)) < 0.1:  # two slants together can flatten the picture
            return picture
        return np.asarray(affine(Image.fromarray(picture), matrix))


def affine(image: Image.Image, matrix: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> Image.Image:
    """``image`` mapped by the 2x2 ``matrix`` (x right, y down) about its middle, then moved by ``shift`` pixels."""
    inverse = np.linalg.inv(matrix)  # Pillow asks where each new pixel comes from
    middle = np.array(image.size) / 2
    offset = middle - inverse @ (middle + np.array(shift))
    data = (*inverse[0], offset[0], *inverse[1], offset[1])
    return image.transform(image.size, Image.Transform.AFFINE, tuple(float(v) for v in data), BILINEAR, fillcolor=FILL)
