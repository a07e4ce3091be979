"""Threads: which library runs them, how many there are, and what may not be done with them.

Numba runs parallel loops on one of three libraries. ``tbb`` is the only one that allows both several Python threads and
fork; ``omp`` kills a forked child at its first parallel loop; ``workqueue`` aborts the process when two Python threads
run parallel loops at once. Numba takes the first that it can load, in this order. What the library at hand does not
allow is turned into an error here, or into waiting.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading

import numba

from . import process
from .cache import config

logger = logging.getLogger("tinygrad_effnet")


class _State(threading.local):
    applied: int = 0  # Numba keeps the number of threads per calling thread: what it was last told in this one


_state = _State()
_wanted = 0  # threads that kernels use; 0 before `start`
_layer = ""
_forked = False
_guard: contextlib.AbstractContextManager[object] = contextlib.nullcontext()


def _after_fork() -> None:
    global _forked, _guard
    _forked = True
    if _layer == "workqueue":
        _guard = threading.Lock()  # the parent's may have been held by a thread that does not exist here


def start() -> None:
    """Choose and start the threading library. Called once, before the first kernel is compiled."""
    global _wanted, _layer, _guard
    if _wanted:
        return
    process.preload_tbb()
    process.keep_memory()
    numba.set_num_threads(numba.get_num_threads())  # starts the library, so that its name is known
    _layer = numba.threading_layer()
    _wanted = numba.get_num_threads()
    if _layer == "workqueue":
        _guard = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    logger.info("Numba runs %d threads on %s", _wanted, _layer)


def guard() -> contextlib.AbstractContextManager[object]:
    """What every parallel kernel is run in: the right number of threads, and one caller at a time where it must be so.

    Raises
    ------
    RuntimeError
        This process was forked from one whose threads run on OpenMP, which would end it without a word.
    """
    if _forked and _layer == "omp":
        raise RuntimeError(
            "compiled kernels cannot run in a forked process: OpenMP threads do not survive fork. Start processes with "
            'multiprocessing.get_context("spawn"), install the package tbb, or choose use_backend("numpy") in the child'
        )
    if _state.applied != _wanted:
        numba.set_num_threads(_wanted)
        _state.applied = _wanted
    return _guard


def threading_layer() -> str:
    """The library that runs the threads: "tbb", "omp" or "workqueue"."""
    start()
    return _layer


def get_num_threads() -> int:
    """How many threads a kernel uses."""
    start()
    return _wanted


def set_num_threads(n: int) -> None:
    """Use ``n`` threads, in compiled kernels and in the products that are left to NumPy, for the whole process.

    Results do not depend on ``n`` where kernels are concerned: a thread owns whole channels or planes.

    Raises
    ------
    ValueError
        ``n`` is not an integer from 1 to the number of threads that Numba was started with (``NUMBA_NUM_THREADS``).
    """
    global _wanted
    start()
    most = config.NUMBA_NUM_THREADS
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= most:
        raise ValueError(
            f"set_num_threads(n): got {n!r}, expected an integer from 1 to {most}; "
            "for more, set NUMBA_NUM_THREADS in the environment before the first use"
        )
    _wanted = n
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        logger.warning("NumPy's products keep their number of threads: pip install threadpoolctl to have it set too")
    else:
        threadpool_limits(limits=n, user_api="blas")
