"""Losses against PyTorch with every option, their golden values, and what they say of bad labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck

REDUCTIONS = ("mean", "sum", "none")


@pytest.mark.parametrize(
    ("smoothing", "weighted", "kind", "reduction"),
    list(itertools.product((0.0, 0.1, 1.0), (False, True), ("labels", "ignored", "probabilities"), REDUCTIONS)),
)
def test_cross_entropy_agrees_with_pytorch(
    smoothing: float, weighted: bool, kind: str, reduction: str, like_torch: Callable
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, weight = rng.standard_normal((6, 4)) * 3, rng.uniform(0.2, 2, 4) if weighted else None
    target = {
        "labels": np.array([0, 3, 1, 1, 2, 0]),
        "ignored": np.array([0, -100, 1, 1, -100, 0]),
        "probabilities": rng.dirichlet(np.ones(4), 6),
    }[kind]
    like_torch(
        lambda x: tg.ops.cross_entropy(x, target, weight, smoothing, reduction),
        lambda x: torch.nn.functional.cross_entropy(
            x,
            torch.tensor(target),
            None if weight is None else torch.tensor(weight),
            label_smoothing=smoothing,
            reduction=reduction,
        ),
        logits,
    )


@pytest.mark.parametrize("classes", [2, 10, 196, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_uniform_logits_lose_ln_k(classes: int, smoothing: float) -> None:
    for level in (0.0, 50.0, -3e4):
        logits = tg.Tensor(np.full((3, classes), level, np.float32))
        loss = tg.ops.cross_entropy(logits, np.array([0, 1, classes - 1]), label_smoothing=smoothing)
        assert loss.shape == ()
        assert loss.item() == pytest.approx(np.log(classes), rel=1e-6)


@pytest.mark.parametrize("backend", tg.available_backends())
def test_cross_entropy_of_certain_logits_is_finite(backend: str) -> None:
    with tg.use_backend(backend), np.errstate(over="raise", invalid="raise", divide="raise"):
        logits = tg.Tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
        loss = tg.ops.cross_entropy(logits, [0, 0])
        loss.backward()
        assert loss.item() == pytest.approx(1e4)
        np.testing.assert_allclose(logits.grad.numpy(), [[0.0, 0.0], [-0.5, 0.5]])


@given(n=st.integers(1, 4), k=st.integers(1, 4), smoothing=st.sampled_from([0.0, 0.3]), seed=st.integers(0, 999))
def test_cross_entropy_gradients(n: int, k: int, smoothing: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = tg.Tensor(rng.standard_normal((n, k)), requires_grad=True), rng.integers(0, k, n)
    for reduction in REDUCTIONS:

        def loss(x: tg.Tensor, reduction: str = reduction) -> tg.Tensor:
            return tg.ops.cross_entropy(x, labels, label_smoothing=smoothing, reduction=reduction)

        assert gradcheck(loss, logits, seed=seed)
        assert gradgradcheck(loss, logits, seed=seed, fast_mode=True)


def test_labels_may_be_of_any_integer_type_and_container() -> None:
    logits = tg.Tensor(np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))
    expected = tg.ops.cross_entropy(logits, np.array([0, 3, 2]))
    assert expected.dtype == np.float32
    for labels in ([0, 3, 2], np.array([0, 3, 2], np.uint8), np.array([0, 3, 2], np.int32), tg.Tensor([0, 3, 2])):
        assert tg.ops.cross_entropy(logits, labels).item() == expected.item()
    ignoring = tg.ops.cross_entropy(logits, [0, 3, 255], ignore_index=255)
    assert ignoring.item() == tg.ops.cross_entropy(logits[:2], [0, 3]).item()


def test_a_wrong_label_is_named() -> None:
    logits = tg.Tensor(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"target\[1\] = 7 is outside 0\.\.3, the classes of logits \(3, 4\)\.$"):
        tg.ops.cross_entropy(logits, [0, 7, -1])
    with pytest.raises(ValueError, match=r"target\[2\] = 4 is outside .* counted from 1\? Subtract 1"):
        tg.ops.cross_entropy(logits, [1, 2, 4])
    with pytest.raises(ValueError, match=r"target\[0\] = -1"):
        tg.ops.cross_entropy(logits, [-1, 0, 0])
    with pytest.raises(TypeError, match="class numbers must be integers, got float64"):
        tg.ops.cross_entropy(logits, np.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(2,\) does not fit logits \(3, 4\); expected \(3,\) class numbers"):
        tg.ops.cross_entropy(logits, [0, 1])


def test_other_arguments_are_checked() -> None:
    logits, labels = tg.Tensor(np.zeros((3, 4))), [0, 1, 2]
    with pytest.raises(ValueError, match=r"cross_entropy\(reduction\): 'average'; expected 'mean', 'sum' or 'none'"):
        tg.ops.cross_entropy(logits, labels, reduction="average")
    with pytest.raises(ValueError, match=r"cross_entropy\(label_smoothing\): 2"):
        tg.ops.cross_entropy(logits, labels, label_smoothing=2)
    with pytest.raises(ValueError, match=r"cross_entropy\(weight\): shape \(3,\); expected \(4,\)"):
        tg.ops.cross_entropy(logits, labels, weight=np.ones(3))
    with pytest.raises(ValueError, match=r"cross_entropy\(logits\): expected \(N, K\).*got shape \(4,\)"):
        tg.ops.cross_entropy(logits[0], 1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_other_losses_agree_with_pytorch(reduction: str, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    rng = np.random.default_rng(0)
    x, goal, w, p = (
        rng.standard_normal((5, 3)) * 20,
        rng.uniform(0, 1, (5, 3)),
        rng.uniform(0, 2, 3),
        rng.uniform(0, 3, 3),
    )

    def theirs(name: str, target: Any, **options: Any) -> Callable:
        options = {k: torch.tensor(v) for k, v in options.items()}
        return lambda x: getattr(f, name)(x, torch.tensor(target), reduction=reduction, **options)

    like_torch(lambda x: tg.ops.mse_loss(x, goal, reduction), theirs("mse_loss", goal), x)
    bce = tg.ops.binary_cross_entropy_with_logits
    name = bce.__name__
    like_torch(lambda x: bce(x, goal, reduction=reduction), theirs(name, goal), x)
    like_torch(lambda x: bce(x, goal, w, p, reduction), theirs(name, goal, weight=w, pos_weight=p), x)
    labels = np.array([0, 2, 1, 1, 0])
    like_torch(lambda x: tg.ops.nll_loss(x, labels, reduction=reduction), theirs("nll_loss", labels), x)
    like_torch(lambda x: tg.ops.nll_loss(x, labels, w, reduction), theirs("nll_loss", labels, weight=w), x)


def test_targets_may_require_gradients_in_mse(like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    a, b = np.random.default_rng(0).standard_normal((2, 3, 2))
    like_torch(tg.ops.mse_loss, torch.nn.functional.mse_loss, a, b)


def test_shapes_and_targets_are_checked() -> None:
    x = tg.Tensor(np.zeros((2, 3)))
    for loss in (tg.ops.mse_loss, tg.ops.binary_cross_entropy_with_logits):
        with pytest.raises(ValueError, match=r"input has shape \(2, 3\) and target \(3,\); they must agree"):
            loss(x, np.zeros(3))
    with pytest.raises(ValueError, match=r"entries from 1.5 to 1.5; expected probabilities from 0 to 1"):
        tg.ops.binary_cross_entropy_with_logits(x, np.full((2, 3), 1.5))
