"""Dropout and stochastic depth: how often, how much, and the same again from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_uses_one_mask_for_both_ways(p: float, dtype: type) -> None:
    tg.manual_seed(0)
    x = tg.Tensor(np.random.default_rng(1).uniform(1, 2, 40_000), requires_grad=True, dtype=dtype)
    y = tg.ops.dropout(x, p)
    assert y.dtype == dtype
    kept = y.numpy() != 0
    assert kept.mean() == pytest.approx(1 - p, abs=4 * np.sqrt(p * (1 - p) / x.size))
    np.testing.assert_allclose(y.numpy()[kept], x.numpy()[kept] / (1 - p), rtol=1e-6)
    upstream = np.random.default_rng(2).standard_normal(x.shape).astype(dtype)
    y.backward(upstream)
    np.testing.assert_allclose(x.grad.numpy(), upstream * kept / (1 - p), rtol=1e-6)


def test_stochastic_depth_drops_whole_samples() -> None:
    tg.manual_seed(0)
    x = tg.Tensor(np.random.default_rng(1).uniform(1, 2, (500, 2, 3)), requires_grad=True)
    y = tg.ops.stochastic_depth(x, 0.3).numpy() / x.numpy()
    per_sample = y.reshape(500, -1)
    np.testing.assert_allclose(per_sample, np.broadcast_to(per_sample[:, :1], per_sample.shape), rtol=1e-12)
    assert set(np.round(per_sample[:, 0], 9)) == {0.0, round(1 / 0.7, 9)}
    assert (per_sample[:, 0] == 0).mean() == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("drop", [tg.ops.dropout, tg.ops.stochastic_depth])
def test_same_seed_same_mask(drop: object) -> None:
    x = tg.Tensor(np.ones((50, 2)))
    results = []
    for seed in (3, 3, 4):
        tg.manual_seed(seed)
        results.append([drop(x, 0.5).numpy(), drop(x, 0.5).numpy()])
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0][0], results[0][1])
    own = [drop(x, 0.5, generator=np.random.default_rng(8)).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*own)


@pytest.mark.parametrize("drop", [tg.ops.dropout, tg.ops.stochastic_depth])
def test_nothing_happens_in_evaluation_and_everything_at_one(drop: object) -> None:
    x = tg.Tensor(np.ones((5, 2)), requires_grad=True)
    assert drop(x, 0.5, training=False) is x
    assert drop(x, 0.0) is x
    assert not drop(x, 1.0).numpy().any()
    assert gradcheck(lambda x: drop(x, 1.0), x)


@pytest.mark.parametrize("name", ["dropout", "stochastic_depth"])
@pytest.mark.parametrize("p", [-0.1, 1.5, "half", np.nan])
def test_p_is_a_probability(name: str, p: object) -> None:
    with pytest.raises(ValueError, match=rf"{name}\(p\): .* expected a probability between 0 and 1"):
        getattr(tg.ops, name)(tg.Tensor([1.0]), p, training=False)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None])
def test_seeds_are_whole_numbers(seed: object) -> None:
    with pytest.raises(ValueError, match=r"manual_seed\(seed\): .* expected a whole number >= 0"):
        tg.manual_seed(seed)


def test_manual_seed_starts_the_default_generator() -> None:
    generator = tg.manual_seed(5)
    assert generator is tg.ops.default_generator()
    assert generator.random() == np.random.default_rng(5).random()
