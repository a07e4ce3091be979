"""One-launch updates against the optimisers, whose formulas stand in optim/."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends.cupy.comparing import STORED, near, number
from backends.cupy.emulator.device import asarray, kernel_device, zeros
from backends.cupy.standin import standin_cupy

from tinygrad_effnet import Tensor, optim, use_backend
from tinygrad_effnet.backends.cupy import optimiser

SHAPES = [(3,), (100, 90), (), (4, 1, 3, 3), (0, 2), (8193,)]  # some smaller than a block, two larger than a piece
STEPS = 3


def trained(make: Callable[[list[Tensor]], optim.Optimizer], stored: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Parameters at first, gradients of each step, and parameters at last, by the optimiser on the host."""
    rng = np.random.default_rng(0)
    draw = lambda: [rng.standard_normal(shape).astype(stored) for shape in SHAPES]  # noqa: E731
    first, gradients = draw(), [draw() for _ in range(STEPS)]
    with use_backend("numpy"):
        tensors = [Tensor(np.array(a), requires_grad=True) for a in first]
        chosen = make(tensors)
        for gradient in gradients:
            for p, g in zip(tensors, gradient, strict=True):
                p.grad = Tensor(g)
            chosen.step()
    return first, gradients, [p.numpy() for p in tensors]


def on_device(arrays: list[Any]) -> list[Any]:
    return [asarray(np.asarray(a)) for a in arrays]


def check(params: list[Any], expected: list[Any], stored: str) -> None:
    for p, want in zip(params, expected, strict=True):
        near(p, want, stored, 50)


@pytest.mark.parametrize("stored", ["float32", "float64"])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(stored: str, amsgrad: bool, decoupled: bool) -> None:
    kind = optim.AdamW if decoupled else optim.Adam
    first, gradients, expected = trained(lambda p: kind(p, 0.1, weight_decay=0.2, amsgrad=amsgrad), stored)
    with kernel_device():
        params = on_device(first)
        m, v, largest = ([zeros(p.shape, stored) for p in params] for _ in range(3))
        for t, g in enumerate(gradients, 1):
            optimiser.adam(
                params,
                on_device(g),
                m,
                v,
                largest if amsgrad else None,
                betas=(0.9, 0.999),
                of_gradient=0.0,
                of_momentum=0.1 / (1 - 0.9**t),
                correction=1 - 0.999**t,
                eps=1e-8,
                decay=0.0 if decoupled else 0.2,
                shrink=1 - 0.1 * 0.2 if decoupled else 1.0,
            )
        check(params, expected, stored)


@pytest.mark.parametrize("maximize", [False, True])
def test_nadam(maximize: bool) -> None:
    first, gradients, expected = trained(lambda p: optim.NAdam(p, 0.1, weight_decay=0.2, maximize=maximize), "float32")
    with kernel_device():
        params = on_device(first)
        m, v = ([zeros(p.shape, "float32") for p in params] for _ in range(2))
        product = 1.0
        for t, g in enumerate(gradients, 1):
            mu, following = [0.9 * (1 - 0.5 * 0.96 ** (i * 4e-3)) for i in (t, t + 1)]
            product *= mu
            optimiser.adam(
                params,
                on_device(g),
                m,
                v,
                None,
                betas=(0.9, 0.999),
                of_gradient=0.1 * (1 - mu) / (1 - product),
                of_momentum=0.1 * following / (1 - product * following),
                correction=1 - 0.999**t,
                eps=1e-8,
                decay=0.2,
                maximize=maximize,
            )
        check(params, expected, "float32")


@pytest.mark.parametrize(("momentum", "nesterov", "dampening"), [(0, False, 0), (0.9, False, 0.3), (0.9, True, 0)])
def test_sgd(momentum: float, nesterov: bool, dampening: float) -> None:
    def make(p: list[Tensor]) -> optim.Optimizer:
        return optim.SGD(p, 0.1, momentum, dampening, 0.2, nesterov)

    first, gradients, expected = trained(make, "float32")
    with kernel_device():
        params = on_device(first)
        buffers = [zeros(p.shape, "float32") for p in params] if momentum else None
        for t, g in enumerate(gradients, 1):
            share = 1.0 if t == 1 else 1 - dampening
            optimiser.sgd(
                params, on_device(g), buffers, lr=0.1, decay=0.2, momentum=momentum, share=share, nesterov=nesterov
            )
        check(params, expected, "float32")


