"""SGD against PyTorch and against its formula."""

from __future__ import annotations

import numpy as np
import pytest

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
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal((4, 3)).astype(dtype), rng.standard_normal(5).astype(dtype)]
    ours = [tg.Tensor(x, requires_grad=True) for x in starts]
    theirs = [torch.tensor(x, requires_grad=True) for x in starts]
    optimizer = SGD([{"params": ours[:1]}, {"params": ours[1:], "lr": 0.3}], lr=0.05, **options)
    reference = torch.optim.SGD([{"params": theirs[:1]}, {"params": theirs[1:], "lr": 0.3}], lr=0.05, **options)
    for step in range(8):
        for p, q in zip(ours, theirs, strict=True):
            gradient = rng.standard_normal(p.shape).astype(dtype)
            absent = step == 0 and p is ours[1]  # its first step comes later
            p.grad, q.grad = (None, None) if absent else (tg.Tensor(gradient), torch.tensor(gradient))
        optimizer.step()
        reference.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_momentum_by_hand():
    w = tg.Tensor(np.array([1.0]), requires_grad=True)
    optimizer = SGD([w], lr=0.1, momentum=0.5)
    seen = []
    for gradient in (2.0, 4.0, -1.0):
        w.grad = tg.Tensor(np.array([gradient]))
        optimizer.step()
        seen.append(w.item())
    np.testing.assert_allclose(seen, [0.8, 0.3, 0.15], atol=1e-15)  # velocities 2, 5, 1.5
