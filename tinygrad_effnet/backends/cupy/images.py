"""Pictures to network input on the device, from bytes: parts resized, cut, mirrored, recoloured, normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Array, Pair
from .launch import LARGEST_INDEX, kernel
from .layout import THREADS, channel_first, elementwise_grid

# columns of `places`
START, HEIGHT, WIDTH, RESIZED_HEIGHT, RESIZED_WIDTH, TOP, LEFT, MIRRORED, DOWN_FIRST = range(9)


def finished(
    pixels: NDArray[np.uint8],
    places: NDArray[np.int32],
    boxes: NDArray[np.float32],
    colours: NDArray[np.float64] | None,
    size: Pair,
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    dtype: Any = "float32",
    there: Sequence[Array] | None = None,
) -> Array:
    """The images that a batch of bytes stands for. All arguments lie on the host, and are carried over here.

    Parameters
    ----------
    pixels, places, boxes, colours, size, scale, offset
        As `data.ByteBatch` has them.
    dtype
        Of the result.
    there
        What `parts` gives of the others, where it has been carried to the current device before.

    Returns
    -------
    array (N, 3, *size), channel-major
        The bits of Pillow and NumPy. With ``colours`` a value may be one grey level off, where the sum before rounding
        is within float32's rounding of a whole number.

    Raises
    ------
    ValueError
        A shape does not fit, a box leaves its picture, or a cut what it is cut from.
    """
    import cupy

    _check(pixels, places, boxes, colours, size)
    images, (height, width) = len(places), size
    y = cupy.empty((3, images, height, width), dtype)
    if not y.size:
        return channel_first(y)
    spans = np.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], 1)
    room = 2 * math.ceil(float(max(1.0, (spans / places[:, [RESIZED_HEIGHT, RESIZED_WIDTH]]).max()))) + 1
    down = places[:, DOWN_FIRST] != 0
    most = int(np.where(down, height * places[:, WIDTH], places[:, HEIGHT] * width).max())
    if there is None:
        there = [cupy.asarray(part) for part in parts(pixels, places, boxes, colours, scale, offset)]
    bytes_there, where, edges, constants, *changes = there
    reach = cupy.empty((images, height + width, 2), "int32")
    weights = cupy.empty((images, height + width, room), "int32")
    half = cupy.empty((images, most, 3), "uint8")
    cuts = cupy.empty((images, height, width, 3), "uint8")

    def launch(name: str, threads: int, *args: Any) -> None:
        kernel("images", name)(elementwise_grid(threads, 1), (THREADS,), args)

    launch("taps", images * (height + width), where, edges, images, height, width, room, reach, weights)
    sizes = images, most, height, width, room
    launch("first_pass", images * most, bytes_there, where, reach, weights, *sizes, half)
    launch("second_pass", cuts.size // 3, half, where, reach, weights, *sizes, cuts)
    greys = None
    if changes:
        greys = cupy.empty(images, "float32")
        kernel("images", "mean_grey")((images,), (THREADS,), (cuts, height * width, greys))
    args = cuts, changes[0] if changes else None, greys, images, height * width, constants[0], constants[1], y
    kernel("images", "normalise_pixels", y.dtype)(elementwise_grid(cuts.size // 3, 1), (THREADS,), args)
    return channel_first(y)


def parts(
    pixels: NDArray[np.uint8],
    places: NDArray[np.int32],
    boxes: NDArray[np.float32],
    colours: NDArray[np.float64] | None,
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
) -> list[NDArray[Any]]:
    """The arrays of a batch that kernels read, in the order in which `finished` takes them."""
    return [pixels, places, boxes, np.stack([scale, offset]), *([] if colours is None else [colours])]


def _check(pixels: Array, places: Array, boxes: Array, colours: Array | None, size: Pair) -> None:
    """Refuse what a kernel would read beside its arrays for."""
    n = len(places)
    given = [("pixels", pixels, "uint8", pixels.shape[:1]), ("places", places, "int32", (n, 9))]
    given.append(("boxes", boxes, "float32", (n, 4)))
    if colours is not None:
        given.append(("colours", colours, "float64", (n, 10)))
    for name, array, dtype, shape in given:
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"{name}: got {array.dtype} of shape {array.shape}, expected {dtype} of shape {shape}")
    if pixels.size > LARGEST_INDEX:
        raise ValueError(f"pixels: {pixels.size:,} bytes are more than kernels can index; take a smaller batch")
    shape, resized, corner = (
        places[:, [HEIGHT, WIDTH]],
        places[:, [RESIZED_HEIGHT, RESIZED_WIDTH]],
        places[:, [TOP, LEFT]],
    )
    ends = places[:, START].astype(np.int64) + shape.astype(np.int64).prod(axis=1) * 3
    low, high = boxes[:, [1, 0]], boxes[:, [3, 2]]
    for name, holds in (
        ("places: a picture lies outside the pixels", (places[:, START] >= 0) & (ends <= pixels.size)),
        ("places: a picture without pixels", (shape > 0).all(axis=1)),
        (
            f"places: a cut of {size} leaves what it is cut from",
            ((corner >= 0) & (corner + size <= resized)).all(axis=1),
        ),
        ("boxes: a box is empty or leaves its picture", ((low >= 0) & (low < high) & (high <= shape)).all(axis=1)),
    ):
        if not holds.all():
            i = int(np.argmin(holds))
            raise ValueError(
                f"{name}: picture {i} of {n} has the place {places[i].tolist()} and the box {boxes[i].tolist()}"
            )
