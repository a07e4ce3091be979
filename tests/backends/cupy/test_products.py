"""Products by cuBLAS and by our own kernel, which can be recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.cupy.comparing import seeds
from backends.cupy.standin import available, standin_cupy, streams
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_effnet.backends.cupy import implicit, products
from tinygrad_effnet.backends.cupy.products import matmul, own_products, shares

needs_kernels = pytest.mark.skipif(
    not available(), reason="kernels run on the CPU by way of g++, which is not installed"
)


def operands(seed: int, stack: tuple[int, ...], n: int, k: int, m: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*stack, n, k)).astype(dtype), rng.standard_normal((*stack, k, m)).astype(dtype)


@needs_kernels
@settings(deadline=None)
@given(
    seeds,
    st.sampled_from([(), (3,), (2, 2)]),
    *(st.integers(0, 5), st.sampled_from([0, 1, 7, 64, 128, 192, 130]), st.integers(0, 5)),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
def test_our_own_products_are_products(
    seed: int, stack: tuple[int, ...], n: int, k: int, m: int, dtype: Any, turned: bool
) -> None:
    a, b = operands(seed, stack, n, k, m, dtype)
    with standin_cupy() as cupy:
        there = cupy.asarray(b.swapaxes(-1, -2).copy()).swapaxes(-1, -2) if turned else cupy.asarray(b)
        with own_products():
            found = matmul(cupy.asarray(a), there)
        assert found.dtype == dtype
        eps = np.finfo(dtype).eps * max(1, k)
        np.testing.assert_allclose(found.get(), a @ b, rtol=0, atol=8 * eps)
        outside = matmul(cupy.asarray(a), there)  # cuBLAS's part
        np.testing.assert_allclose(outside.get(), a @ b, rtol=0, atol=8 * eps)


@needs_kernels
def test_a_product_in_16_bits_is_rounded_once() -> None:
    a, b = operands(1, (), 3, 256, 2, np.float16)
    with standin_cupy() as cupy, own_products():
        found = matmul(cupy.asarray(a), cupy.asarray(b)).get()
    np.testing.assert_allclose(found, (a.astype(np.float64) @ b.astype(np.float64)), rtol=2.0**-10, atol=1e-2)
    assert found.dtype == np.float16


def test_what_has_no_kernel_says_so() -> None:
    with standin_cupy() as cupy, own_products():
        ones = [cupy.ones(shape, "float32") for shape in ((2, 3), (3,), (4, 3, 2))]
        whole = cupy.ones((3, 2), "int64")
        for a, b in ((ones[0], ones[1]), (ones[0], ones[2]), (ones[0], whole), (whole, whole)):
            with pytest.raises(NotImplementedError, match=r"^matmul of .* cannot be recorded; matrices, or stacks"):
                matmul(a, b)


@needs_kernels
def test_they_can_be_recorded_and_cublas_not() -> None:
    a, b = operands(2, (), 3, 128, 2, np.float32)
    with standin_cupy() as cupy:
        left, right, stream = cupy.asarray(a), cupy.asarray(b), streams.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            with pytest.raises(NotImplementedError, match="cuBLAS"):
                matmul(left, right)
            with own_products():
                found = matmul(left, right)
            graph = stream.end_capture()
        graph.launch()
        np.testing.assert_allclose(found.get(), a @ b, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 4), *[st.integers(1, 2000)] * 3)
def test_the_depth_is_cut_evenly_and_not_too_finely(groups: int, n: int, k: int, m: int) -> None:
    parts = shares(groups, n, k, m)
    assert k % parts == 0
    assert parts == 1 or k // parts >= products.SHALLOW
    tiles = groups * -(-n // implicit.ROWS) * -(-m // implicit.COLUMNS)
    assert parts == 1 or tiles * parts <= products.WANTED


def test_the_products_of_one_image_fill_a_device() -> None:
    """Of EfficientNet-B0 at 224 pixels: (outputs, inputs, pixels)."""
    assert shares(1, 320, 1152, 49) == 18  # 10 blocks, 180 with shares
    assert shares(1, 48, 1152, 1) == 18
    assert shares(1, 96, 16, 112 * 112) == 1  # 294 blocks as it is
