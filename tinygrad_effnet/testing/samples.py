"""Sample inputs for every operation of the registry: small, awkward, float64, and away from kinks.

Tests are made from them: an operation with samples is checked on every backend, in value, gradient and second gradient.
Each operation has samples with an axis of size 1, and with an empty one where that is legal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops  # noqa: F401 - fills the registry
from ..backends.device import array_like, is_on_device, on_host
from ..op import Op, Shape, registry

Rng = np.random.Generator
SHAPES: tuple[Shape, ...] = ((), (1,), (3, 4), (2, 1, 3), (0, 2))
PAIRS: tuple[tuple[Shape, Shape], ...] = (
    ((), ()),
    ((2, 3), (2, 3)),
    ((2, 1, 3), (4, 1)),
    ((), (2, 2)),
    ((0, 3), (1, 3)),
)


@dataclass(frozen=True)
class Sample:
    """One use of an operation.

    Attributes
    ----------
    label : str
        What is particular about it.
    make : callable
        A fresh operation for inputs of these values (arrays): what an operation is made with may depend on its inputs.
    arrays : list of float64 arrays
        The inputs.
    """

    label: str
    make: Callable[..., Op]
    arrays: list[np.ndarray]

    def __call__(self, *tensors: Any) -> Any:
        """Apply a fresh operation to tensors, which need not hold the sample's own values, nor lie on the host."""
        return self.placed(*tensors)(*tensors)

    def placed(self, *tensors: Any) -> Op:
        """A fresh operation for these tensors; what arrays it is made with lie where they do."""
        op = self.make(*[on_host(t.array) if is_on_device(t.array) else t.array for t in tensors])
        if is_on_device(tensors[0].array):
            for name, value in vars(op).items():
                setattr(op, name, _beside(value, tensors[0].array))
        return op


def _beside(value: Any, like: Any) -> Any:
    """What an operation was made with: its arrays, masks say, in the memory where its inputs lie."""
    if isinstance(value, tuple) and any(isinstance(v, np.ndarray) for v in value):
        return tuple(_beside(v, like) for v in value)
    return array_like(value, like) if isinstance(value, np.ndarray) else value


Maker = Callable[[type[Op], Rng], list[Sample]]
_makers: dict[str, Maker] = {}


def samples_of(*names: str) -> Callable[[Maker], Maker]:
    """Decorator: enter a function of (operation class, generator) that makes samples, for these operations."""

    def enter(maker: Maker) -> Maker:
        _makers.update(dict.fromkeys(names, maker))
        return maker

    return enter


def samples(name: str, rng: Rng) -> list[Sample]:
    """Samples for the operation ``name`` of the registry; KeyError, saying what to write, where it has none."""
    if name not in _makers:
        raise KeyError(
            f"the operation {name!r} has no samples; write a function @samples_of({name!r}) in testing/samples.py"
        )
    return _makers[name](registry[name], rng)


def fixed(op: type[Op], *settings: Any) -> Callable[..., Op]:
    """Makes the operation with settings that do not depend on the inputs."""
    return lambda *arrays: op(*settings)


def apart(rng: Rng, shape: Shape, points: Sequence[float] = (0.0,), margin: float = 0.1) -> np.ndarray:
    """Numbers around ``points``, none within ``margin`` of one of them."""
    x = rng.uniform(min(points) - 2, max(points) + 2, shape)
    for point in points:
        near = np.abs(x - point) < margin
        x = np.where(near, point + np.where(x < point, -1, 1) * (margin + np.abs(x - point)), x)
    return np.asarray(x)


def distinct(rng: Rng, shape: Shape) -> np.ndarray:
    """Numbers at least 0.1 apart from each other, so that the largest stays the largest."""
    return (rng.permutation(math.prod(shape)).reshape(shape) - 3.0) * 0.1


# -- entry by entry ------------------------------------------------------------------------------------------------

