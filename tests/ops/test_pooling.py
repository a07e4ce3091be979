"""Pooling: against PyTorch, ties and padding included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck

FAST = [name for name in tg.available_backends() if name != "loops"]


@st.composite
def poolings(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    kernel = draw(st.tuples(*[st.integers(1, 3)] * 2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *draw(st.tuples(*[st.integers(1, 6)] * 2)))
    assume(all(size + 2 * p >= k for size, p, k in zip(shape[2:], padding, kernel, strict=True)))
    stride = draw(st.one_of(st.none(), st.tuples(*[st.integers(1, 3)] * 2)))
    return shape, {"kernel_size": kernel, "padding": padding, "stride": stride}


@given(case=poolings(), seed=st.integers(0, 999), backend=st.sampled_from(tg.available_backends()))
def test_max_pool_agrees_with_pytorch_and_so_do_its_ties(
    case: Any, seed: int, backend: str, like_torch: Callable
) -> None:
    torch = pytest.importorskip("torch")
    shape, options = case
    x = np.random.default_rng(seed).integers(-2, 3, shape).astype(float)
    with tg.use_backend(backend):
        like_torch(lambda x: tg.ops.max_pool2d(x, **options), lambda x: torch.nn.functional.max_pool2d(x, **options), x)
    assert "the first" in tg.op.registry["max_pool2d"].kinks


@given(case=poolings(), seed=st.integers(0, 999), count=st.booleans(), backend=st.sampled_from(tg.available_backends()))
def test_avg_pool_agrees_with_pytorch(case: Any, seed: int, count: bool, backend: str, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    shape, options = case
    x = np.random.default_rng(seed).standard_normal(shape)
    options = {**options, "count_include_pad": count}
    with tg.use_backend(backend):
        like_torch(lambda x: tg.ops.avg_pool2d(x, **options), lambda x: torch.nn.functional.avg_pool2d(x, **options), x)


@pytest.mark.parametrize("backend", FAST)
@given(case=poolings(), data=st.data(), seed=st.integers(0, 999))
def test_gradients_of_any_pooling(
    backend: str, case: Any, data: st.DataObject, seed: int, layouts: st.SearchStrategy
) -> None:
    shape, options = case
    x = np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape) * 0.1
    leaf = tg.from_numpy(data.draw(layouts)(x)).requires_grad_()
    with tg.use_backend(backend):
        for pool in (tg.ops.max_pool2d, tg.ops.avg_pool2d):
            assert gradcheck(lambda x, p=pool: p(x, **options), leaf, seed=seed)
            assert gradgradcheck(lambda x, p=pool: p(x, **options), leaf, seed=seed, fast_mode=True)


def test_dilated_max_pool(like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 2, 7, 8))
    like_torch(
        lambda x: tg.ops.max_pool2d(x, (2, 3), 1, 1, (3, 2)),
        lambda x: torch.nn.functional.max_pool2d(x, (2, 3), 1, 1, (3, 2)),
        x,
    )


@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 3), *[st.integers(1, 9)] * 2),
    cells=st.tuples(*[st.integers(1, 7)] * 2),
)
def test_adaptive_avg_pool_agrees_with_pytorch(shape: Any, cells: Any, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    assume(shape[0])
    x = np.random.default_rng(0).standard_normal(shape)
    like_torch(
        lambda x: tg.ops.adaptive_avg_pool2d(x, cells), lambda x: torch.nn.functional.adaptive_avg_pool2d(x, cells), x
    )


def test_global_average_is_the_mean() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    y = tg.ops.adaptive_avg_pool2d(tg.Tensor(x), 1)
    assert (y.shape, y.dtype) == ((2, 3, 1, 1), np.float32)
    np.testing.assert_allclose(y.numpy(), x.mean((2, 3), keepdims=True), rtol=1e-5, atol=1e-6)


def test_padding_never_wins_and_nan_always_does() -> None:
    for backend in tg.available_backends():
        with tg.use_backend(backend):
            y = tg.ops.max_pool2d(tg.Tensor(np.full((1, 1, 2, 2), -5.0)), 2, 1, 1)
            assert (y.numpy() == -5.0).all()
            x = np.zeros((1, 1, 2, 2))
            x[0, 0, 1, 0] = np.nan
            assert np.isnan(tg.ops.max_pool2d(tg.Tensor(x), 2).item())


def test_errors() -> None:
    x = tg.Tensor(np.ones((2, 3, 4, 4)))
    for pool in (tg.ops.max_pool2d, tg.ops.avg_pool2d, tg.ops.adaptive_avg_pool2d):
        with pytest.raises(ValueError, match=r"x must have 4 axes \(N C H W\), but has shape \(3, 4, 4\)"):
            pool(x[0], 2)
    with pytest.raises(ValueError, match="max_pool2d: the window covers 5x5 pixels"):
        tg.ops.max_pool2d(x, 5)
    for pool in (tg.ops.max_pool2d, tg.ops.avg_pool2d):
        with pytest.raises(ValueError, match=r"\(padding\): .* sees no pixel of an image of \(4, 4\); pad less"):
            pool(x, 2, 1, 2)
        assert pool(x, 3, 1, 2).shape == (2, 3, 6, 6)
    with pytest.raises(ValueError, match="sees no pixel"):
        tg.ops.max_pool2d(tg.Tensor(np.ones((1, 1, 2, 2))), 2, 1, 1, 3)
    with pytest.raises(ValueError, match="output_size"):
        tg.ops.adaptive_avg_pool2d(x, 0)
