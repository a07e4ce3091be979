"""Threads and forks on every threading library: each use works or raises a Python error; none ends the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from tinygrad_effnet.backends.numba import Numba, get_num_threads, set_num_threads, threading_layer, threads

ROOT = Path(threads.__file__).parents[3]

MATRIX = """
import os, threading, warnings
import numpy as np
from tinygrad_effnet.backends.numba import Numba, threading_layer
warnings.simplefilter("ignore")
kernels, x = Numba(), np.linspace(-3, 3, 200_000, dtype=np.float32)
expected = x / (1 + np.exp(-x))

def use():
    for _ in range(30):
        np.testing.assert_allclose(kernels.silu(x), expected, rtol=1e-5, atol=1e-6)
    done.append(1)

done = []
users = [threading.Thread(target=use) for _ in range(3)]
[user.start() for user in users]
[user.join() for user in users]
print(threading_layer(), "threads", len(done), flush=True)

child = os.fork()
if child == 0:
    try:
        kernels.silu(x)
    except RuntimeError as error:
        print("fork", "refused" if "spawn" in str(error) else error, flush=True)
    else:
        print("fork works", flush=True)
    os._exit(0)
print("child ended with", os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("layer", ["tbb", "omp", "workqueue"])
def test_threads_and_fork(layer: str) -> None:
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", MATRIX], env=environment, capture_output=True, text=True, timeout=120)
    if "No threading layer could be loaded" in run.stderr:
        pytest.skip(f"{layer} is not installed")
    fork = "fork refused" if layer == "omp" else "fork works"
    # on a busy machine Numba's TBB layer remarks that its threads were slow to end before the fork
    lines = [line for line in run.stdout.splitlines() if line and not line.startswith("Unable to join threads")]
    assert lines == [f"{layer} threads 3", fork, "child ended with 0"], run.stderr


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
