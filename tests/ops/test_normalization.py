"""Batch normalisation: training and evaluation against PyTorch, running statistics included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck

SHAPES = [(4, 3), (2, 3, 5), (3, 2, 4, 2), (2, 1, 1, 3)]


def arrays_for(shape: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    channels = shape[1]
    return [rng.standard_normal(shape) * 3 + 2, rng.uniform(-2, 2, channels), rng.standard_normal(channels)]


@pytest.mark.parametrize("backend", tg.available_backends())
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_agrees_with_pytorch_and_so_do_the_running_statistics(
    shape: tuple[int, ...], training: bool, backend: str, like_torch: Callable
) -> None:
    torch = pytest.importorskip("torch")
    x, weight, bias = arrays_for(shape)
    mean, var = np.linspace(-1, 1, shape[1]), np.linspace(0.5, 2, shape[1])
    ours = [tg.Tensor(mean), tg.Tensor(var)]
    theirs = [torch.tensor(mean), torch.tensor(var)]
    with tg.use_backend(backend):
        like_torch(
            lambda x, w, b: tg.ops.batch_norm(x, *ours, w, b, training, 0.3, 1e-3),
            lambda x, w, b: torch.nn.functional.batch_norm(x, *theirs, w, b, training, 0.3, 1e-3),
            x,
            weight,
            bias,
        )
    for a, b, before in zip(ours, theirs, (mean, var), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
        assert np.array_equal(a.numpy(), before) != training
        assert not a.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_without_statistics_or_scale(training: bool, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = arrays_for((4, 3, 2))[0]
    like_torch(
        lambda x: tg.ops.batch_norm(x, None, None, training=training),
        lambda x: torch.nn.functional.batch_norm(x, None, None, training=True),
        x,
    )


@given(
    shape=st.tuples(st.integers(2, 4), st.integers(1, 3), *[st.integers(1, 3)] * 2),
    data=st.data(),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("backend", tg.available_backends()[1:])
def test_gradients_for_any_shape_and_layout(
    backend: str, shape: Any, data: st.DataObject, seed: int, layouts: st.SearchStrategy, leaves: Callable
) -> None:
    inputs = leaves(*[data.draw(layouts)(a) for a in arrays_for(shape, seed)])
    with tg.use_backend(backend):
        for training in (True, False):
            stats = tg.Tensor(np.zeros(shape[1])), tg.Tensor(np.ones(shape[1]))

            def norm(
                x: tg.Tensor, w: tg.Tensor, b: tg.Tensor, training: bool = training, stats: Any = stats
            ) -> tg.Tensor:
                return tg.ops.batch_norm(x, *[s.detach() for s in stats], w, b, training, momentum=0.0, eps=0.1)

            assert gradcheck(norm, inputs, seed=seed)
            assert gradgradcheck(norm, inputs, seed=seed, fast_mode=True)


def test_third_gradients(leaves: Callable) -> None:
    # the upstream gradient depends on x itself here, which must not be counted twice
    def norm(x: tg.Tensor, w: tg.Tensor, b: tg.Tensor) -> tuple[tg.Tensor, ...]:
        y = tg.ops.batch_norm(x, None, None, w, b, eps=0.1)
        return tg.grad((y * y * y).sum(), [x, w, b], create_graph=True)

    inputs = leaves(*arrays_for((3, 2, 2)))
    assert gradcheck(norm, inputs, rtol=1e-4, atol=1e-5)
    assert gradgradcheck(norm, inputs, rtol=1e-4, atol=1e-5, fast_mode=True)


def test_float32_stays_and_far_means_are_survived() -> None:
    x = (np.random.default_rng(0).standard_normal((8, 2, 4, 4)) + 1000).astype(np.float32)
    for backend in tg.available_backends():
        with tg.use_backend(backend):
            y = tg.ops.batch_norm(tg.Tensor(x), None, None, training=True)
            assert y.dtype == np.float32
            expected = (x.astype(float) - x.mean((0, 2, 3), dtype=float)[:, None, None]) / x.std(
                (0, 2, 3), dtype=float
            )[:, None, None]
            np.testing.assert_allclose(y.numpy(), expected, atol=2e-3)


def test_errors() -> None:
    x = tg.Tensor(np.ones((2, 3, 4, 4)))
    with pytest.raises(ValueError, match="at least 2 axes"):
        tg.ops.batch_norm(tg.Tensor(np.ones(3)), None, None)
    with pytest.raises(ValueError, match=r"batch_norm\(weight\): its shape is \(4,\); expected \(3,\)"):
        tg.ops.batch_norm(x, None, None, tg.Tensor(np.ones(4)))
    with pytest.raises(ValueError, match=r"batch_norm\(running_var\)"):
        tg.ops.batch_norm(x, tg.Tensor(np.ones(3)), tg.Tensor(np.ones(2)))
    with pytest.raises(ValueError, match="one value a channel"):
        tg.ops.batch_norm(tg.Tensor(np.ones((1, 3, 1, 1))), None, None, training=True)
