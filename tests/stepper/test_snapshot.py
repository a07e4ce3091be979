"""What is kept of an array is exact, bounded, and of the same places for arrays of one shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from tinygrad_effnet.stepper.snapshot import PICKED, PICTURE, take


@given(array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=24), st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_every_kept_entry_is_the_array_s(shape, seed, most) -> None:
    shape = shape if np.prod(shape) < 100_000 else shape[:3]
    array = np.random.default_rng(seed).normal(size=shape).astype("f")
    for value in (take(array, whole=0), take(array, whole=0).thinned(most), take(array, whole=None)):
        assert value.kept.size <= (array.size if value.is_whole else PICTURE)
        assert np.array_equal(value.kept, array[np.ix_(*value.positions)] if shape else array)
        for place in list(np.ndindex(value.kept.shape))[:: max(1, value.kept.size // 20)]:
            index = value.index_of(place)
            assert array[index] == value.at(index)
    assert take(array, whole=0).thinned(most).kept.size <= most
    assert take(array, whole=None).is_whole


def test_statistics() -> None:
    value = take(np.array([[0.0, 1.0, -3.0], [np.nan, np.inf, 0.0]]))
    assert (value.low, value.high, value.zeros, value.bad) == (-3.0, 1.0, 2, 2)
    assert value.mean == pytest.approx(-0.5) and value.std == pytest.approx(np.std([0, 1, -3, 0]))
    empty = take(np.zeros((0, 3), "f"))
    assert empty.is_whole and np.isnan(empty.mean) and empty.zeros == 0


def test_it_is_a_copy_and_pictures_keep_more() -> None:
    array = np.arange(12.0).reshape(3, 4)
    value = take(array)
    array[:] = 0
    assert value.kept[2, 3] == 11.0
    picture = take(np.zeros((4, 3, 64, 64), "f"))
    assert picture.kept.shape == (1, 3, 32, 32) and picture.at((1, 0, 0, 0)) is None
    assert take(np.zeros((4, 96, 64, 64), "f")).kept.size <= PICKED
