"""The card: what it is, and what it was seen to reach in copying and in products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ...backends.cupy.availability import devices, require_device, software
from ...backends.cupy.convolution import use_tf32
from ...backends.dtypes import dtype_of

SIDE, MEGABYTES, REPEATS = 8192, 1024, 5


class Rates(NamedTuple):
    """The most that the card was seen to do."""

    bandwidth: float  # bytes a second, read and written, of a copy of a large array
    products: dict[str, float]  # floating-point operations a second of a product of large matrices, by precision

    def product(self, precision: str) -> float:
        return self.products[precision]


def describe() -> dict[str, Any]:
    """The current device, its driver and CUDA.

    Raises
    ------
    NoDeviceError
        There is none; the message says what is missing.
    """
    facts = devices("benchmark --device cuda")[0]
    return facts._asdict() | {"software": software()}


def measure(precisions: Sequence[str], side: int = SIDE, megabytes: int = MEGABYTES, repeats: int = REPEATS) -> Rates:
    """Copy an array of so many megabytes, and multiply matrices of ``side``, at their best of ``repeats``."""
    cupy = require_device("benchmark --device cuda")
    bandwidth = _bandwidth(cupy, megabytes, repeats)
    a, b = (cupy.asarray(m) for m in np.random.default_rng(0).standard_normal((2, side, side), np.float32))
    products = {}
    for precision in precisions:
        dtype = dtype_of(precision if precision in ("bfloat16", "float16") else "float32")
        left, right = a.astype(dtype), b.astype(dtype)
        use_tf32(precision == "tf32")
        seconds = best_time(cupy, lambda left=left, right=right: cupy.matmul(left, right), repeats)  # type: ignore[misc]
        products[precision] = 2 * side**3 / seconds
    use_tf32(False)
    cupy.get_default_memory_pool().free_all_blocks()
    return Rates(bandwidth, products)


def _bandwidth(cupy: Any, megabytes: int, repeats: int) -> float:
    x, y = cupy.zeros(megabytes * 2**18, "float32"), cupy.zeros(megabytes * 2**18, "float32")
    return float(2 * x.nbytes / best_time(cupy, lambda: cupy.copyto(y, x), repeats))


def best_time(cupy: Any, run: Callable[[], object], repeats: int) -> float:
    """Seconds on the device of the quickest of so many runs, after one to warm up."""
    run()
    events = [cupy.cuda.Event() for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        run()
        event.record()
    events[-1].synchronize()
    return min(float(cupy.cuda.get_elapsed_time(begin, end)) for begin, end in pairwise(events)) / 1e3
