from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.data import RandomAffine
from tinygrad_effnet.data.transforms.affine import FILL, affine


class Fixed:
    """A generator that always draws these."""

    def __init__(self, *values: float) -> None:
        self.values = np.array(values)

    def uniform(self, low, high, size):
        return self.values


def _photograph(side: int = 33) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("quarters", [1, 2, -1])
def test_quarter_turns_move_every_pixel_to_its_place(quarters: int):
    picture = _photograph()
    turned = RandomAffine(degrees=90 * abs(quarters))(picture, Fixed(np.sign(quarters), 0, 0))
    # Pillow may cut 117 - 1e-14 down to 116
    assert np.abs(turned.astype(int) - np.rot90(picture, quarters)).max() <= 1


def test_a_turn_moves_a_point_where_trigonometry_puts_it():
    picture = np.zeros((101, 101, 3), np.uint8)
    picture[48:53, 88:93] = 255  # 40 pixels to the right of the middle
    turned = RandomAffine(degrees=30)(picture, Fixed(1.0, 0, 0)).astype(float).sum(axis=2)
    turned[turned == sum(FILL)] = 0
    y, x = (float((turned * axis).sum() / turned.sum()) for axis in np.indices(turned.shape))
    assert (x, y) == pytest.approx((50 + 40 * np.cos(np.pi / 6), 50 - 40 * np.sin(np.pi / 6)), abs=0.3)


def test_a_slant_moves_rows_sideways_and_leaves_the_middle():
    picture = np.zeros((101, 101, 3), np.uint8)
    picture[:, 50] = 255
    slanted = RandomAffine(shear=45)(picture, Fixed(0, 0.5, 0))
    at = slanted.sum(axis=2).astype(float)
    at[at == sum(FILL)] = 0
    for row in (20, 50, 80):
        assert (at[row] * np.arange(101)).sum() / at[row].sum() == pytest.approx(
            50 + (row - 50) * np.tan(np.pi / 8), abs=0.3
        )


def test_outside_is_the_mean_colour():
    turned = RandomAffine(degrees=45)(np.full((40, 40, 3), 255, np.uint8), Fixed(1.0, 0, 0))
    assert tuple(turned[0, 0]) == FILL
    assert (turned[20, 20] == 255).all()


@given(st.integers(0, 2**32), st.floats(0, 180), st.floats(0, 60))
def test_any_angles_keep_size_and_kind(seed: int, degrees: float, shear: float):
    picture = _photograph(9)
    changed = RandomAffine(degrees, shear)(picture, np.random.default_rng(seed))
    assert changed.shape == picture.shape
    assert changed.dtype == np.uint8


def test_nothing_asked_nothing_changed():
    picture = _photograph()
    assert RandomAffine()(picture, np.random.default_rng(0)) is picture
    from PIL import Image

    np.testing.assert_array_equal(
        np.asarray(affine(Image.fromarray(picture), np.eye(2), (3, -2)))[:-2, 3:], picture[2:, :-3]
    )


@pytest.mark.parametrize(("arguments", "words"), [((181, 0), "degrees: got 181"), ((0, 61), "shear: got 61")])
def test_bad_arguments(arguments, words: str):
    with pytest.raises(ValueError, match=words):
        RandomAffine(*arguments)
