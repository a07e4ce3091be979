"""Activation kernels against `loops`."""

from __future__ import annotations

import numpy as np
import pytest
from backends.cupy.comparing import ORACLE, Data, dtypes, near, seeds
from backends.cupy.emulator.device import asarray, kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends.cupy import activation

shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@given(seeds, dtypes, shapes)
def test_activations(seed: int, dtype: str, shape: tuple[int, ...]) -> None:
    draw = Data(seed, dtype)
    with kernel_device():
        (x, x_exact), (dy, dy_exact) = draw(*shape), draw(*shape)
        near(activation.sigmoid(x), ORACLE.sigmoid(x_exact), dtype)
        near(activation.silu(x), ORACLE.silu(x_exact), dtype)
        near(activation.silu_grad(x, dy), ORACLE.silu_grad(x_exact, dy_exact), dtype)


@pytest.mark.parametrize("stored", ["float32", "float64", "float16"])
def test_the_ends_of_the_range(stored: str) -> None:
    x = np.array([-np.inf, -200, -20, -0.0, 0.0, 20, 200, np.inf, np.nan], stored)
    with kernel_device():
        y = np.asarray(activation.sigmoid(asarray(x)))
    np.testing.assert_allclose(y, [0, 0, np.exp(-20), 0.5, 0.5, 1, 1, 1, np.nan], rtol=1e-2, atol=1e-7)


def test_a_result_lies_as_its_operand_does() -> None:
    with kernel_device():
        x = asarray(np.zeros((3, 2, 4, 5), np.float32)).swapaxes(0, 1)
        assert activation.silu(x).swapaxes(0, 1).flags.c_contiguous


@pytest.mark.parametrize("offset", [0, 1, 4])
def test_an_address_that_no_wide_access_may_have(offset: int) -> None:
    """A view that begins within 16 bytes is taken number by number."""
    with kernel_device():
        whole, exact = Data(0, "float32")(64)
        near(activation.silu(whole[offset:]), ORACLE.silu(exact[offset:]), "float32")
