"""Memory layout and the split of work: what comes before every launch.

Images N C H W are kept channel-major, as a C-contiguous array C N H W seen through a transpose. What comes in another
layout is copied, once: all that follows stays channel-major.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from ..base import Array
from ..layout import is_channel_major, swap
from .launch import STORED, computing

WARP = 32
THREADS = 256  # in a block, at most
ROOMY = 4096  # numbers that make a block worth starting
UNIT = 2048  # what a block's share is a multiple of: so many numbers fill its threads' widest accesses
FILLING = 1024  # blocks that fill any device; a constant, so that the order of sums is the same on all of them
ELEMENTWISE_BLOCKS = 2**16
VECTOR_BYTES = 16  # the widest access to memory


@cache
def _is_stored(dtype: Any) -> bool:
    return dtype.name in STORED


def real(*arrays: Any) -> bool:
    """Whether all are arrays of one floating dtype that kernels are compiled for."""
    first = getattr(arrays[0], "dtype", None)
    return first is not None and _is_stored(first) and all([getattr(a, "dtype", None) == first for a in arrays])


def normalisable(x: Array, *vectors: Any) -> bool:
    """Whether ``x`` has kernels for batch norm with these vectors, one number a channel.

    Vectors may be of any dtype that is stored: kernels take them in the one that they compute with.
    """
    return real(x) and all(_is_stored(getattr(v, "dtype", x.dtype)) for v in vectors)


def plain(x: Array) -> Array:
    """``x`` C-contiguous, itself where it is so already."""
    import cupy

    return x if x.flags.c_contiguous else cupy.ascontiguousarray(x)


def channel_major(x: Array) -> Array:
    """N C ... -> a C-contiguous array C N ...: a view where ``x`` is channel-major already, else a copy."""
    return plain(x.swapaxes(0, 1))


def channel_first(x: Array) -> Array:
    """C N ... -> N C ..., a view: the inverse of `channel_major`."""
    return x.swapaxes(0, 1)


def dense(x: Array) -> tuple[Array, bool]:
    """(a C-contiguous array with the numbers of ``x``, whether its first two axes are swapped).

    An elementwise kernel needs no order of axes, only memory without gaps; its result should lie as its operand does.
    """
    swapped = is_channel_major(x)
    return plain(swap(x, swapped)), swapped


def dense_like(x: Array, swapped: bool) -> Array:
    """A C-contiguous array with the numbers of ``x``, its first two axes swapped or not as asked."""
    return plain(swap(x, swapped))


def vector_width(length: int, *arrays: Array) -> int:
    """How many numbers a thread can take at once: rows of ``length`` numbers must all begin on 16 bytes."""
    width: int = VECTOR_BYTES // arrays[0].itemsize
    if length % width or any(a.data.ptr % VECTOR_BYTES for a in arrays):
        return 1
    return width


def block_for(pieces: int) -> tuple[int]:
    """Threads for so many pieces of work: whole warps, and none that would only wait."""
    return (min(THREADS, -(-max(1, pieces) // WARP) * WARP),)


class Rows(NamedTuple):
    """How the rows of a C-contiguous array, one a channel, are shared out among blocks."""

    channels: int
    length: int
    chunk: int  # numbers of a row for one block, a multiple of every width
    parts: int  # blocks for one row

    @property
    def grid(self) -> tuple[int, int]:
        return self.parts, self.channels

    def block(self, width: int) -> tuple[int]:
        """Threads for a part of a row, each taking ``width`` numbers at a time."""
        return block_for(min(self.chunk, self.length) // width)


def rows_of(x: Array) -> Rows:
    """The split for x, C N ...: as many blocks as fill a device, but none with little to do."""
    channels = x.shape[0]
    length = x.size // channels
    parts = max(1, min(-(-length // ROOMY), FILLING // channels))
    chunk = -(-length // (parts * UNIT)) * UNIT
    return Rows(channels, length, chunk, -(-length // chunk))


def elementwise_grid(n: int, width: int) -> tuple[int]:
    """Blocks for ``n`` numbers, a thread taking ``width`` at a time."""
    return (min(ELEMENTWISE_BLOCKS, -(-n // (THREADS * width))),)


def widened(vector: Array, like: Array) -> Array:
    """A vector, one number a channel, in the dtype that kernels compute with, and plain."""
    dtype = computing(like.dtype)
    return plain(vector if vector.dtype == dtype else vector.astype(dtype))
