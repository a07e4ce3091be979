"""Matrix products in register tiles: the numbers of NumPy in float64, the same for any number of threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from tinygrad_effnet.backends.base import Window
from tinygrad_effnet.backends.numba import Numba, convolution, panels, products, tile
from tinygrad_effnet.backends.numba.layout import empty
from tinygrad_effnet.backends.numba.tile import BYTES, VECTORS
from tinygrad_effnet.backends.vectorized import NumPy

KERNELS, ORACLE = Numba(), NumPy()
DTYPES = ["float32", "float64"]
sizes = st.integers(1, 110)  # up to two whole panels of float32 and a rest
LAYOUTS = ["C", "transposed", "sliced", "read-only"]


@pytest.fixture(autouse=True)
def worth_it(monkeypatch):
    monkeypatch.setattr(products, "WORTH", 0)


def random(rng, rows, columns, dtype, layout="C"):
    """A matrix of these numbers in one of `LAYOUTS`; where nobody may read lies NaN."""
    x = rng.standard_normal((rows, columns)).astype(dtype)
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "sliced":
        wide = np.full((rows, 2 * columns), np.nan, dtype)
        wide[:, ::2] = x
        return wide[:, ::2]
    x.flags.writeable = layout != "read-only"
    return x


def assert_product(y, a, b):
    """y = a b, to within the rounding of sums of that many terms."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    assert y.dtype == a.dtype
    bound = 2 * a.shape[-1] * np.finfo(a.dtype).eps * (np.abs(wide_a) @ np.abs(wide_b))
    assert y.shape == bound.shape
    assert (np.abs(y - wide_a @ wide_b) <= bound).all()


@given(
    st.tuples(sizes, sizes, sizes),
    st.integers(1, 6),
    st.sampled_from(DTYPES),
    st.sampled_from(LAYOUTS),
    st.sampled_from(LAYOUTS),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_the_product_is_numpys(shape, threads, dtype, layout_a, layout_b, batch, seed):
    rng = np.random.default_rng(seed)
    n, k, m = shape
    a, b = random(rng, n, k, dtype, layout_a), random(rng, k, m, dtype, layout_b)
    if batch:
        a, b = a[None], b[None]
    y = products.matmul(a, b, threads)
    assert_product(y, a, b)
    np.testing.assert_array_equal(y, products.matmul(a, b, 1), err_msg="the number of threads changes the numbers")


@pytest.mark.parametrize(
    "shape",
    [
        (5, panels.DEPTH + 3, 200),  # sums in two pieces
        (17, 2 * panels.DEPTH, 7),
        (9, 20_011, 6),  # partial sums
        (200, 9_000, 3),
        (3, 5_000, 150),
    ],
)
@pytest.mark.parametrize("flip", [False, True])
def test_long_sums(shape, flip, dtype):
    rng = np.random.default_rng(1)
    n, k, m = shape
    a, b = random(rng, n, k, dtype), random(rng, k, m, dtype, "transposed" if flip else "C")
    y = products.matmul(a, b, 2)
    assert_product(y, a, b)
    for threads in (1, 3, 16):
        np.testing.assert_array_equal(y, products.matmul(a, b, threads))


def test_results_that_are_streamed_past_the_caches(monkeypatch, dtype):
    monkeypatch.setattr(products, "STREAM_FROM", 0)
    rng = np.random.default_rng(2)
    a = random(rng, 13, 20, dtype)
    for columns in (1024, 1040, 1023):  # rows that begin where vectors may be streamed to, and rows that do not
        b = random(rng, 20, columns, dtype)
        assert_product(products.outer(a, b, 2), a, b)
    y = empty((4, 64), dtype)
    assert products.streams(y)
    assert not products.streams(empty((4, 63), dtype))
    assert not products.streams(empty((4 * 64 + 1,), dtype)[1:].reshape(4, 64))


@pytest.mark.parametrize("place", ["a", "b"])
@pytest.mark.parametrize("transposed", [False, True])
def test_nan_and_infinity_go_where_they_belong_and_nowhere_else(place, transposed):
    rng = np.random.default_rng(3)
    a, b = random(rng, 21, 33, "float32"), random(rng, 33, 59, "float32", "transposed" if transposed else "C")
    (a if place == "a" else b)[5, 7] = np.nan
    (a if place == "a" else b)[9, 3] = np.inf
    y = products.matmul(a, b, 2)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(a @ b))
        np.testing.assert_array_equal(np.isnan(y), np.isnan(a @ b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((2, 4, 3)), np.ones((2, 3, 5))),
        (np.ones((4, 3), np.float32), np.ones((3, 5))),
        (np.ones((4, 3), int), np.ones((3, 5), int)),
    ],
)
def test_what_is_left_to_numpy(a, b):
    assert products.matmul(a, b, 2) is None


