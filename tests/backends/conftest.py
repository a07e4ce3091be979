"""What every backend test shares: the backends, and for each kernel of the contract a strategy that draws calls of it.

A test that asks for ``kernel``, ``dtype``, ``backend`` (any) or ``fast`` (any but ``loops``) runs once for each. The
kernels are read off the abstract class, so that one without a strategy here, or an oracle in `test_oracles`, fails.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from memory_layouts import LAYOUTS, laid_out

from tinygrad_effnet.backends import Backend, Window, available_backends, use_backend

KERNELS = sorted(Backend.__abstractmethods__)


@dataclass(frozen=True)
class Call:
    """Arguments for a kernel, and what bounds its rounding error: how many terms it sums and how large they can be."""

    args: tuple[Any, ...]
    length: int = 1
    scale: float = 1.0

    def of(self, backend: Backend, kernel: str) -> tuple[Any, ...]:
        """Run the kernel on these arguments, a random generator always from the same state; results as a tuple."""
        args = [copy.deepcopy(a) if isinstance(a, np.random.Generator) else a for a in self.args]
        with np.errstate(all="ignore"):
            results = getattr(backend, kernel)(*args)
        return results if isinstance(results, tuple) else (results,)

    def arrays(self) -> list[np.ndarray]:
        """Every array among the arguments."""
        return [a for a in self.args if isinstance(a, np.ndarray)]

    def check(self, results: tuple[Any, ...], expected: tuple[Any, ...], dtype: Any) -> None:
        """Results equal what is expected: whole numbers exactly, others within the rounding error of ``dtype``."""
        assert len(results) == len(expected)
        eps = np.finfo(dtype).eps
        for got, want in zip(results, expected, strict=True):
            if np.asarray(want).dtype.kind in "iub":
                np.testing.assert_array_equal(got, want)
            else:
                np.testing.assert_allclose(got, want, rtol=32 * eps, atol=8 * eps * self.length * self.scale)


@st.composite
def values(draw: st.DrawFn, shape: Any, dtype: Any, positive: bool = False) -> np.ndarray:
    """Normal numbers, or small whole ones (ties, zeros), in any layout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-2, 3, shape) if draw(st.booleans()) else rng.standard_normal(shape)
    if positive:
        x = np.abs(x) + 0.1
    return laid_out(np.asarray(x).astype(dtype), draw(st.sampled_from(LAYOUTS)))


def largest(*arrays: Any) -> float:
    """Product of the arrays' largest magnitudes, at least 1 each."""
    return math.prod(max(1.0, float(np.max(np.abs(a), initial=0.0))) for a in arrays)


Builder = Callable[[Any], st.SearchStrategy[Call]]
CALLS: dict[str, Builder] = {}


def calls_of(*kernels: str) -> Callable[[Builder], Builder]:
    """Register a strategy of a dtype for these kernels."""

    def register(builder: Builder) -> Builder:
        CALLS.update(dict.fromkeys(kernels, builder))
        return builder

    return register


# -- elementwise ---------------------------------------------------------------------------------------------------
broadcastable = functools.partial(hnp.mutually_broadcastable_shapes, max_dims=4, min_side=0, max_side=3)
ANY_SHAPE = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@calls_of("add", "subtract", "multiply", "divide", "maximum", "minimum", "power")
@st.composite
def binary(draw: st.DrawFn, dtype: Any) -> Call:
    first, second = draw(broadcastable(num_shapes=2)).input_shapes
    a, b = draw(values(first, dtype, positive=True)), draw(values(second, dtype))
    if draw(st.booleans()):
        b = draw(st.sampled_from([2, -1.5, 0.5, 3]))  # a plain number leaves the array's dtype as it is
    return Call((a, b))


@calls_of("where")
@st.composite
def choice(draw: st.DrawFn, dtype: Any) -> Call:
    condition, a, b = draw(broadcastable(num_shapes=3)).input_shapes
    return Call((draw(values(condition, np.bool_)), draw(values(a, dtype)), draw(values(b, dtype))))


