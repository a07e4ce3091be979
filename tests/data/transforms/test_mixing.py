from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.data import MixBatch

IMAGES = np.arange(6, dtype=np.float32)[:, None, None, None] * np.ones((6, 3, 10, 14), np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 5])


@given(st.integers(0, 2**32), st.sampled_from([(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)]))
def test_labels_are_the_shares_of_the_pictures(seed: int, alphas):
    images, targets = MixBatch(6, *alphas)(IMAGES, LABELS, np.random.default_rng(seed))
    assert images.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    # picture i is all i, so a mixture's mean says how much of which is in it
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), targets @ np.arange(6), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(IMAGES[3], np.full((3, 10, 14), 3))


def test_cutmix_pastes_one_rectangle():
    images, targets = MixBatch(6, cutmix=1.0)(IMAGES, LABELS, np.random.default_rng(4))
    for image, own in zip(images, LABELS, strict=True):
        values = np.unique(image)
        assert own in values
        pasted = (image[0] != own).nonzero()
        if len(pasted[0]):
            height, width = np.ptp(pasted[0]) + 1, np.ptp(pasted[1]) + 1
            assert height * width == len(pasted[0])
            assert targets[own, own] == pytest.approx(1 - height * width / 140, abs=1e-6)


def test_both_are_used_and_some_batches_are_left_alone():
    mix = MixBatch(6, 0.4, 1.0, probability=0.5)
    kinds = {"same": 0, "blended": 0, "pasted": 0}
    for seed in range(200):
        images, targets = mix(IMAGES, LABELS, np.random.default_rng(seed))
        whole = np.isin(images, np.arange(6)).all()
        kinds["same" if (images == IMAGES).all() else "pasted" if whole else "blended"] += 1
        if (images == IMAGES).all():
            np.testing.assert_array_equal(targets.argmax(axis=1), LABELS)
    assert 80 < kinds["same"] < 130
    assert kinds["blended"] > 30
    assert kinds["pasted"] > 30


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 0, "mixup": 1}, "num_classes: got 0"),
        ({"num_classes": 3}, "both are 0"),
        ({"num_classes": 3, "mixup": -1}, "mixup: got -1"),
        ({"num_classes": 3, "cutmix": float("inf")}, "cutmix: got inf"),
        ({"num_classes": 3, "cutmix": 1, "probability": 0}, "probability: got 0"),
    ],
)
def test_bad_arguments(arguments, words: str):
    with pytest.raises(ValueError, match=words):
        MixBatch(**arguments)
