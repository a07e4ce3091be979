"""sigmoid, SiLU and its gradient.

The exponential is what they cost. Numba has no vector library of mathematics, so float32 takes a polynomial that LLVM
vectorises (relative error of a sigmoid 2e-7); float64 is asked for when accuracy matters and takes the C library's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from ..base import Array
from ..layout import require_shape, swap
from .jit import STRICT, Index, kernel, pointwise, serial
from .layout import dense, dense_like

f32 = np.float32
i32 = np.int32

# "contract" because a polynomial is half as many instructions by it, and only one way to contract each step exists;
# not "reassoc": it would merge the two parts of ln 2, and undo the rounding by ROUND
EXACT: Any = {**STRICT, "fastmath": {"contract", "nsz"}, "forceinline": True}
ROUND = f32(1.5 * 2**23)  # z = x + ROUND has no place for a fraction: the last bits of z are x rounded to an integer


@njit(**EXACT)
def exp_float32(x: Any) -> Any:
    """exp(x) = 2**k * exp(r) with whole k and |r| <= ln(2)/2, exp(r) by a polynomial; never below exp(-87).

    Its coefficients leave the least relative error there, 9e-8.
    """
    lowest, highest = f32(-87), f32(88)  # between these 2**k is a normal number
    v = lowest if x < lowest else x  # a NaN stays one
    z = v * f32(1.44269504) + ROUND
    k = z - ROUND
    r = (v - k * f32(0.693359375)) - k * f32(-2.12194440e-4)  # k * ln 2 in two parts, the first product exact
    p = f32(8.290314788e-3) * r + f32(4.189793082e-2)
    p = p * r + f32(1.666763571e-1)
    p = p * r + f32(4.999915024e-1)
    p = p * r + f32(9.999997448e-1)
    p = f32(p * r + f32(1))
    e = i32(p.view(i32) + i32(f32(z).view(i32) << i32(23))).view(f32)  # k added to the exponent
    return f32(np.inf) if v > highest else e


@njit(**EXACT)
def sigmoid_float32(x: Any) -> Any:
    """1 / (1 + exp(-x)). The division makes 0 of what is too small to be a normal number."""
    return f32(1) / (f32(1) + exp_float32(-x))


@njit(**EXACT)
def sigmoid_float64(x: Any) -> Any:
    """1 / (1 + exp(-x)), by the C library's exponential of what is not positive."""
    e = math.exp(-abs(x))
    return (1.0 if x >= 0.0 else e) / (1.0 + e)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) of a scalar inside kernels."""
    e = math.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e)


@overload(sigmoid, jit_options=EXACT)
def _sigmoid(x: Any) -> Any:
    exact = sigmoid_float32 if x == types.float32 else sigmoid_float64

    def compiled(x: Any) -> Any:
        return exact(x)

    return compiled


def exponential(x: Any) -> Any:
    """exp(x) of a scalar inside kernels; 0 where it would be no normal number."""
    return math.exp(x)


@overload(exponential, jit_options=EXACT)
def _exponential(x: Any) -> Any:
    def of_float32(x: Any) -> Any:
        return f32(0) if x < f32(-87) else exp_float32(x)

    def of_float64(x: Any) -> Any:
        return math.exp(x)

    return of_float32 if x == types.float32 else of_float64


BLOCK = 4096  # numbers a thread takes at a time: few enough to share work, enough to forget the cost of sharing


@pointwise
def sigmoid_block(x: Any, first: int, last: int, y: Any) -> None:
    for i in range(Index(first), Index(last)):
        y[i] = sigmoid(x[i])


@pointwise
def silu_block(x: Any, first: int, last: int, y: Any) -> None:
    for i in range(Index(first), Index(last)):
        y[i] = x[i] * sigmoid(x[i])


@pointwise
def silu_grad_block(x: Any, dy: Any, first: int, last: int, dx: Any) -> None:
    one = x.dtype.type(1)
    for i in range(Index(first), Index(last)):
        s = sigmoid(x[i])
        dx[i] = dy[i] * s * (one + x[i] * (one - s))


@serial
def small_sigmoid_kernel(x: Any, y: Any) -> None:
    sigmoid_block(x, 0, x.size, y)


@kernel
def sigmoid_kernel(x: Any, y: Any) -> None:
    for block in prange((x.size + BLOCK - 1) // BLOCK):
        sigmoid_block(x, block * BLOCK, min((block + 1) * BLOCK, x.size), y)


@serial
def small_silu_kernel(x: Any, y: Any) -> None:
    silu_block(x, 0, x.size, y)


@kernel
def silu_kernel(x: Any, y: Any) -> None:
    for block in prange((x.size + BLOCK - 1) // BLOCK):
        silu_block(x, block * BLOCK, min((block + 1) * BLOCK, x.size), y)


@serial
def small_silu_grad_kernel(x: Any, dy: Any, dx: Any) -> None:
    silu_grad_block(x, dy, 0, x.size, dx)


@kernel
def silu_grad_kernel(x: Any, dy: Any, dx: Any) -> None:
    for block in prange((x.size + BLOCK - 1) // BLOCK):
        silu_grad_block(x, dy, block * BLOCK, min((block + 1) * BLOCK, x.size), dx)


def apply(function: kernel, small: kernel, x: Array) -> Array:
    """``function`` on every number of ``x``, any shape, or ``small`` where they are one block; y lies as ``x`` does."""
    source, swapped = dense(x)
    y = np.empty_like(source)
    (small if x.size <= BLOCK else function)(source.reshape(-1), y.reshape(-1))
    return swap(y, swapped)


def sigmoid_of(x: Array) -> Array:
    """1 / (1 + exp(-x)), any shape."""
    return apply(sigmoid_kernel, small_sigmoid_kernel, x)


def silu(x: Array) -> Array:
    """x * sigmoid(x), any shape."""
    return apply(silu_kernel, small_silu_kernel, x)


def silu_grad(x: Array, dy: Array) -> Array:
    """dy * s * (1 + x * (1 - s)), s = sigmoid(x); any shape, the same for both."""
    require_shape("dy", dy, x.shape)
    source, swapped = dense(x)
    dx = np.empty_like(source)
    function = small_silu_grad_kernel if x.size <= BLOCK else silu_grad_kernel
    function(source.reshape(-1), dense_like(dy, swapped).reshape(-1), dx.reshape(-1))
    return swap(dx, swapped)
