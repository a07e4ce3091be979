"""Looking at mistakes: which classes are taken for which, and the pictures it was surest and wrong about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ...data import Dataset, read_picture
from ..inference import Predictions
from ..metrics import ConfusionMatrix

_TILE, _GAP = 144, 8
_INK, _GREY = (34, 34, 34), (110, 110, 110)


@dataclass(frozen=True, slots=True)
class Pair:
    """Pictures of class ``label`` were taken for ``predicted``, ``count`` times."""

    label: int
    predicted: int
    count: int


def confused_pairs(confusion: ConfusionMatrix, most: int = 8) -> list[Pair]:
    """The ``most`` frequent kinds of mistake, the most frequent first."""
    wrong: NDArray[np.int64] = confusion.matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [Pair(int(i // len(wrong)), int(i % len(wrong)), int(wrong.flat[i])) for i in order]
    return [pair for pair in pairs if pair.count]


def pairs_sheet(
    predictions: Predictions, dataset: Dataset, pairs: Sequence[Pair], columns: int = 6
) -> Image.Image | None:
    """A row for each pair, with the pictures mistaken, the surest first; None without pairs."""
    if not pairs:
        return None
    names = dataset.class_names
    rows = []
    for pair in pairs:
        here = np.flatnonzero((predictions.labels == pair.label) & (predictions.predicted == pair.predicted))
        surest = here[np.argsort(-predictions.probabilities[here, pair.predicted], kind="stable")][:columns]
        heading = f"{names[pair.label]}, taken for {names[pair.predicted]}: {pair.count}"
        rows.append((heading, [(int(i), f"{predictions.probabilities[i, pair.predicted]:.2f}") for i in surest]))
    return _sheet(dataset, rows, columns)


def worst_sheet(predictions: Predictions, dataset: Dataset, most: int = 24, columns: int = 6) -> Image.Image | None:
    """The mistakes with the highest probability of the wrong class; None if there are no mistakes."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    if not len(wrong):
        return None
    sure = predictions.probabilities[wrong, predictions.predicted[wrong]]
    worst = wrong[np.argsort(-sure, kind="stable")][:most].tolist()
    names = dataset.class_names
    tiles = [
        (
            i,
            f"{names[predictions.labels[i]]}\nas {names[predictions.predicted[i]]} "
            f"{predictions.probabilities[i].max():.2f}",
        )
        for i in worst
    ]
    rows = [("", tiles[k : k + columns]) for k in range(0, len(tiles), columns)]
    return _sheet(dataset, rows, columns)


def _sheet(dataset: Dataset, rows: Sequence[tuple[str, Sequence[tuple[int, str]]]], columns: int) -> Image.Image:
    font, small = ImageFont.load_default(15), ImageFont.load_default(11)
    captions = 1 + max(caption.count("\n") for _, tiles in rows for _, caption in tiles)
    head = 24 if any(heading for heading, _ in rows) else 0
    height = head + _TILE + 14 * captions + _GAP
    sheet = Image.new("RGB", (_GAP + columns * (_TILE + _GAP), _GAP + height * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (heading, tiles) in enumerate(rows):
        top = _GAP + number * height
        draw.text((_GAP, top), _fitting(heading, font, sheet.width - 2 * _GAP), fill=_INK, font=font)
        for column, (index, caption) in enumerate(tiles):
            left = _GAP + column * (_TILE + _GAP)
            picture = Image.fromarray(read_picture(dataset, index, 2 * _TILE))
            picture.thumbnail((_TILE, _TILE), Image.Resampling.LANCZOS)
            if max(picture.size) < _TILE:
                scale = _TILE / max(picture.size)
                picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
            sheet.paste(picture, (left + (_TILE - picture.width) // 2, top + head + (_TILE - picture.height) // 2))
            for line, text in enumerate(caption.split("\n")):
                place = (left, top + head + _TILE + 14 * line)
                draw.text(place, _fitting(text, small, _TILE), fill=_GREY, font=small)
    return sheet


def _fitting(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """``text``, its end cut off where it is too long; without line breaks, which a file's name may have."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