def test_small_products_are_left_to_numpy(monkeypatch):
    monkeypatch.setattr(products, "WORTH", 1000)
    assert products.matmul(np.ones((9, 10)), np.ones((10, 11)), 2) is None
    assert products.matmul(np.ones((10, 10)), np.ones((10, 11)), 2) is not None


def test_on_a_mac_numpy_multiplies(monkeypatch):
    monkeypatch.setattr(products.sys, "platform", "darwin")
    assert products.matmul(np.ones((64, 64)), np.ones((64, 64)), 2) is None


@given(st.integers(1, 5000), st.integers(1, 64))
def test_a_grid_has_a_part_for_each_thread(columns, threads):
    across, down = products.grid(columns, 48, threads)
    assert across * down == threads
    assert across == 1 or columns >= 2 * 48 * across


def test_register_tiles_are_vectors_of_this_processor():
    assert BYTES in (16, 32, 64)
    assert panels.panel_width(4) == VECTORS * BYTES // 4


@pytest.mark.parametrize(
    ("named", "host", "registers"),
    [
        (None, "+avx,+avx2,+avx512f", (64, 32)),
        (None, "+avx,+avx2,-avx512f", (32, 16)),
        (None, "+sse2,-avx,-avx2,-avx512f", (16, 16)),  # NUMBA_ENABLE_AVX=0
        (None, "+neon", (16, 32)),
        ("+sse2", "+avx,+avx512f", (16, 16)),
        ("", "+avx,+avx512f", (16, 16)),
    ],
)
def test_registers_are_those_that_numba_compiles_for(monkeypatch, named, host, registers):
    monkeypatch.setattr(tile.config, "CPU_FEATURES", named)
    monkeypatch.setattr(tile.codegen, "get_host_cpu_features", lambda: host)
    assert tile._registers() == registers


