"""Settings of the process that compiled kernels want, each worth a third of a training step and each harmless to miss.

Every one is undone by an environment variable, for whoever shares the process with other needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path


def preload_tbb() -> None:
    """Load TBB from the environment's own lib folder, where ``pip install tbb`` puts it and no loader looks."""
    if sys.platform != "linux":
        return
    for library in sorted(Path(sys.prefix, "lib").glob("libtbb.so.1*")):
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
            return


def keep_memory() -> None:
    """Ask glibc to recycle large arrays rather than hand each back to the system.

    A fresh array of some megabytes costs more in page faults than most kernels cost in arithmetic. The process keeps
    its peak memory instead. ``TINYGRAD_EFFNET_KEEP_MEMORY=0`` leaves the allocator as it is.
    """
    if sys.platform != "linux" or os.environ.get("TINYGRAD_EFFNET_KEEP_MEMORY") == "0":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mmap_threshold, trim_threshold = -3, -1  # malloc.h
        mallopt(mmap_threshold, ctypes.c_int(1 << 30))
        mallopt(trim_threshold, ctypes.c_int(2**31 - 1))
