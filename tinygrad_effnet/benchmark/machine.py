"""What it was measured on: processor, memory, versions, and how fast the machine can be at all."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..backends import current_backend
from .settings import cores

PACKAGES = ("tinygrad_effnet", "numpy", "numba", "tbb", "cupy", "torch", "onnxruntime")


def describe() -> dict[str, object]:
    """Processor, cores, memory, versions and the time."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": _memory() / 1e9,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 0.0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


class Roofs(NamedTuple):
    """The most that this machine was seen to do, in float32."""

    flops: float  # floating-point operations a second, of a large matrix product
    bandwidth: float  # bytes a second, read and written, of an addition of large arrays


def roofs(repeats: int = 7, side: int = 2048, megabytes: int = 64) -> Roofs:
    """Measure both roofs with the current backend's own product and addition, at their best of ``repeats``."""
    kernels = current_backend()
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, side, side), np.float32)
    x, y = rng.standard_normal((2, megabytes * 2**18), np.float32)
    product = best_time(lambda: kernels.matmul(a, b), repeats)
    addition = best_time(lambda: kernels.add(x, y), repeats)
    return Roofs(2 * side**3 / product, 3 * x.nbytes / addition)


def best_time(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the quickest of so many runs, after one to warm up."""
    run()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
