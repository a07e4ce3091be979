"""Does the cost of a training step grow no faster than the number of images, and of pixels?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from .. import backends
from ..tensor import from_numpy
from . import ours
from .settings import Settings
from .tables import table

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIZES = (96, 128, 160, 192, 224, 260, 300, 380)
LINEAR = 1.1  # the largest exponent that noise may make of 1
TIMED_SECONDS = 1.5  # each point is measured about so long


class Point(NamedTuple):
    """A workload, and the median seconds of a training step."""

    batch: int
    size: int
    seconds: float

    @property
    def pixels(self) -> int:
        return self.batch * self.size**2

    def exponent(self, other: Point) -> float:
        """p in "seconds grow as pixels to the power of p", from this point to the other."""
        return math.log(other.seconds / self.seconds) / math.log(other.pixels / self.pixels)


def measure(
    settings: Settings,
    batches: Sequence[int] = BATCHES,
    sizes: Sequence[int] = SIZES,
    backend: str = "numba",
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[Point], list[Point]]:
    """Training steps over batches, at ``settings.size``, and over sizes, with ``settings.batch`` images."""
    with backends.use_backend(backend):
        if backend == "numba":
            backends.set_num_threads(settings.threads)
        model = ours.build(settings)
        by_batch = [_point(model, settings._replace(batch=batch), say) for batch in batches]
        by_size = [_point(model, settings._replace(size=size), say) for size in sizes]
    return by_batch, by_size


def _point(model: Any, settings: Settings, say: Callable[[str], None]) -> Point:
    say(f"scaling: batch {settings.batch}, {settings.size} px")
    step = ours.trainer(model, from_numpy(settings.images()), settings.labels())
    step()
    seconds: list[float] = []
    while len(seconds) < 2 or (sum(seconds) < TIMED_SECONDS and len(seconds) < 50):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return Point(settings.batch, settings.size, median(seconds))


def in_words(points: Sequence[Point]) -> str:
    """A table and a verdict: from each point to the last, growth is at most linear or it is not."""
    rows = [
        [
            f"{point.batch} x {point.size} px",
            f"{point.seconds * 1e3:.1f}",
            f"{point.batch / point.seconds:.1f}",
            f"{point.seconds / point.pixels * 1e9:.0f}",
            "" if point is points[-1] else f"{point.exponent(points[-1]):.2f}",
        ]
        for point in points
    ]
    head = ["training step", "ms", "images/s", "ns a pixel", "power, from here to the last"]
    return f"{table(head, rows)}\n{verdict(points)}"


def verdict(points: Sequence[Point]) -> str:
    worst = max((point.exponent(points[-1]) for point in points[:-1]), default=0.0)
    growth = "at most linear" if worst <= LINEAR else "FASTER THAN LINEAR"
    return f"the cost grows {growth}: by a power of {worst:.2f} at most ({LINEAR} is allowed, for noise)"


def as_document(points: Sequence[Point]) -> dict[str, Any]:
    return {"points": [point._asdict() for point in points], "verdict": verdict(points)}
