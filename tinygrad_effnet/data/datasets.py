"""What a data set is, parts of one, and keeping its pictures in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from .folder import DatasetError, ImageFolder, class_folders
from .images import shrink
from .synthetic import SyntheticCars


@runtime_checkable
class Dataset(Protocol):
    """Pictures with labels.

    ``dataset[i]`` is the picture, (H, W, 3) uint8 RGB, and its label; ``labels`` (len,) int64 are known without
    decoding; ``source(i)`` names picture i in messages.
    """

    class_names: list[str]
    labels: NDArray[np.int64]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.uint8], int]: ...

    def source(self, index: int) -> str:
        """What messages call picture ``index``."""
        ...

    def describe(self) -> str:
        """A short report of what the set holds."""
        ...


def read_picture(dataset: Dataset, index: int, shorter_side: int | None = None) -> NDArray[np.uint8]:
    """Picture ``index``, (H, W, 3) uint8, its shorter side at most ``shorter_side`` pixels.

    Data sets with a ``read(index, shorter_side)`` reduce while they decode; of others the picture is reduced here.
    """
    read = getattr(dataset, "read", None)
    if read is not None:
        picture: NDArray[np.uint8] = read(index, shorter_side)
        return picture
    picture = dataset[index][0]
    if shorter_side is None or min(picture.shape[:2]) <= shorter_side:
        return picture
    return np.array(shrink(Image.fromarray(picture), shorter_side))


class Subset:
    """Chosen pictures of a data set, in the given order.

    Parameters
    ----------
    dataset
        The whole.
    indices
        Positions in ``dataset``.

    Raises
    ------
    IndexError
        If an index lies outside the data set.
    """

    def __init__(self, dataset: Dataset, indices: ArrayLike) -> None:
        self.dataset = dataset
        self.indices: NDArray[np.int64] = np.asarray(indices, dtype=np.int64).reshape(-1)
        outside = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if len(outside):
            raise IndexError(f"indices: {outside[0]} lies outside the data set of {len(dataset)} pictures")
        self.class_names: list[str] = dataset.class_names
        self.labels: NDArray[np.int64] = dataset.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.dataset[int(self.indices[index])]

    def read(self, index: int, shorter_side: int | None = None) -> NDArray[np.uint8]:
        """Picture ``index``, reduced to ``shorter_side``."""
        return read_picture(self.dataset, int(self.indices[index]), shorter_side)

    def source(self, index: int) -> str:
        """What messages call picture ``index``."""
        return self.dataset.source(int(self.indices[index]))

    def describe(self) -> str:
        """A short report of the part."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        spread = f"{counts.min()} to {counts.max()} of each of {len(counts)} classes" if len(counts) else "no classes"
        return f"{len(self)} of {len(self.dataset)} pictures, {spread}"


class MemoryCache:
    """A data set whose pictures are decoded once, reduced, and kept in memory as uint8.

    Pictures beyond the memory limit are decoded each time. Safe to read from several threads. The pictures are
    read-only, so that a transform that writes in place fails instead of spoiling later epochs.

    Parameters
    ----------
    dataset
        What to keep.
    cache_size
        Shorter side of the kept pictures, pixels; smaller ones stay as they are. None keeps full size.
    max_bytes
        Memory limit, bytes; default 1 GiB.

    Raises
    ------
    ValueError
        If ``cache_size`` is less than 1 or ``max_bytes`` negative.
    """

    def __init__(self, dataset: Dataset, cache_size: int | None = None, max_bytes: int = 2**30) -> None:
        if cache_size is not None and cache_size < 1:
            raise ValueError(f"cache_size: got {cache_size}, expected at least 1 pixel, or None for full size")
        if max_bytes < 0:
            raise ValueError(f"max_bytes: got {max_bytes}, expected at least 0")
        self.dataset = dataset
        self.cache_size = cache_size
        self.max_bytes = max_bytes
        self.class_names: list[str] = dataset.class_names
        self.labels: NDArray[np.int64] = dataset.labels
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: got {index}, expected less than {len(self)} (the number of pictures)")
        index = index % len(self)
        picture = self._kept.get(index)
        if picture is None:
            picture = read_picture(self.dataset, index, self.cache_size)
            picture.flags.writeable = False
            with self._lock:
                if index not in self._kept and self._bytes + picture.nbytes <= self.max_bytes:
                    self._kept[index] = picture
                    self._bytes += picture.nbytes
        return picture, int(self.labels[index])

    def source(self, index: int) -> str:
        """What messages call picture ``index``."""
        return self.dataset.source(index)

    def describe(self) -> str:
        """The report of the underlying set."""
        return self.dataset.describe()


