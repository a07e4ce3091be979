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


def calm_blas() -> None:
    """Have OpenBLAS's threads sleep soon after a matrix product, so that they leave the cores to the kernels.

    They otherwise spin for tens of milliseconds. OpenBLAS reads how long, ``OPENBLAS_THREAD_TIMEOUT`` (the logarithm of
    a number of clock ticks), when it is loaded, which NumPy has long done; so its threads are stopped and started anew,
    as OpenBLAS itself does around a fork. A value that is set already is left alone.
    """
    if sys.platform != "linux" or "OPENBLAS_THREAD_TIMEOUT" in os.environ:
        return
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return
    os.environ["OPENBLAS_THREAD_TIMEOUT"] = "16"
    for library in threadpool_info():
        if library["internal_api"] == "openblas" and library.get("threading_layer") == "pthreads":
            with contextlib.suppress(OSError, AttributeError):  # a build that does not export these
                blas = ctypes.CDLL(library["filepath"])
                read, stop, start = blas.openblas_read_env, blas.blas_thread_shutdown_, blas.blas_thread_init
                read()
                stop()
                start()
