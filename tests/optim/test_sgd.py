"""SGD against PyTorch and against its formula."""

from __future__ import annotations

import numpy as np
import pytest
from steps import assert_equals_pytorch

import tinygrad_effnet as tg
from tinygrad_effnet.optim import SGD

OPTIONS = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
    {"momentum": 0.8, "nesterov": True},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05, "maximize": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
def test_equals_pytorch(options, dtype, tolerance):
    assert_equals_pytorch(SGD, "SGD", dtype, tolerance, 0.3, 8, lr=0.05, **options)


def test_momentum_by_hand():
    w = tg.Tensor(np.array([1.0]), requires_grad=True)
    optimizer = SGD([w], lr=0.1, momentum=0.5)
    seen = []
    for gradient in (2.0, 4.0, -1.0):
        w.grad = tg.Tensor(np.array([gradient]))
        optimizer.step()
        seen.append(w.item())
    np.testing.assert_allclose(seen, [0.8, 0.3, 0.15], atol=1e-15)  # velocities 2, 5, 1.5
