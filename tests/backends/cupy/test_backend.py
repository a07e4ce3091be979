"""The ``cupy`` backend as a whole, on the stand-in: every operation of the registry against ``loops``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from backends.cupy.matrix import (
    DRAWS,
    NAMES,
    compare_in_sixteen_bits,
    compare_layouts,
    compare_two_runs,
    compare_with_loops,
    samples_of_op,
)
from backends.cupy.standin import available, standin_cupy, traffic

import tinygrad_effnet as tg

pytestmark = [
    pytest.mark.skipif(not available(), reason="kernels run on the CPU by way of g++, which is not installed"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # means of nothing, in empty samples
]


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    with standin_cupy():
        yield


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DRAWS])
def test_values_and_gradients_are_those_of_loops(name: str, dtype: type) -> None:
    compare_with_loops(name, dtype)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in DRAWS])
def test_sixteen_bits_are_those_of_loops_but_for_rounding(name: str, stored: str) -> None:
    compare_in_sixteen_bits(name, stored)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_call_gives_the_same_bits(name: str) -> None:
    compare_two_runs(name)


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_does_not_matter(name: str) -> None:
    compare_layouts(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"move", "getitem", "scatter_add"}])
def test_nothing_is_carried_over_or_read(name: str) -> None:
    """But by moving, which is asked for, and by indexing with masks, whose entries must be counted."""
    for sample in samples_of_op(name):
        x = [tg.from_numpy(a.astype(np.float32)).to("cupy").requires_grad_() for a in sample.arrays]
        op = sample.placed(*x)
        traffic.clear()
        outputs = op(*x)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        tg.grad(outputs, x, [tg.Tensor(y.detach()) * 0.5 for y in outputs])
        assert not any(traffic.counts.values()), (sample.label, traffic.counts)
