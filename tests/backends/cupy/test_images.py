"""Pictures finished on the device, against Pillow and NumPy by way of `data.ByteBatch`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.cupy.comparing import seeds
from backends.cupy.emulator.device import kernel_device
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_effnet.backends.cupy import images
from tinygrad_effnet.data import (
    ByteBatch,
    CenterCrop,
    ColorJitter,
    Compose,
    Normalize,
    Planner,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
)

LEVEL = 1 / (255 * 0.224)  # what a grey level of any channel is at most, normalised


def on_device(batch: ByteBatch, dtype: str = "float32", **change: Any) -> np.ndarray:
    use = {name: getattr(batch, name) for name in batch.__slots__} | change
    return np.asarray(images.finished(**use, dtype=dtype))


def planned(rng: np.random.Generator, n: int, *steps: Any) -> ByteBatch:
    """Pictures of many sizes, planned by a chain."""
    planner, made = Planner(Compose([*steps, Normalize()])), []
    for _ in range(n):
        picture = rng.integers(0, 256, (*rng.integers(4, 40, 2), 3)).astype(np.uint8)
        made.append(planner(picture, rng))
    return ByteBatch.of(made)


@settings(deadline=None)
@given(seeds, st.integers(1, 4), st.integers(1, 20), st.sampled_from([(0.05, 1.0), (1.0, 1.0), (0.9, 1.0)]))
def test_a_resized_cut_has_pillows_bits(seed: int, n: int, size: int, scale: tuple[float, float]) -> None:
    batch = planned(np.random.default_rng(seed), n, RandomResizedCrop(size, scale), RandomHorizontalFlip())
    with kernel_device():
        np.testing.assert_array_equal(on_device(batch), batch.finished())


@settings(deadline=None)
@given(seeds, st.integers(1, 3), st.integers(1, 30), st.integers(0, 5))
def test_the_middle_of_a_resized_picture_has_pillows_bits(seed: int, n: int, size: int, margin: int) -> None:
    batch = planned(np.random.default_rng(seed), n, Resize(size + margin), CenterCrop(size))
    with kernel_device():
        np.testing.assert_array_equal(on_device(batch), batch.finished())


@settings(deadline=None)
@given(seeds, st.integers(1, 3), st.integers(8, 20))
def test_colours_differ_by_a_grey_level_at_most_and_seldom(seed: int, n: int, size: int) -> None:
    batch = planned(np.random.default_rng(seed), n, RandomResizedCrop(size), ColorJitter(0.5, 0.5, 0.5))
    with kernel_device():
        difference = np.abs(on_device(batch) - batch.finished())
    assert difference.max() < 1.01 * LEVEL
    assert np.count_nonzero(difference) <= 2


@pytest.mark.parametrize(("stored", "eps"), [("float16", 2.0**-10), ("float64", 2.0**-23)])
def test_other_dtypes_are_rounded_from_float32(stored: str, eps: float) -> None:
    batch = planned(np.random.default_rng(1), 3, RandomResizedCrop(9))
    with kernel_device():
        y = on_device(batch, stored)
        assert y.dtype == stored
        np.testing.assert_allclose(y, batch.finished(), rtol=eps, atol=eps)
        assert on_device(batch[:0]).shape == (0, 3, 9, 9)
        np.testing.assert_array_equal(on_device(batch[1:]), batch.finished()[1:])


def test_mistakes_that_would_read_beside_the_pictures() -> None:
    batch = planned(np.random.default_rng(0), 2, RandomResizedCrop(5))
    places, boxes = batch.places.copy(), batch.boxes.copy()

    def moved(column: int, by: int) -> np.ndarray:
        changed = places.copy()
        changed[1, column] += by
        return changed

    wrong = {
        r"pixels: got float32 of shape .*, expected uint8": {"pixels": batch.pixels.astype(np.float32)},
        r"boxes: got float32 of shape \(1, 4\), expected float32 of shape \(2, 4\)": {"boxes": boxes[:1]},
        r"colours: got float64 of shape \(2, 9\), expected": {"colours": np.zeros((2, 9))},
        r"a picture lies outside the pixels: picture 1 of 2": {"places": moved(images.START, 1)},
        r"a picture without pixels: picture 1": {"places": moved(images.HEIGHT, -int(places[1, images.HEIGHT]))},
        r"a cut of \(5, 5\) leaves what it is cut from: picture 1": {"places": moved(images.TOP, 1)},
        r"a box is empty or leaves its picture: picture 0": {"boxes": boxes + np.float32(100)},
    }
    with kernel_device():
        for words, change in wrong.items():
            with pytest.raises(ValueError, match=words):
                on_device(batch, **change)
