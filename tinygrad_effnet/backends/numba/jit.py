"""How kernels are compiled: five decorators, and the one line a user sees while it happens.

What lets LLVM vectorise a loop, each worth a factor of five to ten:

* `Index` loop variables are unsigned: a signed one costs a test for wrap-around at every load;
* ``error_model="numpy"``: otherwise each division tests for zero;
* constants have the type of the array: a Python number would turn float32 arithmetic into float64;
* sums (`inner`) may be reordered and products contracted into fused multiply-adds ("reassoc", "contract"), divisions
  done by the reciprocal ("arcp"), the sign of zero ignored ("nsz"). Never "nnan" or "ninf": NaN and infinity must
  pass through.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from . import threads, warm
from .cache import config

FAST: dict[str, Any] = {"fastmath": {"reassoc", "contract", "arcp", "nsz"}, "error_model": "numpy"}
STRICT: dict[str, Any] = {"fastmath": {"nsz"}, "error_model": "numpy"}

Index = numba.uint64

logger = logging.getLogger("tinygrad_effnet")


OWN: dict[str, Any] = {"no_cfunc_wrapper": True, "no_cpython_wrapper": True}  # for what kernels alone call


def inner(function: Callable[..., Any]) -> Any:
    """A serial piece of a kernel, such as a sum; small ones are inlined into their callers."""
    return numba.njit(**FAST, **OWN)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A piece that is always inlined: for the innermost, since handing over arrays costs as much as copying a row."""
    return numba.njit(forceinline=True, **FAST, **OWN)(function)


def pointwise(function: Callable[..., Any]) -> Any:
    """A serial piece of a kernel that computes number by number, each to the same bits wherever it lies.

    LLVM compiles such a loop twice, with vectors and without, and chooses at run time: the last few numbers, and all
    where the result may overlap an operand, go through the second. Freely contracted, the two round differently.
    """
    return numba.njit(**STRICT, **OWN)(function)


kernels: dict[str, kernel] = {}  # all of them, by "file.name"


class kernel:  # noqa: N801 - a decorator
    """A function with one ``prange`` loop, compiled at its first call for each type and kept on disk from then on.

    Arrays must be C-contiguous, aligned and writable (`layout.plain`), so that there is one version a dtype; shapes
    must have been checked, because the compiled code checks no bounds.
    """

    parallel = True

    def __init__(self, function: Callable[..., Any]) -> None:
        settings = {**FAST, "parallel": self.parallel, "cache": bool(config.CACHE_DIR), "no_cfunc_wrapper": True}
        self.cache = str(config.CACHE_DIR)
        self.compiled = numba.njit(**settings)(function)
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.name = _name(function)
        kernels[self.name] = self

    def __call__(self, *args: Any) -> Any:
        with threads.guard():
            return self.compiled(*args)

    @property
    def is_ready(self) -> bool:
        """Whether it is compiled for some type, in this process or on disk."""
        on_disk = Path(self.cache).rglob(f"{self.name}-*.nbi") if self.cache else ()
        return bool(self.compiled.signatures) or any(on_disk)


class serial(kernel):  # noqa: N801
    """The same with a plain loop, for what is too little to wake threads for: a call costs a microsecond."""

    parallel = False

    def __call__(self, *args: Any) -> Any:
        return self.compiled(*args)


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__.removeprefix(__package__ + '.')}.{function.__name__}"


class _Notice(event.Listener):
    """Tells the user that kernels are being compiled, and has a second process compile the half of them.

    On a terminal it is one line, rewritten for each kernel and gone at the end; elsewhere a line once.
    ``TINYGRAD_EFFNET_QUIET=1`` keeps it silent.
    """

    def __init__(self) -> None:
        self.given = False

    def on_start(self, event: Any) -> None:
        name = _name(event.data["dispatcher"].py_func)
        if name not in kernels:
            return
        if not self.given:
            warm.start_helper(kernels[name].cache)
        message = f"compiling kernels for this machine, once: {self.progress(name)}"
        if not self.given:
            logger.info(message)
        if os.environ.get("TINYGRAD_EFFNET_QUIET") != "1" and sys.stderr is not None:
            if sys.stderr.isatty():
                print(f"{ERASE}tinygrad_effnet: {message}", end="", file=sys.stderr, flush=True)
            elif not self.given:
                print(f"tinygrad_effnet: {message}", file=sys.stderr, flush=True)
        self.given = True

    @staticmethod
    def progress(name: str) -> str:
        """Which of the kernels of a training step this is, in the order in which they turn out to be needed."""
        if name not in warm.TRAINING:
            return name
        ready = sum([bool(kernel.compiled.signatures) for other, kernel in kernels.items() if other in warm.TRAINING])
        return f"{ready + 1} of {len(warm.TRAINING)}"

    def on_end(self, event: Any) -> None:
        if _name(event.data["dispatcher"].py_func) in kernels and sys.stderr is not None and sys.stderr.isatty():
            print(ERASE, end="", file=sys.stderr, flush=True)


ERASE = "\r\x1b[K"  # to the line's beginning, and clear it


@functools.cache
def announce_compilation() -> None:
    """Have cold compilation announced: logged at INFO, and written to stderr."""
    event.register("numba:compile", _Notice())


@contextlib.contextmanager
def time_compilation() -> Iterator[list[float]]:
    """The list given holds, after the block, the seconds in which Numba compiled; it stays empty where nothing was."""
    seconds: list[float] = []
    with event.install_timer("numba:compile", seconds.append):
        yield seconds


def missing() -> list[str]:
    """The kernels of a training step that are compiled neither in this process nor on disk."""
    return [name for name in warm.TRAINING if name not in kernels or not kernels[name].is_ready]
