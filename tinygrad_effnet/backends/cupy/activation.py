"""Activations: sigmoid, SiLU and its gradient, elementwise."""

from __future__ import annotations

from ..base import Array
from ..layout import require_shape, swap
from .launch import kernel
from .layout import THREADS, dense, dense_like, elementwise_grid, vector_width


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)); any shape."""
    return _apply("sigmoid_forward", x)


def silu(x: Array) -> Array:
    """x * sigmoid(x); any shape."""
    return _apply("silu_forward", x)


def silu_grad(x: Array, dy: Array) -> Array:
    """dy * s * (1 + x * (1 - s)), s = sigmoid(x); any shape, the same for both."""
    import cupy

    require_shape("dy", dy, x.shape)
    source, swapped = dense(x)
    up = dense_like(dy, swapped)
    dx = cupy.empty_like(source)
    width = vector_width(0, source, up, dx)
    launch = kernel("activation", "silu_backward", x.dtype, width)
    launch(elementwise_grid(x.size, width), (THREADS,), (source, up, dx, x.size))
    return swap(dx, swapped)


def _apply(name: str, x: Array) -> Array:
    import cupy

    source, swapped = dense(x)
    y = cupy.empty_like(source)
    width = vector_width(0, source, y)
    kernel("activation", name, x.dtype, width)(elementwise_grid(x.size, width), (THREADS,), (source, y, x.size))
    return swap(y, swapped)
