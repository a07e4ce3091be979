"""Data sets as people have them: what a folder holds is found by looking at it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..datasets import Dataset, DataSplit, Subset, stratified_split
from ..folder import ImageFolder, check_folder, class_folders
from ..listed import DatasetError, ImageList
from ..synthetic import SyntheticCars
from .places import TRAIN_NAMES, VAL_NAMES, Found, Listing, undoubled
from .report import report
from .stanford import find_stanford
from .tables import find_tables

__all__ = ["open_data"]


def open_data(
    path: str | os.PathLike[str] | None = None,
    size: int = 96,
    seed: int = 0,
    val_fraction: float = 0.2,
    classes: Sequence[str] | None = None,
    images_per_class: tuple[int, int] | None = None,
    crop_boxes: bool = False,
    strict: bool = False,
    fraction: float = 1.0,
) -> DataSplit:
    """Open the pictures to train on: a folder of photographs, or the synthetic cars.

    What ``path`` holds is found by looking, also where an archive doubled its folders:

    * Stanford Cars (Krause et al. 2013) with its MATLAB annotations, in two folders or in one;
    * Stanford Cars with ``anno_train.csv`` and ``anno_test.csv``, pictures in class folders or not;
    * folders ``train`` and ``val`` (or ``test``) with class folders in them;
    * class folders.

    Parameters
    ----------
    path
        The folder. None: synthetic cars.
    size
        Side of the pictures to be learnt from, pixels.
    seed
        Of the split, and of the synthetic cars.
    val_fraction
        Part of each class held out for validation, if the data do not say.
    classes
        Only these classes, in this order.
    images_per_class
        Synthetic pictures of each class for training and validation; default 200 and 40.
    crop_boxes
        Cut pictures to the box around the car, where the annotations have boxes.
    strict
        Raise on the first unreadable file instead of leaving it out.
    fraction
        Learn from this part of each class's training pictures only, for a quick try; above 0, at most 1.

    Returns
    -------
    DataSplit
        Undecoded; wrap its sets in :class:`MemoryCache` to decode once. Its description reports what was found.

    Raises
    ------
    FileNotFoundError, DatasetError, ImageReadError, ValueError
        If there is no usable data set at ``path``; see :class:`ImageFolder`.
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction: got {fraction}, expected a number above 0 and at most 1")
    if path is None:
        split = _synthetic(size, seed, images_per_class, crop_boxes)
    else:
        root = Path(path)
        check_folder(root)
        found = find_stanford(root) or find_tables(root)
        if found is not None:
            layout, parts = found.layout, _listed(found, classes, crop_boxes, strict)
        elif crop_boxes:
            raise DatasetError(f"crop_boxes: {root} has no annotations with boxes; leave it out to use whole pictures")
        else:
            layout, parts = _folders(undoubled(root), classes, strict)
        train, val = parts if len(parts) == 2 else _held_out(parts[0], val_fraction, seed, root)
        split = DataSplit(train, val, train.class_names, report(layout, root, train, val))
    return split if fraction == 1.0 else _part(split, fraction, seed)


def _synthetic(size: int, seed: int, images_per_class: tuple[int, int] | None, crop_boxes: bool) -> DataSplit:
    if crop_boxes:
        raise DatasetError("crop_boxes: the synthetic cars have no boxes; leave it out, or give a folder with boxes")
    counts = images_per_class or (None, None)
    train, val = SyntheticCars("train", counts[0], size, seed), SyntheticCars("val", counts[1], size, seed)
    return DataSplit(train, val, train.class_names, f"{train.describe()}; {len(val)} more for validation")


def _folders(root: Path, classes: Sequence[str] | None, strict: bool) -> tuple[str, list[Dataset]]:
    """One set or, where the folders are split, two."""
    folders = {name.lower(): name for name in class_folders(root)}
    train_name = next((folders[name] for name in TRAIN_NAMES if name in folders), None)
    val_name = next((folders[name] for name in VAL_NAMES if name in folders), None)
    if not (train_name and class_folders(root / train_name)):
        return "class folders", [ImageFolder(root, classes, strict)]
    train = ImageFolder(undoubled(root / train_name), classes, strict)
    if not val_name:
        return f"class folders in {train_name}", [train]
    inner = undoubled(root / val_name)
    extra = set(class_folders(inner)) - set(train.class_names)
    if extra and classes is None:
        raise DatasetError(f"{inner} has class folders that {train.root} lacks: {', '.join(sorted(extra))}")
    val = ImageFolder(inner, train.class_names, strict, allow_empty=True)
    return f"class folders in {train_name} and {val_name}", [train, val]


def _listed(found: Found, classes: Sequence[str] | None, crop_boxes: bool, strict: bool) -> list[Dataset]:
    names = found.class_names if classes is None else list(classes)
    unknown = [name for name in names if name not in found.class_names]
    if unknown or not names or len(set(names)) != len(names):
        what = f"no class {unknown[0]!r}" if unknown else f"got {names!r}, each class may be named once"
        raise DatasetError(
            f"classes: {what}; there are {len(found.class_names)}: {', '.join(found.class_names[:5])}, ..."
        )
    label_of = {found.class_names.index(name): label for label, name in enumerate(names)}

    def images(listing: Listing) -> ImageList:
        kept = [i for i, label in enumerate(listing.labels) if label in label_of]
        boxes = [listing.boxes[i] for i in kept] if crop_boxes and listing.boxes is not None else None
        labels = [label_of[listing.labels[i]] for i in kept]
        return ImageList([listing.paths[i] for i in kept], labels, names, boxes, strict)

    return [images(listing) for listing in (found.train, found.val) if listing is not None]


def _held_out(whole: Dataset, val_fraction: float, seed: int, root: Path) -> tuple[Dataset, Dataset]:
    train_at, val_at = stratified_split(whole.labels, val_fraction, seed)
    if not len(val_at):
        raise DatasetError(f"root: {root} has one image in each class, so none can be held out; add images")
    return Subset(whole, train_at), Subset(whole, val_at)


def _part(split: DataSplit, fraction: float, seed: int) -> DataSplit:
    """A part of each class's training pictures; at least one."""
    labels = split.train.labels
    rare = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    # A smaller part is contained in a larger one, since the split permutes each class in the same way.
    _, kept = stratified_split(labels, fraction, seed)
    train = Subset(split.train, np.union1d(kept, [at for at in rare if labels[at] not in labels[kept]]))
    note = f"\n  learning from {len(train)} of the {len(labels)} training images (fraction {fraction:g})"
    return DataSplit(train, split.val, split.class_names, split.description + note)
