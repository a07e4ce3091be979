"""Every operation of the registry on a device, beside the host: what tests with and without a GPU share."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence

import numpy as np

import tinygrad_effnet as tg
from tinygrad_effnet.backends.dtypes import dtype_of
from tinygrad_effnet.op import Op, registry, watch
from tinygrad_effnet.testing import Sample, samples

NAMES = sorted(registry)
DRAWS = {"dropout", "stochastic_depth"}  # other random numbers on another backend


@functools.cache
def samples_of_op(name: str) -> list[Sample]:
    return samples(name, np.random.default_rng(zlib.crc32(name.encode())))


def values_and_gradients(
    sample: Sample, arrays: Sequence[np.ndarray], place: str
) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """Results, gradients with random seeds, and the operations that they took."""
    flops = 0

    def count(op: Op, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        nonlocal flops
        flops += op.flops([x.shape for x in inputs], [y.shape for y in outputs])

    with tg.use_backend("loops"), watch(count):
        x = [tg.from_numpy(a).to(place).requires_grad_() for a in arrays]
        outputs = sample(*x)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        rng = np.random.default_rng(5)
        upstream = [tg.from_numpy(rng.standard_normal(y.shape).astype(y.dtype)).to(y.device) for y in outputs]
        gradients = tg.grad(outputs, x, upstream)
    assert all(g.device == t.device for g, t in zip(gradients, x, strict=True)), sample.label
    return [y.cpu().numpy() for y in outputs], [g.cpu().numpy() for g in gradients], flops


def compare_with_loops(name: str, dtype: type) -> None:
    """Values and gradients of all samples of an operation, within a rounding for each operation that made them."""
    for sample in samples_of_op(name):
        arrays = [a.astype(dtype) for a in sample.arrays]
        values, gradients, _ = values_and_gradients(sample, arrays, "cupy")
        exact = values_and_gradients(sample, [a.astype("float64") for a in arrays], "cpu")
        everything = [*arrays, *exact[0], *exact[1], np.array([3.0])]
        largest = max(float(np.abs(x[np.isfinite(x)]).max(initial=0.0)) for x in everything)
        for got, expected in zip([*values, *gradients], [*exact[0], *exact[1]], strict=True):
            allowed = (4 + exact[2] / max(1, got.size)) * float(np.finfo(dtype).eps) * largest
            assert got.shape == expected.shape, sample.label
            np.testing.assert_allclose(got, expected, rtol=0, atol=allowed, err_msg=sample.label)


def compare_in_sixteen_bits(name: str, stored: str) -> None:
    """As `compare_with_loops`, from the rounded inputs and within a rounding to 16 bits for each operation.

    Constants in a formula may widen bfloat16 to float32, as the array module has it; nothing widens float16.
    """
    dtype, eps = dtype_of(stored), {"float16": 2.0**-10, "bfloat16": 2.0**-7}[stored]
    for sample in samples_of_op(name):
        arrays = [a.astype(dtype) for a in sample.arrays]
        if not all(a.size for a in arrays):
            continue
        values, gradients, _ = values_and_gradients(sample, arrays, "cupy")
        exact = values_and_gradients(sample, [a.astype("float64") for a in arrays], "cpu")
        everything = [*[a.astype("float64") for a in arrays], *exact[0], *exact[1], np.array([3.0])]
        largest = max(float(np.abs(x[np.isfinite(x)]).max(initial=0.0)) for x in everything)
        assert all(g.dtype == dtype for g in gradients), sample.label
        assert name == "cast" or stored == "bfloat16" or all(v.dtype == dtype for v in values), sample.label
        for got, expected in zip([*values, *gradients], [*exact[0], *exact[1]], strict=True):
            allowed = (4 + exact[2] / max(1, got.size)) * eps * largest
            np.testing.assert_allclose(got.astype("float64"), expected, rtol=0, atol=allowed, err_msg=sample.label)


def compare_two_runs(name: str) -> None:
    """The same call gives the same bits."""
    for sample in samples_of_op(name):
        arrays = [a.astype("float32") for a in sample.arrays]
        found = []
        for _ in range(2):
            values, gradients, _ = values_and_gradients(sample, arrays, "cupy")
            found.append([a.tobytes() for a in (*values, *gradients)])
        assert found[0] == found[1], sample.label


def compare_layouts(name: str) -> None:
    """The order of the inputs in memory does not matter."""
    for sample in samples_of_op(name):
        first = values_and_gradients(sample, sample.arrays, "cupy")
        turned = [np.asfortranarray(a) if a.ndim else a for a in sample.arrays]
        again = values_and_gradients(sample, turned, "cupy")
        for a, b in zip([*first[0], *first[1]], [*again[0], *again[1]], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=sample.label)
