"""Measure what operations cost on a few numbers, ours and PyTorch's in turn, and write the table in docs/engine.md.

python docs/make_overhead_table.py
"""

from __future__ import annotations

import gc
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import tinygrad_effnet as tg
from tinygrad_effnet.files import atomic_write

PAGE = Path(__file__).with_name("engine.md")
ROUNDS, USES = 7, 200
LABELS = {tg: np.array([0, 1]), torch.nn.functional: torch.tensor([0, 1])}


def _chain(x: Any, y: Any) -> Any:
    for _ in range(10):
        x = x * y
    return x


# each with the shapes of its inputs; lib is the library's module of functions
CASES: dict[str, tuple[list[tuple[int, ...]], Callable[..., Any]]] = {
    "a + b": ([(4,), (4,)], lambda lib, a, b: a + b),
    "a + b, (2, 2) and (2,)": ([(2, 2), (2,)], lambda lib, a, b: a + b),
    "a * b": ([(4,), (4,)], lambda lib, a, b: a * b),
    "a * 2.0": ([(4,)], lambda lib, a: a * 2.0),
    "exp": ([(4,)], lambda lib, a: a.exp()),
    "relu": ([(4,)], lambda lib, a: lib.relu(a)),
    "silu": ([(4,)], lambda lib, a: lib.silu(a)),
    "sum": ([(4,)], lambda lib, a: a.sum()),
    "reshape": ([(4,)], lambda lib, a: a.reshape(2, 2)),
    "a @ b, 2 x 2": ([(2, 2), (2, 2)], lambda lib, a, b: a @ b),
    "linear, 2 x 2": ([(2, 2), (2, 2), (2,)], lambda lib, x, w, b: lib.linear(x, w, b)),
    "a * b, ten in a row": ([(4,), (4,)], lambda lib, a, b: _chain(a, b)),
    "cross_entropy, 2 x 2": ([(2, 2)], lambda lib, x: lib.cross_entropy(x, LABELS[lib])),
}


def measure(shapes: list[tuple[int, ...]], f: Callable[..., Any]) -> list[float]:
    """Median microseconds of forward and backward: ours, PyTorch's, ours, PyTorch's."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    sides: list[tuple[Any, Any]] = [(tg, tg.Tensor), (torch.nn.functional, torch.tensor)]
    times: list[list[float]] = [[], [], [], []]
    for _ in range(ROUNDS):
        for side, (functions, tensor) in enumerate(sides):
            inputs = [tensor(a, requires_grad=True) for a in arrays]
            gc.collect()
            gc.disable()
            start = time.perf_counter()
            results = [f(functions, *inputs) for _ in range(USES)]
            middle = time.perf_counter()
            upstream = tensor(rng.standard_normal(tuple(results[0].shape)).astype(np.float32))
            seeded = time.perf_counter()
            for y in results:
                for x in inputs:
                    x.grad = None
                y.backward(upstream)
            end = time.perf_counter()
            gc.enable()
            times[side].append((middle - start) / USES * 1e6)
            times[2 + side].append((end - seeded) / USES * 1e6)
    return [statistics.median(t[1:]) for t in times]  # the first round warms up


def main() -> None:
    torch.set_num_threads(1)
    rows = ["| operation | forward | PyTorch | backward | PyTorch | both, ratio |", "|---|---|---|---|---|---|"]
    for name, (shapes, f) in CASES.items():
        found = measure(shapes, f)
        ratio = (found[0] + found[2]) / (found[1] + found[3])
        rows.append(f"| `{name}` | " + " | ".join(f"{found[i]:.1f}" for i in (0, 1, 2, 3)) + f" | {ratio:.2f} |")
    table = "\n".join(rows)
    marks = r"(<!-- overhead -->\n\n).*?(\n\n<!-- /overhead -->)"
    text = re.sub(marks, lambda m: m[1] + table + m[2], PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    atomic_write(PAGE, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
