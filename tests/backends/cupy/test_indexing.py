"""Adding at places that may be named twice, in a fixed order."""

from __future__ import annotations

import numpy as np
import pytest
from backends.cupy.standin import available, standin_cupy
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends.cupy import indexing
from tinygrad_effnet.backends.cupy.backend import CuPy

pytestmark = pytest.mark.skipif(not available(), reason="kernels run on the CPU by way of g++, which is not installed")


@given(st.integers(0, 2**32 - 1), st.integers(1, 600), st.integers(1, 40), st.sampled_from(["float32", "float64"]))
def test_sums_are_those_of_numpy(seed: int, count: int, rows: int, stored: str) -> None:
    rng = np.random.default_rng(seed)
    index, dy = rng.integers(-rows, rows, count), rng.standard_normal((count, 3)).astype(stored)
    expected = np.zeros((rows, 3))
    np.add.at(expected, index, dy.astype(float))
    with standin_cupy() as cupy:
        backend = CuPy(cupy)
        there = cupy.asarray(index)
        got = backend.scatter_add(cupy.asarray(dy), there, (rows, 3)).get()
        again = backend.scatter_add(cupy.asarray(dy), (there,), (rows, 3)).get()
    np.testing.assert_allclose(got, expected, rtol=0, atol=count * float(np.finfo(stored).eps) * 5)
    assert got.tobytes() == again.tobytes()


@pytest.mark.parametrize(
    ("index", "repeats"),
    [
        (2, False),
        ((slice(None), 1), False),
        ((None, ..., slice(0, 4, 2)), False),
        (np.array([True, False]), False),
        (np.int64(3), False),
        (np.array([1, 1]), True),
        ([0, 0], True),
        ((slice(None), np.array([0, 2])), True),
    ],
)
def test_which_indices_may_name_a_place_twice(index: object, repeats: bool) -> None:
    assert indexing.may_repeat(index) == repeats
