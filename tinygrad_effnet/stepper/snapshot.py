"""What is kept of an array: all of it when it is small, else statistics and a grid of exact entries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends import Array

WHOLE = 4096  # entries up to which an array is kept whole
PICKED = 1024  # entries kept of a larger one
SIDE = 16  # of which at most so many along each of the last two axes
PICTURE = 3 * 32 * 32  # entries kept of an array that may be a picture


@dataclass(frozen=True)
class Snapshot:
    """What is kept of an array after it is gone. Every number that is kept is exact.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
    nbytes : int
        Of the array itself.
    low, high, mean, std : float
        Of the finite entries; NaN where there are none.
    zeros, bad : int
        Entries that are exactly 0, and those that are NaN or infinite.
    positions : tuple of int arrays
        Along each axis, the indices whose crossings are kept: all of them when the array is kept whole.
    kept : numpy.ndarray
        The entries there: one for each crossing.
    """

    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    low: float
    high: float
    mean: float
    std: float
    zeros: int
    bad: int
    positions: tuple[np.ndarray, ...]
    kept: np.ndarray

    @property
    def is_whole(self) -> bool:
        return self.kept.shape == self.shape

    def at(self, index: tuple[int, ...]) -> float | None:
        """The entry at an index of the array, or None where it was not kept."""
        places = []
        for i, positions in zip(index, self.positions, strict=True):
            place = int(np.searchsorted(positions, i))
            if place == len(positions) or positions[place] != i:
                return None
            places.append(place)
        return self.kept[tuple(places)].item()

    def index_of(self, place: tuple[int, ...]) -> tuple[int, ...]:
        """The index in the array of an entry of ``kept``."""
        return tuple([int(positions[i]) for i, positions in zip(place, self.positions, strict=True)])

    def thinned(self, most: int) -> Snapshot:
        """The same with at most ``most`` entries kept."""
        if self.kept.size <= most:
            return self
        chosen = _positions(self.kept.shape, most)
        positions = tuple([p[c] for p, c in zip(self.positions, chosen, strict=True)])
        kept = self.kept[np.ix_(*chosen)]
        return Snapshot(**{**vars(self), "positions": positions, "kept": kept})


def take(array: Array, whole: int | None = WHOLE) -> Snapshot:
    """A snapshot of an array, on the host.

    Parameters
    ----------
    array : array of numbers
    whole : int or None
        Keep arrays of up to so many entries whole; None keeps every one.
    """
    host: Any = array.get() if hasattr(array, "get") else np.asarray(array)
    if whole is None or host.size <= whole:
        positions = tuple([np.arange(size) for size in host.shape])
        kept = np.array(host, order="K")
    else:
        positions = _positions(host.shape, PICTURE if may_be_picture(host.shape) else PICKED)
        kept = host[np.ix_(*positions)]
    return Snapshot(host.shape, str(host.dtype), host.nbytes, *_statistics(host), positions, kept)


def may_be_picture(shape: tuple[int, ...]) -> bool:
    """Images of one channel, or of red, green and blue."""
    return len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) >= 8


def _positions(shape: tuple[int, ...], most: int) -> tuple[np.ndarray, ...]:
    """Evenly spread indices along each axis with at most ``most`` crossings: planes first, then channels, then samples.

    They depend on the shape alone, so that arrays of one shape are kept at the same entries.
    """
    side = most if len(shape) < 2 else max(1, math.isqrt(most))
    if len(shape) > 2:
        side = min(side, 32 if may_be_picture(shape) and most >= PICTURE else SIDE)
    room = most
    counts = [1] * len(shape)
    for axis in (*reversed(range(max(0, len(shape) - 2), len(shape))), *range(1, len(shape) - 2), 0)[: len(shape)]:
        limit = side if axis >= len(shape) - 2 else shape[axis]
        counts[axis] = max(1, min(shape[axis], limit, room))
        room //= counts[axis]
    if len(shape) == 2 and room > 1:  # a long, narrow matrix: what one axis does not need, the other may have
        counts[0] = max(1, min(shape[0], most // counts[1]))
        counts[1] = max(1, min(shape[1], most // counts[0]))
    spread = [np.linspace(0, size - 1, n).round().astype(int) for size, n in zip(shape, counts, strict=True)]
    return tuple([np.unique(indices) for indices in spread])


def _statistics(array: np.ndarray) -> tuple[float, float, float, float, int, int]:
    if array.dtype.kind == "c":
        array = np.abs(array)
    numbers = array if array.dtype.kind == "f" else array.astype(np.float64)
    finite = np.isfinite(numbers)
    bad = int(numbers.size - np.count_nonzero(finite))
    sound = numbers[finite] if bad else numbers
    zeros = int(numbers.size - np.count_nonzero(numbers))
    if not sound.size:
        return math.nan, math.nan, math.nan, math.nan, zeros, bad
    mean = float(sound.mean(dtype=np.float64))
    std = math.sqrt(max(0.0, float(np.square(sound - mean, dtype=np.float64).mean())))
    return float(sound.min()), float(sound.max()), mean, std, zeros, bad
