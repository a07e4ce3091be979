from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.data import RandAugment, SyntheticCars
from tinygrad_effnet.data.transforms.randaugment import CHANGES

PICTURE = SyntheticCars("val", 1, 48)[0][0]


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("identity", "auto_contrast", "equalize")])
def test_each_change_grows_with_its_strength(name: str):
    image = Image.fromarray(PICTURE)
    distances = [
        np.abs(np.asarray(CHANGES[name](image, strength)).astype(int) - PICTURE.astype(int)).mean()
        for strength in (0.0, 0.3, 1.0)
    ]
    assert distances[0] < 0.6  # a strength of 0 is no change, but for a solarisation at 256
    assert distances[0] < distances[1] + 1e-9
    assert distances[1] < distances[2]


@pytest.mark.parametrize("name", ["rotate", "color", "brightness", "shear_x", "translate_y"])
def test_the_sign_turns_a_change_round(name: str):
    image = Image.fromarray(PICTURE)
    assert (np.asarray(CHANGES[name](image, 0.5)) != np.asarray(CHANGES[name](image, -0.5))).any()


def test_all_fourteen_are_drawn_and_equal_seeds_agree(monkeypatch):
    assert len(CHANGES) == 14
    drawn: set[str] = set()
    for name in CHANGES:
        monkeypatch.setitem(CHANGES, name, lambda image, strength, name=name: drawn.add(name) or image)
    for seed in range(60):
        RandAugment()(PICTURE, np.random.default_rng(seed))
    assert drawn == set(CHANGES)


def test_equal_generators_give_equal_pictures():
    change = RandAugment(3, 20)
    results = [change(PICTURE, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()


@pytest.mark.parametrize(("arguments", "words"), [((0, 9), "num_ops: got 0"), ((2, 31), "magnitude: got 31")])
def test_bad_arguments(arguments, words: str):
    with pytest.raises(ValueError, match=words):
        RandAugment(*arguments)
