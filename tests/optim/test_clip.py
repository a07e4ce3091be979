"""Clipping against PyTorch, and what a norm must satisfy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.optim import clip_grad_norm_, clip_grad_value_
from tinygrad_effnet.optim.arrays import BLOCK

SHAPES = [(3, 4), (), (5,), (0,), (2, BLOCK)]


def with_gradients(dtype="float64", scale=1.0, shapes=SHAPES):
    rng = np.random.default_rng(0)
    params = []
    for shape in shapes:
        p = tg.Tensor(np.zeros(shape, dtype), requires_grad=True)
        p.grad = tg.Tensor(scale * rng.standard_normal(shape).astype(dtype))
        params.append(p)
    return [*params, tg.Tensor(np.zeros(3, dtype), requires_grad=True)]  # the last has no gradient


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e9, 0.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
def test_equals_pytorch(norm_type, max_norm, dtype, tolerance):
    torch = pytest.importorskip("torch")
    params = with_gradients(dtype)
    theirs = [torch.zeros(p.shape, dtype=getattr(torch, dtype), requires_grad=True) for p in params]
    for p, q in zip(params, theirs, strict=True):
        q.grad = None if p.grad is None else torch.tensor(p.grad.array.copy())
    if norm_type == math.inf:  # PyTorch has no largest entry of an empty gradient
        params, theirs = params[:3], theirs[:3]
    ours = clip_grad_norm_(params, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert type(ours) is float
    assert ours == pytest.approx(expected.item(), rel=tolerance)
    for p, q in zip(params, theirs, strict=True):
        if p.grad is not None:
            assert p.grad.dtype == dtype
            np.testing.assert_allclose(p.grad.array, q.grad.numpy(), rtol=tolerance, atol=tolerance * 1e-3)


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_the_norm_afterwards_is_at_most_the_maximum_and_the_direction_stays(scale, max_norm):
    params = with_gradients(scale=scale, shapes=SHAPES[:3])
    before = np.concatenate([p.grad.array.ravel() for p in params[:3]])
    norm = clip_grad_norm_(params, max_norm)
    after = np.concatenate([p.grad.array.ravel() for p in params[:3]])
    assert norm == pytest.approx(np.linalg.norm(before), rel=1e-12)
    assert np.linalg.norm(after) <= max_norm * (1 + 1e-12) or norm <= max_norm
    np.testing.assert_allclose(after * np.linalg.norm(before), before * np.linalg.norm(after), rtol=1e-9)


def test_within_bounds_nothing_changes_by_a_bit():
    params = with_gradients("float32")
    before = [p.grad.array.tobytes() for p in params[:-1]]
    clip_grad_norm_(params, math.inf)
    clip_grad_norm_(params, 1e6)
    assert [p.grad.array.tobytes() for p in params[:-1]] == before


def test_large_float32_gradients_do_not_overflow():
    p = tg.Tensor(np.zeros(2, "float32"), requires_grad=True)
    p.grad = tg.Tensor(np.array([3e30, 4e30], "float32"))
    assert clip_grad_norm_(p, 1.0) == pytest.approx(5e30)
    np.testing.assert_allclose(p.grad.array, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_nonfinite_gradients_are_seen(bad, norm_type):
    params = with_gradients()
    params[0].grad.array[1, 2] = bad
    before = [p.grad.array.copy() for p in params[:-1]]
    with pytest.raises(RuntimeError, match="norm of the gradients is"):
        clip_grad_norm_(params, 1.0, norm_type, error_if_nonfinite=True)
    for p, gradient in zip(params, before, strict=False):
        np.testing.assert_array_equal(p.grad.array, gradient)
    with np.errstate(invalid="ignore"):
        norm = clip_grad_norm_(params, 1.0, norm_type)
    assert not math.isfinite(norm)
    assert math.isnan(norm) == math.isnan(bad)
    assert math.isnan(params[0].grad.array[1, 2])


def test_no_gradients_have_norm_zero():
    assert clip_grad_norm_([], 1.0) == 0.0
    assert clip_grad_norm_(tg.Tensor([1.0], requires_grad=True), 1.0) == 0.0


def test_values_are_moved_into_bounds():
    params = with_gradients()
    before = [p.grad.array.copy() for p in params[:-1]]
    arrays = [p.grad.array for p in params[:-1]]
    clip_grad_value_(params, 0.25)
    for p, old, array in zip(params, before, arrays, strict=False):
        assert p.grad.array is array
        np.testing.assert_array_equal(array, np.clip(old, -0.25, 0.25))


def test_wrong_arguments_are_named():
    p = tg.Tensor([1.0], requires_grad=True)
    for value in (-1.0, math.nan, "1", None):
        with pytest.raises(ValueError, match=r"\(max_norm\)"):
            clip_grad_norm_([p], value)
        with pytest.raises(ValueError, match=r"\(clip_value\)"):
            clip_grad_value_([p], value)
    for value in (0, -2.0, "inf"):
        with pytest.raises(ValueError, match=r"\(norm_type\)"):
            clip_grad_norm_([p], 1.0, value)
    with pytest.raises(TypeError, match=r"params\[1\] is a float"):
        clip_grad_norm_([p, 1.0], 1.0)