# Where an operation of one operand has kinks; None for one that is defined for positive numbers only.
UNARY: dict[str, tuple[float, ...] | None] = {
    **dict.fromkeys(("exp", "sin", "cos", "erf", "neg", "sigmoid", "silu", "tanh", "gelu", "softplus"), (0.0,)),
    **dict.fromkeys(("abs", "relu"), (0.0,)),
    **dict.fromkeys(("log", "log1p", "sqrt")),
    "relu6": (0.0, 6.0),
    "hardsigmoid": (-3.0, 3.0),
    "hardswish": (-3.0, 3.0),
}


@samples_of(*UNARY)
def _unary(op: type[Op], rng: Rng) -> list[Sample]:
    points = UNARY[op.name]
    draw = (lambda s: rng.uniform(0.2, 3, s)) if points is None else (lambda s: apart(rng, s, points))
    return [Sample(f"shape {shape}", fixed(op), [np.asarray(draw(shape))]) for shape in SHAPES]


@samples_of("leaky_relu")
def _leaky(op: type[Op], rng: Rng) -> list[Sample]:
    cases = (0.01, (3, 4)), (0.3, (2, 1)), (0.2, (0, 3))
    return [Sample(f"slope {slope}", fixed(op, slope), [apart(rng, shape)]) for slope, shape in cases]


@samples_of("clip")
def _clip(op: type[Op], rng: Rng) -> list[Sample]:
    bounds = (-1.0, 1.5), (-math.inf, 0.5), (0.5, math.inf)
    return [
        Sample(f"{low} to {high}, shape {shape}", fixed(op, low, high), [apart(rng, shape, (-1.0, 0.5, 1.5))])
        for (low, high), shape in zip(bounds, ((3, 4), (1,), (2, 0)), strict=True)
    ]


@samples_of("add", "sub", "mul", "silu_grad")
def _binary(op: type[Op], rng: Rng) -> list[Sample]:
    pairs = [(a, a) for a in SHAPES] if op.name == "silu_grad" else PAIRS
    return [
        Sample(f"{a} with {b}", fixed(op), [np.asarray(rng.standard_normal(a)), np.asarray(rng.standard_normal(b))])
        for a, b in pairs
    ]


@samples_of("div", "pow")
def _positive(op: type[Op], rng: Rng) -> list[Sample]:
    made = []
    for a, b in PAIRS:
        left, right = rng.uniform(0.5, 2, a), apart(rng, b, margin=0.5)
        made.append(Sample(f"{a} with {b}", fixed(op), [np.asarray(left), right]))
    return made


@samples_of("maximum", "minimum")
def _ordered(op: type[Op], rng: Rng) -> list[Sample]:
    made = []
    for a, b in PAIRS:
        numbers = distinct(rng, (math.prod(a) + math.prod(b),))
        made.append(
            Sample(f"{a} with {b}", fixed(op), [numbers[: math.prod(a)].reshape(a), numbers[math.prod(a) :].reshape(b)])
        )
    return made


@samples_of("where")
def _where(op: type[Op], rng: Rng) -> list[Sample]:
    return [
        Sample(
            f"{c} chooses {a}, {b}", fixed(op, rng.random(c) < 0.5), [rng.standard_normal(a), rng.standard_normal(b)]
        )
        for c, a, b in (((2, 3), (2, 3), (1, 3)), ((4, 1), (3,), (1, 1)), ((0, 2), (0, 2), (1,)))
    ]


@samples_of("cast")
def _cast(op: type[Op], rng: Rng) -> list[Sample]:
    return [
        Sample(f"float64 of {shape}", fixed(op, np.float64), [np.asarray(rng.standard_normal(shape))])
        for shape in SHAPES
    ]


@samples_of("move")
def _move(op: type[Op], rng: Rng) -> list[Sample]:
    return [Sample(f"host, {shape}", fixed(op, "cpu"), [np.asarray(rng.standard_normal(shape))]) for shape in SHAPES]


@samples_of("dropout", "stochastic_depth")
def _dropout(op: type[Op], rng: Rng) -> list[Sample]:
    seed = int(rng.integers(1 << 30))  # a generator of its own each time, so that every evaluation draws the same mask

    def make(p: float) -> Callable[..., Op]:
        return lambda *arrays: op(p, np.random.default_rng(seed))  # type: ignore[call-arg]

    shapes = (0.4, (5, 2, 3)), (0.1, (1, 1)), (1.0, (3, 2)), (0.5, (0, 3))
    return [Sample(f"p = {p}, shape {shape}", make(p), [rng.standard_normal(shape)]) for p, shape in shapes]


