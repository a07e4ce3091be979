"""Every operation of the registry on the device against ``loops``, every kernel of the contract against ``numpy``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.conftest import CALLS, KERNELS, Call
from backends.cupy.matrix import DRAWS, NAMES, compare_layouts, compare_two_runs, compare_with_loops
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygrad_effnet.backends import Backend, use_backend
from tinygrad_effnet.backends.device import is_on_device

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # means of nothing, in empty samples
dtypes = pytest.mark.parametrize("stored", [np.float32, np.float64], ids=["float32", "float64"])


def backend(name: str) -> Backend:
    with use_backend(name) as chosen:
        return chosen


def carried(value: Any, cupy: Any) -> Any:
    """Arguments on the device; a random generator stays."""
    if isinstance(value, np.ndarray):
        wide = cupy.asarray(value)
        return wide if value.flags.c_contiguous or value.ndim < 2 else cupy.ascontiguousarray(wide.T).T
    if type(value) in (tuple, list):
        return type(value)(carried(v, cupy) for v in value)
    return value


@dtypes
@pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS if kernel != "uniform"])
def test_every_kernel_against_numpy(kernel: str, stored: type, cupy: Any) -> None:
    there, here = backend("cupy"), backend("numpy")

    @given(st.data())
    @settings(suppress_health_check=list(HealthCheck))
    def check(data: st.DataObject) -> None:
        call = data.draw(CALLS[kernel](stored))
        results = Call(tuple(carried(a, cupy) for a in call.args)).of(there, kernel)
        assert all(is_on_device(r) for r in results)
        call.check(tuple(r.get() for r in results), call.of(here, kernel), stored)

    check()


@dtypes
@pytest.mark.parametrize("name", [name for name in NAMES if name not in DRAWS])
def test_values_and_gradients_are_those_of_loops(name: str, stored: type) -> None:
    compare_with_loops(name, stored)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_call_gives_the_same_bits(name: str) -> None:
    compare_two_runs(name)


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_does_not_matter(name: str) -> None:
    compare_layouts(name)