def test_ema_and_mixed_dtypes() -> None:
    rng = np.random.default_rng(1)
    first = [rng.standard_normal((5, 7)).astype(d) for d in ("float32", "float64", "float16")]
    new = [rng.standard_normal((5, 7)).astype(a.dtype) for a in first]
    with kernel_device():
        averages = on_device(first)
        optimiser.ema(averages, on_device(new), 0.25)
        for average, a, x in zip(averages, first, new, strict=True):
            near(average, a.astype(float) * 0.75 + x.astype(float) * 0.25, average.dtype.name)


def drawn(stored: str, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(number(stored)) for shape in SHAPES]


@pytest.mark.parametrize("stored", STORED)
def test_a_norm_of_all_and_one_factor_for_all(stored: str) -> None:
    arrays = drawn(stored)
    exact = math.sqrt(sum(float((a.astype(np.float64) ** 2).sum()) for a in arrays))
    with standin_cupy() as cupy:
        there = [cupy.asarray(a) for a in arrays]
        norm = optimiser.norm(there)
        assert (norm.shape, norm.dtype) == ((), np.float64)
        assert float(norm) == pytest.approx(exact, rel=1e-12)
        optimiser.scale(there, 0.5 / norm)
        for x, a in zip(there, arrays, strict=True):
            near(x.get(), a.astype(np.float64) * 0.5 / exact, stored, 2)
        assert float(optimiser.norm([])) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_seen_in_a_norm(bad: float) -> None:
    arrays = drawn("float32")
    arrays[-1][8190] = bad
    with standin_cupy() as cupy:
        assert not math.isfinite(float(optimiser.norm([cupy.asarray(a) for a in arrays])))
        large, small = (cupy.asarray(np.full(3, size, np.float32)) for size in (1e38, 1e-38))
        assert float(optimiser.norm([large])) == pytest.approx(math.sqrt(3) * 1e38, rel=1e-6)
        assert float(optimiser.norm([small])) == pytest.approx(math.sqrt(3) * 1e-38, rel=1e-6)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_weights_are_rounded_and_gradients_widened(stored: str) -> None:
    weights, gradients, before = drawn("float32"), drawn(stored, 1), drawn("float32", 2)
    with standin_cupy() as cupy:
        twins = [cupy.empty(a.shape, a.dtype) for a in gradients]
        optimiser.narrow(twins, [cupy.asarray(a) for a in weights])
        new, sums = [cupy.empty(a.shape, "float32") for a in weights], [cupy.asarray(a) for a in before]
        for results, adds in ((new, False), (sums, True)):
            optimiser.widen(results, [cupy.asarray(a) for a in gradients], 4.0, adds)
        for twin, a in zip(twins, weights, strict=True):
            np.testing.assert_array_equal(twin.get(), a.astype(twin.dtype))
        for fresh, total, a, old in zip(new, sums, gradients, before, strict=True):
            share = a.astype(np.float32) / 4
            np.testing.assert_array_equal(fresh.get(), share)
            np.testing.assert_array_equal(total.get(), old + share)
        with pytest.raises(
            ValueError, match=r"^widen: got a ndarray of float64 .* expected float32 and the same shape"
        ):
            optimiser.widen([cupy.empty(2, "float64")], [cupy.empty(2, stored)], 1.0, False)


def test_a_gradient_may_lie_otherwise_than_its_parameter() -> None:
    with kernel_device():
        p, g = asarray(np.ones((2, 3), "f4")), asarray(np.arange(6, dtype="f4").reshape(3, 2))
        optimiser.sgd([p], [g.T], None, lr=0.5)
        np.testing.assert_array_equal(p, 1 - 0.5 * g.T)


def test_gradients_are_left_alone() -> None:
    with kernel_device():
        (p,), (g,) = on_device([np.ones(5, "f4")]), on_device([np.full(5, 2, "f4")])
        optimiser.sgd([p], [g], None, lr=0.5, decay=1.0, maximize=True)
        np.testing.assert_array_equal(g, np.full(5, 2))
        np.testing.assert_array_equal(p, np.full(5, 1.5))


def test_arrays_that_do_not_fit_are_named() -> None:
    with kernel_device():
        p, g = asarray(np.ones((2, 3), "f4")), asarray(np.ones((3, 2), "f4"))
        with pytest.raises(ValueError, match=r"sgd: got a ndarray of float32 and shape \(3, 2\) beside a parameter of"):
            optimiser.sgd([p], [g], None, lr=0.1)
        with pytest.raises(ValueError, match="is not contiguous"):
            optimiser.sgd([g.T], [p], None, lr=0.1)
        with pytest.raises(TypeError, match="a parameter is int32"):
            optimiser.ema([asarray(np.ones(2, "i4"))], [asarray(np.ones(2, "i4"))], 0.1)
