"""What a data set is, and parts of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from .images import shrink


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
    """Training and validation pictures, the names of their classes, and a report of where they come from."""

    train: Dataset
    val: Dataset
    class_names: list[str]
    description: str
