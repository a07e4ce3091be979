"""Every kink of every operation: a point at it, and the gradient taken there. Checked against PyTorch by test_kinks.py.

The gradients are written down, not computed, so that they can be held against a rule without PyTorch as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_effnet as tg

inf, nan = math.inf, math.nan


@dataclass(frozen=True)
class Kink:
    """Inputs at a kink, an upstream gradient, and the gradients of the inputs; ours and PyTorch's functions."""

    op: str
    inputs: tuple[Any, ...]
    upstream: Any
    gradients: tuple[Any, ...]
    ours: Callable[..., tg.Tensor]
    theirs: Callable[..., Any]  # takes torch first

    def __str__(self) -> str:
        return f"{self.op}{self.inputs}"

    def check(self) -> None:
        """AssertionError where a gradient of ours is another than the one written down."""
        x = [tg.Tensor(np.array(v, float), requires_grad=True) for v in self.inputs]
        with np.errstate(all="ignore"):
            self.ours(*x).backward(np.array(self.upstream, float))
        for i, (tensor, expected) in enumerate(zip(x, self.gradients, strict=True)):
            np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-12, err_msg=f"{self}, input {i}")


def unary(op: str, *cases: tuple[float, float, float], **options: Any) -> list[Kink]:
    """Cases (x, upstream, gradient) of a function that has one name here and in torch, or torch.nn.functional."""

    def theirs(torch: Any, x: Any) -> Any:
        return (getattr(torch, op, None) or getattr(torch.nn.functional, op))(x, **options)

    return [Kink(op, ([x],), [u], ([g],), lambda x: getattr(tg.ops, op)(x, **options), theirs) for x, u, g in cases]


def binary(op: str, *cases: tuple[float, float, float, float, float]) -> list[Kink]:
    """Cases (a, b, upstream, gradient of a, gradient of b)."""
    return [
        Kink(op, ([a], [b]), [u], ([da], [db]), getattr(tg.ops, op), lambda torch, a, b: getattr(torch, op)(a, b))
        for a, b, u, da, db in cases
    ]


def extreme(op: str, sign: float) -> list[Kink]:
    x = sign * np.array([[1.0, 2, 2, 0], [3, 3, 3, 1]])
    halves = np.array([[0, 1.5, 1.5, 0], [-2 / 3, -2 / 3, -2 / 3, 0]])
    return [
        Kink(op, (x,), [3.0, -2.0], (halves,), lambda x: getattr(tg.ops, op)(x, 1), lambda t, x: getattr(t, op)(x, 1)),
        Kink(
            op,
            ([sign, sign, 0.0],),
            3.0,
            ([1.5, 1.5, 0.0],),
            lambda x: getattr(tg.ops, op)(x),
            lambda t, x: getattr(t, op)(x),
        ),
        Kink(
            op,
            ([[sign, 0.0], [sign, sign]],),
            3.0,
            ([[1.0, 0.0], [1.0, 1.0]],),
            lambda x: getattr(x, op[1:])(),  # Tensor.max and Tensor.min
            lambda t, x: getattr(t, op[1:])(x),
        ),
    ]


IMAGE = np.array([[[[1.0, 1, 0, 2], [1, 0, 2, 2]]]])  # a tie in either window of 2x2
FIRST = np.array([[[[3.0, 0, 0, -2], [0, 0, 0, 0]]]])

KINKS: list[Kink] = [
    *unary("abs", (0.0, 3.0, 0.0)),
    *unary("relu", (0.0, 3.0, 0.0)),
    *unary("relu6", (0.0, 3.0, 0.0), (6.0, 3.0, 0.0)),
    *unary("leaky_relu", (0.0, 3.0, 0.6), negative_slope=0.2),
    *unary("hardsigmoid", (-3.0, 3.0, 0.0), (3.0, 3.0, 0.0)),
    *unary("hardswish", (-3.0, 3.0, 0.0), (3.0, 3.0, 3.0)),
    *unary("clip", (-1.0, 3.0, 3.0), (2.0, 3.0, 3.0), min=-1.0, max=2.0),
    *unary("sqrt", (0.0, 3.0, inf), (0.0, 0.0, nan)),
    *unary("log", (0.0, 3.0, inf), (0.0, 0.0, nan)),
    *unary("log1p", (-1.0, 3.0, inf)),
    *binary("maximum", (1.0, 1.0, 3.0, 1.5, 1.5), (-2.0, -2.0, -1.0, -0.5, -0.5)),
    *binary("minimum", (1.0, 1.0, 3.0, 1.5, 1.5), (-2.0, -2.0, -1.0, -0.5, -0.5)),
    *binary("div", (1.0, 0.0, 3.0, inf, -inf), (0.0, 0.0, 3.0, inf, nan)),
    *binary(
        "pow",
        (0.0, 0.0, 3.0, 0.0, 0.0),
        (0.0, 2.0, 3.0, 0.0, 0.0),
        (0.0, 1.0, 3.0, 3.0, 0.0),
        (0.0, -1.0, 3.0, -inf, -inf),
        (2.0, 0.0, 3.0, 0.0, 3 * math.log(2)),
        (-2.0, 3.0, 3.0, 36.0, nan),
        (-2.0, 0.0, 3.0, 0.0, nan),
    ),
    *extreme("amax", 1.0),
    *extreme("amin", -1.0),
    Kink(
        "max_pool2d",
        (IMAGE,),
        [[[[3.0, -2.0]]]],
        (FIRST,),
        lambda x: tg.max_pool2d(x, 2),
        lambda torch, x: torch.nn.functional.max_pool2d(x, 2),
    ),
]

# A norm is composed, and so are its kinks: the infinite slope of the square root times 2x = 0 is NaN.
NORM = Kink(
    "sqrt",
    ([0.0, 0.0],),
    3.0,
    ([nan, nan],),
    lambda x: (x * x).sum().sqrt(),
    lambda torch, x: (x * x).sum().sqrt(),
)
