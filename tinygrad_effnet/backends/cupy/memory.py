"""When a device is full: what was asked, and what is free. `training` finds out which batch would fit."""

from __future__ import annotations

import re
from collections.abc import Sequence


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


def _size(nbytes: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes} bytes"
