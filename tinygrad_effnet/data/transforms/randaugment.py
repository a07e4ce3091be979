"""RandAugment (Cubuk et al. 2020): a few changes drawn from a fixed list, all of one strength."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from .affine import affine
from .base import Picture, Rng, check_picture

# Each takes the picture and a strength from -1 to 1 (the sign is a coin's) and has its greatest extent from the paper.
_Change = Callable[[Image.Image, float], Image.Image]


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> _Change:
    return lambda image, strength: kind(image).enhance(1.0 + 0.9 * strength)


def _shear_x(image: Image.Image, strength: float) -> Image.Image:
    return affine(image, np.array([[1.0, 0.3 * strength], [0.0, 1.0]]))


def _shear_y(image: Image.Image, strength: float) -> Image.Image:
    return affine(image, np.array([[1.0, 0.0], [0.3 * strength, 1.0]]))


def _translate_x(image: Image.Image, strength: float) -> Image.Image:
    return affine(image, np.eye(2), (150 / 331 * strength * image.width, 0.0))


def _translate_y(image: Image.Image, strength: float) -> Image.Image:
    return affine(image, np.eye(2), (0.0, 150 / 331 * strength * image.height))


def _rotate(image: Image.Image, strength: float) -> Image.Image:
    angle = np.radians(30.0 * strength)
    return affine(image, np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]))


def _posterize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * abs(strength)))


def _solarize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1.0 - abs(strength))))


CHANGES: dict[str, _Change] = {
    "identity": lambda image, strength: image,
    "auto_contrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "rotate": _rotate,
    "solarize": _solarize,
    "color": _enhance(ImageEnhance.Color),
    "posterize": _posterize,
    "contrast": _enhance(ImageEnhance.Contrast),
    "brightness": _enhance(ImageEnhance.Brightness),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""The paper's fourteen, by name."""


class RandAugment:
    """Change a picture in ``num_ops`` ways, each drawn from the fourteen of the paper.

    Parameters
    ----------
    num_ops
        Changes, one after the other.
    magnitude
        Their strength, 0 to 30; the paper has 9 for EfficientNet-B0's size of network, more for larger ones.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """

    def __init__(self, num_ops: int = 2, magnitude: float = 9.0) -> None:
        if num_ops < 1:
            raise ValueError(f"num_ops: got {num_ops}, expected at least 1")
        if not 0 <= magnitude <= 30:
            raise ValueError(f"magnitude: got {magnitude}, expected a number from 0 to 30")
        self.num_ops, self.magnitude = num_ops, magnitude

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        image = Image.fromarray(picture)
        changes = list(CHANGES.values())
        for _ in range(self.num_ops):
            change = changes[int(rng.integers(len(changes)))]
            image = change(image, self.magnitude / 30 * (1.0 if rng.random() < 0.5 else -1.0))
        return np.asarray(image)
