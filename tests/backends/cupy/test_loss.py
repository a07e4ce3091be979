"""Softmax kernels against `loops`."""

from __future__ import annotations

import numpy as np
import pytest
from backends.cupy.comparing import ORACLE, Data, dtypes, near, seeds
from backends.cupy.emulator.device import asarray, kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends.cupy import loss

shapes = st.tuples(st.integers(1, 20), st.sampled_from([1, 2, 7, 31, 32, 33, 100]))


@given(seeds, dtypes, shapes)
def test_softmax(seed: int, dtype: str, shape: tuple[int, int]) -> None:
    draw = Data(seed, dtype)
    with kernel_device():
        x, x_exact = draw(*shape)
        near(loss.softmax(x), ORACLE.softmax(x_exact, 1), dtype, 8)
        near(loss.log_softmax(x), ORACLE.log_softmax(x_exact, 1), dtype, 8)


@given(seeds, dtypes, shapes)
def test_cross_entropy(seed: int, dtype: str, shape: tuple[int, int]) -> None:
    draw = Data(seed, dtype)
    with kernel_device():
        (x, x_exact), (goal, goal_exact) = draw(*shape), draw(*shape, positive=True)
        found, gradient = loss.softmax_cross_entropy(x, goal)
        expected = ORACLE.softmax_cross_entropy(x_exact, goal_exact)
        near(found, expected[0], dtype, 100)
        near(gradient, expected[1], dtype, 100)


@pytest.mark.parametrize(
    "row", [[1000.0, 1000.5, -1000.0], [np.inf, 0, 1], [-np.inf, 0, 1], [-np.inf] * 3, [np.nan, 0, 1]]
)
def test_the_ends_of_the_range(row: list[float]) -> None:
    x = np.array([row, [0, 1, 2]], np.float32)
    with kernel_device(), np.errstate(all="ignore"):
        np.testing.assert_allclose(loss.softmax(asarray(x)), ORACLE.softmax(x, 1), rtol=1e-6)
        np.testing.assert_allclose(loss.log_softmax(asarray(x)), ORACLE.log_softmax(x, 1), rtol=1e-6)
