"""A stand-in for Stanford Cars: synthetic cars in folders and files as that data set's authors gave it out."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from ...files import atomic_write
from ..images import Box
from .body import CarModel
from .fleet import car_models
from .render import render

_BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
_Row = tuple[str, Box, int]  # file, box, label from 0


def write_stanford_cars(
    folder: str | os.PathLike[str],
    models: int = 196,
    images_per_class: tuple[int, int] = (30, 5),
    size: int = 128,
    seed: int = 0,
) -> None:
    """Write synthetic cars as Stanford Cars (Krause et al. 2013) was published, with 196 classes as there.

    ``cars_train`` and ``cars_test`` hold JPEG files, ``devkit`` and ``cars_test_annos_withlabels.mat`` classes counted
    from 1 and boxes in pixels counted from 1, their last one inside. Cars take half of a picture's side or more.

    Parameters
    ----------
    folder
        Where to; made if it is missing.
    models
        Number of classes, see :class:`SyntheticCars`.
    images_per_class
        Of each class in ``cars_train`` and in ``cars_test``.
    size
        Side of the pictures, pixels, at least 16.
    seed
        A different seed gives other pictures of the same models.

    Raises
    ------
    FileExistsError
        If ``folder`` holds something already.
    ValueError
        If a number is out of its range.
    """
    if min(images_per_class) < 1:
        raise ValueError(f"images_per_class: got {images_per_class}, expected two numbers of at least 1")
    if size < 16:
        raise ValueError(f"size: got {size}, expected at least 16 pixels")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, expected a number of at least 0")
    fleet = car_models(models)
    root = Path(folder)
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"folder: {root} is not empty; give the name of a new folder")
    devkit = root / "devkit"
    devkit.mkdir(parents=True, exist_ok=True)
    for split, name in enumerate(("train", "test")):
        rows = _draw(root / f"cars_{name}", fleet, images_per_class[split], size, (seed, split))
        _write_annotations(devkit / f"cars_{name}_annos.mat", rows, with_class=name == "train")
    _write_annotations(root / "cars_test_annos_withlabels.mat", rows, with_class=True)
    _save(devkit / "cars_meta.mat", "class_names", np.array([[model.name for model in fleet]], dtype=object))


def _draw(folder: Path, fleet: tuple[CarModel, ...], count: int, size: int, seeds: tuple[int, int]) -> list[_Row]:
    """Pictures into ``folder``; labels go round the classes."""
    folder.mkdir()
    rows = []
    for index in range(count * len(fleet)):
        label = index % len(fleet)
        rng = np.random.default_rng(np.random.SeedSequence(seeds[0], spawn_key=(seeds[1], index)))
        picture, box = render(fleet[label], size, rng, fill=(0.55, 0.95))
        name = f"{index + 1:05d}.jpg"
        Image.fromarray(picture).save(folder / name, quality=92)
        rows.append((name, box, label))
    return rows


def _write_annotations(path: Path, rows: list[_Row], with_class: bool) -> None:
    fields = [*_BOX, *(["class"] if with_class else []), "fname"]
    records = np.zeros((1, len(rows)), dtype=[(field, object) for field in fields])
    for i, (name, (left, top, right, bottom), label) in enumerate(rows):
        numbers = (left + 1, top + 1, right, bottom, *([label + 1] if with_class else []))
        # In 8 bits where they fit, as there.
        records[0, i] = (*(np.array([[n]], np.uint8 if n < 256 else np.uint16) for n in numbers), name)
    _save(path, "annotations", records)


def _save(path: Path, name: str, value: np.ndarray) -> None:
    import scipy.io

    data = io.BytesIO()
    scipy.io.savemat(data, {name: value})
    atomic_write(path, lambda file: file.write(data.getvalue()))
