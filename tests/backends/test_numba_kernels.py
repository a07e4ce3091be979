"""Compiled kernels against NumPy in float64: every kernel, odd shapes, strides, dilations, paddings and layouts."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from tinygrad_effnet.backends.base import Window
from tinygrad_effnet.backends.numba import Numba, set_num_threads, threads
from tinygrad_effnet.backends.vectorized import NumPy

KERNELS = Numba()
ORACLE = NumPy()
DTYPES = [np.float32, np.float64]
LAYOUTS = ["channel-major", "C", "sliced", "reversed", "read-only"]

# NUMBA_DISABLE_JIT=1, for coverage, runs the kernels as the Python that they are written in: slowly
INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT") == "1"
examples = settings(max_examples=4 if INTERPRETED else 60, deadline=None)
compiled_only = pytest.mark.skipif(INTERPRETED, reason="products are written in LLVM's language, not in Python")


def lay_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The numbers of ``x`` (two axes or more) in another memory layout."""
    if layout == "channel-major":
        return np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    if layout == "sliced":
        wide = np.full((*x.shape[:-1], x.shape[-1] * 2 + 1), np.nan, x.dtype)
        wide[..., 1::2] = x
        return wide[..., 1::2]
    if layout == "reversed":
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    x = np.ascontiguousarray(x)
    if layout == "read-only":
        x.flags.writeable = False
    return x


def agree(name: str, *args: object, terms: int = 1) -> None:
    """Kernel ``name`` gives what NumPy gives in float64, to within a sum of ``terms`` rounded numbers."""
    dtype = next(a.dtype for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    results = getattr(KERNELS, name)(*args)
    exact = [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in before]
    expected = getattr(ORACLE, name)(*exact)
    if not isinstance(results, tuple):
        results, expected = (results,), (expected,)
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == wanted.shape
        if result.dtype.kind == "f":
            assert result.dtype == dtype
        scale = np.abs(wanted).max(initial=1.0)
        # 8 roundings a term cover exp's polynomial; errors of a sum grow no faster than its number of terms
        tolerance = np.finfo(dtype).eps * scale * (8 + 2 * terms)
        np.testing.assert_allclose(result, wanted, rtol=0, atol=tolerance)
    for a, b in zip(args, before, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=f"{name} wrote to its argument")


@st.composite
def windows(draw: st.DrawFn, most: int = 5) -> tuple[Window, tuple[int, int]]:
    """A window and an image size that it fits."""
    axes = []
    for _ in range(2):
        k, s, d = draw(st.integers(1, most)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        before, after = draw(st.integers(0, k)), draw(st.integers(0, k))
        size = draw(st.integers(max(1, d * (k - 1) + 1 - before - after), 17))
        axes.append((k, s, (before, after), d, size))
    (kh, sh, ph, dh, h), (kw, sw, pw, dw, w) = axes
    return Window((kh, kw), (sh, sw), (ph, pw), (dh, dw)), (h, w)


cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n": st.integers(0, 4),
        "channels": st.integers(1, 5),
        "dtype": st.sampled_from(DTYPES),
        "layout": st.sampled_from(LAYOUTS),
    }
)


class Data:
    """Random arrays of one dtype and layout."""

    def __init__(self, case: dict) -> None:
        self.generator = np.random.default_rng(case["seed"])
        self.n, self.channels, self.dtype, self.layout = case["n"], case["channels"], case["dtype"], case["layout"]

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        x = (self.generator.standard_normal(shape) * scale).astype(self.dtype)
        return lay_out(x, self.layout) if x.ndim > 1 else x


@examples
@given(case=cases, size=st.tuples(st.integers(1, 9), st.integers(1, 9)), scale=st.sampled_from([0.1, 3.0, 60.0]))
def test_activations(case: dict, size: tuple[int, int], scale: float) -> None:
    data = Data(case)
    x, dy = data.normal(data.n, data.channels, *size, scale=scale), data.normal(data.n, data.channels, *size)
    agree("sigmoid", x)
    agree("silu", x)
    agree("silu_grad", x, dy, terms=8)
    agree("sigmoid", x[0, 0] if data.n else x.reshape(-1))


@pytest.mark.parametrize("real", DTYPES)
def test_sigmoid_is_accurate_relatively_far_out(real: type) -> None:
    x = np.linspace(-80, 80, 100_001).astype(real)
    exact = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    bound = 4e-7 if real is np.float32 else 1e-15
    np.testing.assert_allclose(KERNELS.sigmoid(x), exact.astype(np.float64), rtol=bound)
    np.testing.assert_allclose(KERNELS.silu(x), (x * exact).astype(np.float64), rtol=bound)


