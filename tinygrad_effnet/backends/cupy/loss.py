"""Softmax, its logarithm and cross-entropy along the last axis."""

from __future__ import annotations

import math

from ..base import Array
from ..layout import require_shape
from .launch import kernel
from .layout import THREADS, plain

ROWS_A_BLOCK = THREADS // 32  # a warp does a row


def softmax(x: Array) -> Array:
    """exp(x) / sum of exp(x), along the last axis of x, not empty."""
    return _along_rows("softmax", x)


def log_softmax(x: Array) -> Array:
    """x - log of the sum of exp(x), along the last axis of x, not empty."""
    return _along_rows("log_softmax", x)


def softmax_cross_entropy(x: Array, goal: Array) -> tuple[Array, Array]:
    """-sum of goal * log_softmax(x) for each row, and its gradient by x: x, goal: N K, not empty -> (N, N K)."""
    import cupy

    require_shape("goal", goal, x.shape)
    n, classes = x.shape
    loss, slope = cupy.empty(n, x.dtype), cupy.empty(x.shape, x.dtype)
    launch = kernel("loss", "cross_entropy", x.dtype)
    launch(_grid(n), (THREADS,), (plain(x), plain(goal), n, classes, loss, slope))
    return loss, slope


def _along_rows(name: str, x: Array) -> Array:
    import cupy

    y = cupy.empty(x.shape, x.dtype)
    rows = math.prod(x.shape[:-1])
    kernel("loss", name, x.dtype)(_grid(rows), (THREADS,), (plain(x), rows, x.shape[-1], y))
    return y


def _grid(rows: int) -> tuple[int]:
    return (-(-rows // ROWS_A_BLOCK),)
