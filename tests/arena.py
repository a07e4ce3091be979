"""Arrays at chosen places in memory, for tests that results do not depend on where their operands happen to lie."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

_empty = np.empty


class Arena:
    """Hands out arrays one behind another, ``gap`` bytes apart."""

    def __init__(self, gap: int, size: int = 1 << 20) -> None:
        self.memory = _empty(size, np.uint8)
        self.taken = 0
        self.gap = gap

    def empty(self, shape: Any, dtype: Any = float, **options: Any) -> np.ndarray:
        """`numpy.empty`; from elsewhere what is empty, ordered otherwise or too large."""
        dtype = np.dtype(dtype)
        shape = tuple(shape) if np.iterable(shape) else (int(shape),)
        size = math.prod(shape) * dtype.itemsize
        start = -(-self.taken // dtype.alignment) * dtype.alignment
        if options or not size or start + size > self.memory.size:
            return _empty(shape, dtype, **options)
        self.taken = start + size + self.gap
        return self.memory[start : start + size].view(dtype).reshape(shape)

    def copy(self, x: np.ndarray) -> np.ndarray:
        """A C-contiguous copy."""
        y = self.empty(x.shape, x.dtype)
        y[...] = x
        return y


@contextlib.contextmanager
def neighbours(gap: int) -> Iterator[Arena]:
    """Within the block `numpy.empty` and `numpy.empty_like` take from an `Arena`; no kernel may be compiled in it."""
    arena = Arena(gap)
    like = np.empty_like

    def empty_like(x: np.ndarray, dtype: Any = None, **options: Any) -> np.ndarray:
        if options or not x.flags.c_contiguous:
            return like(x, dtype, **options)
        return arena.empty(x.shape, dtype or x.dtype)

    with mock.patch.object(np, "empty", arena.empty), mock.patch.object(np, "empty_like", empty_like):
        yield arena
