"""Elementary functions: against PyTorch, and at the edges of where they are defined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
EVERYWHERE = ("exp", "sin", "cos", "erf")
EDGES = [-np.inf, -2.0, -1.0, -1e-300, -0.0, 0.0, 1e-300, 0.5, 1.0, 30.0, np.inf, np.nan]


@pytest.mark.parametrize("name", [*EVERYWHERE, "log", "log1p", "sqrt", "tanh", "abs"])
def test_agrees_with_pytorch(name: str, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).uniform(0.1, 3, (3, 4))
    for values in (x, x if name in ("log", "sqrt") else x - 0.9 if name == "log1p" else -x):
        like_torch(getattr(tg.ops, name), getattr(torch, name), values)


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "sqrt", "erf", "tanh", "abs"])
def test_edges_are_those_of_pytorch(name: str, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    for value in EDGES if name != "abs" else EDGES[:-1]:  # PyTorch's sign of NaN is 0; ours stays NaN
        like_torch(getattr(tg.ops, name), getattr(torch, name), np.array([value]))


def test_square_root_at_zero() -> None:
    for upstream, expected in ((1.5, np.inf), (0.0, np.nan)):
        x = tg.Tensor([0.0], requires_grad=True)
        with np.errstate(all="ignore"):
            x.sqrt().backward([upstream])
        np.testing.assert_array_equal(x.grad.numpy(), [expected])


@given(data=st.data(), shape=SHAPES, seed=st.integers(0, 1000))
@pytest.mark.parametrize("name", [*EVERYWHERE, "log", "log1p", "sqrt"])
def test_gradients_for_any_shape_and_layout(
    name: str, data: st.DataObject, shape: tuple[int, ...], seed: int, layouts: st.SearchStrategy
) -> None:
    low = -2.0 if name in EVERYWHERE else 0.3
    x = np.asarray(np.random.default_rng(seed).uniform(low, 2.5, shape))
    f, leaf = getattr(tg.ops, name), tg.from_numpy(data.draw(layouts)(x)).requires_grad_()
    assert gradcheck(f, leaf, seed=seed)
    assert gradgradcheck(f, leaf, seed=seed, fast_mode=True)


def test_log1p_is_exact_for_small_numbers() -> None:
    assert tg.ops.log1p(tg.Tensor(np.array([1e-20]))).item() == 1e-20


@pytest.mark.parametrize("name", [*EVERYWHERE, "log", "log1p", "sqrt"])
def test_numbers_and_arrays_are_taken_and_integers_refused(name: str) -> None:
    f = getattr(tg.ops, name)
    assert f(0.5).dtype == np.float32
    assert f(np.array([0.5, 1.0])).dtype == np.float64
    with pytest.raises(TypeError, match=r"x holds int64 numbers, and .* needs floating-point ones.*x\.float\(\)"):
        f(tg.Tensor([1, 2]))
