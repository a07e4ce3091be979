"""An operation that states no kink has none where kinks are: at 0, at 1, and where all numbers are equal."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.op import registry
from tinygrad_effnet.testing import Sample, samples

SMOOTH = sorted(name for name, op in registry.items() if op.kinks == "none")
# of those that state one, the ones whose kink lies at 0 or where numbers are equal
BENT = ["relu", "abs", "maximum", "minimum", "amax", "amin", "max_pool2d", "leaky_relu"]
STEPS = 1e-4, 1e-6

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # log of 0 and its like, which are passed over


def points(sample: Sample) -> Iterator[list[np.ndarray]]:
    yield sample.arrays
    for value in (0.0, 1.0):
        yield [np.full_like(a, value) for a in sample.arrays]
        for i in range(len(sample.arrays)):
            yield [np.full_like(a, value) if j == i else a for j, a in enumerate(sample.arrays)]


def bend(sample: Sample, arrays: Sequence[np.ndarray], rng: np.random.Generator) -> list[float] | None:
    """(φ(h) − 2 φ(0) + φ(−h)) / h for each step h, along a random line: as small as h where φ is smooth.

    None where φ is not finite.
    """
    line = [rng.standard_normal(a.shape) for a in arrays]
    weights: list[np.ndarray] = []

    def phi(h: float) -> float:
        with tg.no_grad(), tg.use_backend("numpy"):
            made = sample.make(*arrays)  # for the point itself: what it was made with does not move along
            y = made(*[tg.from_numpy(np.asarray(a + h * d)) for a, d in zip(arrays, line, strict=True)])
        outputs = [t.numpy() for t in (y if isinstance(y, tuple) else (y,))]
        weights.extend(rng.standard_normal(t.shape) for t in outputs[len(weights) :])
        return sum(float(np.sum(w * t)) for w, t in zip(weights, outputs, strict=True))

    middle = phi(0.0)
    bends = [(phi(h) - 2 * middle + phi(-h)) / h for h in STEPS]
    return bends if np.isfinite([middle, *bends]).all() else None


def kinks_found(name: str) -> list[str]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    found = []
    for sample in samples(name, rng):
        for i, arrays in enumerate(points(sample)):
            bends = bend(sample, arrays, rng)
            if bends is not None and abs(bends[1]) > max(0.2 * abs(bends[0]), 1e-6):
                found.append(f"{sample.label}, point {i}: {bends}")
    return found


@pytest.mark.parametrize("name", SMOOTH)
def test_no_kink_is_left_unsaid(name: str) -> None:
    assert not kinks_found(name), f"{name} states no kink; say in `kinks` what is taken there"


@pytest.mark.parametrize("name", BENT)
def test_kinks_would_be_found(name: str) -> None:
    assert registry[name].kinks != "none"
    assert kinks_found(name)
