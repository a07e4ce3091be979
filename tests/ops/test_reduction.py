"""Reductions: any axes, against PyTorch; ties, empty axes, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck

NAMES = ("sum", "mean", "amax", "amin", "logsumexp", "var", "std")
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3)


@st.composite
def axes_of(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """None, an axis, or some of them, counted from the front or the back."""
    if not shape or draw(st.booleans()):
        return None
    chosen = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    signed = tuple(axis - len(shape) if draw(st.booleans()) else axis for axis in chosen)
    return signed[0] if len(signed) == 1 and draw(st.booleans()) else signed


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data(), shape=SHAPES, keepdim=st.booleans(), seed=st.integers(0, 1000))
def test_gradients_over_any_axes(
    name: str, data: st.DataObject, shape: tuple[int, ...], keepdim: bool, seed: int, layouts: st.SearchStrategy
) -> None:
    dim = data.draw(axes_of(shape))
    x = np.asarray(np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape) * 0.1)
    options: dict[str, Any] = {"dim": dim, "keepdim": keepdim}
    if name in ("var", "std"):
        options["correction"] = 0
    reduced = x.size if dim is None else np.prod([shape[i] for i in np.atleast_1d(dim)])
    if name == "std" and reduced == 1:
        return  # the root of zero has no slope
    leaf = tg.from_numpy(data.draw(layouts)(x)).requires_grad_()
    assert gradcheck(lambda x: getattr(tg.ops, name)(x, **options), leaf, seed=seed)
    assert gradgradcheck(lambda x: getattr(tg.ops, name)(x, **options), leaf, seed=seed, fast_mode=True)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), (-1, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_pytorch(name: str, dim: Any, keepdim: bool, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((3, 2, 4))
    every = tuple(range(x.ndim)) if dim is None else dim
    like_torch(
        lambda x: getattr(tg.ops, name)(x, dim=dim, keepdim=keepdim),
        lambda x: getattr(torch, name)(x, dim=every, keepdim=keepdim),
        x,
    )


@pytest.mark.parametrize("correction", [0, 1, 2])
def test_variance_correction(correction: int, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((3, 4))
    for name in ("var", "std"):
        like_torch(
            lambda x, name=name: getattr(x, name)(1, correction=correction),
            lambda x, name=name: getattr(torch, name)(x, 1, correction=correction),
            x,
        )


@pytest.mark.parametrize("name", ["amax", "amin"])
@pytest.mark.parametrize("dim", [0, 1, (0, 1)])
def test_ties_share_evenly(name: str, dim: Any, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = np.array([[1.0, 3.0, 3.0, 1.0], [3.0, 3.0, 0.0, 0.0]])
    like_torch(lambda x: getattr(tg.ops, name)(x, dim), lambda x: getattr(torch, name)(x, dim), x)
    assert "share the gradient evenly" in tg.op.registry[name].kinks


def test_argmax() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 3, (3, 4, 5)).astype(float)
    for dim in (None, 0, 1, -1):
        for keepdim in (False, True):
            ours = tg.ops.argmax(tg.Tensor(x, requires_grad=True), dim, keepdim)
            assert (ours.dtype, ours.node) == (np.int64, None)
            if dim is not None:
                np.testing.assert_array_equal(ours.numpy(), np.argmax(x, dim, keepdims=keepdim))
    assert tg.Tensor(x).argmax().item() == np.argmax(x) == torch.tensor(x).flatten().argmax().item()


def test_large_numbers_do_not_overflow(like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = np.array([[1e4, 1e4 - 1.0], [-1e4, -1e4 + 2.0]])
    like_torch(lambda x: x.logsumexp(1), lambda x: torch.logsumexp(x, 1), x)


def test_of_nothing() -> None:
    empty = tg.Tensor(np.empty((0, 3)), requires_grad=True)
    np.testing.assert_array_equal(empty.sum(0).numpy(), [0.0, 0.0, 0.0])
    with np.errstate(invalid="ignore"):
        assert np.isnan(empty.mean().item())
    for name in ("amax", "amin", "argmax"):
        with pytest.raises(ValueError, match=rf"{name}: nothing to choose from: x has shape \(0, 3\)"):
            getattr(tg.ops, name)(empty)
        assert getattr(tg.ops, name)(empty, 1).shape == (0,)
    with pytest.raises(ValueError, match=r"var\(correction\): 1 entries with correction 1"):
        tg.ops.var(tg.Tensor([1.0]))


@pytest.mark.parametrize("name", NAMES)
def test_axes_that_do_not_exist(name: str) -> None:
    x = tg.Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=rf"{name}\(dim\): axis 2 does not exist in a tensor of 2 axes; use -2 to 1"):
        getattr(tg.ops, name)(x, 2)
    with pytest.raises(ValueError, match=rf"{name}\(dim\): \(0, -2\) names an axis twice"):
        getattr(tg.ops, name)(x, (0, -2))


def test_dtypes() -> None:
    for dtype in (np.float32, np.float64):
        x = tg.Tensor(np.arange(6.0).reshape(2, 3), dtype=dtype)
        for name in NAMES:
            assert getattr(tg.ops, name)(x).dtype == getattr(tg.ops, name)(x, 1).dtype == dtype
    assert tg.Tensor([1, 2]).sum().dtype == np.int64
    assert tg.Tensor([True, True]).sum().item() == 2
    with pytest.raises(TypeError, match="mean: x holds int64"):
        tg.Tensor([1, 2]).mean()
