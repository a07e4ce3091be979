"""Pictures cut, mirrored and normalised on the device, against `data.transforms`."""

from __future__ import annotations

import numpy as np
import pytest
from backends.cupy.comparing import near, seeds
from backends.cupy.emulator.device import asarray, kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends.cupy import images
from tinygrad_effnet.data import IMAGENET_MEAN, IMAGENET_STD, Normalize

STORED = st.sampled_from(["float32", "float64", "float16"])


@given(st.data(), seeds, STORED, st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_against_the_transform_on_the_host(
    data: st.DataObject, seed: int, stored: str, n: int, height: int, width: int
) -> None:
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (n, height, width, 3)).astype(np.uint8)
    corners = np.stack([rng.integers(0, height - size[0] + 1, n), rng.integers(0, width - size[1] + 1, n)], 1)
    mirrored = rng.integers(0, 2, n).astype(bool)
    normal = Normalize()
    expected = []
    for picture, (top, left), flip in zip(pictures, corners, mirrored, strict=True):
        cut = picture[top : top + size[0], left : left + size[1]]
        expected.append(normal(np.ascontiguousarray(cut[:, ::-1] if flip else cut), rng))
    with kernel_device():
        y = images.crop_flip_normalise(asarray(pictures), corners, mirrored, size, IMAGENET_MEAN, IMAGENET_STD, stored)
        assert y.dtype == stored
        # the transform computes in float32
        near(y, np.stack(expected), "float32" if stored == "float64" else stored, 4)


def test_mistakes() -> None:
    with kernel_device():
        pictures = asarray(np.zeros((2, 8, 8, 3), np.uint8))
        corners, mirrored = np.array([[0, 0], [1, 5]]), np.zeros(2, bool)

        def made(pictures: np.ndarray = pictures, corners: np.ndarray = corners) -> None:
            images.crop_flip_normalise(pictures, corners, mirrored, (4, 4), IMAGENET_MEAN, IMAGENET_STD)

        with pytest.raises(ValueError, match=r"corners: a cut of \(4, 4\) leaves its picture of \(8, 8\); expected"):
            made()
        with pytest.raises(ValueError, match="got float32 of shape"):
            made(asarray(np.zeros((2, 8, 8, 3), np.float32)))
        with pytest.raises(ValueError, match="got 3, expected one for each of 2 pictures"):
            images.crop_flip_normalise(pictures, np.zeros((3, 2)), np.zeros(3), (4, 4), IMAGENET_MEAN, IMAGENET_STD)
