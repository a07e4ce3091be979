"""Pictures to network input on the device: a cut, perhaps mirrored, normalised, from bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..base import Array, Pair
from .launch import kernel
from .layout import THREADS, channel_first, elementwise_grid, plain


def crop_flip_normalise(
    pictures: Array,
    corners: NDArray[np.int32],
    mirrored: NDArray[np.bool_],
    size: Pair,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    dtype: str = "float32",
) -> Array:
    """(pixel / 255 - mean) / std of a cut of each picture.

    Parameters
    ----------
    pictures
        uint8 (N, H, W, 3) on the device.
    corners
        (N, 2) on the host: top and left of each cut, in pixels.
    mirrored
        (N,) on the host: which to flip left to right.
    size
        Height and width of the cuts.
    mean, std
        Of red, green and blue, for pixels scaled to 0-1.
    dtype
        Of the result.

    Returns
    -------
    array (N, 3, *size), channel-major

    Raises
    ------
    ValueError
        A shape does not fit, or a cut leaves its picture.
    """
    import cupy

    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype.name != "uint8":
        raise ValueError(f"pictures: got {pictures.dtype} of shape {pictures.shape}, expected uint8 (N, H, W, 3)")
    images, height, width, _ = pictures.shape
    places = np.column_stack([np.asarray(corners).reshape(-1, 2), np.asarray(mirrored)]).astype(np.int32)
    if len(places) != images:
        raise ValueError(f"corners, mirrored: got {len(places)}, expected one for each of {images} pictures")
    room = height - size[0], width - size[1]
    if images and ((places[:, :2] < 0) | (places[:, :2] > room)).any():
        raise ValueError(
            f"corners: a cut of {size} leaves its picture of {(height, width)}; expected tops from 0 to {room[0]} and "
            f"lefts from 0 to {room[1]}"
        )
    y = cupy.empty((3, images, *size), dtype)
    computed = "float64" if y.dtype.name == "float64" else "float32"
    scale, offset = 1 / (255 * np.array(std)), np.array(mean) / np.array(std)
    constants = cupy.asarray(scale.astype(computed)), cupy.asarray(offset.astype(computed))
    args = plain(pictures), cupy.asarray(places), images, height, width, *size, *constants, y
    kernel("images", "crop_flip_normalise", y.dtype)(elementwise_grid(y.size // 3, 1), (THREADS,), args)
    return channel_first(y)
