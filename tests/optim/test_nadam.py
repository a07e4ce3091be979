"""NAdam against golden vectors, PyTorch, its formula written out anew, and limits known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import assert_equals_pytorch

import tinygrad_effnet as tg
from tinygrad_effnet.optim import NAdam

GOLDEN_GRADIENTS = [0.5, -0.3, 0.1, 0.0, 0.25]
GOLDEN = [  # made in float64 from the formula; PyTorch's float32 product of the μ differs by some 1e-10
    ({"lr": 2e-3}, [0.997887096486, 0.998854616457, 0.998435628782, 0.998369973502, 0.997255250267]),
    (
        {"lr": 1e-2, "weight_decay": 0.1},
        [0.989435482393, 0.992159194228, 0.988393071846, 0.985945960280, 0.979031609005],
    ),
    (
        {"lr": 1e-2, "weight_decay": 0.1, "decoupled_weight_decay": True},
        [0.988435482428, 0.992284646802, 0.989197423783, 0.987879949955, 0.981318453830],
    ),
]
OPTIONS = [
    {},
    {"betas": (0.5, 0.7), "eps": 1e-3},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.5},
    {"maximize": True, "weight_decay": 0.2, "momentum_decay": 0.0},
]


def path(start, gradients, **options):
    w = tg.Tensor(np.array([start]), requires_grad=True)
    optimizer = NAdam([w], **options)
    seen = []
    for gradient in gradients:
        w.grad = tg.Tensor(np.array([gradient]))
        optimizer.step()
        seen.append(w.item())
    return np.array(seen)


def dozat(start, gradients, mu, lr=0.002, beta1=0.9, beta2=0.999, eps=1e-8):
    """The formula with a list of μ_1, μ_2, ..., from scratch at every step: sums over the past instead of moments."""
    theta, seen = start, []
    for t in range(1, len(gradients) + 1):
        past = np.array(gradients[:t])
        age = np.arange(t)[::-1]
        m = (1 - beta1) * np.sum(beta1**age * past)
        v_hat = (1 - beta2) * np.sum(beta2**age * past**2) / (1 - beta2**t)
        m_hat = m / (1 - np.prod(mu[: t + 1]))
        g_hat = past[-1] / (1 - np.prod(mu[:t]))
        theta -= lr * ((1 - mu[t - 1]) * g_hat + mu[t] * m_hat) / (np.sqrt(v_hat) + eps)
        seen.append(theta)
    return np.array(seen)


@pytest.mark.parametrize(("options", "expected"), GOLDEN, ids=["plain", "L2", "decoupled"])
def test_golden_vectors(options, expected):
    np.testing.assert_allclose(path(1.0, GOLDEN_GRADIENTS, **options), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-5)])
def test_equals_pytorch(options, dtype, tolerance):
    assert_equals_pytorch(NAdam, "NAdam", dtype, tolerance, 0.01, 12, **options)


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    defaults = NAdam([tg.Tensor([1.0], requires_grad=True)]).defaults
    expected = torch.optim.NAdam([torch.ones(1, requires_grad=True)]).defaults
    assert {name: expected[name] for name in defaults} == defaults


def test_one_count_a_step_whatever_the_number_of_parameters():
    params = [tg.Tensor(np.array([1.0]), requires_grad=True) for _ in range(3)]
    optimizer = NAdam(params)
    for gradient in GOLDEN_GRADIENTS:
        for p in params:
            p.grad = tg.Tensor(np.array([gradient]))
        optimizer.step()
    product = np.prod([0.9 * (1 - 0.5 * 0.96 ** (t * 4e-3)) for t in range(1, 6)])
    for p in params:
        assert optimizer.state[p]["step"] == 5
        assert optimizer.state[p]["mu_product"] == pytest.approx(product, rel=1e-14)
        assert p.item() == pytest.approx(GOLDEN[0][1][-1], abs=1e-11)


gradients = st.lists(st.floats(0.01, 10) | st.floats(-10, -0.01), min_size=1, max_size=12)


@given(gradients, st.floats(0, 2), st.floats(0, 0.95))
@settings(max_examples=60, deadline=None)
def test_follows_the_formula(gs, psi, beta1):
    mu = [beta1 * (1 - 0.5 * 0.96 ** (t * psi)) for t in range(1, len(gs) + 2)]
    ours = path(1.0, gs, betas=(beta1, 0.999), momentum_decay=psi)
    np.testing.assert_allclose(ours, dozat(1.0, gs, mu, beta1=beta1), rtol=0, atol=1e-12)


@given(gradients)
@settings(max_examples=40, deadline=None)
def test_without_momentum_decay_mu_is_half_of_beta1(gs):
    np.testing.assert_allclose(path(1.0, gs, momentum_decay=0.0), dozat(1.0, gs, [0.45] * 13), rtol=0, atol=1e-12)


@given(gradients)
@settings(max_examples=40, deadline=None)
def test_with_the_fastest_momentum_decay_mu_is_beta1(gs):
    # then it is Adam with Nesterov momentum and nothing else: the form that optax and the literature give
    np.testing.assert_allclose(path(1.0, gs, momentum_decay=1e4), dozat(1.0, gs, [0.9] * 13), rtol=0, atol=1e-12)


@given(gradients, st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_scaling_all_gradients_changes_nothing_without_eps(gs, scale):
    scaled = path(1.0, [scale * g for g in gs], eps=0.0, lr=0.01)
    np.testing.assert_allclose(scaled, path(1.0, gs, eps=0.0, lr=0.01), rtol=1e-9, atol=1e-12)


@given(gradients)
@settings(max_examples=30, deadline=None)
def test_without_momentum_it_divides_by_the_root_of_v_alone(gs):
    theta, v = 1.0, 0.0
    for t, g in enumerate(gs, 1):
        v = 0.999 * v + 0.001 * g * g
        theta -= 0.002 * g / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(path(1.0, gs, betas=(0.0, 0.999))[-1], theta, rtol=0, atol=1e-12)
