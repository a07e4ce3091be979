"""A contact sheet: samples of a data set side by side, one class a row."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont


class _Pictures(Protocol):
    class_names: list[str]
    labels: NDArray[np.int64]

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.uint8], int]: ...


def contact_sheet(
    dataset: _Pictures, columns: int = 8, rows: int | None = None, tile: int | None = None
) -> Image.Image:
    """A picture of the first samples of each class, a row for each class, with class names.

    Parameters
    ----------
    dataset
        Any data set with ``class_names``, ``labels`` and pictures (H, W, 3) uint8.
    columns
        Samples of each class.
    rows
        How many classes; default all.
    tile
        Side of a sample on the sheet, pixels; default the size of the first picture, at most 160.

    Returns
    -------
    PIL.Image.Image
        RGB picture on white.

    Raises
    ------
    ValueError
        If ``columns``, ``rows`` or ``tile`` is less than 1.
    """
    count = len(dataset.class_names) if rows is None else min(rows, len(dataset.class_names))
    side = min(160, max(dataset[0][0].shape[:2])) if tile is None else tile
    for name, value in (("columns", columns), ("rows", count), ("tile", side)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, expected at least 1")
    font = ImageFont.load_default(max(11, side // 7))
    gap = max(2, side // 32)
    margin = int(max(font.getlength(name) for name in dataset.class_names[:count])) + 4 * gap
    sheet = Image.new("RGB", (margin + columns * (side + gap) + gap, count * (side + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for label in range(count):
        top = gap + label * (side + gap)
        draw.text((2 * gap, top + side / 2), dataset.class_names[label], fill=(40, 40, 44), font=font, anchor="lm")
        for column, index in enumerate(np.flatnonzero(dataset.labels == label)[:columns]):
            picture = Image.fromarray(dataset[int(index)][0])
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            left = margin + column * (side + gap)
            sheet.paste(picture, (left + (side - picture.width) // 2, top + (side - picture.height) // 2))
    return sheet
