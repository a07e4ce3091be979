"""Adam and AdamW against PyTorch, and properties that follow from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import assert_equals_pytorch

import tinygrad_effnet as tg
from tinygrad_effnet.optim import Adam, AdamW

OPTIONS = [
    {},
    {"betas": (0.5, 0.7), "eps": 1e-3},
    {"weight_decay": 0.1},
    {"amsgrad": True, "weight_decay": 0.01, "betas": (0.8, 0.5)},
    {"maximize": True, "weight_decay": 0.2},
]


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_equals_pytorch(name, options, dtype, tolerance):
    assert_equals_pytorch({"Adam": Adam, "AdamW": AdamW}[name], name, dtype, tolerance, 0.3, 10, lr=0.05, **options)


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for ours, theirs in ((Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)):
        defaults = ours([tg.Tensor([1.0], requires_grad=True)]).defaults
        expected = theirs([torch.ones(1, requires_grad=True)]).defaults
        assert {name: expected[name] for name in defaults} == defaults


def path(make, start, gradients, **options):
    w = tg.Tensor(np.array([start]), requires_grad=True)
    optimizer = make([w], **options)
    seen = []
    for gradient in gradients:
        w.grad = tg.Tensor(np.array([gradient]))
        optimizer.step()
        seen.append(w.item())
    return np.array(seen)


gradients = st.lists(st.floats(0.01, 10) | st.floats(-10, -0.01), min_size=1, max_size=12)


@given(gradients, st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_scaling_all_gradients_changes_nothing_without_eps(gs, scale):
    options = {"lr": 0.01, "eps": 0.0}
    np.testing.assert_allclose(
        path(Adam, 1.0, [scale * g for g in gs], **options), path(Adam, 1.0, gs, **options), rtol=1e-9, atol=1e-12
    )


@given(gradients)
@settings(max_examples=30, deadline=None)
def test_the_first_step_is_the_learning_rate_long(gs):
    first = path(Adam, 1.0, gs[:1], lr=0.01, eps=0.0)[0]
    np.testing.assert_allclose(first, 1.0 - 0.01 * np.sign(gs[0]), rtol=1e-12)


@given(st.floats(0.1, 5), st.integers(1, 10))
@settings(max_examples=30, deadline=None)
def test_decoupled_decay_alone_shrinks_geometrically(start, steps):
    seen = path(AdamW, start, [0.0] * steps, lr=0.1, weight_decay=0.5)
    np.testing.assert_allclose(seen[-1], start * 0.95**steps, rtol=1e-12)


def test_amsgrad_never_forgets_the_largest_gradient():
    gs = [10.0, *[0.1] * 20]
    plain, amsgrad = (path(Adam, 1.0, gs, betas=(0.0, 0.5), amsgrad=a) for a in (False, True))
    assert abs(np.diff(amsgrad)[-1]) < 0.05 * abs(np.diff(plain)[-1])
