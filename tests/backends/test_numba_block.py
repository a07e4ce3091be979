"""Pieces of kernels that are called by their address."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from tinygrad_effnet.backends.numba import block


def double(x: Any, count: int) -> None:
    for i in range(count):
        x[i] += x[i]


def test_threads_that_come_at_once_share_what_the_first_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[SimpleNamespace] = []

    def compiled(function: Any) -> SimpleNamespace:
        time.sleep(0.05)
        made.append(SimpleNamespace(address=len(made) + 1))
        return made[-1]

    monkeypatch.setattr(block.numba, "cfunc", lambda signature, **settings: compiled)
    before = numba.config.CACHE_DIR
    piece, addresses = block.block(double), []
    threads = [threading.Thread(target=lambda: addresses.append(piece.address(np.dtype("f4")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert addresses == [1] * 4
    assert len(made) == 1
    assert before == numba.config.CACHE_DIR
