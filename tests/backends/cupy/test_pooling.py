"""Pooling kernels against `loops`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.cupy.comparing import EPS, ORACLE, Data, dtypes, near, seeds, sizes, windows
from backends.cupy.emulator.device import asarray, kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends import Window
from tinygrad_effnet.backends.cupy import pooling
from tinygrad_effnet.backends.vectorized import NumPy

shapes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(st.data(), seeds, dtypes, shapes)
def test_max_pool_and_planes(data: Any, seed: int, dtype: str, leading: tuple[int, int]) -> None:
    window = data.draw(windows())
    size = data.draw(sizes(window, 7))
    draw = Data(seed, dtype)
    with kernel_device():
        ties = draw.rng.integers(-1, 2, (*leading, *size)).astype(np.float64)
        x, x_exact = draw.put(ties.astype(draw(1)[0].dtype)) if data.draw(st.booleans()) else draw(*leading, *size)
        y, index = pooling.max_pool2d(x, window)
        y_exact, index_exact = ORACLE.max_pool2d(x_exact, window)
        near(y, np.where(np.isfinite(y_exact), y_exact, -np.inf), dtype)
        np.testing.assert_array_equal(index, index_exact)
        if (index_exact < 0).any():  # a window of padding only; NumPy's and loops' gathering then need a real place
            return
        dy, dy_exact = draw(*index_exact.shape)
        near(pooling.gather_planes(x, index), ORACLE.gather_planes(x_exact, index_exact), dtype)
        scattered = np.asarray(pooling.scatter_planes(dy, index, size), np.float64)
        expected = ORACLE.scatter_planes(dy_exact, index_exact, size)
        # each of as many additions as there are taps is rounded to what is stored
        taps = window.kernel[0] * window.kernel[1]
        atol = taps * EPS[dtype] * np.abs(expected).max(initial=1.0)
        np.testing.assert_allclose(scattered, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("count_padding", [True, False])
@given(st.data(), seeds, dtypes, shapes)
def test_avg_pool(count_padding: bool, data: Any, seed: int, dtype: str, leading: tuple[int, int]) -> None:
    window = data.draw(windows())
    size = data.draw(sizes(window, 7))
    draw = Data(seed, dtype)
    with kernel_device():
        (x, x_exact), (dy, dy_exact) = draw(*leading, *size), draw(*leading, *window.output_size(*size))
        with np.errstate(all="ignore"):
            expected = NumPy().avg_pool2d(x_exact, window, count_padding)
            expected_grad = NumPy().avg_pool2d_grad(dy_exact, window, count_padding, size)
        if not np.isfinite(expected).all():  # a window of padding only has no mean
            return
        near(pooling.avg_pool2d(x, window, count_padding), expected, dtype, 16)
        near(pooling.avg_pool2d_grad(dy, window, count_padding, size), expected_grad, dtype, 16)


def test_scattering_many_outputs_to_few_places() -> None:
    """More outputs in a plane than pass through shared memory at once, many of them for the same place."""
    rng = np.random.default_rng(0)
    index = rng.integers(-1, 12, (2, 2, 40, 40))
    dy = rng.standard_normal(index.shape).astype(np.float32)
    expected = np.zeros((2, 2, 13))
    for n, c in np.ndindex(2, 2):
        np.add.at(expected[n, c], index[n, c].ravel(), dy[n, c].ravel())
    with kernel_device():
        x = pooling.scatter_planes(asarray(dy), asarray(index), (3, 4))
        near(x, expected[..., :12].reshape(2, 2, 3, 4), "float32", 200)


def test_padding_never_wins_and_nan_always_does() -> None:
    x = np.full((1, 1, 3, 3), -np.inf, np.float32)
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)))
    with kernel_device():
        y, index = pooling.max_pool2d(asarray(x), window)
        assert (y == -np.inf).all() and index.min() == 0
        x[0, 0, 1, 1] = np.nan
        y, index = pooling.max_pool2d(asarray(x), window)
        assert np.isnan(y).all() and (index == 4).all()
        x[0, 0, 1, 2] = np.nan  # the first of several
        y, index = pooling.max_pool2d(asarray(x), window)
        assert (index == 4).all()
