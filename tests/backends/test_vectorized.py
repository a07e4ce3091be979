"""Every fast backend against `loops`, kernel by kernel: values, shapes, dtypes, special values, manners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_effnet.backends import Backend, Window

Calls = Callable[[str, Any], st.SearchStrategy[Any]]

ONE = ("negative", "absolute", "sign", "exp", "log", "log1p", "sqrt", "sin", "cos", "tanh", "erf", "sigmoid", "silu")
TWO = ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum")
KEEP_WHOLE = ("add", "subtract", "multiply", "maximum", "minimum", "power")


def special_values(dtype: Any) -> np.ndarray:
    """Infinities, NaN, zeros of both signs, the largest and the smallest numbers, and a few plain ones."""
    info = np.finfo(dtype)
    few = [1.0, 2.0, 3.0, 0.5, 1e-3, 30.0, 100.0, 1000.0, info.tiny, info.smallest_subnormal, info.max, np.inf, 0.0]
    return np.array([*few, *(-v for v in few), np.nan], dtype)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_equals_loops(
    kernel: str, dtype: Any, fast: Backend, loops: Backend, calls: Calls, data: st.DataObject
) -> None:
    call = data.draw(calls(kernel, dtype))
    before = [a.copy() for a in call.arrays()]
    results, expected = call.of(fast, kernel), call.of(loops, kernel)
    call.check(results, expected, dtype)
    for got, want in zip(results, expected, strict=True):
        assert (np.shape(got), got.dtype) == (want.shape, want.dtype)
        assert not any(np.shares_memory(got, a) for a in call.arrays()), "a result is a view of an argument"
    for a, copy in zip(call.arrays(), before, strict=True):
        np.testing.assert_array_equal(a, copy, err_msg="an argument was written to")


@pytest.mark.parametrize("name", ONE)
def test_special_values_of_one_operand(name: str, dtype: Any, fast: Backend, loops: Backend) -> None:
    x = special_values(dtype)
    with np.errstate(all="ignore"):
        got, want = getattr(fast, name)(x), getattr(loops, name)(x)
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    np.testing.assert_allclose(got, want, rtol=32 * eps, atol=tiny)


@pytest.mark.parametrize("name", TWO)
def test_special_values_of_two_operands(name: str, dtype: Any, fast: Backend, loops: Backend) -> None:
    a, b = np.meshgrid(special_values(dtype), special_values(dtype))
    with np.errstate(all="ignore"):
        got, want = getattr(fast, name)(a, b), getattr(loops, name)(a, b)
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    np.testing.assert_allclose(got, want, rtol=32 * eps, atol=tiny)


def test_special_values_of_silu_grad(dtype: Any, fast: Backend, loops: Backend) -> None:
    x = special_values(dtype)
    for upstream in (1.0, -3.0, np.nan):  # nothing huge: float32 has few digits left of sigmoid(-100)
        dy = np.full_like(x, upstream)
        with np.errstate(all="ignore"):
            got, want = fast.silu_grad(x, dy), loops.silu_grad(x, dy)
        np.testing.assert_allclose(got, want, rtol=32 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("low, high", [(-1.0, 1.0), (-np.inf, 0.0), (0.0, np.inf)])
def test_special_values_of_clip(low: float, high: float, dtype: Any, fast: Backend, loops: Backend) -> None:
    x = special_values(dtype)
    np.testing.assert_array_equal(fast.clip(x, low, high), loops.clip(x, low, high))


@pytest.mark.parametrize("name", ["sum", "max", "argmax", "logsumexp", "softmax", "log_softmax"])
def test_special_values_of_reductions(name: str, dtype: Any, fast: Backend, loops: Backend) -> None:
    inf, nan, huge = np.inf, np.nan, np.finfo(dtype).max
    rows = [
        *([inf, 1, 2], [-inf, 1, 2], [-inf, -inf, -inf], [inf, -inf, 0], [inf, inf, 0], [nan, 1, 2], [1, nan, inf]),
        *([nan, 2, nan], [huge, huge, 0], [-huge, huge, 1], [1000, 1000, 999], [-1000, -1000, -1000], [0.0, -0.0, 0.0]),
    ]
    x = np.array(rows, dtype)
    rest = (1,) if name.endswith("softmax") else (1, False)
    with np.errstate(all="ignore"):
        got, want = getattr(fast, name)(x, *rest), getattr(loops, name)(x, *rest)
    np.testing.assert_allclose(got, want, rtol=8 * np.finfo(dtype).eps)


def test_max_pool2d_lets_nan_win_and_padding_lose(dtype: Any, fast: Backend, loops: Backend) -> None:
    inf, nan = np.inf, np.nan
    plane = [[nan, 1, nan, 5], [-inf, -inf, 2, 2], [-inf, -inf, 2, inf], [0.0, -0.0, nan, -inf]]
    x = np.array(plane, dtype)[None, None]
    for window in (
        Window((2, 2)),
        Window((2, 2), (2, 2), ((1, 1), (1, 1))),
        Window((3, 2), (1, 2), ((0, 2), (1, 0)), (1, 2)),
        Window((2, 1), (1, 1), ((2, 2), (2, 2))),  # some windows see nothing but padding
    ):
        for got, want in zip(fast.max_pool2d(x, window), loops.max_pool2d(x, window), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("whole", [np.int32, np.int64])
@pytest.mark.parametrize("name", KEEP_WHOLE)
def test_whole_numbers_stay_whole(name: str, whole: Any, fast: Backend, loops: Backend) -> None:
    a, b = np.array([[3, -2, 0], [1, 5, -7]], whole), np.array([2, 3, 1], whole)
    for operands in ((a, b), (a, 2), (a, b.astype(np.float64)), (a, 0.5)):
        with np.errstate(all="ignore"):
            got, want = getattr(fast, name)(*operands), getattr(loops, name)(*operands)
        assert got.dtype == want.dtype == np.result_type(*operands)
        np.testing.assert_allclose(got, want, rtol=1e-15)


def test_reductions_and_quotients_of_whole_numbers(fast: Backend, loops: Backend) -> None:
    x = np.array([[3, -2, 7], [1, 5, -7]], np.int32)
    for name, args in (
        *(("sum", (1, True)), ("sum", (None, False)), ("max", (0, False)), ("logsumexp", (1, False))),
        *(("divide", (2,)), ("sqrt", ()), ("softmax", (1,)), ("sigmoid", ()), ("erf", ())),
    ):
        with np.errstate(all="ignore"):
            got, want = getattr(fast, name)(x, *args), getattr(loops, name)(x, *args)
        assert got.dtype == want.dtype, name
        np.testing.assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("name", ["max", "argmax"])
def test_no_largest_of_nothing(name: str, backend: Backend) -> None:
    with pytest.raises(ValueError):
        getattr(backend, name)(np.empty((2, 0)), 1, False)


def test_matmul_says_when_sizes_differ(backend: Backend) -> None:
    with pytest.raises(ValueError):
        backend.matmul(np.ones((2, 3)), np.ones((2, 3)))


def test_erf_without_scipy(monkeypatch: pytest.MonkeyPatch, dtype: Any, loops: Backend) -> None:
    """NumPy alone must be enough."""
    from tinygrad_effnet.backends.vectorized import NumPy

    monkeypatch.setitem(__import__("sys").modules, "scipy.special", None)
    x = np.linspace(-3, 3, 7).astype(dtype).reshape(1, 7)
    got = NumPy().erf(x)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, loops.erf(x), rtol=1e-6)
    assert NumPy().erf(np.array([1, 2])).dtype == np.float64


def test_uniform_has_the_same_numbers_everywhere(dtype: Any, fast: Backend, loops: Backend) -> None:
    """Dropout with one seed drops the same units on every backend."""
    first, second = np.random.default_rng(7), np.random.default_rng(7)
    for shape in ((3, 5), (), (0, 2), (4,)):
        np.testing.assert_array_equal(fast.uniform(first, shape, dtype), loops.uniform(second, shape, dtype))
    assert first.bit_generator.state == second.bit_generator.state
