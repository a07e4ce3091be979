"""Where a backend updates many parameters at once, optimisers hand it the same step as they take one by one.

The backend here is NumPy with such updates, written like the contract (backends/cupy/optimiser.py has the kernels').
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinygrad_effnet import Tensor, optim
from tinygrad_effnet.optim import adam, ema, nadam, optimizer

SHAPES = [(3,), (4, 5), (), (2, 1, 3, 3)]


class Updates:
    """The contract, one array after another; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def adam(self, params: Any, grads: Any, exp_avg: Any, exp_avg_sq: Any, largest: Any, **o: Any) -> None:
        self.calls += 1
        beta1, beta2 = o["betas"]
        rows = zip(params, grads, exp_avg, exp_avg_sq, largest or [None] * len(params), strict=True)
        for p, g, m, v, most in rows:
            p *= o["shrink"]
            g = (-g if o["maximize"] else g) + o["decay"] * p
            m[...] = beta1 * m + (1 - beta1) * g
            v[...] = beta2 * v + (1 - beta2) * g * g
            if most is not None:
                most[...] = np.maximum(most, v)
            used = v if most is None else most
            p -= (o["of_gradient"] * g + o["of_momentum"] * m) / (np.sqrt(used / o["correction"]) + o["eps"])

    def sgd(self, params: Any, grads: Any, buffers: Any, **o: Any) -> None:
        self.calls += 1
        for p, g, b in zip(params, grads, buffers or [None] * len(params), strict=True):
            g = step = (-g if o["maximize"] else g) + o["decay"] * p
            if b is not None:
                b[...] = o["momentum"] * b + o["share"] * g
                step = g + o["momentum"] * b if o["nesterov"] else b
            p -= o["lr"] * step

    def ema(self, averages: Any, arrays: Any, share: float) -> None:
        self.calls += 1
        for a, x in zip(averages, arrays, strict=True):
            a += share * (x - a)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Updates]:
    """From the call on, NumPy's arrays have such updates."""

    def begin() -> Updates:
        updates = Updates()
        for module in (optimizer, ema, adam, nadam):
            monkeypatch.setattr(
                module, "backend_of", lambda arrays: SimpleNamespace(updates_of=lambda array: updates, xp=np)
            )
        return updates

    return begin


OPTIMISERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, 0.1, weight_decay=0.1),
    "SGD, momentum": lambda p: optim.SGD(p, 0.1, 0.9, 0.3),
    "SGD, Nesterov": lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True, weight_decay=0.1, maximize=True),
    "Adam": lambda p: optim.Adam(p, 0.1, weight_decay=0.1),
    "Adam, AMSGrad": lambda p: optim.Adam(p, 0.1, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, 0.1, weight_decay=0.1, maximize=True),
    "NAdam": lambda p: optim.NAdam(p, 0.1, weight_decay=0.1),
    "NAdam, decoupled": lambda p: optim.NAdam(p, 0.1, weight_decay=0.1, decoupled_weight_decay=True),
}


def run(make: Callable[[Any], optim.Optimizer]) -> list[np.ndarray]:
    """Three steps of two groups, of which one parameter misses the second."""
    rng = np.random.default_rng(0)
    tensors = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in SHAPES]
    chosen = make([{"params": tensors[:2]}, {"params": tensors[2:], "lr": 0.02}])
    for step in range(3):
        for i, p in enumerate(tensors):
            p.grad = None if (step, i) == (1, 0) else Tensor(rng.standard_normal(p.shape))
        chosen.step()
    return [p.numpy() for p in tensors]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_one_by_one_and_together(name: str, together: Callable[[], Updates]) -> None:
    expected = run(OPTIMISERS[name])
    updates = together()
    found = run(OPTIMISERS[name])
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    # a call for each group in the first two steps; in the third the first group's parameters have had unequal steps
    assert updates.calls == 2 + 2 + 3


def test_parameters_with_momentum_products_of_their_own(together: Callable[[], Updates]) -> None:
    """As a state that was edited by hand may have."""

    def run() -> list[np.ndarray]:
        tensors = [Tensor(np.ones(3), requires_grad=True) for _ in range(2)]
        chosen = optim.NAdam(tensors, 0.1)
        for _ in range(2):
            for p in tensors:
                p.grad = Tensor(np.arange(3.0))
            chosen.step()
            chosen.state[tensors[0]]["mu_product"] = 0.2
        return [p.numpy() for p in tensors]

    expected = run()
    updates = together()
    for got, want in zip(run(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    assert updates.calls == 3


def test_an_average(together: Callable[[], Updates]) -> None:
    def run() -> dict[str, np.ndarray]:
        rng = np.random.default_rng(1)
        model = {"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(2), "steps": np.array(0)}
        average = optim.EMA(model, 0.5)
        for _ in range(3):
            for array in model.values():
                array += 1
            average.update()
        return average.average

    expected = run()
    updates = together()
    found = run()
    for name, want in expected.items():
        np.testing.assert_allclose(found[name], want, rtol=1e-12)
    assert updates.calls == 3 and found["steps"] == 3
