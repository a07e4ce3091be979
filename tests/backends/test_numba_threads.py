"""Threads and processes on every threading library: each works or raises a Python error; none ends or hangs."""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from tinygrad_effnet.backends.numba import Numba, get_num_threads, set_num_threads, threading_layer, threads

ROOT = Path(threads.__file__).parents[3]


@functools.cache
def outcomes(layer: str) -> dict[str, str]:
    """What trained_in_parallel.py says of each use on a threading library; a use is missing where the process ended."""
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, str(Path(__file__).with_name("trained_in_parallel.py"))]
    run = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)
    if "No threading layer could be loaded" in run.stderr:
        pytest.skip(f"{layer} is not installed")
    # on a busy machine Numba's TBB layer remarks that its threads were slow to end before the fork
    lines = [line for line in run.stdout.splitlines() if line and not line.startswith("Unable to join threads")]
    found = dict(line.split(" ", 1) for line in lines)
    assert found["layer"] == layer
    return {**found, "exit": f"exit code {run.returncode}", "stderr": run.stderr}


@pytest.mark.parametrize("layer", ["tbb", "omp", "workqueue"])
@pytest.mark.parametrize("use", ["threads", "fork", "spawn"])
def test_training_in_parallel(layer: str, use: str) -> None:
    if use in ("fork", "spawn") and use not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {use} here")
    found = outcomes(layer)
    refused = (layer, use) == ("omp", "fork")
    assert found.get(use) == ("compiled kernels cannot run in a forked process" if refused else "works"), found
    assert found["exit"] == "exit code 0", found


def test_threading_layer_is_known_before_any_kernel_ran() -> None:
    assert threading_layer() in ("tbb", "omp", "workqueue")
    assert get_num_threads() >= 1


@pytest.mark.parametrize("n", [0, -1, 10**6, 1.0, True, "2"])
def test_impossible_numbers_of_threads_are_refused(n: object) -> None:
    before = get_num_threads()
    with pytest.raises(ValueError, match=r"set_num_threads\(n\): got .*, expected an integer from 1 to"):
        set_num_threads(n)  # type: ignore[arg-type]
    assert get_num_threads() == before


def test_one_number_of_threads_for_kernels_and_products() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    Numba()
    before = get_num_threads()
    try:
        set_num_threads(1)
        blas = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        assert get_num_threads() == 1
        assert set(blas) <= {1}
    finally:
        set_num_threads(before)