def stratified_split(
    labels: ArrayLike, fraction: float = 0.2, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split positions into training and validation, the same part of every class.

    Each class gives ``round(fraction * count)`` of its positions to validation: at least one and never all if it has
    two or more; a class of one stays in training.

    Parameters
    ----------
    labels
        (N,) integers.
    fraction
        Part that goes to validation, between 0 and 1.
    seed
        Chooses which.

    Returns
    -------
    tuple of numpy.ndarray
        Training and validation positions, int64, each rising.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1, or ``labels`` is not one-dimensional.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels: got shape {labels.shape}, expected one dimension (N,)")
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction: got {fraction}, expected a number between 0 and 1, such as 0.2")
    chosen: list[NDArray[np.int64]] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            continue
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        # A stream for each class: adding a class leaves the split of the others as it was.
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(label) & 0xFFFFFFFF,)))
        chosen.append(rng.permutation(members)[:count])
    validation = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)
    training = np.setdiff1d(np.arange(len(labels), dtype=np.int64), validation, assume_unique=True)
    return training, validation.astype(np.int64)


@dataclass(frozen=True, slots=True)
class DataSplit:
    """Training and validation pictures, the names of their classes, and a line on where they come from."""

    train: Dataset
    val: Dataset
    class_names: list[str]
    description: str


_TRAIN_NAMES, _VAL_NAMES = ("train", "training"), ("val", "valid", "validation", "test", "testing")


def open_data(
    path: str | os.PathLike[str] | None = None,
    size: int = 96,
    seed: int = 0,
    val_fraction: float = 0.2,
    classes: Sequence[str] | None = None,
    images_per_class: tuple[int, int] | None = None,
) -> DataSplit:
    """Open the pictures to train on: a folder of photographs, or the synthetic cars.

    Parameters
    ----------
    path
        Folder of class folders; if it has ``train`` and ``val`` (or ``test``) folders with class folders in them, they
        are the split. None: synthetic cars.
    size
        Side of the pictures to be learnt from, pixels.
    seed
        Of the split, and of the synthetic cars.
    val_fraction
        Part of each class held out for validation, if the folder does not say.
    classes
        Only these classes of the folder, in this order.
    images_per_class
        Synthetic pictures of each class for training and validation; default 200 and 40.

    Returns
    -------
    DataSplit
        Undecoded; wrap its sets in :class:`MemoryCache` to decode once.

    Raises
    ------
    FileNotFoundError, DatasetError, ValueError
        If there is no usable data set at ``path``; see :class:`ImageFolder`.
    """
    if path is None:
        counts = images_per_class or (None, None)
        cars = SyntheticCars("train", counts[0], size, seed), SyntheticCars("val", counts[1], size, seed)
        return DataSplit(
            cars[0], cars[1], cars[0].class_names, f"{cars[0].describe()}; {len(cars[1])} more for validation"
        )
    root = Path(path)
    folders = {name.lower(): name for name in class_folders(root)} if root.is_dir() else {}
    train_name = next((folders[name] for name in _TRAIN_NAMES if name in folders), None)
    val_name = next((folders[name] for name in _VAL_NAMES if name in folders), None)
    if train_name and val_name and class_folders(root / train_name):
        train = ImageFolder(root / train_name, classes)
        val = ImageFolder(root / val_name, _same_classes(train, root / val_name))
        return DataSplit(train, val, train.class_names, f"{train.describe()}\nvalidation: {val.describe()}")
    whole = ImageFolder(root, classes)
    train_at, val_at = stratified_split(whole.labels, val_fraction, seed)
    if not len(val_at):
        raise DatasetError(f"root: {root} has one image in each class, so none can be held out; add images")
    description = f"{whole.describe()}\n  {len(train_at)} for training, {len(val_at)} held out for validation"
    return DataSplit(Subset(whole, train_at), Subset(whole, val_at), whole.class_names, description)


def _same_classes(train: ImageFolder, folder: Path) -> list[str]:
    extra = set(class_folders(folder)) - set(train.class_names)
    if extra and set(class_folders(train.root)) == set(train.class_names):
        raise DatasetError(f"{folder} has class folders that {train.root} lacks: {', '.join(sorted(extra))}")
    return train.class_names
