from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinygrad_effnet.data import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    ColorJitter,
    Compose,
    Normalize,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    eval_transform,
    train_transform,
)

PICTURES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)).flatmap(lambda s: arrays(np.uint8, s))
SEEDS = st.integers(0, 2**32)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _photograph(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    return _rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(PICTURES, SEEDS, st.integers(1, 24), st.booleans())
def test_pipelines_give_normalised_squares(picture, seed, size, training):
    transform = train_transform(size, erasing=0.5) if training else eval_transform(size, margin=1.2)
    result = transform(picture, _rng(seed))
    assert result.shape == (3, size, size)
    assert result.dtype == np.float32
    low = -np.array(IMAGENET_MEAN) / np.array(IMAGENET_STD)
    high = (1 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    flat = result.reshape(3, -1)
    assert (flat.min(axis=1) >= low - 1e-5).all()
    assert (flat.max(axis=1) <= high + 1e-5).all()
    np.testing.assert_array_equal(result, transform(picture, _rng(seed)))


@given(PICTURES, SEEDS)
def test_transforms_leave_their_input_alone(picture, seed):
    before = picture.copy()
    picture.flags.writeable = False
    for transform in (train_transform(8, erasing=1.0), eval_transform(8)):
        transform(picture, _rng(seed))
    np.testing.assert_array_equal(picture, before)


@given(PICTURES)
def test_normalize_is_the_formula(picture):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    expected = ((picture / 255.0 - np.array(mean)) / np.array(std)).transpose(2, 0, 1)
    result = Normalize(mean, std)(picture, _rng())
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert result.flags.c_contiguous


@given(PICTURES, st.integers(1, 50))
def test_resize_makes_the_shorter_side_and_keeps_proportions(picture, size):
    height, width = picture.shape[:2]
    result = Resize(size)(picture, _rng())
    assert min(result.shape[:2]) == size
    assert abs(max(result.shape[:2]) - size * max(height, width) / min(height, width)) <= 0.5 + 1e-9
    assert result.dtype == np.uint8


def test_center_crop():
    picture = _photograph(10, 13)
    np.testing.assert_array_equal(CenterCrop(4)(picture, _rng()), picture[3:7, 4:8])
    with pytest.raises(ValueError, match="got 13x10, too small for a crop of 11; put Resize before"):
        CenterCrop(11)(picture, _rng())


@given(PICTURES, SEEDS)
def test_flip_mirrors_or_does_nothing(picture, seed):
    np.testing.assert_array_equal(RandomHorizontalFlip(1.0)(picture, _rng(seed)), picture[:, ::-1])
    np.testing.assert_array_equal(RandomHorizontalFlip(0.0)(picture, _rng(seed)), picture)


def test_flip_happens_as_often_as_asked():
    picture, rng = _photograph(), _rng(1)
    flipped = sum(not np.array_equal(RandomHorizontalFlip(0.3)(picture, rng), picture) for _ in range(1000))
    assert 240 < flipped < 360


@given(st.integers(1, 300), st.integers(1, 300), SEEDS)
def test_crop_box_keeps_to_area_and_ratio(width, height, seed):
    crop = RandomResizedCrop(8, (0.3, 0.8), (0.5, 2.0))
    left, top, right, bottom = crop._box(width, height, _rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    w, h = right - left, bottom - top
    assert 0.5 - 1e-6 <= w / h <= 2.0 + 1e-6
    if 0.6 < width / height < 1.6:
        assert 0.3 - 1e-6 <= w * h / (width * height) <= 0.8 + 1e-6


def test_the_whole_picture_is_the_whole_picture():
    picture = _photograph(16, 16)
    np.testing.assert_array_equal(RandomResizedCrop(16, (1.0, 1.0), (1.0, 1.0))(picture, _rng()), picture)


@given(PICTURES, SEEDS)
def test_no_jitter_changes_nothing(picture, seed):
    np.testing.assert_array_equal(ColorJitter()(picture, _rng(seed)), picture)


def test_jitter_equals_its_three_steps():
    picture = _photograph()
    seed = 11
    factors = 1.0 + np.array([0.3, 0.4, 0.5]) * _rng(seed).uniform(-1, 1, 3)
    bright, contrast, saturation = factors
    luma = np.array([0.299, 0.587, 0.114])
    pixels = picture.astype(np.float64)
    pixels = saturation * pixels + (1 - saturation) * (pixels @ luma)[:, :, None]
    pixels = contrast * pixels + (1 - contrast) * (pixels @ luma).mean()
    expected = np.clip(bright * pixels + 0.5, 0, 255).astype(int)
    result = ColorJitter(0.3, 0.4, 0.5)(picture, _rng(seed))
    assert np.abs(result.astype(int) - expected).max() <= 1


def test_saturation_leaves_grey_pictures_alone():
    grey = np.repeat(_photograph()[:, :, :1], 3, axis=2)
    assert np.abs(ColorJitter(saturation=1.0)(grey, _rng(4)).astype(int) - grey).max() <= 1


@given(SEEDS)
def test_erasing_covers_one_rectangle_of_the_size_asked_for(seed):
    picture = _photograph(40, 50)
    result = RandomErasing(1.0, (0.1, 0.2), (0.5, 2.0))(picture, _rng(seed))
    changed = (result != picture).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    box = result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (box == box[0, 0]).all()
    assert 0.08 <= box.shape[0] * box.shape[1] / 2000 <= 0.22


def test_compose_runs_in_order():
    picture = _photograph(20, 30)
    both = Compose([Resize(10), CenterCrop(6)])
    np.testing.assert_array_equal(both(picture, _rng()), CenterCrop(6)(Resize(10)(picture, _rng()), _rng()))
    assert repr(both) == "Compose(Resize, CenterCrop)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Resize(0), "size: got 0"),
        (lambda: RandomResizedCrop(8, scale=(0.0, 1.0)), r"scale: got \(0.0, 1.0\)"),
        (lambda: RandomResizedCrop(8, scale=(0.9, 0.5)), "scale: got"),
        (lambda: RandomResizedCrop(8, ratio=(2.0, 1.0)), "ratio: got"),
        (lambda: RandomHorizontalFlip(1.5), "probability: got 1.5"),
        (lambda: ColorJitter(brightness=-0.1), "brightness: got -0.1"),
        (lambda: RandomErasing(scale=(0.1, 1.5)), "scale: got"),
        (lambda: Normalize(mean=(123.0, 117.0, 104.0)), "mean: got .* from 0 to 1"),
        (lambda: Normalize(std=(0.2, 0.0, 0.2)), "std: got .* above 0"),
        (lambda: eval_transform(8, margin=0.9), "margin: got 0.9"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
@pytest.mark.parametrize(
    "transform", [Resize(2), CenterCrop(2), RandomResizedCrop(2), ColorJitter(0.1), RandomErasing(1.0), Normalize()]
)
def test_bad_pictures_are_refused(transform, picture):
    with pytest.raises(ValueError, match="picture: got shape"):
        transform(picture, _rng())
