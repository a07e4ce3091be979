"""Memory: when a device is full, what was asked and what is free; and the host's memory that a device can reach.

`training` finds out which batch would fit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Array


class DeviceMemoryError(MemoryError):
    """A device has too little memory left.

    Attributes
    ----------
    asked, used, free, total : int
        Bytes: asked for at last, held by arrays then, left for others, and of the device altogether.
    """

    def __init__(self, caller: str, asked: int, used: int, free: int, total: int, advice: str) -> None:
        self.caller, self.asked, self.used, self.free, self.total = caller, asked, used, free, total
        super().__init__(
            f"{caller}: the device has no room for {_size(asked)} more; its arrays hold {_size(used)}, "
            f"and {_size(free)} of {_size(total)} is free. {advice}"
        )


def shortage(error: MemoryError, caller: str, shapes: Sequence[tuple[int, ...]] = ()) -> DeviceMemoryError:
    """Our error for CuPy's, with what the memory pool and the driver say now."""
    if isinstance(error, DeviceMemoryError):
        return error
    import cupy

    pool = cupy.get_default_memory_pool()
    left, total = cupy.cuda.Device().mem_info
    used, free, limit = pool.used_bytes(), pool.free_bytes() + left, pool.get_limit()
    if limit:  # the user's, or CUPY_GPU_MEMORY_LIMIT
        total, free = limit, min(free, limit - used)
    asked = re.search(r"allocating ([\d,]+) bytes", str(error))
    given = f"Its arguments have the shapes {', '.join(map(str, shapes))}. " if shapes else ""
    return DeviceMemoryError(
        caller,
        int(asked[1].replace(",", "")) if asked else 0,
        used,
        free,
        total,
        given + "Take a smaller batch or smaller images, or delete tensors that are no longer needed.",
    )


def page_locked(size: int) -> NDArray[np.uint8]:
    """So many bytes of the host's memory that a device copies from and to while the host does other things.

    Given back to CuPy's pool for such memory, they may be handed out again at once: nothing may be under way then.

    Raises
    ------
    MemoryError
        The host has no room for it.
    """
    import cupy

    try:
        return np.frombuffer(cupy.cuda.alloc_pinned_memory(size), np.uint8, size)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if error.status != cupy.cuda.runtime.errorMemoryAllocation:
            raise
        raise MemoryError(f"the host has no {size:,} bytes of page-locked memory") from None


class Reading:
    """Numbers on their way to the host, asked for at a place in the work of the current stream.

    They are carried over once what was asked for before is done. What is asked for after does not delay them, and goes
    on while the host takes them up.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        import cupy

        self._event, self._is_under_way = cupy.cuda.Event(disable_timing=True), True
        self._memory: list[NDArray[Any]] = []
        for array in arrays:
            self._memory.append(page_locked(array.nbytes).view(array.dtype).reshape(array.shape))
            array.get(out=self._memory[-1], blocking=False)
            self._event.record()

    def __call__(self) -> list[NDArray[Any]]:
        """Wait for them; copies, in C order."""
        self._event.synchronize()
        self._is_under_way = False
        return [memory.copy() for memory in self._memory]

    def __del__(self) -> None:
        if self._is_under_way:  # or the memory would be handed out again before it is written
            self._event.synchronize()


def _size(nbytes: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes} bytes"
