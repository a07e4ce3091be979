"""Keeping decoded pictures, so that each is decoded once."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset, read_picture


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

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process gets: the settings, and an empty store of its own."""
        return {**self.__dict__, "_kept": {}, "_bytes": 0, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
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
