"""Changes of light and colour, covering parts, and the numbers that the network reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .base import Picture, Rng, check_picture, checked_part, checked_range

if TYPE_CHECKING:
    from .plan import Plan

IMAGENET_MEAN: tuple[float, float, float] = (0.485, 0.456, 0.406)
"""Mean of each channel over ImageNet, red, green, blue; pixel values scaled to 0-1."""
IMAGENET_STD: tuple[float, float, float] = (0.229, 0.224, 0.225)
"""Standard deviation of each channel over ImageNet; pixel values scaled to 0-1."""

# ITU-R BT.601 luma, as Pillow's and torchvision's grey conversions use.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Colours:
    """A change of colours that is affine: a pixel times ``matrix`` (3, 3), plus ``grey`` times the mean grey."""

    matrix: NDArray[np.float32]
    grey: float

    def of(self, picture: Picture) -> Picture:
        """The picture in the new colours, rounded and cut to 0-255."""
        pixels = picture.reshape(-1, 3).astype(np.float32)
        mean_grey = float(pixels.mean(axis=0) @ _LUMA)
        pixels = pixels @ self.matrix
        pixels += np.float32(self.grey * mean_grey + 0.5)
        changed: Picture = np.clip(pixels, 0, 255).astype(np.uint8).reshape(picture.shape)
        return changed


class ColorJitter:
    """Change brightness, contrast and saturation, each by a factor from 1 - amount to 1 + amount.

    Parameters
    ----------
    brightness, contrast, saturation
        Amounts from 0 (never) to 1.
    """

    turn = 3

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        self.brightness = checked_part("brightness", brightness)
        self.contrast = checked_part("contrast", contrast)
        self.saturation = checked_part("saturation", saturation)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        colours = self._drawn(rng)
        return picture if colours is None else colours.of(picture)

    def plan(self, plan: Plan, rng: Rng) -> None:
        """Enter the change into a plan."""
        plan.colours = self._drawn(rng)

    def _drawn(self, rng: Rng) -> Colours | None:
        amounts = np.array([self.brightness, self.contrast, self.saturation])
        bright, contrast, saturation = 1.0 + amounts * rng.uniform(-1.0, 1.0, 3)
        if not amounts.any():
            return None
        # All three are affine in the colour, so one 3x3 matrix and one offset do them together.
        mixed = saturation * np.eye(3) + (1.0 - saturation) * np.outer(_LUMA, np.ones(3))
        return Colours((bright * contrast * mixed).astype(np.float32), float(bright * (1.0 - contrast)))


class RandomErasing:
    """Cover a random rectangle with one random colour (Zhong et al. 2017; DeVries and Taylor 2017, "cutout").

    Parameters
    ----------
    probability
        How often.
    scale
        Least and greatest part of the picture's area that is covered.
    ratio
        Least and greatest width / height of the rectangle, drawn log-uniformly.
    """

    def __init__(
        self,
        probability: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.2),
        ratio: tuple[float, float] = (0.3, 3.3),
    ) -> None:
        self.probability = checked_part("probability", probability)
        self.scale = checked_range("scale", scale, 1.0)
        self.ratio = checked_range("ratio", ratio, math.inf)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        check_picture(picture)
        if rng.random() >= self.probability:
            return picture
        height, width = picture.shape[:2]
        area = width * height * rng.uniform(*self.scale)
        ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
        w = min(width, max(1, round(math.sqrt(area * ratio))))
        h = min(height, max(1, round(math.sqrt(area / ratio))))
        left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        covered = picture.copy()
        covered[top : top + h, left : left + w] = rng.integers(0, 256, 3, dtype=np.uint8)
        return covered


class Normalize:
    """To network input: (pixel / 255 - mean) / std, channels first.

    Parameters
    ----------
    mean, std
        Of each channel, for pixel values scaled to 0-1; default ImageNet's.
    """

    turn = 4

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != 3 or not all(0.0 <= v <= 1.0 for v in values):
                raise ValueError(
                    f"{name}: got {tuple(values)}, expected three numbers from 0 to 1 (pixels scaled to 0-1)"
                )
        if min(std) == 0.0:
            raise ValueError(f"std: got {tuple(std)}, expected numbers above 0")
        self.mean, self.std = tuple(mean), tuple(std)
        self.scale = (1.0 / (255.0 * np.array(std))).astype(np.float32)
        self.offset = (np.array(mean) / np.array(std)).astype(np.float32)

    def plan(self, plan: Plan, rng: Rng) -> None:
        """Nothing: it comes last in every plan."""

    def __call__(self, picture: Picture, rng: Rng) -> NDArray[np.float32]:
        check_picture(picture)
        result = np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32)
        result *= self.scale[:, None, None]
        result -= self.offset[:, None, None]
        return result
