"""Random numbers on the device, by the user's seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base import Array
from .launch import kernel
from .layout import THREADS, elementwise_grid


def uniform(generator: np.random.Generator, shape: Sequence[int], dtype: Any) -> Array:
    """Numbers in [0, 1) of ``shape``, on the current device.

    ``generator``, which lives on the host and is what seeds and checkpoints know, gives a key; the numbers are counted
    out from that on the device. So nothing is carried over, and the same seed gives the same numbers on every device.
    """
    import cupy

    key = int(generator.integers(2**64, dtype=np.uint64))
    y = cupy.empty(tuple(shape), dtype)
    count = math.prod(shape)
    kernel("random", "uniform", y.dtype)(elementwise_grid(count, 1), (THREADS,), (key, y, count))
    return y
