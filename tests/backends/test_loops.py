"""`loops`, and with it every backend, against arithmetic done by hand, and every linear kernel against its adjoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_effnet.backends import Backend, Window
from tinygrad_effnet.backends.loops import Loops
from tinygrad_effnet.backends.vectorized import NumPy

Calls = Callable[[str, Any], st.SearchStrategy[Any]]


def test_is_no_vectorised_backend_in_disguise() -> None:
    assert not issubclass(Loops, NumPy)


# -- by hand -------------------------------------------------------------------------------------------------------
def test_convolution_by_hand(backend: Backend) -> None:
    x = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)[None, None]
    w = np.array([[1, 0], [0, -1]], np.float32)[None, None]
    window = Window((2, 2))
    np.testing.assert_array_equal(backend.conv2d(x, w, window, 1)[0, 0], [[-4, -4], [-4, -4]])
    dy = np.array([[1, 2], [3, 5]], np.float32)[None, None]
    dx = [[1, 2, 0], [3, 4, -2], [0, -3, -5]]
    np.testing.assert_array_equal(backend.conv2d_input_grad(dy, w, window, 1, (3, 3))[0, 0], dx)
    np.testing.assert_array_equal(backend.conv2d_weight_grad(x, dy, window, 1)[0, 0], [[42, 53], [75, 86]])


def test_same_padding_of_tensorflow_by_hand(backend: Backend) -> None:
    """Stride 2 on four pixels: nothing before, one after."""
    x = np.array([1.0, 2.0, 3.0, 4.0])[None, None, None]
    w = np.array([1.0, 10.0, 100.0])[None, None, None]
    window = Window((1, 3), (1, 2), ((0, 0), (0, 1)))
    np.testing.assert_array_equal(backend.conv2d(x, w, window, 1)[0, 0], [[321, 43]])
    np.testing.assert_array_equal(backend.depthwise_conv2d(x, w, window)[0, 0], [[321, 43]])
    np.testing.assert_array_equal(backend.avg_pool2d(x, window, False)[0, 0], [[2, 3.5]])
    np.testing.assert_array_equal(backend.avg_pool2d(x, window, True)[0, 0], [[2, 7 / 3]])


def test_groups_keep_their_channels_apart(backend: Backend) -> None:
    x = np.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 4, 1, 1)
    w = np.array([[1, 1], [1, 0], [1, 1], [0, 1]], np.float64).reshape(4, 2, 1, 1)
    np.testing.assert_array_equal(backend.conv2d(x, w, Window((1, 1)), 2).ravel(), [3, 1, 12, 8])


def test_scalar_answers_where_python_raises(loops: Backend) -> None:
    inf = math.inf
    one_over = loops.divide(1.0, np.array([0.0, -0.0]))
    np.testing.assert_array_equal(one_over, [inf, -inf])
    np.testing.assert_array_equal(loops.log(np.array([0.0, -1.0])), [-inf, math.nan])
    np.testing.assert_array_equal(loops.exp(np.array([1000.0, -1000.0])), [inf, 0])
    np.testing.assert_array_equal(
        loops.power(np.array([-8.0, 0.0, -0.0, -1e300]), np.array([1 / 3, -1, -3, 3])), [math.nan, inf, -inf, -inf]
    )
    np.testing.assert_array_equal(loops.sum(np.array([[inf, -inf], [1e308, 1e308]]), 1, False), [math.nan, inf])
    assert loops.exp(np.array([100.0], np.float32))[0] == inf, "rounded to float32 this is infinite"


def test_whole_number_to_a_negative_power_is_an_error(loops: Backend) -> None:
    with pytest.raises(ValueError, match="2 to the power -1"):
        loops.power(np.array([2]), -1)


def test_arguments_by_name_and_number(loops: Backend) -> None:
    np.testing.assert_array_equal(loops.clip(np.array([-1.0, 9.0]), low=0.0, high=6.0), [0, 6])
    with pytest.raises(TypeError):
        loops.add(np.ones(2))


# -- adjoints: <f(x), dy> = <x, f*(dy)> ----------------------------------------------------------------------------
def inner(a: np.ndarray, b: np.ndarray) -> float:
    return math.fsum((a * b).ravel().tolist())


def seeds(shape: Sequence[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def agree(*products: float) -> None:
    np.testing.assert_allclose(products, products[0], rtol=1e-10, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
@pytest.mark.parametrize("form", ["conv2d", "depthwise_conv2d"])
def test_convolution_adjoints(form: str, backend: Backend, calls: Calls, data: st.DataObject, seed: int) -> None:
    x, w, *rest = data.draw(calls(form, np.float64)).args
    y = getattr(backend, form)(x, w, *rest)
    dy = seeds(y.shape, seed)
    dx = getattr(backend, f"{form}_input_grad")(dy, w, *rest, x.shape[2:])
    dw = getattr(backend, f"{form}_weight_grad")(x, dy, *rest)
    assert (dx.shape, dw.shape) == (x.shape, w.shape)
    agree(inner(y, dy), inner(x, dx), inner(w, dw))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_pooling_adjoints(backend: Backend, calls: Calls, data: st.DataObject, seed: int) -> None:
    x, window, _ = data.draw(calls("avg_pool2d", np.float64)).args
    y = backend.avg_pool2d(x, window, True)
    dy = seeds(y.shape, seed)
    agree(inner(y, dy), inner(x, backend.avg_pool2d_grad(dy, window, True, x.shape[2:])))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_gathering_adjoints(backend: Backend, calls: Calls, data: st.DataObject, seed: int) -> None:
    x, index = data.draw(calls("gather_planes", np.float64)).args
    y = backend.gather_planes(x, index)
    dy = seeds(y.shape, seed)
    agree(inner(y, dy), inner(x, backend.scatter_planes(dy, index, x.shape[2:])))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_indexing_adjoints(backend: Backend, calls: Calls, data: st.DataObject, seed: int) -> None:
    dy, index, shape = data.draw(calls("scatter_add", np.float64)).args
    x = seeds(shape, seed)
    agree(inner(x[index], dy), inner(x, backend.scatter_add(dy, index, shape)))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_largest_is_what_its_index_points_at(backend: Backend, calls: Calls, data: st.DataObject) -> None:
    x, window = data.draw(calls("max_pool2d", np.float64)).args
    y, index = backend.max_pool2d(x, window)
    seen = index >= 0
    np.testing.assert_array_equal(backend.gather_planes(x, np.maximum(index, 0))[seen], y[seen])
    np.testing.assert_array_equal(y[~seen], -math.inf)