@calls_of(
    *("negative", "absolute", "sign", "exp", "log", "log1p", "sqrt", "sin", "cos", "tanh", "erf", "sigmoid", "silu")
)
@st.composite
def unary(draw: st.DrawFn, dtype: Any) -> Call:
    return Call((draw(values(draw(ANY_SHAPE), dtype)),))


@calls_of("clip")
@st.composite
def clipped(draw: st.DrawFn, dtype: Any) -> Call:
    low, high = draw(st.sampled_from([(-1.0, 1.0), (0.0, 6.0), (-math.inf, 0.5), (0.25, math.inf), (1.0, 1.0)]))
    return Call((draw(values(draw(ANY_SHAPE), dtype)), low, high))


@calls_of("silu_grad")
@st.composite
def upstream(draw: st.DrawFn, dtype: Any) -> Call:
    shape = draw(ANY_SHAPE)
    x, dy = draw(values(shape, dtype)), draw(values(shape, dtype))
    return Call((x, dy), scale=largest(x, dy))


# -- reductions ----------------------------------------------------------------------------------------------------
@st.composite
def reduced(draw: st.DrawFn, dtype: Any, of_nothing: bool, several: bool = True) -> Call:
    """x, axis, keepdims; a reduced axis may have size 0 where the sum of nothing means something."""
    ndim = draw(st.integers(0, 4))
    axes = draw(st.lists(st.integers(0, ndim - 1), unique=True)) if ndim else []
    axis: Any = tuple(a - ndim if draw(st.booleans()) else a for a in axes)
    if len(axes) == 1 and draw(st.booleans()):
        axis = axis[0]
    if len(axes) == ndim or (not several and not isinstance(axis, int)):
        axis, axes = None, list(range(ndim))
    shape = [draw(st.integers(1 if a in axes and not of_nothing else 0, 4)) for a in range(ndim)]
    x = draw(values(tuple(shape), dtype))
    return Call((x, axis, draw(st.booleans())), length=1 + x.size, scale=largest(x))


calls_of("sum", "logsumexp")(lambda dtype: reduced(dtype, of_nothing=True))  # log 0 = -inf
calls_of("max")(lambda dtype: reduced(dtype, of_nothing=False))
calls_of("argmax")(lambda dtype: reduced(dtype, of_nothing=False, several=False))


@calls_of("softmax", "log_softmax")
@st.composite
def normalised(draw: st.DrawFn, dtype: Any) -> Call:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    x = draw(values(shape, dtype))
    return Call((x, draw(st.integers(-x.ndim, x.ndim - 1))), length=1 + x.size, scale=largest(x))


@calls_of("softmax_cross_entropy")
@st.composite
def classified(draw: st.DrawFn, dtype: Any) -> Call:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5))
    x, goal = draw(values(shape, dtype)), draw(values(shape, dtype))
    return Call((x, goal), length=1 + shape[1], scale=largest(x, goal))


@calls_of("label_cross_entropy")
@st.composite
def labelled(draw: st.DrawFn, dtype: Any) -> Call:
    n, k = draw(st.integers(0, 5)), draw(st.integers(1, 40))
    x, labels = draw(values((n, k), dtype)), draw(st.lists(st.integers(-1, k - 1), min_size=n, max_size=n))
    smoothing, scale = draw(st.sampled_from([0.0, 0.25, 1.0])), draw(st.sampled_from([None, 1.0, 0.3]))
    return Call((x, np.array(labels, np.int64), smoothing, scale), length=1 + n + k, scale=largest(x))


