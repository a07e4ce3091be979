"""Matrix products: batches that broadcast, vectors, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck


@given(
    data=st.data(),
    shapes=hnp.mutually_broadcastable_shapes(signature="(n,k),(k,m)->(n,m)", max_dims=2, min_side=0, max_side=3),
    seed=st.integers(0, 999),
)
def test_any_two_that_fit(
    data: st.DataObject, shapes: hnp.BroadcastableShapes, seed: int, layouts: st.SearchStrategy, leaves: Callable
) -> None:
    rng = np.random.default_rng(seed)
    a, b = (data.draw(layouts)(rng.standard_normal(shape)) for shape in shapes.input_shapes)
    x = leaves(a, b)
    y = x[0] @ x[1]
    assert y.shape == shapes.result_shape
    np.testing.assert_allclose(y.numpy(), a @ b, atol=1e-12)
    assert gradcheck(lambda a, b: a @ b, x, seed=seed)
    assert gradgradcheck(lambda a, b: a @ b, x, seed=seed, fast_mode=True)


def test_vectors_and_batches_agree_with_pytorch(like_torch: Callable) -> None:
    rng = np.random.default_rng(0)
    for left, right in (
        ((3,), (3,)),
        ((3,), (2, 3, 4)),
        ((5, 2, 3), (3,)),
        ((2, 1, 4, 3), (5, 3, 2)),
        ((1, 1), (1, 1)),
    ):
        like_torch(lambda a, b: a @ b, lambda a, b: a @ b, rng.standard_normal(left), rng.standard_normal(right))


def test_linear_agrees_with_pytorch(like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((4, 3)), rng.standard_normal(4)
    for shape in ((3,), (2, 3), (2, 5, 3), (0, 3)):
        like_torch(tg.ops.linear, torch.nn.functional.linear, rng.standard_normal(shape), w, b)
        like_torch(tg.ops.linear, torch.nn.functional.linear, rng.standard_normal(shape), w)


def test_arrays_on_the_left() -> None:
    x = tg.Tensor([[1.0], [2.0]], requires_grad=True)
    y = np.array([[3.0, 4.0]], np.float32) @ x
    assert isinstance(y, tg.Tensor)
    assert (y.item(), y.dtype) == (11.0, np.float32)


def test_errors_say_what_does_not_fit() -> None:
    a = tg.Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"axis 0 of b must be k = 3 \(from a\), but is 4") as caught:
        a @ np.ones((4, 3))
    assert "b: ... k m = (4, 3)" in str(caught.value)
    assert "Did you mean b transposed?" in str(caught.value)
    with pytest.raises(ValueError, match="both need at least one axis"):
        a @ 2.0
    with pytest.raises(ValueError, match=r"linear: x has shape \(2, 3\) and weight \(3, 4\)"):
        tg.ops.linear(a, tg.Tensor(np.ones((3, 4))))
    with pytest.raises(ValueError, match=r"linear: bias has shape \(3,\); expected \(4,\)"):
        tg.ops.linear(a, tg.Tensor(np.ones((4, 3))), tg.Tensor(np.ones(3)))
    with pytest.raises(TypeError, match="int64"):
        tg.Tensor([[1, 2]]) @ tg.Tensor([[1], [2]])
