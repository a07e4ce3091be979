"""A batch on its way to a device: pictures as bytes, a quarter of what floats are, and what is to be done with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, __version__

from .transforms.base import BILINEAR, check_picture
from .transforms.colour import Colours
from .transforms.plan import Planned

_PILLOW = int(__version__.partition(".")[0])


@dataclass(frozen=True, slots=True)
class ByteBatch:
    """N pictures of any sizes, and the plans that make images of one size of them.

    ``len`` and slices count pictures, as those of an array do.

    Attributes
    ----------
    pixels : uint8 (B,)
        The pictures, one after another, each (H, W, 3).
    places : int32 (N, 9)
        Of each: where its bytes begin, its height and width, the height and width that its box is resized to, top and
        left of the cut in that, whether to mirror it, and whether Pillow resizes it down before across.
    boxes : float32 (N, 4)
        Left, top, right and bottom of the part that is resized.
    colours : float64 (N, 10), optional
        A 3x3 matrix that pixels (red, green, blue) are multiplied by from the right, and how much of the picture's
        mean grey is added.
    size : (height, width)
        Of the images.
    scale, offset : float32 (3,)
        An image is ``pixel * scale - offset``.
    """

    pixels: NDArray[np.uint8]
    places: NDArray[np.int32]
    boxes: NDArray[np.float32]
    colours: NDArray[np.float64] | None
    size: tuple[int, int]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    @classmethod
    def of(cls, planned: Sequence[Planned]) -> ByteBatch:
        """From pictures with their plans, which all make the same size."""
        flat = [np.ascontiguousarray(p.picture).reshape(-1) for p in planned]
        starts = np.cumsum([0, *[len(f) for f in flat[:-1]]])
        places = [
            (start, *p.picture.shape[:2], *p.plan.resized, *p.plan.corner, p.plan.mirrored, _down_first(p))
            for start, p in zip(starts, planned, strict=True)
        ]
        colours = [_row(p.plan.colours) for p in planned]
        return cls(
            np.concatenate(flat),
            np.array(places, np.int32),
            np.array([p.plan.box for p in planned], np.float32),
            np.array(colours) if any(p.plan.colours is not None for p in planned) else None,
            planned[0].plan.size,
            planned[0].normal.scale,
            planned[0].normal.offset,
        )

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, part: slice) -> ByteBatch:
        """Some of the pictures; all bytes stay."""
        colours = None if self.colours is None else self.colours[part]
        return replace(self, places=self.places[part], boxes=self.boxes[part], colours=colours)

    def copy(self) -> ByteBatch:
        """Itself: nobody writes to it."""
        return self

    @property
    def nbytes(self) -> int:
        """Bytes that go to a device."""
        return sum(a.nbytes for a in (self.pixels, self.places, self.boxes, self.colours) if a is not None)

    def finished(self) -> NDArray[np.float32]:
        """The images, (N, 3, H, W), made here: what a device is to make of the batch, in Pillow's and NumPy's words."""
        height, width = self.size
        images = np.empty((len(self), 3, height, width), np.float32)
        for i, (start, h, w, tall, wide, top, left, mirrored, _) in enumerate(self.places.tolist()):
            picture = self.pixels[start : start + h * w * 3].reshape(h, w, 3)
            check_picture(picture)
            box: Any = tuple(self.boxes[i].tolist())
            resized = np.asarray(Image.fromarray(picture).resize((wide, tall), BILINEAR, box=box))
            cut = resized[top : top + height, left : left + width]
            cut = cut[:, ::-1] if mirrored else cut
            if self.colours is not None:
                cut = Colours(self.colours[i, :9].reshape(3, 3).astype(np.float32), float(self.colours[i, 9])).of(cut)
            images[i] = cut.transpose(2, 0, 1)
        images *= self.scale[:, None, None]
        images -= self.offset[:, None, None]
        return images


def _down_first(planned: Planned) -> bool:
    """Which way Pillow resizes first, which its rounding to bytes in between shows. Before version 13 always across."""
    (height, width), (tall, wide) = planned.picture.shape[:2], planned.plan.resized
    return _PILLOW >= 13 and height > tall and height - tall > 2 * max(0, width - wide)


def _row(colours: Colours | None) -> NDArray[np.float64]:
    if colours is None:
        return np.array([*np.eye(3).ravel(), 0.0])
    return np.array([*colours.matrix.ravel(), colours.grey])
