"""Compiling what a training step needs before it is asked for, by a second process that fills the cache on disk.

Numba compiles one kernel at a time, whatever the number of cores: a lock is held around it. So the process that meets
the first kernel that is not in the cache starts a helper, which begins at the other end: at what the backward pass will
ask for last. Each finds what the other has put into the cache.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..base import Statistics, Window

if TYPE_CHECKING:
    from . import Numba

# The kernels of a training step of EfficientNet, as `jit.kernel` names them: what "n of N" counts.
TRAINING = (
    "convolution.conv2d_kernel",
    "products.outer_kernel",
    "fused.norm_silu_kernel",
    "depthwise.forward_kernel",
    "fused.pool_kernel",
    "activation.small_silu_kernel",
    "activation.small_sigmoid_kernel",
    "fused.excite_kernel",
    "normalization.batch_norm_kernel",
    "fused.norm_add_kernel",
    "loss.small_cross_entropy_kernel",
    "fused.norm_silu_grad_kernel",
    "fused.norm_add_grad_kernel",
    "normalization.batch_norm_grad_kernel",
    "activation.small_silu_grad_kernel",
    "fused.excite_grad_kernel",
    "fused.excite_sums_kernel",
    "depthwise.backward_kernel",
    "products.dots_kernel",
    "convolution.weight_grad_kernel",
)


ALONE = "TINYGRAD_EFFNET_COMPILE_ALONE"  # in the environment: 1 for no helper


def backward(kernels: Numba) -> list[Callable[[], object]]:
    """Calls that have the kernels of the backward pass compiled, for float32, in the order in which to compile them."""
    x = np.ones((2, 2, 4, 4), np.float32)
    c, w = np.ones(2, np.float32), np.ones((2, 1, 3, 3), np.float32)
    squeeze = np.ones((1, 2, 1, 1), np.float32), np.ones(1, np.float32), np.ones((2, 1, 1, 1), np.float32), c
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)))
    statistics = Statistics(c, c, 1e-3, False)
    return [
        lambda: kernels.norm_silu_depthwise_grad(x, c, c, w, x, window, statistics),
        lambda: kernels.norm_silu_squeeze_excite_grad(x, c, c, squeeze, x, statistics),
        lambda: kernels.batch_norm_grad(x, c, x, c, c, 1e-3),
        lambda: kernels.norm_add_grad(x, c, x, None, statistics),
        lambda: kernels.norm_silu_grad(x, c, c, x, statistics),
    ]


def start_helper(cache: str) -> subprocess.Popen[bytes] | None:
    """Start the second process where it can be of use: another core, and a cache folder to meet in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    frozen = getattr(sys, "frozen", False)  # then sys.executable is the user's program
    if cores < 2 or not cache or not sys.executable or frozen or os.environ.get(ALONE) == "1":
        return None
    paths = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    try:
        helper = subprocess.Popen(  # noqa: S603 - nothing in it comes from outside
            [sys.executable, "-c", f"from {__name__} import run; run()"],
            env={**os.environ, "PYTHONPATH": paths, ALONE: "1", "TINYGRAD_EFFNET_QUIET": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # no process to be had: then this one compiles all
        return None
    atexit.register(_stop, helper)
    return helper


@contextlib.contextmanager
def without_helper() -> Iterator[None]:
    """Compile alone inside the block: for little, a helper takes more from a busy machine than it gives."""
    before = os.environ.get(ALONE)
    os.environ[ALONE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[ALONE]
        else:
            os.environ[ALONE] = before


def _stop(helper: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        helper.kill()
        helper.wait(1)


def run() -> None:
    """What the helper does."""
    from . import Numba

    for call in backward(Numba()):
        call()
