"""Matrix products of two large matrices, in whatever order each lies in memory.

Two forms cover all orders, and neither copies or transposes anything: `outer` wants the rows of b without gaps, `dots`
the rows of a and the columns of b. Both give the same numbers for any number of threads: sums are never cut by how many
there are.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numba import prange

from ..base import Array
from .jit import kernel
from .layout import empty, plain, real
from .panels import (
    add_dots,
    add_tiles,
    dot_block,
    multiply,
    multiply_block,
    panel_width,
    scratch_size,
    sum_tiles,
    tile_counts,
)
from .tile import BYTES, ROWS, dot_shape

WORTH = 1 << 16  # multiply-adds from which a second thread pays for itself
NEAR = 384 << 10  # bytes of the second cache that a block of `dots` may fill
SHORT = 64  # terms of a sum below which adding up a tile's vectors would cost more than transposing b
LONG = 4096  # terms of a sum that are worth a partial sum of their own
STREAM_FROM = 24 << 20  # bytes of a result that would only push other data out of the last cache


@kernel
def outer_kernel(
    a: Any, row: int, step: int, rows: int, b: Any, depth: int, columns: int, y: Any, stream: bool,
    parts: Any, scratch: Any, at: Any,
) -> None:  # fmt: skip
    """y = a b, all flat; a thread owns a rectangle of y, of whole tiles but at the ends."""
    down, across, tall, width = parts
    for item in prange(down * across):
        i, j = item // across, item % across
        tiles, vectors = (rows + tall - 1) // tall, (columns + width - 1) // width
        top, bottom = tiles * i // down * tall, min(rows, tiles * (i + 1) // down * tall)
        left, right = vectors * j // across * width, min(columns, vectors * (j + 1) // across * width)
        multiply(
            at, a, top * row, row, step, bottom - top, b, left, columns, depth, right - left,
            y, top * columns + left, columns, stream, scratch[item],
        )  # fmt: skip


@kernel
def dots_kernel(
    a: Any, rows: int, b: Any, columns: int, length: int, chunk: int, parts: Any, shape: Any,
    tiles: Any, edges: Any, y: Any, row: int, column: int, at: Any,
) -> None:  # fmt: skip
    """y[i row + j column] = Σₚ a[i, p] b[j, p]; a thread owns rows of tiles, for a segment of the sum."""
    segments, groups = parts
    tall = (rows + shape[0] - 1) // shape[0]
    chunks = (length + chunk - 1) // chunk
    size = tiles.size // segments
    for item in prange(segments * groups):
        segment, group = item // groups, item % groups
        start = chunks * segment // segments
        for c in range(start, chunks * (segment + 1) // segments):
            p = c * chunk
            add_dots(
                at[0], a, p, length, rows, b, p, length, columns, min(chunk, length - p),
                shape, tall * group // groups, tall * (group + 1) // groups,
                tiles, segment * size, c == start, edges[item],
            )  # fmt: skip
    for group in prange(groups):
        first, last = tall * group // groups, tall * (group + 1) // groups
        sum_tiles(at[1], tiles, segments, size, shape, first, last, rows, columns, y, row, column)


def outer(a: Array, b: Array, threads: int, y: Array | None = None) -> Array:
    """y = a b for a: n k, itself or its transpose in C order, and b: k m in C order; into ``y`` if it is given."""
    (rows, depth), columns = a.shape, b.shape[1]
    row, step = (depth, 1) if a.flags.c_contiguous else (1, rows)
    y = empty((rows, columns), b.dtype) if y is None else y
    across, down = grid(columns, panel_width(b.itemsize), threads)
    outer_kernel(
        plain(a if step == 1 else a.T).reshape(-1), row, step, rows, plain(b).reshape(-1), depth, columns,
        y.reshape(-1), streams(y), (down, across, ROWS, BYTES // b.itemsize),
        empty((threads, scratch_size(depth, b.itemsize)), b.dtype), multiply_block.address(b.dtype),
    )  # fmt: skip
    return y


def grid(columns: int, panel: int, threads: int) -> tuple[int, int]:
    """Into how many parts to cut a result, across and down: across while each thread has two panels."""
    across = max(n for n in range(1, threads + 1) if threads % n == 0 and (n == 1 or columns >= 2 * panel * n))
    return across, threads // across


def streams(y: Array) -> bool:
    """Whether to write ``y`` past the caches: it is larger than they are, and lies where vectors can be streamed to."""
    return bool(y.nbytes >= STREAM_FROM and y.ctypes.data % BYTES == 0 and y.strides[0] % BYTES == 0)


def dots(a: Array, b: Array, threads: int) -> Array:
    """y = a bᵀ for a: n p, b: m p, both in C order."""
    y = np.empty((len(a), len(b)), a.dtype)
    row, column = y.shape[1], 1
    if len(a) < len(b):  # the smaller one is what stays in the cache
        a, b, row, column = b, a, column, row
    length, size = a.shape[1], a.itemsize
    width = BYTES // size
    chunk = max(8, min(NEAR // (len(b) * size), 4096) // width) * width
    segments, groups = shares(length, y.size, threads)
    count = math.prod(tile_counts(len(a), len(b), size)) * width
    dots_kernel(
        plain(a).reshape(-1), len(a), plain(b).reshape(-1), len(b), length, chunk, (segments, groups),
        dot_shape(width), empty((segments * count,), a.dtype),
        empty((segments * groups, (len(a) + len(b)) * width), a.dtype), y.reshape(-1), row, column,
        (dot_block.address(a.dtype), add_tiles.address(a.dtype)),
    )  # fmt: skip
    return y


def shares(length: int, size: int, threads: int) -> tuple[int, int]:
    """(partial sums, row groups of the result) to share out sums of ``length`` terms for a result of ``size`` numbers.

    The partial sums decide the rounding, so they do not depend on the number of threads.
    """
    segments = max(1, min(16, length // LONG, (1 << 20) // size))
    return segments, 1 if segments >= 4 * threads else threads // math.gcd(segments, threads)


def worth(*sizes: int) -> bool:
    """Whether a product of so many multiply-adds is better computed here than by NumPy.

    On a Mac none is: NumPy multiplies by way of Accelerate, on a matrix unit that no compiler reaches.
    """
    return math.prod(sizes) >= WORTH and sys.platform != "darwin"


def matmul(a: Array, b: Array, threads: int) -> Array | None:
    """y = a b for a: n k, b: k m, each perhaps with leading axes of size 1; None where NumPy does it as well."""
    if not real(a, b) or a.ndim != b.ndim or math.prod(a.shape[:-2]) != 1 or math.prod(b.shape[:-2]) != 1:
        return None
    (rows, depth), columns = a.shape[-2:], b.shape[-1]
    if not worth(rows, depth, columns):
        return None
    y = _product(a.reshape(rows, depth), b.reshape(depth, columns), threads)
    return y.reshape(*a.shape[:-1], columns)


def _product(a: Array, b: Array, threads: int) -> Array:
    a = a if a.flags.c_contiguous or a.T.flags.c_contiguous else plain(a)
    b = b if b.flags.c_contiguous or b.T.flags.c_contiguous else plain(b)
    if a.flags.c_contiguous and b.T.flags.c_contiguous:
        if a.shape[1] >= SHORT:
            return dots(a, b.T, threads)
        b = plain(b)
    return outer(a, b, threads) if b.flags.c_contiguous else outer(b.T, a.T, threads).T
