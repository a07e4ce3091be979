"""Parameters, and steps of an optimiser that are the same wherever they are taken."""

from __future__ import annotations

import numpy as np

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