# -- shapes --------------------------------------------------------------------------------------------------------


def _each(op: type[Op], rng: Rng, cases: Sequence[tuple[Shape, Any]]) -> list[Sample]:
    """A sample for each (shape of x, setting)."""
    return [
        Sample(f"{s} with {setting}", fixed(op, setting), [np.asarray(rng.standard_normal(s))]) for s, setting in cases
    ]


@samples_of("reshape")
def _reshape(op: type[Op], rng: Rng) -> list[Sample]:
    return _each(op, rng, [((2, 6), (3, 4)), ((), (1, 1)), ((1, 4), (4,)), ((0, 3), (2, 0))])


@samples_of("permute")
def _permute(op: type[Op], rng: Rng) -> list[Sample]:
    return _each(op, rng, [((2, 3), (1, 0)), ((2, 1, 3, 4), (2, 0, 3, 1)), ((), ()), ((0, 2), (1, 0))])


@samples_of("broadcast_to")
def _broadcast(op: type[Op], rng: Rng) -> list[Sample]:
    cases = [((3,), (2, 3)), ((2, 1, 3), (4, 2, 5, 3)), ((), (2, 2)), ((1, 2), (0, 2)), ((0, 1), (3, 0, 2))]
    return _each(op, rng, cases)


@samples_of("sum_to")
def _sum_to(op: type[Op], rng: Rng) -> list[Sample]:
    return _each(op, rng, [((2, 3), (3,)), ((4, 2, 5, 3), (2, 1, 3)), ((2, 2), ()), ((0, 2), (1, 2)), ((1, 2), (2,))])


INDICES: tuple[tuple[Shape, Any], ...] = (
    ((4, 5), 2),
    ((4, 5), (slice(None, None, -2), slice(1, 4))),
    ((4, 5), (None, Ellipsis, -1)),
    ((4, 5), np.array([2, 0, 2, -1])),
    ((4, 5), (np.array([[0, 3], [0, 0]]), np.array([1, 1]))),
    ((3, 2), np.array([[True, False], [True, True], [False, False]])),
    ((3, 1, 2), (slice(None), 0, np.array([1, 1, 1]))),
    ((0, 2), slice(None)),
)


@samples_of("getitem")
def _getitem(op: type[Op], rng: Rng) -> list[Sample]:
    return _each(op, rng, INDICES)


@samples_of("scatter_add")
def _scatter_add(op: type[Op], rng: Rng) -> list[Sample]:
    return [
        Sample(f"{index} of {s}", fixed(op, index, s), [np.asarray(rng.standard_normal(np.empty(s)[index].shape))])
        for s, index in INDICES
    ]


@samples_of("cat")
def _cat(op: type[Op], rng: Rng) -> list[Sample]:
    cases = (0, ((2, 3), (1, 3), (0, 3))), (1, ((2, 1, 2), (2, 3, 2))), (0, ((4,),))
    return [
        Sample(f"axis {dim} of {shapes}", fixed(op, dim), [rng.standard_normal(s) for s in shapes])
        for dim, shapes in cases
    ]


@samples_of("pad")
def _pad(op: type[Op], rng: Rng) -> list[Sample]:
    cases = ((2, 3), ((0, 0), (2, 1))), ((1, 2, 1), ((1, 0), (0, 0), (0, 3))), ((0, 2), ((1, 1), (0, 1)))
    return [Sample(f"{shape} by {w}", fixed(op, w, -0.5), [rng.standard_normal(shape)]) for shape, w in cases]


# -- along axes ----------------------------------------------------------------------------------------------------

AXES: tuple[tuple[Shape, tuple[int, ...] | None, bool], ...] = (
    ((3, 4), None, False),
    ((2, 3, 2), (1,), True),
    ((2, 3, 1), (0, 2), False),
    ((1,), (0,), False),
    ((), None, True),
    ((0, 2), (1,), False),
)


