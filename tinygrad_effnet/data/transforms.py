"""Augmentation and normalisation: uint8 pictures in, float32 network input out.

A transform is called with a picture, (H, W, 3) uint8 RGB, and a NumPy generator, and returns a picture of the same
kind; :class:`Normalize` ends the chain and returns (3, H, W) float32. All chance comes from the generator, so equal
generators give equal results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
Rng = np.random.Generator
Transform = Callable[[NDArray[Any], Rng], NDArray[Any]]

IMAGENET_MEAN: tuple[float, float, float] = (0.485, 0.456, 0.406)
"""Mean of each channel over ImageNet, red, green, blue; pixel values scaled to 0-1."""
IMAGENET_STD: tuple[float, float, float] = (0.229, 0.224, 0.225)
"""Standard deviation of each channel over ImageNet; pixel values scaled to 0-1."""

_BILINEAR = Image.Resampling.BILINEAR
# ITU-R BT.601 luma, as Pillow's and torchvision's grey conversions use.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _check_picture(picture: NDArray[Any]) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"picture: got shape {picture.shape} of {picture.dtype}, expected (H, W, 3) of uint8; "
            "pictures are normalised last"
        )
    if 0 in picture.shape:
        raise ValueError(f"picture: got shape {picture.shape}, expected at least one pixel")


def _size(size: int) -> int:
    if size < 1:
        raise ValueError(f"size: got {size}, expected at least 1 pixel")
    return size


def _part(name: str, value: float, high: float = 1.0) -> float:
    if not 0.0 <= value <= high:
        raise ValueError(f"{name}: got {value}, expected a number from 0 to {high:g}")
    return value


def _range(name: str, pair: tuple[float, float], high: float) -> tuple[float, float]:
    if len(pair) != 2 or not 0.0 < pair[0] <= pair[1] <= high:
        raise ValueError(f"{name}: got {pair}, expected (least, greatest) with 0 < least <= greatest <= {high:g}")
    return pair


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, picture: NDArray[Any], rng: Rng) -> NDArray[Any]:
        for transform in self.transforms:
            picture = transform(picture, rng)
        return picture

    def __repr__(self) -> str:
        return f"Compose({', '.join(type(t).__name__ for t in self.transforms)})"


class Resize:
    """Resize so that the shorter side has ``size`` pixels, keeping the proportions."""

    def __init__(self, size: int) -> None:
        self.size = _size(size)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        _check_picture(picture)
        height, width = picture.shape[:2]
        scale = self.size / min(height, width)
        if scale == 1.0:
            return picture
        target = (max(self.size, round(width * scale)), max(self.size, round(height * scale)))
        return np.asarray(Image.fromarray(picture).resize(target, _BILINEAR))


class CenterCrop:
    """Cut a square of ``size`` pixels from the middle; a picture smaller than that is a ValueError."""

    def __init__(self, size: int) -> None:
        self.size = _size(size)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        _check_picture(picture)
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
        self.size = _size(size)
        self.scale = _range("scale", scale, 1.0)
        self.ratio = _range("ratio", ratio, math.inf)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        _check_picture(picture)
        box = self._box(picture.shape[1], picture.shape[0], rng)
        # Cutting and resizing in one pass also allows cuts between pixels.
        return np.asarray(Image.fromarray(picture).resize((self.size, self.size), _BILINEAR, box=box))

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
        self.probability = _part("probability", probability)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        _check_picture(picture)
        return picture[:, ::-1] if rng.random() < self.probability else picture


class ColorJitter:
    """Change brightness, contrast and saturation, each by a factor from 1 - amount to 1 + amount.

    Parameters
    ----------
    brightness, contrast, saturation
        Amounts from 0 (never) to 1.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        self.brightness = _part("brightness", brightness)
        self.contrast = _part("contrast", contrast)
        self.saturation = _part("saturation", saturation)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        _check_picture(picture)
        amounts = np.array([self.brightness, self.contrast, self.saturation])
        bright, contrast, saturation = 1.0 + amounts * rng.uniform(-1.0, 1.0, 3)
        if not amounts.any():
            return picture
        # All three are affine in the colour, so one 3x3 matrix and one offset do them together.
        mixed = saturation * np.eye(3) + (1.0 - saturation) * np.outer(_LUMA, np.ones(3))
        pixels = picture.reshape(-1, 3).astype(np.float32)
        mean_grey = float(pixels.mean(axis=0) @ _LUMA)
        matrix = (bright * contrast * mixed).astype(np.float32)
        pixels = pixels @ matrix
        pixels += np.float32(bright * (1.0 - contrast) * mean_grey + 0.5)
        changed: Picture = np.clip(pixels, 0, 255).astype(np.uint8).reshape(picture.shape)
        return changed


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
        self.probability = _part("probability", probability)
        self.scale = _range("scale", scale, 1.0)
        self.ratio = _range("ratio", ratio, math.inf)

    def __call__(self, picture: Picture, rng: Rng) -> Picture:
        _check_picture(picture)
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

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != 3 or not all(0.0 <= v <= 1.0 for v in values):
                raise ValueError(
                    f"{name}: got {tuple(values)}, expected three numbers from 0 to 1 (pixels scaled to 0-1)"
                )
        if min(std) == 0.0:
            raise ValueError(f"std: got {tuple(std)}, expected numbers above 0")
        self.mean, self.std = tuple(mean), tuple(std)
        self._scale = (1.0 / (255.0 * np.array(std)))[:, None, None].astype(np.float32)
        self._offset = (np.array(mean) / np.array(std))[:, None, None].astype(np.float32)

    def __call__(self, picture: Picture, rng: Rng) -> NDArray[np.float32]:
        _check_picture(picture)
        result = np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32)
        result *= self._scale
        result -= self._offset
        return result


def train_transform(
    size: int,
    scale: tuple[float, float] = (0.8, 1.0),
    flip: float = 0.5,
    jitter: float = 0.1,
    erasing: float = 0.0,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Compose:
    """Augmentation for cars: cut and resize, mirror, mild change of light, normalise.

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
    """
    steps: list[Transform] = [
        RandomResizedCrop(size, scale),
        RandomHorizontalFlip(flip),
        ColorJitter(jitter, jitter, jitter),
    ]
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
