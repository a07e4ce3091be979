"""Parameters, and steps of an optimiser that are the same wherever they are taken."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.optim import Optimizer


def parameters(dtype: str = "float32", seed: int = 0, shapes=((3, 2), (), (4,))) -> list[tg.Tensor]:
    rng = np.random.default_rng(seed)
    return [tg.Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in shapes]


def set_gradients(params: list[tg.Tensor], step: int) -> None:
    rng = np.random.default_rng(1000 + step)
    for p in params:
        p.grad = tg.Tensor(rng.standard_normal(p.shape).astype(p.dtype))


def advance(optimizer: Optimizer, params: list[tg.Tensor], steps: range) -> None:
    for step in steps:
        set_gradients(params, step)
        optimizer.step()


def bits(params: list[tg.Tensor]) -> list[bytes]:
    return [p.array.tobytes() for p in params]


def leaf(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.ones(shape), requires_grad=True)


def assert_equals_pytorch(make, name: str, dtype: str, tolerance: float, rate: float, steps: int, **options) -> None:
    """Steps of ours and of theirs come to the same, with two groups of parameters, the second's rate being ``rate``."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal((4, 3)).astype(dtype), rng.standard_normal(5).astype(dtype)]
    ours = [tg.Tensor(x, requires_grad=True) for x in starts]
    theirs = [torch.tensor(x, requires_grad=True) for x in starts]
    optimizer = make([{"params": ours[:1]}, {"params": ours[1:], "lr": rate}], **options)
    reference = getattr(torch.optim, name)([{"params": theirs[:1]}, {"params": theirs[1:], "lr": rate}], **options)
    for step in range(steps):
        for p, q in zip(ours, theirs, strict=True):
            gradient = rng.standard_normal(p.shape).astype(dtype)
            absent = step == 0 and p is ours[1]  # its first step comes later
            p.grad, q.grad = (None, None) if absent else (tg.Tensor(gradient), torch.tensor(gradient))
        optimizer.step()
        reference.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=tolerance, atol=tolerance)
