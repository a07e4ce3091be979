from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.data import Preprocessing, eval_transform

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (50, 80, 3), dtype=np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_it_is_resizing_cutting_and_normalising(interpolation: str):
    seen = Preprocessing(30, 40, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), interpolation)
    resized = Image.fromarray(PICTURE).resize((64, 40), Image.Resampling[interpolation.upper()])
    cut = np.asarray(resized)[5:35, 17:47] / 255
    expected = ((cut - (0.5, 0.4, 0.3)) / (0.2, 0.3, 0.4)).transpose(2, 0, 1)
    got = seen.transform()(PICTURE, RNG)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert seen.crop_share == 0.75


def test_squashed_pictures_keep_their_edges():
    seen = Preprocessing(32, 32, squash=True)
    expected = np.asarray(Image.fromarray(PICTURE).resize((32, 32), Image.Resampling.BILINEAR))
    whole = eval_transform(32)(expected, RNG)  # a picture of that size is only normalised
    np.testing.assert_array_equal(seen.transform()(PICTURE, RNG), whole)


def test_the_default_is_what_runs_evaluate_with():
    np.testing.assert_array_equal(Preprocessing(32, 32).transform()(PICTURE, RNG), eval_transform(32)(PICTURE, RNG))
    wide = Preprocessing(32, 36).transform()(PICTURE, RNG)
    np.testing.assert_array_equal(wide, eval_transform(32, margin=1.125)(PICTURE, RNG))


def test_at_another_size_the_same_part_is_seen():
    assert Preprocessing(224, 256).at(112) == Preprocessing(112, 128)
    assert Preprocessing(224, 224).at(97) == Preprocessing(97, 97)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 0}, "size, resize: got 0 and 32"),
        ({"size": 33}, "size, resize: got 33 and 32"),
        ({"interpolation": "nearest"}, "interpolation: got 'nearest', expected one of bilinear, bicubic"),
        ({"mean": (0.5, 0.5)}, "mean: got"),
        ({"std": (0.0, 0.5, 2.0)}, "std: got"),
    ],
)
def test_values_that_make_no_sense(values, words: str):
    with pytest.raises(ValueError, match=words):
        Preprocessing(**{"size": 32, "resize": 32, **values})
