"""A picture under construction: polygons in metres or pixels, and gradients pasted through masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from .camera import Camera

Colour = tuple[int, int, int]


def shade(
    colour: Sequence[float], factor: float, towards: Sequence[float] = (255, 255, 255), amount: float = 0
) -> Colour:
    """``colour`` times ``factor``, then mixed with ``towards`` by ``amount`` (0 to 1); 0-255 units."""
    red, green, blue = (
        int(min(255.0, max(0.0, c * factor * (1 - amount) + t * amount))) for c, t in zip(colour, towards, strict=True)
    )
    return red, green, blue


class Canvas:
    """A square RGB picture with a camera.

    Parameters
    ----------
    image
        RGB picture, drawn on in place.
    camera
        For everything given in metres.
    """

    def __init__(self, image: Image.Image, camera: Camera) -> None:
        self.image = image
        self.camera = camera
        self.side = image.width
        self.draw = ImageDraw.Draw(image)
        self.veil = ImageDraw.Draw(image, "RGBA")

    def polygon(self, points: ArrayLike, fill: Colour) -> None:
        """Fill a polygon given in metres, (N, 3)."""
        self.draw.polygon(self.camera.project(np.asarray(points, dtype=np.float64)).ravel().tolist(), fill=fill)

    def film(self, points: ArrayLike, fill: Colour, opacity: float) -> None:
        """Lay a translucent polygon given in metres, (N, 3), over the picture; opacity 0 to 1."""
        flat = self.camera.project(np.asarray(points, dtype=np.float64)).ravel().tolist()
        self.veil.polygon(flat, fill=(*fill, int(255 * opacity)))

    def line(self, points: ArrayLike, fill: Colour, width: float) -> None:
        """Draw a line given in metres, (N, 3); its width in metres at the car's middle, at least one pixel."""
        flat = self.camera.project(np.asarray(points, dtype=np.float64)).ravel().tolist()
        pixels = width * self.camera.focal / self.camera.distance
        self.draw.line(flat, fill=fill, width=max(1, round(pixels)), joint="curve")

    def through(self, mask_points: ArrayLike, layer: Image.Image) -> None:
        """Paste ``layer`` through the polygon given in metres, (N, 3)."""
        flat = self.camera.project(np.asarray(mask_points, dtype=np.float64))
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(flat.ravel().tolist(), fill=255)
        box = mask.getbbox()
        if box is not None:
            self.image.paste(layer.crop(box), box[:2], mask.crop(box))

    def layer(self) -> Canvas:
        """An empty canvas of the same size and camera."""
        return Canvas(Image.new("RGB", self.image.size), self.camera)


def vertical_gradient(size: tuple[int, int], stops: Sequence[tuple[float, Colour]]) -> Image.Image:
    """A picture (width, height) whose colour runs from top to bottom through ``stops`` (position 0 to 1, colour)."""
    width, height = size
    at = np.linspace(0.0, 1.0, max(height, 1))
    where = [s[0] for s in stops]
    column = np.stack([np.interp(at, where, [s[1][c] for s in stops]) for c in range(3)], axis=1)
    return Image.fromarray(np.ascontiguousarray(column[:, None, :].astype(np.uint8))).resize(
        (max(width, 1), max(height, 1)), Image.Resampling.NEAREST
    )
