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


def cross_entropy(logits: Array, goal: Array) -> tuple[Array, Array]:
    """-sum of goal * log_softmax(logits) for each row, and its gradient: logits, goal: N K -> (N, N K)."""
    import cupy

    require_shape("goal", goal, logits.shape)
    n, classes = logits.shape
    loss, dx = cupy.empty(n, logits.dtype), cupy.empty(logits.shape, logits.dtype)
    launch = kernel("loss", "cross_entropy", logits.dtype)
    launch(_grid(n), (THREADS,), (plain(logits), plain(goal), n, classes, loss, dx))
    return loss, dx


def _along_rows(name: str, x: Array) -> Array:
    import cupy

    y = cupy.empty(x.shape, x.dtype)
    rows = math.prod(x.shape[:-1])
    kernel("loss", name, x.dtype)(_grid(rows), (THREADS,), (plain(x), rows, x.shape[-1], y))
    return y


def _grid(rows: int) -> tuple[int]:
    return (-(-rows // ROWS_A_BLOCK),)
