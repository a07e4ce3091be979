"""Every operation of the registry on the device against ``loops``, every kernel of the contract against ``numpy``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.conftest import CALLS, KERNELS, Call
from backends.cupy.matrix import (
    DRAWS,
    NAMES,
    compare_in_sixteen_bits,
    compare_layouts,
    compare_two_runs,
    compare_with_loops,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygrad_effnet.backends import Backend, Window, use_backend
from tinygrad_effnet.backends.cupy import convolution, implicit
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


CONVOLUTIONS = {
    "a stem": ((2, 3, 33, 33), (32, 3, 3, 3), 2, 1),
    "groups": ((2, 6, 9, 10), (4, 3, 5, 5), 1, 2),
    "a fused block": ((8, 48, 56, 56), (192, 48, 3, 3), 2, 1),
    "a fused block at full size": ((32, 24, 112, 112), (24, 24, 3, 3), 1, 1),
}
large = pytest.mark.device_only  # the emulator would take minutes


@pytest.mark.parametrize("name", [pytest.param(n, marks=large) if "fused" in n else n for n in CONVOLUTIONS])
def test_convolutions_agree_with_and_without_columns(name: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, filters, stride, groups = CONVOLUTIONS[name]
    window = Window(filters[2:], (stride, stride), ((1, 1), (1, 1)))
    rng = np.random.default_rng(6)
    out = window.output_size(*shape[2:])
    x, w, dy = (
        cupy.asarray(rng.standard_normal(s).astype(np.float32)) for s in (shape, filters, (shape[0], filters[0], *out))
    )
    monkeypatch.setattr(convolution, "THIN", 0)
    for function, args in (
        ("conv2d", (x, w, window, groups)),
        ("conv2d_input_grad", (dy, w, window, groups, shape[2:])),
        ("conv2d_weight_grad", (x, dy, window, groups)),
    ):
        ours, theirs = (getattr(module, function)(*args).get() for module in (implicit, convolution))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max(), err_msg=function)


@dtypes
@pytest.mark.parametrize("name", [name for name in NAMES if name not in DRAWS])
def test_values_and_gradients_are_those_of_loops(name: str, stored: type) -> None:
    compare_with_loops(name, stored)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in DRAWS])
def test_sixteen_bits_are_those_of_loops_but_for_rounding(name: str, stored: str) -> None:
    pytest.importorskip("ml_dtypes")
    compare_in_sixteen_bits(name, stored)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_call_gives_the_same_bits(name: str) -> None:
    compare_two_runs(name)


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_does_not_matter(name: str) -> None:
    compare_layouts(name)
