"""Matrix products: cuBLAS's, or, where launches are recorded, those of our own kernel.

CuPy refuses cuBLAS while a stream records its launches ("calling cuBLAS API during stream capture is currently
unsupported", NotImplementedError; so still in August 2026). What is to be recorded multiplies with the kernel of
`implicit` instead: a product is a convolution with a 1x1 window, and a stack of them one in groups.

That kernel gives a block ROWS x COLUMNS numbers of the result, and sums over the whole depth in it. The products of one
image have so few columns (49 before EfficientNet's head, one in a gate) that most of a device would stand idle. So the
depth is cut into shares, a group of the convolution each, and the shares are added up: always in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..base import Array, Window
from . import implicit
from .layout import plain, real

WANTED = 264  # blocks: two for each processor of the largest devices
SHALLOW = 64  # numbers that make a share of the depth worth a block

_is_own: ContextVar[bool] = ContextVar("own_products", default=False)


@contextmanager
def own_products() -> Iterator[None]:
    """Inside the block products are computed by our own kernel, and so can be recorded."""
    token = _is_own.set(True)
    try:
        yield
    finally:
        _is_own.reset(token)


def matmul(a: Array, b: Array) -> Array:
    """As `cupy.matmul`.

    Raises
    ------
    NotImplementedError
        Inside `own_products`: an operand is a vector, stacks differ, or there is no kernel for the dtypes.
    """
    import cupy

    if not _is_own.get():
        return cupy.matmul(a, b)
    if a.ndim != b.ndim or a.ndim < 2 or a.shape[:-2] != b.shape[:-2] or not real(a, b):
        raise NotImplementedError(
            f"matmul of {a.dtype} of shape {a.shape} and {b.dtype} of shape {b.shape} cannot be recorded; matrices, or "
            "stacks of them of one shape, of one floating dtype can"
        )
    (n, k), m, stack = a.shape[-2:], b.shape[-1], a.shape[:-2]
    if not a.size or not b.size:
        return cupy.zeros((*stack, n, m), a.dtype)
    return product(a.reshape(-1, n, k), b.reshape(-1, k, m)).reshape(*stack, n, m)


def product(a: Array, b: Array) -> Array:
    """G n k, G k m -> G n m, nothing empty. One group is a plain product: cuBLAS then takes transposed matrices as they
    are, whereas `cupy.matmul` of stacks would copy them first."""
    import cupy

    if not _is_own.get():
        return cupy.matmul(a[0], b[0])[None] if len(a) == 1 else cupy.matmul(a, b)
    groups, n, k = a.shape
    m = b.shape[2]
    parts = shares(groups, n, k, m) if a.itemsize > 2 else 1  # sums in 16 bits would be rounded in each share
    w = plain(a.reshape(groups, n, parts, k // parts).swapaxes(1, 2)).reshape(-1, k // parts, 1, 1)
    x = plain(b).reshape(groups * k, 1, 1, m).swapaxes(0, 1)
    y = implicit.conv2d(x, w, Window((1, 1)), groups * parts)
    found = y.reshape(groups, parts, n, m)
    return found[:, 0] if parts == 1 else found.sum(axis=1)


def shares(groups: int, n: int, k: int, m: int) -> int:
    """Into how many equal parts the depth k of G products of n k and k m is cut."""
    blocks = groups * math.ceil(n / implicit.ROWS) * math.ceil(m / implicit.COLUMNS)
    most = max(1, min(k // SHALLOW, WANTED // blocks))
    return next(parts for parts in range(most, 0, -1) if k % parts == 0)