# -- products ------------------------------------------------------------------------------------------------------
@calls_of("matmul")
@st.composite
def matrices(draw: st.DrawFn, dtype: Any) -> Call:
    leading, other = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0)).input_shapes
    n, k, m = (draw(st.integers(0, 4)) for _ in range(3))
    a, b = draw(values((*leading, n, k), dtype)), draw(values((*other, k, m), dtype))
    return Call((a, b), length=1 + k, scale=largest(a, b))


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, tuple[int, int]]:
    """A window, and a plane that it fits."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    edges = st.tuples(st.integers(0, 2), st.integers(0, 2))
    if draw(st.integers(0, 4)) == 0:  # pointwise, which backends treat apart
        return Window((1, 1)), draw(pair)
    window = Window(draw(pair), draw(pair), (draw(edges), draw(edges)), draw(st.tuples(*[st.integers(1, 2)] * 2)))
    height, width = (
        max(1, d * (k - 1) + 1 - sum(padding)) + draw(st.integers(0, 3))
        for k, padding, d in zip(window.kernel, window.padding, window.dilation, strict=True)
    )
    return window, (height, width)


@st.composite
def convolution(draw: st.DrawFn, dtype: Any, kernel: str) -> Call:
    """A call of one of the three convolution kernels, or of their depthwise forms."""
    window, size = draw(windows())
    depthwise = kernel.startswith("depthwise")
    groups = draw(st.integers(1, 3))
    inside, outside = (1, 1) if depthwise else (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    n = draw(st.integers(0, 2))
    x = draw(values((n, groups * inside, *size), dtype))
    w = draw(values((groups * outside, inside, *window.kernel), dtype))
    dy = draw(values((n, groups * outside, *window.output_size(*size)), dtype))
    rest = (window,) if depthwise else (window, groups)
    if kernel.endswith("input_grad"):
        return Call((dy, w, *rest, size), length=w.size, scale=largest(dy, w))
    if kernel.endswith("weight_grad"):
        return Call((x, dy, *rest), length=1 + dy.size, scale=largest(x, dy))
    return Call((x, w, *rest), length=w.size, scale=largest(x, w))


for _form in ("conv2d", "depthwise_conv2d"):
    for _part in ("", "_input_grad", "_weight_grad"):
        calls_of(_form + _part)(functools.partial(convolution, kernel=_form + _part))


# -- pooling -------------------------------------------------------------------------------------------------------
@st.composite
def images(draw: st.DrawFn, dtype: Any, size: tuple[int, int]) -> np.ndarray:
    return draw(values((draw(st.integers(0, 2)), draw(st.integers(1, 3)), *size), dtype))


@calls_of("max_pool2d")
@st.composite
def max_pooled(draw: st.DrawFn, dtype: Any) -> Call:
    window, size = draw(windows())
    return Call((draw(images(dtype, size)), window))


@calls_of("avg_pool2d")
@st.composite
def avg_pooled(draw: st.DrawFn, dtype: Any) -> Call:
    window, size = draw(windows())
    x = draw(images(dtype, size))
    return Call((x, window, draw(st.booleans())), length=math.prod(window.kernel), scale=largest(x))


@calls_of("avg_pool2d_grad")
@st.composite
def avg_pooled_back(draw: st.DrawFn, dtype: Any) -> Call:
    window, size = draw(windows())
    dy = draw(images(dtype, window.output_size(*size)))
    return Call((dy, window, draw(st.booleans()), size), length=math.prod(window.kernel), scale=largest(dy))


@calls_of("gather_planes")
@st.composite
def gathered(draw: st.DrawFn, dtype: Any) -> Call:
    x = draw(images(dtype, draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))))
    places = draw(places_in(x.shape))
    return Call((x, places))


@calls_of("scatter_planes")
@st.composite
def scattered(draw: st.DrawFn, dtype: Any) -> Call:
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dy = draw(images(dtype, draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))))
    index = draw(places_in((*dy.shape[:2], *size), dy.shape[2:]))
    return Call((dy, index, size), length=1 + dy.size, scale=largest(dy))


@st.composite
def places_in(draw: st.DrawFn, shape: tuple[int, ...], out: tuple[int, ...] | None = None) -> np.ndarray:
    """Places ``h * W + w`` of planes N C H W, some of them often twice."""
    out = out or draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    index = rng.integers(0, math.prod(shape[2:]), (*shape[:2], *out))
    return laid_out(index, draw(st.sampled_from(LAYOUTS)))


# -- normalisation -------------------------------------------------------------------------------------------------
@st.composite
def batches(draw: st.DrawFn, dtype: Any) -> np.ndarray:
    """N C ..., with two to four axes."""
    rest = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)) if draw(st.booleans()) else ()
    return draw(values((draw(st.integers(1, 4)), draw(st.integers(1, 3)), *rest), dtype))


@calls_of("batch_norm")
@st.composite
def batch_normed(draw: st.DrawFn, dtype: Any) -> Call:
    x = draw(batches(dtype))
    gamma, beta = draw(values(x.shape[1], dtype)), draw(values(x.shape[1], dtype))
    eps = draw(st.sampled_from([1e-3, 1e-5]))
    return Call((x, gamma, beta, eps), length=x.size, scale=largest(x, x, gamma) / math.sqrt(eps))


@calls_of("batch_norm_grad")
@st.composite
def batch_normed_back(draw: st.DrawFn, dtype: Any) -> Call:
    x = draw(batches(dtype))
    gamma, dy = draw(values(x.shape[1], dtype)), draw(values(x.shape, dtype))
    eps = draw(st.sampled_from([1e-3, 1e-5]))
    axes = (0, *range(2, x.ndim))
    wide = x.astype(np.float64)
    mean, var = wide.mean(axis=axes).astype(dtype), wide.var(axis=axes).astype(dtype)
    inv_std = 1 / math.sqrt(float(var.min()) + eps)
    return Call((x, gamma, dy, mean, var, eps), length=x.size, scale=largest(gamma, dy, x) * inv_std * x.size)


@calls_of("scale_shift")
@st.composite
def shifted(draw: st.DrawFn, dtype: Any) -> Call:
    x = draw(batches(dtype))
    scale, shift = draw(values(x.shape[1], dtype)), draw(values(x.shape[1], dtype))
    return Call((x, scale, shift), length=2, scale=largest(x, scale))


# -- indexing and random numbers -----------------------------------------------------------------------------------
@calls_of("scatter_add")
@st.composite
def scatter_added(draw: st.DrawFn, dtype: Any) -> Call:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=4))
    whole = st.integers(-shape[0], shape[0] - 1)
    rows = st.lists(whole, max_size=5).map(lambda chosen: np.array(chosen, np.int64))
    columns = st.integers(0, shape[1] - 1)
    index = draw(
        st.one_of(
            whole,
            rows,
            rows.map(lambda chosen: (chosen,)),
            rows.map(lambda chosen: (chosen, slice(None, None, -1))),
            st.lists(st.tuples(whole, columns), min_size=1, max_size=5).map(
                lambda pairs: tuple(np.array(part) for part in zip(*pairs, strict=True))
            ),
            st.just((Ellipsis, slice(0, None, 2))),
            st.just((None, 0)),
            hnp.arrays(np.bool_, shape),
        )
    )
    dy = draw(values(np.empty(shape)[index].shape, dtype))
    return Call((dy, index, shape), length=1 + dy.size, scale=largest(dy))


@calls_of("uniform")
@st.composite
def drawn(draw: st.DrawFn, dtype: Any) -> Call:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Call((generator, draw(ANY_SHAPE), np.dtype(dtype)))


# -- what tests ask for --------------------------------------------------------------------------------------------
def made(name: str) -> Backend:
    """The backend of this name."""
    with use_backend(name) as backend:
        return backend


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for every kernel, dtype and backend that it asks for."""
    names, fast = available_backends(), [name for name in available_backends() if name != "loops"]
    for argument, choices in {"kernel": KERNELS, "backend": names, "fast": fast}.items():
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, choices, indirect=argument != "kernel", scope="session")
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"], scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn."""
    return made(request.param)


@pytest.fixture(scope="session")
def fast(request: pytest.FixtureRequest) -> Backend:
    """Each backend but ``loops``."""
    return made(request.param)


@pytest.fixture(scope="session")
def loops() -> Backend:
    """The oracle."""
    return made("loops")


@pytest.fixture(scope="session")
def calls() -> Callable[[str, Any], st.SearchStrategy[Call]]:
    """``calls(kernel, dtype)``: a strategy that draws calls of that kernel of the contract."""
    missing = set(KERNELS) - set(CALLS)
    assert not missing, f"kernels of the contract without a strategy: {missing}; register one here with calls_of"
    return lambda kernel, dtype: CALLS[kernel](dtype)
