"""The complex step is exact to rounding, leaves no trace, and refuses what is not analytic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.testing import complex_step

FUNCTIONS: dict[str, tuple[Callable, Callable]] = {
    "exp": (lambda x: x.exp(), np.exp),
    "sin": (lambda x: x.sin(), np.cos),
    "abs": (lambda x: x.abs(), np.sign),
    "clip": (lambda x: x.clip(-1.0, 1.0), lambda x: (np.abs(x) < 1) * 1.0),
    "minimum": (lambda x: tg.minimum(x, 0.5), lambda x: (x < 0.5) * 1.0),
    "sigmoid": (lambda x: x.sigmoid(), lambda x: 1 / (2 + 2 * np.cosh(x))),
    "softplus": (lambda x: tg.softplus(x), lambda x: 1 / (1 + np.exp(-x))),
    "square": (lambda x: x**2.0, lambda x: 2 * x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(st.lists(st.floats(-4, 4).filter(lambda v: min(abs(abs(v) - k) for k in (0, 0.5, 1)) > 1e-3), min_size=1))
def test_derivatives_are_exact_to_rounding(name: str, values: list[float]) -> None:
    f, derivative = FUNCTIONS[name]
    x = np.array(values)
    (found,) = complex_step(f, tg.Tensor(x), np.full(x.shape, 3.0))
    np.testing.assert_allclose(found, 3 * derivative(x), rtol=1e-13, atol=1e-15)


def test_several_inputs_and_outputs_along_one_direction() -> None:
    a, b = (np.random.default_rng(seed).standard_normal((2, 2)) for seed in (0, 1))
    product, total = complex_step(lambda a, b: (a @ b, a.sum()), [tg.Tensor(a), tg.Tensor(b)], [b, a])
    np.testing.assert_allclose(product, b @ b + a @ a, rtol=1e-13)
    np.testing.assert_allclose(total, b.sum())


def test_inputs_and_backend_are_put_back_even_after_an_error() -> None:
    x = tg.Tensor(np.ones(3), requires_grad=True)
    array, node, backend = x.array, x.node, tg.current_backend()

    def fails(x: tg.Tensor) -> tg.Tensor:
        assert x.dtype == np.complex128
        assert tg.current_backend().name == "complex"
        raise OSError

    with pytest.raises(OSError):
        complex_step(fails, x, np.ones(3))
    assert x.array is array
    assert x.node is node
    assert tg.current_backend() is backend


def test_a_conversion_to_real_numbers_is_refused() -> None:
    with pytest.raises(np.exceptions.ComplexWarning):
        complex_step(lambda x: x.double(), tg.Tensor(np.ones(3)), np.ones(3))