@pytest.mark.parametrize("real", DTYPES)
@pytest.mark.parametrize("length", [7, 5000])
def test_activations_pass_nan_and_infinity_as_numpy_does(real: type, length: int) -> None:
    x = np.linspace(-3, 3, length).astype(real)
    x[[0, 2, 4]] = np.nan, np.inf, -np.inf
    dy = np.ones_like(x)
    with np.errstate(invalid="ignore"):
        for name, args in (("sigmoid", (x,)), ("silu", (x,)), ("silu_grad", (x, dy))):
            np.testing.assert_allclose(
                getattr(KERNELS, name)(*args), getattr(ORACLE, name)(*args), rtol=2e-6, atol=1e-6, err_msg=name
            )


@compiled_only
@examples
@given(case=cases, fit=windows(), groups=st.integers(1, 3), per_group=st.integers(1, 3))
def test_convolution(case: dict, fit: tuple[Window, tuple[int, int]], groups: int, per_group: int) -> None:
    data, (window, size) = Data(case), fit
    x = data.normal(data.n, groups * data.channels, *size)
    w = data.normal(groups * per_group, data.channels, *window.kernel)
    dy = data.normal(data.n, groups * per_group, *window.output_size(*size))
    agree("conv2d", x, w, window, groups, terms=w[0].size)
    agree("conv2d_input_grad", dy, w, window, groups, size, terms=per_group * math.prod(window.kernel))
    agree("conv2d_weight_grad", x, dy, window, groups, terms=max(1, dy[:, 0].size))


@examples
@given(case=cases, fit=windows())
def test_depthwise_convolution(case: dict, fit: tuple[Window, tuple[int, int]]) -> None:
    depthwise_agrees(Data(case), *fit)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (6, 6), (7, 9), (12, 12), (33, 16), (48, 48), (101, 96)])
