"""How kernels are compiled: three decorators, and the one line a user sees while it happens.

What lets LLVM vectorise a loop, each worth a factor of five to ten:

* `Index` loop variables are unsigned: a signed one costs a test for wrap-around at every load;
* ``error_model="numpy"``: otherwise each division tests for zero;
* constants have the type of the array: a Python number would turn float32 arithmetic into float64;
* sums (`inner`) may be reordered and products contracted into fused multiply-adds ("reassoc", "contract"), divisions
  done by the reciprocal ("arcp"), the sign of zero ignored ("nsz"). Never "nnan" or "ninf": NaN and infinity must
  pass through.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from . import threads
from .cache import config

FAST: dict[str, Any] = {"fastmath": {"reassoc", "contract", "arcp", "nsz"}, "error_model": "numpy"}
STRICT: dict[str, Any] = {"fastmath": {"nsz"}, "error_model": "numpy"}

Index = numba.uint64

logger = logging.getLogger("tinygrad_effnet")


def inner(function: Callable[..., Any]) -> Any:
    """A serial piece of a kernel, such as a sum; small ones are inlined into their callers."""
    return numba.njit(**FAST)(function)


def pointwise(function: Callable[..., Any]) -> Any:
    """A serial piece of a kernel that computes number by number, each to the same bits wherever it lies.

    LLVM compiles such a loop twice, with vectors and without, and chooses at run time: the last few numbers, and all
    where the result may overlap an operand, go through the second. Freely contracted, the two round differently.
    """
    return numba.njit(**STRICT)(function)


class kernel:  # noqa: N801 - a decorator
    """A function with one ``prange`` loop, compiled at its first call for each type and kept on disk from then on.

    Arrays must be C-contiguous, aligned and writable (`layout.plain`), so that there is one version a dtype; shapes
    must have been checked, because the compiled code checks no bounds.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.compiled = numba.njit(parallel=True, cache=bool(config.CACHE_DIR), **FAST)(function)
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __call__(self, *args: Any) -> Any:
        with threads.guard():
            return self.compiled(*args)


class _Notice(event.Listener):
    """Tells the user, once, that kernels are being compiled."""

    def __init__(self) -> None:
        self.given = False

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if self.given or not function.__module__.startswith(__package__):
            return
        self.given = True
        message = "compiling kernels for this machine, once (some seconds each, up to a minute in all)"
        logger.info(message)
        if sys.stderr is not None and (sys.stderr.isatty() or os.environ.get("TINYGRAD_EFFNET_VERBOSE") == "1"):
            print(f"tinygrad_effnet: {message}", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        pass


@functools.cache
def announce_compilation() -> None:
    """Have the first cold compilation announced: logged at INFO, and written to stderr where a person reads it."""
    event.register("numba:compile", _Notice())
