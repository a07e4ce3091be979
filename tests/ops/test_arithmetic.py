"""Arithmetic: broadcasting undone, ties and edges as PyTorch has them, dtypes, operators."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck

PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3)
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
}
BINARY = {**OPERATORS, "maximum": tg.ops.maximum, "minimum": tg.ops.minimum}


@given(data=st.data(), pair=PAIRS, seed=st.integers(0, 1000))
@pytest.mark.parametrize("name", list(BINARY))
def test_every_broadcast_is_undone(
    name: str, data: st.DataObject, pair: Any, seed: int, layouts: st.SearchStrategy, leaves: Callable
) -> None:
    rng = np.random.default_rng(seed)
    # positive for the sake of division and powers, and no number of the one within 0.01 of one of the other
    a, b = (
        (rng.integers(25, 150, shape) / 50 + offset) for shape, offset in zip(pair.input_shapes, (0, 0.01), strict=True)
    )
    x = leaves(data.draw(layouts)(np.asarray(a)), data.draw(layouts)(np.asarray(b)))
    y = BINARY[name](*x)
    assert y.shape == pair.result_shape
    np.testing.assert_allclose(
        y.numpy(),
        getattr(np, {"div": "divide", "sub": "subtract", "mul": "multiply", "pow": "power"}.get(name, name))(a, b),
    )
    assert gradcheck(BINARY[name], x, eps=1e-6, rtol=1e-4, atol=1e-6, seed=seed)
    assert gradgradcheck(BINARY[name], x, eps=1e-6, rtol=1e-4, atol=1e-6, seed=seed, fast_mode=True)


@pytest.mark.parametrize("name", list(BINARY))
def test_agrees_with_pytorch(name: str, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    theirs = OPERATORS.get(name) or getattr(torch, name)
    like_torch(BINARY[name], theirs, rng.uniform(0.5, 2, (2, 1, 3)), rng.uniform(0.5, 2, (4, 1)))


@pytest.mark.parametrize("name", ["div", "pow", "maximum", "minimum"])
def test_edges_are_those_of_pytorch(name: str, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    theirs = OPERATORS.get(name) or getattr(torch, name)
    numbers = [-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0]
    for a in numbers:
        for b in numbers:
            like_torch(BINARY[name], theirs, np.array([a]), np.array([b]))


def test_zero_to_the_zero() -> None:
    a, b = tg.Tensor([0.0], requires_grad=True), tg.Tensor([0.0], requires_grad=True)
    y = a**b
    y.backward([3.0])
    assert (y.item(), a.grad.item(), b.grad.item()) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (None, 0.5), (-0.5, None), (0.5, 0.5)])
def test_clip_at_its_bounds(bounds: tuple[float | None, float | None], like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    like_torch(lambda x: x.clip(*bounds), lambda x: torch.clamp(x, *bounds), x)


def test_clip_refuses_bounds_the_wrong_way_round() -> None:
    with pytest.raises(ValueError, match="min = 2 is larger than max = 1"):
        tg.ops.clip(tg.Tensor([1.0]), 2, 1)


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3), seed=st.integers(0, 99)
)
def test_where_broadcasts_all_three(shapes: Any, seed: int, leaves: Callable) -> None:
    rng = np.random.default_rng(seed)
    condition = rng.random(shapes.input_shapes[0]) < 0.5
    x = leaves(*[np.asarray(rng.standard_normal(s)) for s in shapes.input_shapes[1:]])
    assert gradcheck(lambda a, b: tg.ops.where(tg.Tensor(condition), a, b), x, seed=seed)


def test_where_needs_a_condition_and_hides_no_nan_in_gradients() -> None:
    with pytest.raises(TypeError, match="expected booleans, got int64"):
        tg.ops.where(np.array([1, 0]), 1.0, 2.0)
    x = tg.Tensor([-1.0, 4.0], requires_grad=True)
    tg.ops.where(x > 0, x, 0.0).backward([5.0, 7.0])
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 7.0])


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons_are_boolean_and_have_no_gradient(name: str) -> None:
    a, b = np.array([[1.0], [2.0]]), np.array([1.0, 2.0, np.nan])
    compare = getattr(operator, name)
    for left, right in ((tg.Tensor(a, requires_grad=True), tg.Tensor(b)), (tg.Tensor(a), b), (a, tg.Tensor(b))):
        result = compare(left, right)
        assert isinstance(result, tg.Tensor)
        assert (result.dtype, result.node) == (np.dtype(bool), None)
        np.testing.assert_array_equal(result.numpy(), compare(a, b))
    assert compare(tg.Tensor(1.0), 2).shape == ()


@pytest.mark.parametrize("name", list(OPERATORS))
def test_arrays_on_the_left_give_a_tensor(name: str) -> None:
    array, x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), tg.Tensor([0.5, 2.0], requires_grad=True)
    for left in (array, array[0, 0], np.float64(2.0), 2, 2.0, True):
        result = OPERATORS[name](left, x)
        assert isinstance(result, tg.Tensor)
        assert (result.dtype, result.requires_grad) == (np.float32, True)
        np.testing.assert_allclose(result.numpy(), OPERATORS[name](np.asarray(left, np.float32), x.numpy()), rtol=1e-6)


FLOATS = (np.float32, np.float64)


@pytest.mark.parametrize("name", list(BINARY))
@pytest.mark.parametrize("left", FLOATS)
@pytest.mark.parametrize("right", FLOATS)
def test_the_wider_float_wins_and_gradients_have_their_inputs_dtype(name: str, left: Any, right: Any) -> None:
    a, b = tg.Tensor([1.5, 2.0], True, left), tg.Tensor([2.5, 1.0], True, right)
    y = BINARY[name](a, b)
    assert y.dtype == np.promote_types(left, right)
    y.backward(np.array([0.3, -0.7]))
    assert (a.grad.dtype, b.grad.dtype) == (left, right)


@pytest.mark.parametrize("number", [2, 2.5, True, np.float64(2.5), np.int64(2)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_do_not_widen(number: Any, dtype: Any) -> None:
    x = tg.Tensor([1.0, 2.0], dtype=dtype)
    for f in BINARY.values():
        assert f(x, number).dtype == f(number, x).dtype == dtype


def test_integers_stay_integers_until_a_float_comes() -> None:
    n = tg.Tensor([1, 2])
    assert (n + 1).dtype == (n * n).dtype == (2**n).dtype == (n - np.int64(1)).dtype == np.int64
    assert (n * 0.5).dtype == (n * np.float64(0.5)).dtype == np.float32
    np.testing.assert_array_equal((n * np.float64(0.5)).numpy(), [0.5, 1.0])
    assert (n + tg.Tensor([0.5])).dtype == np.float32
    assert (n + tg.Tensor([0.5], dtype=np.float64)).dtype == np.float64
    np.testing.assert_array_equal((tg.Tensor([True, False]) + 1).numpy(), [2, 1])
    with pytest.raises(TypeError, match=r"div: a holds int64 numbers"):
        n / 2
    with pytest.raises(TypeError, match="divide images of 0..255 by 255"):
        tg.Tensor(np.ones(2, np.uint8)) / 255


def test_other_types_are_refused_by_name() -> None:
    for f in BINARY.values():
        with pytest.raises(TypeError, match="b is a str; expected a Tensor, an array or a number"):
            f(tg.Tensor([1.0]), "2")
        with pytest.raises(TypeError, match="b is a NoneType"):
            f(tg.Tensor([1.0]), None)


def test_cast() -> None:
    x = tg.Tensor([1.5, -2.5], requires_grad=True)
    assert x.to(np.float32) is x
    y = x.double() * 3.0
    y.backward(np.array([1.0, 1e-9]))
    assert (y.dtype, x.grad.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(x.grad.numpy(), [3.0, 3e-9], rtol=1e-6)
    for dtype in (np.int64, bool):
        whole = x.to(dtype)
        assert (whole.dtype, whole.requires_grad) == (dtype, False)
    assert tg.Tensor([1, 2]).float().dtype == np.float32


@pytest.mark.parametrize("upstream", [2.0, -3.0])
def test_abs_at_zero(upstream: float) -> None:
    x = tg.Tensor([0.0, -0.0, -2.0, 3.0], requires_grad=True)
    abs(x).backward(np.full(4, upstream))
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 0.0, -upstream, upstream])
