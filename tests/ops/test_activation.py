"""Activations: against PyTorch everywhere, kinks and far tails included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck

SMOOTH = ("sigmoid", "silu", "tanh", "gelu", "softplus", "logsigmoid")
KINKED = {
    "relu": (0.0,),
    "relu6": (0.0, 6.0),
    "leaky_relu": (0.0,),
    "hardsigmoid": (-3.0, 3.0),
    "hardswish": (-3.0, 3.0),
}

PRECISION = {"hardsigmoid": 1e-7}  # PyTorch's gradient has 1/6 rounded to float32, also for float64


def functional(name: str) -> Callable:
    torch = pytest.importorskip("torch")
    return getattr(torch.nn.functional, name)


@pytest.mark.parametrize("name", [*SMOOTH, *KINKED])
def test_agrees_with_pytorch(name: str, like_torch: Callable) -> None:
    x = np.random.default_rng(0).uniform(-8, 8, (5, 7))
    like_torch(getattr(tg.ops, name), functional(name), x, rtol=PRECISION.get(name, 1e-9))
    like_torch(getattr(tg.ops, name), functional(name), x.astype(np.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KINKED)
def test_kinks_are_those_of_pytorch(name: str, like_torch: Callable) -> None:
    like_torch(
        getattr(tg.ops, name),
        functional(name),
        np.array([-6.0, -3.0, -0.0, 0.0, 3.0, 6.0]),
        rtol=PRECISION.get(name, 1e-9),
    )
    kinks = tg.op.registry[name].kinks
    assert all(f"{abs(point):g}" in kinks for point in KINKED[name])


@pytest.mark.parametrize("backend", tg.available_backends())
@pytest.mark.parametrize("name", [*SMOOTH, *KINKED])
def test_far_tails_do_not_overflow(name: str, backend: str, like_torch: Callable) -> None:
    with tg.use_backend(backend):
        for dtype, rtol in ((np.float64, 1e-9), (np.float32, 1e-5)):
            x = np.array([-1e4, -800.0, -100.0, -40.0, 40.0, 100.0, 800.0, 1e4], dtype)
            like_torch(getattr(tg.ops, name), functional(name), x, rtol=rtol, atol=1e-30)
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                getattr(tg.ops, name)(tg.Tensor(x))


@given(
    data=st.data(), seed=st.integers(0, 1000), shape=hnp.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=3)
)
@pytest.mark.parametrize("name", [*SMOOTH, *KINKED])
def test_gradients_for_any_shape_and_layout(
    name: str, data: st.DataObject, seed: int, shape: tuple[int, ...], layouts: st.SearchStrategy
) -> None:
    x = np.asarray(np.random.default_rng(seed).uniform(-7, 7, shape))
    for point in KINKED.get(name, ()):
        x = np.where(np.abs(x - point) < 0.01, point + 0.02, x)
    leaf = tg.from_numpy(data.draw(layouts)(x)).requires_grad_()
    assert gradcheck(getattr(tg.ops, name), leaf, seed=seed)
    assert gradgradcheck(getattr(tg.ops, name), leaf, seed=seed, fast_mode=True)


def test_leaky_relu_slope(like_torch: Callable) -> None:
    f = functional("leaky_relu")
    x = np.array([-2.0, 0.0, 3.0])
    like_torch(lambda x: tg.ops.leaky_relu(x, 0.2), lambda x: f(x, 0.2), x)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@given(shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), data=st.data(), seed=st.integers(0, 99))
def test_softmax_along_any_axis(
    name: str, shape: tuple[int, ...], data: st.DataObject, seed: int, like_torch: Callable, layouts: st.SearchStrategy
) -> None:
    torch = pytest.importorskip("torch")
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(seed).standard_normal(shape) * 3
    like_torch(lambda x: getattr(tg.ops, name)(x, dim), lambda x: getattr(torch, name)(x, dim), x)
    leaf = tg.from_numpy(data.draw(layouts)(x)).requires_grad_()
    assert gradcheck(lambda x: getattr(tg.ops, name)(x, dim), leaf, seed=seed)


@pytest.mark.parametrize("backend", tg.available_backends())
def test_softmax_of_large_numbers(backend: str) -> None:
    with tg.use_backend(backend), np.errstate(over="raise", invalid="raise"):
        x = tg.Tensor(np.array([[1e4, 1e4, -1e4], [-1e4, 0.0, 700.0]]))
        np.testing.assert_allclose(x.softmax(1).numpy(), [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], atol=1e-300)
        np.testing.assert_allclose(x.log_softmax(1).numpy()[0], [-np.log(2), -np.log(2), -2e4 - np.log(2)])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("backend", tg.available_backends())
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_softmax_of_infinity_is_pytorchs(name: str, backend: str) -> None:
    torch = pytest.importorskip("torch")
    inf = np.inf
    x = np.array([[inf, 1.0, 2.0], [inf, inf, 0.0], [-inf, 1.0, 2.0], [-inf, -inf, -inf], [inf, -inf, 0.0]])
    with tg.use_backend(backend):
        ours = getattr(tg.ops, name)(tg.Tensor(x), 1).numpy()
    np.testing.assert_allclose(ours, getattr(torch, name)(torch.tensor(x), 1).numpy(), rtol=1e-14)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_needs_an_axis_that_exists(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}\(dim\): axis 2 does not exist in a tensor of shape \(2, 3\)"):
        getattr(tg.ops, name)(tg.Tensor(np.ones((2, 3))), 2)