@samples_of("sum", "mean", "amax", "amin", "logsumexp")
def _reduction(op: type[Op], rng: Rng) -> list[Sample]:
    cases = [*AXES, ((0, 2), (0,), False)] if op.name == "sum" else AXES
    return [
        Sample(f"{shape} over {axis}, keepdims={keep}", fixed(op, axis, keep), [np.asarray(distinct(rng, shape))])
        for shape, axis, keep in cases
    ]


@samples_of("softmax", "log_softmax")
def _softmax(op: type[Op], rng: Rng) -> list[Sample]:
    return _each(op, rng, [((3, 4), 1), ((2, 3, 2), 1), ((4, 1), 1), ((3,), 0), ((0, 3), 1)])


@samples_of("softmax_cross_entropy")
def _cross_entropy(op: type[Op], rng: Rng) -> list[Sample]:
    return [
        Sample(f"{s}", fixed(op), [rng.standard_normal(s) * 2, rng.uniform(0, 1, s)]) for s in ((3, 4), (1, 1), (0, 3))
    ]


@samples_of("label_cross_entropy")
def _label_cross_entropy(op: type[Op], rng: Rng) -> list[Sample]:
    made = []
    for (n, k), smoothing, scale in (((3, 4), 0.0, None), ((4, 3), 0.2, 0.7), ((1, 1), 0.1, 1.0), ((0, 3), 0.1, None)):
        labels = rng.integers(0, k, n)
        labels[2:] = -1  # ignored
        make = fixed(op, labels, smoothing, scale)
        made.append(
            Sample(f"({n}, {k}), smoothing {smoothing}, scale {scale}", make, [rng.standard_normal((n, k)) * 2])
        )
    return made


@samples_of("matmul")
def _matmul(op: type[Op], rng: Rng) -> list[Sample]:
    pairs = ((2, 3), (3, 4)), ((1, 1), (1, 1)), ((2, 1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3)), ((3, 2), (5, 2, 1))
    return [Sample(f"{a} @ {b}", fixed(op), [rng.standard_normal(a), rng.standard_normal(b)]) for a, b in pairs]


@samples_of("linear")
def _linear(op: type[Op], rng: Rng) -> list[Sample]:
    return [
        Sample(f"{n} x {k} to {m}", fixed(op), [rng.standard_normal(shape) for shape in ((n, k), (m, k), (m,))])
        for n, k, m in ((2, 3, 4), (1, 1, 1), (3, 2, 1), (0, 3, 2), (2, 0, 3))
    ]


# -- normalisation -------------------------------------------------------------------------------------------------


@samples_of("batch_norm", "scale_shift")
def _normalisation(op: type[Op], rng: Rng) -> list[Sample]:
    settings = (1e-3,) if op.name == "batch_norm" else ()
    empty = [] if op.name == "batch_norm" else [(0, 2, 3)]
    return [
        Sample(
            f"x {s}",
            fixed(op, *settings),
            [rng.standard_normal(s) * 2 + 1, apart(rng, s[1:2]), rng.standard_normal(s[1])],
        )
        for s in [(4, 3), (2, 3, 2, 2), (3, 1, 2), (5, 2, 1, 1), *empty]
    ]


@samples_of("batch_norm_grad")
def _batch_norm_grad(op: type[Op], rng: Rng) -> list[Sample]:
    def make(x: np.ndarray, gamma: np.ndarray, dy: np.ndarray) -> Op:
        axes = (0, *range(2, x.ndim))
        centred = x - x.mean(axes, keepdims=True)
        var = np.square(centred).mean(axes)  # not x.var, which takes absolute values and stops a complex step
        return op(1e-3, x.mean(axes), var)  # type: ignore[call-arg]

    return [
        Sample(f"x {s}", make, [rng.standard_normal(s) * 2 + 1, apart(rng, s[1:2]), rng.standard_normal(s)])
        for s in ((4, 3), (2, 3, 2, 2), (3, 1, 2), (5, 2, 1, 1))
    ]
