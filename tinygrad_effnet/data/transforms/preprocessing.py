"""How a network wants to be shown pictures: size, cut, normalisation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .base import RESAMPLING, Compose
from .colour import IMAGENET_MEAN, IMAGENET_STD, Normalize
from .geometry import CenterCrop, Resize


@dataclass(frozen=True)
class Preprocessing:
    """What turns a picture into the input of a network, for use: without chance.

    Parameters
    ----------
    size
        Side of the square input, pixels.
    resize
        The picture is first resized so that its shorter side has this many pixels, and the square is cut from its
        middle; at least ``size``.
    mean, std
        Normalisation, see :class:`Normalize`.
    interpolation
        "bilinear" or "bicubic", of resizing.
    squash
        Resize both sides to ``resize`` instead, giving up the proportions.
    mirror
        The network is shown the mirror image as well, and the mean of both logits counts. The transform does not do
        that: whoever asks the network does, see `training.batches.logits_of`.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    size: int
    resize: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    squash: bool = False
    mirror: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.resize:
            raise ValueError(f"size, resize: got {self.size} and {self.resize}, expected 1 <= size <= resize")
        if self.interpolation not in RESAMPLING:
            raise ValueError(f"interpolation: got {self.interpolation!r}, expected one of {', '.join(RESAMPLING)}")
        Normalize(self.mean, self.std)  # checks them

    @property
    def crop_share(self) -> float:
        """Which part of the resized picture's shorter side is seen, 0 to 1."""
        return self.size / self.resize

    def changed(self, **values: Any) -> Preprocessing:
        """The same but for these."""
        return replace(self, **values)

    def at(self, size: int) -> Preprocessing:
        """The same for inputs of another size, with the same part of the picture."""
        return replace(self, size=size, resize=max(size, round(size / self.crop_share)))

    def view(self) -> Compose:
        """The part of a picture that the network sees, (size, size, 3) uint8, before it is normalised."""
        side = (self.resize, self.resize) if self.squash else self.resize
        return Compose([Resize(side, self.interpolation), CenterCrop(self.size)])

    def transform(self) -> Compose:
        """The transform: a picture (H, W, 3) uint8 to (3, size, size) float32."""
        return Compose([*self.view().transforms, Normalize(self.mean, self.std)])
