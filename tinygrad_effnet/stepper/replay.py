"""Replay: compute a step anew from the inputs that were kept, in the same way, and compare bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends import Array, Backend
from ..optim.optimizer import Optimizer
from .recipes import Recipe
from .steps import Operand, Step


class Replay(NamedTuple):
    """What `Run.replay` found.

    Attributes
    ----------
    same : int
        Steps that gave the same bits once more.
    different : list of int
        Steps that did not.
    skipped : list of int
        Steps whose inputs were not kept whole; ``record(whole=None)`` keeps all.
    """

    same: int
    different: list[int]
    skipped: list[int]


def forward(recipe: Recipe, kernels: Backend, step: Step) -> Callable[[], list[Array]]:
    return lambda: recipe.forward(kernels, _kept(step.inputs))[1]


def rule(
    recipe: Recipe, kernels: Backend, made: Step, step: Step, needed: tuple[bool, ...]
) -> Callable[[], list[Array]]:
    return lambda: recipe.rule(kernels, _kept(made.inputs), _kept(step.inputs), needed)


def update(
    optimizer: Optimizer, step: Step, options: dict[str, Any], numbers: dict[str, Any], slots: Sequence[str]
) -> Callable[[], list[Array]]:
    def again() -> list[Array]:
        param, grad, *moments = [np.array(array, order="K") for array in _kept(step.inputs)]
        state = {**numbers, **dict(zip(slots, moments, strict=True))}
        optimizer.update(param, grad, state, dict(options))
        return [param, *[state[name] for name in slots]]

    return again


def compare(steps: Sequence[Step]) -> Replay:
    """Compute each step that can be computed anew, and compare what comes out."""
    same, different, skipped = 0, [], []
    for step in steps:
        if step.op == "leaf":
            continue
        if step.again is None or not all(operand.value.is_whole for operand in step.outputs):
            skipped.append(step.index)
        elif _equal(step.again(), _kept(step.outputs)):
            same += 1
        else:
            different.append(step.index)
    return Replay(same, different, skipped)


def _kept(operands: Sequence[Operand]) -> list[np.ndarray]:
    return [operand.value.kept for operand in operands]


def _equal(found: Sequence[Array], kept: Sequence[Array]) -> bool:
    """Of the same shapes, dtypes and bits: NaN equals the same NaN, and 0 is not -0."""
    return len(found) == len(kept) and all(
        a.shape == b.shape
        and a.dtype == b.dtype
        and np.array(a, order="C").tobytes() == np.array(b, order="C").tobytes()
        for a, b in zip(found, kept, strict=True)
    )
