"""What every transform shares: its type, chaining, and the checks of pictures and arguments.

A transform is called with a picture, (H, W, 3) uint8 RGB, and a NumPy generator, and returns a picture of the same
kind; :class:`Normalize` ends the chain and returns (3, H, W) float32. All chance comes from the generator, so equal
generators give equal results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
Rng = np.random.Generator
Transform = Callable[[NDArray[Any], Rng], NDArray[Any]]

BILINEAR = Image.Resampling.BILINEAR
NOT_PLANNED = 9  # the ``turn`` of a step that a plan (see `plan`) has no room for
RESAMPLING = {"bilinear": BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def check_picture(picture: NDArray[Any]) -> None:
    """ValueError unless it is (H, W, 3) uint8 with at least one pixel."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"picture: got shape {picture.shape} of {picture.dtype}, expected (H, W, 3) of uint8; "
            "pictures are normalised last"
        )
    if 0 in picture.shape:
        raise ValueError(f"picture: got shape {picture.shape}, expected at least one pixel")


def checked_size(size: int) -> int:
    """``size``, or ValueError if it is less than a pixel."""
    if size < 1:
        raise ValueError(f"size: got {size}, expected at least 1 pixel")
    return size


def checked_part(name: str, value: float, high: float = 1.0) -> float:
    """``value``, or ValueError outside 0 to ``high``."""
    if not 0.0 <= value <= high:
        raise ValueError(f"{name}: got {value}, expected a number from 0 to {high:g}")
    return value


def checked_range(name: str, pair: tuple[float, float], high: float) -> tuple[float, float]:
    """``pair``, or ValueError unless 0 < least <= greatest <= ``high``."""
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
