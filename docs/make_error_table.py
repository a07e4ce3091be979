"""Measure how exactly every operation computes in float32, and write docs/accuracy.md.

python docs/make_error_table.py
"""

from __future__ import annotations

import sys
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import tinygrad_effnet as tg
from tinygrad_effnet.files import atomic_write
from tinygrad_effnet.op import registry
from tinygrad_effnet.testing import Sample, samples

PAGE = Path(__file__).with_name("accuracy.md")
SEEDS = 10
DRAWS = {"dropout", "stochastic_depth"}  # other random numbers in each dtype, so there is nothing to compare with
HEAD = """# How exact the kernels are

The largest errors seen in float32, value / gradient, over the samples that the tests use, from {seeds} seeds. They are
counted in units in the last place (ULP) of the largest entry of each result; the reference is the same computation in
float64 by `loops`. Half a unit is what rounding the exact result costs. `cast` in the samples goes to float64, so it
has no error; dropout draws other numbers in each precision and is left out.

Where a gradient is a sum that nearly cancels, its largest entry is small against what was added, and the count is large
for every backend: in the worst sample of `norm_silu` the gradient of batch norm's gain is 0.005, of terms around 1.

What the tests allow is tied to the work: one unit for each operation that went into an entry, so a sum of n terms may
be off by n. The table is written by `python docs/make_error_table.py`; a test fails where an operation is missing.

"""


def operations() -> list[str]:
    """Names of the operations in the table."""
    return sorted(
        name for name, op in registry.items() if op.__module__.startswith("tinygrad_effnet.") and name not in DRAWS
    )


def measure(name: str, backend: str, seeds: int = SEEDS) -> tuple[float, float]:
    """Largest error of values and of gradients, in ULP of the largest entry."""
    value = gradient = 0.0
    for seed in range(seeds):
        for sample in samples(name, np.random.default_rng([zlib.crc32(name.encode()), seed])):
            rough = [a.astype(np.float32) for a in sample.arrays]
            got = _compute(sample, backend, rough)
            exact = _compute(sample, "loops", [a.astype(np.float64) for a in rough])
            value, gradient = max(value, _error(got[0], exact[0])), max(gradient, _error(got[1], exact[1]))
    return value, gradient


def _compute(sample: Sample, backend: str, arrays: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    with tg.use_backend(backend):
        x = [tg.Tensor(a, requires_grad=True) for a in arrays]
        result = sample(*x)
        outputs = result if isinstance(result, tuple) else (result,)
        rng = np.random.default_rng(1)
        upstream = [tg.Tensor(rng.standard_normal(y.shape).astype(np.float32), dtype=y.dtype) for y in outputs]
        return [y.numpy() for y in outputs], [dx.numpy() for dx in tg.grad(outputs, x, upstream) if dx is not None]


def _error(got: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    worst = 0.0
    for a, b in zip(got, exact, strict=True):
        known = np.isfinite(b)
        if known.any():
            unit = float(np.spacing(np.float32(np.abs(b[known]).max()))) or 1.0
            worst = max(worst, float(np.abs(a.astype(np.float64) - b)[known].max()) / unit)
    return worst


def main() -> None:
    backends = tg.available_backends()
    rows = [f"| operation | {' | '.join(backends)} |", f"|---|{'---|' * len(backends)}"]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name in operations():
            cells = ["{:.1f} / {:.1f}".format(*measure(name, backend)) for backend in backends]
            rows.append(f"| `{name}` | {' | '.join(cells)} |")
    text = HEAD.format(seeds=SEEDS) + "\n".join(rows) + "\n"
    atomic_write(PAGE, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