@pytest.mark.parametrize("padding", ["symmetric", "tensorflow"])
def test_depthwise_convolution_as_efficientnet_has_it(k: int, stride: int, size: tuple[int, int], padding: str) -> None:
    data = Data({"seed": k, "n": 5, "channels": 3, "dtype": np.float32, "layout": "channel-major"})
    totals = [max((-(-length // stride) - 1) * stride + k - length, 0) for length in size]
    tensorflow = tuple((total // 2, total - total // 2) for total in totals)
    pads = tensorflow if padding == "tensorflow" else ((k // 2, k // 2),) * 2
    depthwise_agrees(data, Window((k, k), (stride, stride), pads), size)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("padding", [2, 3, 5])
def test_depthwise_convolution_with_more_padding_than_its_filter_reaches(k: int, padding: int) -> None:
    """Rows of outputs are then longer than a plane and hang over into the next: at some widths, into the next row."""
    data = Data({"seed": k, "n": 2, "channels": 2, "dtype": np.float64, "layout": "channel-major"})
    for width in range(1, 4 if INTERPRETED else 20):
        depthwise_agrees(data, Window((k, k), (1, 1), ((0, k), (padding, padding))), (2, width))


def depthwise_agrees(data: Data, window: Window, size: tuple[int, int]) -> None:
    x, w = data.normal(data.n, data.channels, *size), data.normal(data.channels, 1, *window.kernel)
    dy = data.normal(data.n, data.channels, *window.output_size(*size))
    taps = math.prod(window.kernel)
    agree("depthwise_conv2d", x, w, window, terms=taps)
    agree("depthwise_conv2d_input_grad", dy, w, window, size, terms=taps)
    agree("depthwise_conv2d_weight_grad", x, dy, window, terms=max(1, dy[:, 0].size))


@examples
@given(case=cases, fit=windows(most=4), count_include_pad=st.booleans())
def test_pooling(case: dict, fit: tuple[Window, tuple[int, int]], count_include_pad: bool) -> None:
    data, (window, size) = Data(case), fit
    # padding of at most half the window, as pooling demands: no window sees padding only
    pads = tuple(
        (min(before, k // 2), min(after, k // 2))
        for (before, after), k in zip(window.padding, window.kernel, strict=True)
    )
    size = tuple(
        max(length, d * (k - 1) + 1) for length, k, d in zip(size, window.kernel, window.dilation, strict=True)
    )
    window = Window(window.kernel, window.stride, pads)
    out = window.output_size(*size)
    x = np.round(data.normal(data.n, data.channels, *size, scale=2))  # whole numbers: ties must go to the first
    agree("max_pool2d", x, window)
    index = ORACLE.max_pool2d(x, window)[1]
    dy = data.normal(data.n, data.channels, *out)
    agree("gather_planes", x, index)
    agree("scatter_planes", dy, index, size, terms=max(1, math.prod(window.kernel)))
    agree("avg_pool2d", x, window, count_include_pad, terms=math.prod(window.kernel))
    agree("avg_pool2d_grad", dy, window, count_include_pad, size, terms=math.prod(window.kernel))


def test_max_pool_gives_way_to_nan_and_keeps_the_first() -> None:
    x = np.array([[[[1.0, np.nan, 3.0, 2.0, 9.0, np.nan]]]], np.float32)
    largest, index = KERNELS.max_pool2d(x, Window((1, 3), (1, 3)))
    np.testing.assert_array_equal(largest, [[[[np.nan, np.nan]]]])
    np.testing.assert_array_equal(index, [[[[1, 5]]]])
    x = np.full((1, 1, 2, 2), -np.inf, np.float32)
    largest, index = KERNELS.max_pool2d(x, Window((3, 3), (1, 1), ((1, 1), (1, 1))))
    assert (index >= 0).all()
    assert (largest == -np.inf).all()


@examples
@given(case=cases, size=st.lists(st.integers(1, 9), max_size=3), mean=st.sampled_from([0.0, 1.0, 30.0]))
def test_batch_norm(case: dict, size: list[int], mean: float) -> None:
    data = Data({**case, "n": case["n"] + 1})
    shape = (data.n, data.channels, *size)
    count = math.prod(shape) // data.channels
    x, dy = data.normal(*shape) + data.dtype(mean), data.normal(*shape)
    gamma, beta = data.normal(data.channels) + data.dtype(1), data.normal(data.channels)
    # the mean's size costs the digits that it takes: x itself is rounded to eps * mean
    terms = int(10 * (mean + 1)) + count
    if count > 1:
        agree("batch_norm", x, gamma, beta, 1e-1, terms=terms)
    _, m, v = ORACLE.batch_norm(x, gamma, beta, 1e-1)
    agree("batch_norm_grad", x, gamma, dy, m, v, 1e-1, terms=terms)
    agree("scale_shift", x, gamma, beta, terms=int(mean) + 1)


def test_batch_norm_variance_keeps_its_digits_beside_a_large_mean() -> None:
    generator = np.random.default_rng(0)
    x = (1000 + generator.standard_normal((8, 3, 40, 40))).astype(np.float32)
    y, mean, var = KERNELS.batch_norm(x, np.ones(3, np.float32), np.zeros(3, np.float32), 1e-5)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(var, exact.var(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=1e-7)
    normal = (exact - exact.mean(axis=(0, 2, 3), keepdims=True)) / exact.std(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, normal, atol=1e-4)


def test_long_sums_keep_their_digits() -> None:
    x = np.full((64, 1, 128, 128), 0.1, np.float32)
    _, mean, var = KERNELS.batch_norm(x, np.ones(1, np.float32), np.zeros(1, np.float32), 1e-5)
    assert mean[0] == np.float32(0.1)
    assert var[0] < 1e-12
    total = KERNELS.sum(x, (0, 2, 3), False)
    np.testing.assert_allclose(total, x.size * np.float64(np.float32(0.1)), rtol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_reach_the_results(bad: float) -> None:
    x = np.random.default_rng(1).standard_normal((4, 2, 64, 64)).astype(np.float32)
    x[1, 0, 3, 3] = bad
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)))
    w = np.ones((2, 1, 3, 3), np.float32)
    y, mean, var = KERNELS.batch_norm(x, ones, zeros, 1e-3)
    assert not np.isfinite(mean[0])
    assert not np.isfinite(var[0])
    assert np.isnan(y[:, 0]).any()
    results = {
        "depthwise": KERNELS.depthwise_conv2d(x, w, window),
        "depthwise_input_grad": KERNELS.depthwise_conv2d_input_grad(x, w, window, (64, 64)),
        "depthwise_weight_grad": KERNELS.depthwise_conv2d_weight_grad(x, x, window).swapaxes(0, 1),
        "batch_norm_grad": KERNELS.batch_norm_grad(x, ones, x, zeros, ones, 1e-3)[0],
        "scale_shift": KERNELS.scale_shift(x, ones, zeros),
        "add": KERNELS.add(x, x),
        "multiply": KERNELS.multiply(x, x),
        "sum": KERNELS.sum(x, (2, 3), True),
        "avg_pool": KERNELS.avg_pool2d(x, window, True),
    }
    for name, result in results.items():
        assert not np.isfinite(result[:, 0]).all(), name
        assert np.isfinite(result[:, 1]).all(), name  # and stay in their channel


@settings(max_examples=15, deadline=None)
@given(case=cases)
def test_large_sums_and_products(case: dict) -> None:
    data = Data(case)
    shape = (data.n, data.channels, 96, 171)
    a, b = data.normal(*shape), lay_out(data.normal(*shape), "channel-major")
    gate = data.normal(data.n, data.channels, 1, 1)
    agree("add", a, b)
    agree("multiply", a, b)
    agree("multiply", a, gate)
    agree("multiply", gate, a)
    for axis in ((2, 3), (-2, -1), (0, 2, 3)):
        for keepdims in (True, False):
            # the errors of a sum are random and grow as the root of its length
            agree("sum", a, axis, keepdims, terms=math.isqrt(a[:, 0].size) + 1)


@compiled_only
def test_images_come_out_channel_major() -> None:
    x = np.random.default_rng(2).standard_normal((3, 4, 8, 8)).astype(np.float32)
    window, ones = Window((3, 3), (1, 1), ((1, 1), (1, 1))), np.ones(4, np.float32)
    w = np.ones((4, 1, 3, 3), np.float32)
    images = {
        "conv2d": KERNELS.conv2d(x, np.ones((5, 4, 3, 3), np.float32), window, 1),
        "conv2d_input_grad": KERNELS.conv2d_input_grad(x, np.ones((4, 5, 3, 3), np.float32), window, 1, (8, 8)),
        "depthwise_conv2d": KERNELS.depthwise_conv2d(x, w, window),
        "depthwise_conv2d_input_grad": KERNELS.depthwise_conv2d_input_grad(x, w, window, (8, 8)),
        "batch_norm": KERNELS.batch_norm(x, ones, ones, 1e-3)[0],
        "max_pool2d": KERNELS.max_pool2d(x, window)[0],
        "avg_pool2d": KERNELS.avg_pool2d(x, window, True),
    }
    for name, image in images.items():
        assert image.swapaxes(0, 1).flags.c_contiguous, name
        assert KERNELS.silu(image).swapaxes(0, 1).flags.c_contiguous, name


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    if threads.get_num_threads() < 2:
        pytest.skip("one thread only")
    generator = np.random.default_rng(3)
    x, dy = (generator.standard_normal((5, 7, 48, 48)).astype(np.float32) for _ in range(2))
    w, ones = generator.standard_normal((7, 1, 3, 3)).astype(np.float32), np.ones(7, np.float32)
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)))

    def everything() -> list[np.ndarray]:
        return [
            KERNELS.silu_grad(x, dy),
            KERNELS.depthwise_conv2d(x, w, window),
            KERNELS.depthwise_conv2d_input_grad(dy, w, window, (48, 48)),
            KERNELS.depthwise_conv2d_weight_grad(x, dy, window),
            *KERNELS.batch_norm(x, ones, ones, 1e-3),
            *KERNELS.batch_norm_grad(x, ones, dy, ones, ones, 1e-3),
            KERNELS.sum(x, (0, 2, 3), False),
        ]

    before = threads.get_num_threads()
    several = everything()
    try:
        set_num_threads(1)
        assert threads.get_num_threads() == 1
        for a, b, c in zip(several, everything(), everything(), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(b, c)
    finally:
        set_num_threads(before)


def test_images_of_padding_only() -> None:
    data = Data({"seed": 4, "n": 2, "channels": 3, "dtype": np.float32, "layout": "C"})
    depthwise_agrees(data, Window((3, 3), (1, 1), ((2, 2), (1, 1))), (0, 4))


def test_other_dtypes_fall_back_to_numpy() -> None:
    x = np.arange(-8, 8).reshape(1, 1, 4, 4)
    np.testing.assert_allclose(KERNELS.silu(x), ORACLE.silu(x))
    z = x.astype(np.complex128)
    w = np.ones((1, 1, 3, 3), np.complex128)
    np.testing.assert_allclose(
        KERNELS.depthwise_conv2d(z, w, Window((3, 3))), ORACLE.depthwise_conv2d(z, w, Window((3, 3)))
    )


def test_wrong_shapes_are_refused_by_name() -> None:
    x = np.zeros((2, 3, 8, 8), np.float32)
    window = Window((3, 3))
    with pytest.raises(ValueError, match=r"w: got an array of shape \(2, 1, 3, 3\), expected \(3, 1, 3, 3\)"):
        KERNELS.depthwise_conv2d(x, np.zeros((2, 1, 3, 3), np.float32), window)
    with pytest.raises(ValueError, match="dy: got"):
        KERNELS.depthwise_conv2d_weight_grad(x, x, window)
    with pytest.raises(ValueError, match="dy: got"):
        KERNELS.silu_grad(x, x[:1])
    with pytest.raises(ValueError, match="gamma: got"):
        KERNELS.batch_norm(x, np.ones(4, np.float32), np.ones(3, np.float32), 1e-3)
    with pytest.raises(IndexError, match="index: got places"):
        KERNELS.gather_planes(x, np.full((2, 3, 1, 1), 64))