@settings(max_examples=40)
@given(
    st.sampled_from([(1, 1), (3, 3), (2, 5), (1, 3)]),
    st.sampled_from([(1, 1), (2, 2), (1, 3)]),
    st.sampled_from([1, 2]),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 20)),
    st.tuples(st.integers(9, 40), st.integers(9, 40)),
    st.sampled_from([1, 2]),
    st.integers(1, 5),
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)
def test_convolutions_of_many_blocks(kernel, stride, dilation, counts, size, groups, threads, dtype, seed):
    """Blocks of a few columns, so that rows of outputs are cut anywhere; more threads than images and channels."""
    rng = np.random.default_rng(seed)
    window = Window(kernel, stride, ((1, 0), (2, 1)), (dilation, dilation))
    n, channels, rows = counts
    x = rng.standard_normal((n, channels * groups, *size)).astype(dtype)
    w = rng.standard_normal((rows * groups, channels, *kernel)).astype(dtype)
    dy = rng.standard_normal((n, rows * groups, *window.output_size(*size))).astype(dtype)
    calls = {
        "conv2d": ((x, w, window, groups), w[0].size),
        "conv2d_input_grad": ((dy, w, window, groups, size), rows * w[0, 0].size),
        "conv2d_weight_grad": ((x, dy, window, groups), dy[:, 0].size),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "NEAR", 0)
        patch.setattr(convolution, "SEGMENT", 100)
        results = []
        for count in (threads, 1):
            patch.setattr("tinygrad_effnet.backends.numba.get_num_threads", lambda count=count: count)
            results.append([getattr(KERNELS, name)(*args) for name, (args, _) in calls.items()])
    for name, result, alone in zip(calls, *results, strict=True):
        args, terms = calls[name]
        wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
        exact = getattr(ORACLE, name)(*wide)
        assert result.dtype == dtype
        tolerance = np.finfo(dtype).eps * np.abs(exact).max() * (8 + 2 * terms)
        np.testing.assert_allclose(result, exact, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_array_equal(result, alone, err_msg=f"{name}: the number of threads changes the numbers")


@pytest.mark.parametrize("images", [1, 4, 16])
@pytest.mark.parametrize("taps", [(1, 1), (3, 3)])
def test_convolutions_of_the_size_that_networks_have(images, taps):
    """Blocks and partial sums as they come, each number computed twice in memory that held something else."""
    rng = np.random.default_rng(5)
    pad = taps[0] // 2
    window = Window(taps, (1, 1), ((pad, pad), (pad, pad)))
    x = rng.standard_normal((images, 6, 32, 32)).astype(np.float32)
    w = rng.standard_normal((24, 6, *taps)).astype(np.float32)
    dy = rng.standard_normal((images, 24, 32, 32)).astype(np.float32)
    for name, args, terms in (
        ("conv2d", (x, w, window, 1), w[0].size),
        ("conv2d_input_grad", (dy, w, window, 1, (32, 32)), 24 * math.prod(taps)),
        ("conv2d_weight_grad", (x, dy, window, 1), dy[:, 0].size),
    ):
        exact = getattr(ORACLE, name)(*[a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args])
        first = getattr(KERNELS, name)(*args)
        tolerance = np.finfo(np.float32).eps * np.abs(exact).max() * (8 + 2 * terms)
        np.testing.assert_allclose(first, exact, rtol=0, atol=tolerance, err_msg=name)
        litter = [np.full(size, np.nan, np.float32) for size in (1 << 20, 1 << 16, 1 << 12, 1 << 8)]
        del litter
        np.testing.assert_array_equal(getattr(KERNELS, name)(*args), first, err_msg=name)


@pytest.mark.parametrize("window", [Window((1, 1)), Window((3, 3), (1, 1), ((1, 1), (1, 1)))])
def test_results_are_channel_major(window):
    x, w = np.ones((2, 4, 6, 6), np.float32), np.ones((8, 4, *window.kernel), np.float32)
    y = KERNELS.conv2d(x, w, window, 1)
    assert y.swapaxes(0, 1).flags.c_contiguous
    assert KERNELS.conv2d_input_grad(y, w, window, 1, (6, 6)).swapaxes(0, 1).flags.c_contiguous
    assert KERNELS.conv2d(x, np.concatenate([w[:, :2]] * 2), window, 2).swapaxes(0, 1).flags.c_contiguous


@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("conv2d", {"w": (8, 5)}, r"w: got an array of shape \(8, 5, "),
        ("conv2d_input_grad", {"w": (9, 4)}, r"w: got an array of shape \(9, 4, "),
        (
            "conv2d_input_grad",
            {"dy": (2, 8, 5, 6)},
            r"dy: got an array of shape \(2, 8, 5, 6\), expected \(2, 8, 6, 6\)",
        ),
        (
            "conv2d_weight_grad",
            {"dy": (3, 8, 6, 6)},
            r"dy: got an array of shape \(3, 8, 6, 6\), expected \(2, 8, 6, 6\)",
        ),
    ],
)
def test_wrong_shapes_never_reach_compiled_code(taps, name, change, words):
    window = Window((taps, taps), (1, 1), ((taps // 2, taps // 2),) * 2)
    shapes = {"x": (2, 4, 6, 6), "w": (8, 4), "dy": (2, 8, 6, 6), **change}
    x, w, dy = (
        np.ones(shapes[key] if key != "w" else (*shapes[key], taps, taps), np.float32) for key in ("x", "w", "dy")
    )
    args = {
        "conv2d": (x, w, window, 1),
        "conv2d_input_grad": (dy, w, window, 1, (6, 6)),
        "conv2d_weight_grad": (x, dy, window, 1),
    }
    with pytest.raises(ValueError, match=words):
        getattr(KERNELS, name)(*args[name])
