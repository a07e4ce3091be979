"""Products with Jacobians and Hessians: closed forms, agreement with the walk backwards, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet import hvp, jvp


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2, shape)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_a_linear_map_is_its_own_derivative(n: int, m: int, seed: int) -> None:
    matrix, x, v = numbers(seed, m, n), numbers(seed + 1, n, 1), numbers(seed + 2, n, 1)
    y, dy = jvp(lambda x: tg.Tensor(matrix) @ x, tg.Tensor(x), tg.Tensor(v))
    np.testing.assert_allclose(y.numpy(), matrix @ x)
    np.testing.assert_allclose(dy.numpy(), matrix @ v)


@given(st.integers(1, 5), st.integers(0, 99))
def test_hessians_of_closed_form(n: int, seed: int) -> None:
    matrix, x, v = numbers(seed, n, n), numbers(seed + 1, n), numbers(seed + 2, n)

    def quadratic_and_exponentials(x: tg.Tensor) -> tg.Tensor:
        return (x * (tg.Tensor(matrix) @ x)).sum() + x.exp().sum()

    value, product = hvp(quadratic_and_exponentials, tg.Tensor(x), v)
    np.testing.assert_allclose(value.item(), x @ matrix @ x + np.exp(x).sum())
    np.testing.assert_allclose(product.numpy(), (matrix + matrix.T) @ v + np.exp(x) * v)


def test_several_inputs_and_outputs() -> None:
    a, b, da, db = (numbers(seed, 3) for seed in range(4))
    (product, ratio), (dproduct, dratio) = jvp(
        lambda a, b: [a * b, a / b], [tg.Tensor(a), tg.Tensor(b)], [tg.Tensor(da), db]
    )
    np.testing.assert_allclose(product.numpy(), a * b)
    np.testing.assert_allclose(ratio.numpy(), a / b)
    np.testing.assert_allclose(dproduct.numpy(), da * b + a * db)
    np.testing.assert_allclose(dratio.numpy(), da / b - a * db / b**2)

    value, (ha, hb) = hvp(lambda a, b: (a * a * b).sum(), [tg.Tensor(a), tg.Tensor(b)], [da, db])
    np.testing.assert_allclose(value.item(), (a * a * b).sum())
    np.testing.assert_allclose(ha.numpy(), 2 * b * da + 2 * a * db)
    np.testing.assert_allclose(hb.numpy(), 2 * a * da)


def test_agrees_with_pytorch_on_a_network() -> None:
    torch = pytest.importorskip("torch")
    x, w, dx, dw = numbers(0, 2, 3, 5, 5), numbers(1, 4, 3, 3, 3), numbers(2, 2, 3, 5, 5), numbers(3, 4, 3, 3, 3)

    def ours(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        return tg.silu(tg.conv2d(x, w, padding=1) * 0.05).mean((2, 3)).logsumexp(1).sum()

    def theirs(x: Any, w: Any) -> Any:
        y = torch.nn.functional.silu(torch.nn.functional.conv2d(x, w, padding=1) * 0.05)
        return y.mean((2, 3)).logsumexp(1).sum()

    inputs, vectors = [tg.Tensor(x), tg.Tensor(w)], [dx, dw]
    t = tuple(map(torch.tensor, (x, w))), tuple(map(torch.tensor, (dx, dw)))
    for found, expected in (
        (jvp(ours, inputs, vectors)[1], torch.autograd.functional.jvp(theirs, *t)[1]),
        *zip(hvp(ours, inputs, vectors)[1], torch.autograd.functional.hvp(theirs, *t)[1], strict=True),
    ):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)


def test_what_does_not_depend_on_the_inputs_has_derivative_zero() -> None:
    x, constant = tg.Tensor(numbers(0, 2)), tg.Tensor(numbers(1, 3), requires_grad=True)
    (_, held), (moved, still) = jvp(lambda x: (x * 2.0, constant * 1.0), x, np.ones(2))
    assert moved.tolist() == [2.0, 2.0]
    assert (held.shape, still.tolist()) == ((3,), [0.0] * 3)
    assert jvp(lambda x, y: y * y, [x, x], [np.ones(2), np.zeros(2)])[1].tolist() == [0.0, 0.0]
    assert hvp(lambda x, y: x.sum() + (y * y).sum(), [x, x], [np.ones(2), np.ones(2)])[1][0].tolist() == [0.0, 0.0]
    assert hvp(lambda x: tg.Tensor(1.0), x, np.ones(2))[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("recording", [True, False])
def test_results_are_constants_and_the_users_tensors_are_left_alone(recording: bool) -> None:
    x = tg.Tensor(numbers(0, 3), requires_grad=True)
    before = x.numpy().copy()
    with tg.enable_grad() if recording else tg.no_grad():
        results = [*jvp(lambda x: x * x, x, before), *hvp(lambda x: (x * x * x).sum(), x, before)]
    assert not any(result.requires_grad for result in results)
    assert x.grad is None
    np.testing.assert_array_equal(x.numpy(), before)


def test_results_can_be_differentiated_when_asked_for() -> None:
    x = tg.Tensor(numbers(0, 3), requires_grad=True)
    v = numbers(1, 3)
    _, dy = jvp(lambda x: x * x * x, x, v, create_graph=True)
    (slope,) = tg.grad(dy.sum(), x)
    np.testing.assert_allclose(slope.numpy(), 6 * x.numpy() * v)
    _, product = hvp(lambda x: (x * x * x * x).sum(), x, v, create_graph=True)
    (slope,) = tg.grad(product.sum(), x)
    np.testing.assert_allclose(slope.numpy(), 24 * x.numpy() * v)


def test_dtypes_are_those_of_the_inputs() -> None:
    x = tg.Tensor([1.0, 2.0])
    assert all(t.dtype == np.float32 for t in jvp(lambda x: x.exp(), x, np.ones(2)))
    assert all(t.dtype == np.float32 for t in hvp(lambda x: x.exp().sum(), x, np.ones(2)))


def test_what_makes_no_sense_is_refused_by_name() -> None:
    x = tg.Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match=r"jvp\(tangents\): 1 for 2 inputs; give one for each"):
        jvp(lambda a, b: a * b, [x, x], [x])
    with pytest.raises(ValueError, match=r"hvp\(vectors\): vectors\[0\] has shape \(3,\) and its input \(2,\)"):
        hvp(lambda x: x.sum(), x, np.ones(3))
    with pytest.raises(TypeError, match=r"jvp\(inputs: entry 0\): got int64; expected a floating-point Tensor"):
        jvp(lambda x: x, tg.Tensor([1, 2]), np.ones(2))
    with pytest.raises(TypeError, match=r"jvp\(fn: output 1\): got bool"):
        jvp(lambda x: (x, x > 0), x, np.ones(2))
    with pytest.raises(TypeError, match=r"jvp\(fn\): got a float; expected a Tensor"):
        jvp(lambda x: 1.0, x, np.ones(2))
    with pytest.raises(TypeError, match=r"hvp\(fn: output 0\): got float"):
        hvp(lambda x: 1.0, x, np.ones(2))
    with pytest.raises(ValueError, match=r"hvp\(fn\): it returned a tensor of shape \(2,\).*\.sum\(\)"):
        hvp(lambda x: x * x, x, np.ones(2))
