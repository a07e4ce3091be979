"""Memory layout: the form in which arrays enter compiled kernels.

Images N C H W are kept channel-major, as a C-contiguous array C N H W seen through a transpose. What comes in another
layout is copied, once: all that follows stays channel-major. `watch_conversions` tells of every such copy, and so does
``TINYGRAD_EFFNET_LAYOUT=1`` in the environment, on stderr: a network should make one, of its input.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from ..base import Array
from ..layout import is_channel_major, swap

LINE = 64  # bytes
REAL = (np.dtype(np.float32), np.dtype(np.float64))


class Conversion(NamedTuple):
    """An image that was copied into another memory layout: its shape, its bytes, and the line outside this package."""

    shape: tuple[int, ...]
    nbytes: int
    where: str


_watching: list[list[Conversion]] = []
_telling = os.environ.get("TINYGRAD_EFFNET_LAYOUT") == "1"


@contextlib.contextmanager
def watch_conversions() -> Iterator[list[Conversion]]:
    """Inside the block, note every copy of an image (three axes or more) into another layout in the list given."""
    seen: list[Conversion] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching[:] = [other for other in _watching if other is not seen]


def _note_conversion(x: Array) -> None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("tinygrad_effnet"):
        frame = frame.f_back
    where = "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
    conversion = Conversion(x.shape, x.nbytes, where)
    for seen in _watching:
        seen.append(conversion)
    if _telling and sys.stderr is not None:
        print(f"tinygrad_effnet: layout of {x.shape} converted, {x.nbytes:,} bytes, at {where}", file=sys.stderr)


def real(*arrays: Any) -> bool:
    """Whether all are ndarrays of one real floating dtype that kernels are compiled for."""
    first = getattr(arrays[0], "dtype", None)
    if first not in REAL:
        return False
    for a in arrays:  # a loop and no generator: asked before every kernel, however few its numbers
        if not isinstance(a, np.ndarray) or a.dtype != first:
            return False
    return True


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """A plain array of unset numbers that begins where a line of the cache does."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def plain(x: Array) -> Array:
    """``x`` C-contiguous, aligned and writable; itself where it is so already.

    Numba compiles anew for every other kind, read-only arrays included: the copy is cheaper.
    """
    if type(x) is np.ndarray and x.flags.carray:
        return x
    if x.ndim > 2 and (_watching or _telling) and 0 not in x.strides:  # a broadcast written out is no conversion
        _note_conversion(x)
    return np.require(x, requirements=["C_CONTIGUOUS", "ALIGNED", "WRITEABLE", "ENSUREARRAY"])


def channel_major(x: Array) -> Array:
    """N C ... -> a plain array C N ...: a view where ``x`` is channel-major already, else a copy."""
    return plain(x.swapaxes(0, 1))


def dense(x: Array) -> tuple[Array, bool]:
    """(a plain array with the numbers of ``x``, whether its first two axes are swapped).

    An elementwise kernel needs no order of axes, only memory without gaps; its result should lie as its operand does.
    """
    swapped = is_channel_major(x)
    return plain(swap(x, swapped)), swapped


def dense_like(x: Array, swapped: bool) -> Array:
    """A plain array with the numbers of ``x``, its first two axes swapped or not as asked."""
    return plain(swap(x, swapped))
