"""Matrix products on threads of our own.

OpenBLAS brings its own threads, which wait for each other by spinning. Beside the kernels' threads, or any other
process that wants a core, they lose most of their time to it: with one core of two taken, a training step is ten
times slower. So a large product is cut here into as many blocks as there are threads, and each block is computed by
OpenBLAS on one. Threads that wait for a block sleep. NumPy's own setting holds again as soon as no product of ours is
under way.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from ..base import Array
from .layout import real

logger = logging.getLogger("tinygrad_effnet")

BLAS_SPLITS = 2**16  # multiply-adds from which OpenBLAS may use more than one thread
WORTH_SPLITTING = 2**21  # multiply-adds; less is done before another thread has woken up


def _blas_libraries() -> list[Any]:
    """Handles of the BLAS that NumPy loaded, each with ``set_num_threads`` and ``num_threads``."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        logger.warning("matrix products run on OpenBLAS's own threads, slower beside others: pip install threadpoolctl")
        return []
    return ThreadpoolController().select(user_api="blas").lib_controllers


class _Products:
    """The worker threads, and the switch that keeps BLAS on one thread while they work."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.under_way = 0
        self.libraries: list[Any] | None = None
        self.before: list[int] = []
        self.pool: ThreadPoolExecutor | None = None
        self.workers = 0

    @contextmanager
    def single_threaded_blas(self) -> Iterator[None]:
        with self.lock:
            if self.libraries is None:
                self.libraries = _blas_libraries()
            if not self.under_way:
                self.before = [library.num_threads for library in self.libraries]
                for library in self.libraries:
                    library.set_num_threads(1)
            self.under_way += 1
        try:
            yield
        finally:
            with self.lock:
                self.under_way -= 1
                if not self.under_way:
                    for library, count in zip(self.libraries, self.before, strict=True):
                        library.set_num_threads(count)

    def helpers(self, count: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.pool is None or self.workers != count:
                self.pool, self.workers = ThreadPoolExecutor(count, thread_name_prefix="matrix-product"), count
            return self.pool


_products = _Products()


def _after_fork() -> None:
    global _products
    _products = _Products()  # the parent's threads do not exist here, and its lock may be held for ever


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def matmul(a: Array, b: Array, threads: int) -> Array | None:
    """y = a b for a: n k, b: k m, each perhaps with one leading axis of size 1; None where it is not worth splitting.

    The blocks are of rows or of columns, whichever there are more of, so no sum is cut: y_ij = Σₖ a_ik b_kj as ever.
    """
    leading = a.shape[:-2]
    if threads < 2 or not real(a, b) or leading != b.shape[:-2] or leading not in ((), (1,)):
        return None
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    if rows * inner * columns < WORTH_SPLITTING or max(rows, columns) < threads:
        if rows * inner * columns < BLAS_SPLITS:
            return None
        with _products.single_threaded_blas():  # else OpenBLAS wakes its threads, and they spin beside the next kernel
            return np.matmul(a, b)
    y = np.empty((rows, columns), a.dtype)
    a, b = a.reshape(rows, inner), b.reshape(inner, columns)
    edges = [max(rows, columns) * i // threads for i in range(threads + 1)]
    blocks = [slice(start, stop) for start, stop in pairwise(edges)]
    if columns >= rows:
        parts = [(a, b[:, block], y[:, block]) for block in blocks]
    else:
        parts = [(a[block], b, y[block]) for block in blocks]
    with _products.single_threaded_blas():
        others = [_products.helpers(threads - 1).submit(_into, *part) for part in parts[1:]]
        _into(*parts[0])
        for other in others:
            other.result()
    return y.reshape(*leading, rows, columns)


def _into(a: Array, b: Array, y: Array) -> None:
    np.matmul(a, b, out=y)
