"""At every kink the gradient is the one written down, on every backend, and PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
from kinks import KINKS, NORM, Kink

import tinygrad_effnet as tg
from tinygrad_effnet.op import registry

KINKED = sorted(name for name, op in registry.items() if op.kinks != "none")


def test_every_operation_that_states_a_kink_is_tested_at_it() -> None:
    assert sorted({kink.op for kink in KINKS}) == KINKED


@pytest.mark.parametrize("backend", tg.available_backends())
@pytest.mark.parametrize("kink", [*KINKS, NORM], ids=str)
def test_the_gradient_at_a_kink(kink: Kink, backend: str) -> None:
    with tg.use_backend(backend):
        kink.check()


@pytest.mark.parametrize("kink", [*KINKS, NORM], ids=str)
def test_pytorch_takes_the_same(kink: Kink) -> None:
    torch = pytest.importorskip("torch")
    x = [torch.tensor(np.array(v, float), requires_grad=True) for v in kink.inputs]
    kink.theirs(torch, *x).backward(torch.tensor(np.array(kink.upstream, float)))
    for tensor, expected in zip(x, kink.gradients, strict=True):
        np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", KINKED)
def test_what_is_stated_names_the_point_and_pytorchs_choice(name: str) -> None:
    text = registry[name].kinks
    assert "PyTorch" in text
    assert "=" in text or "tie" in text


def test_a_small_number_under_the_root_gives_a_norm_a_gradient_at_zero() -> None:
    x = tg.Tensor(np.zeros(2), requires_grad=True)
    ((x * x).sum() + 1e-12).sqrt().backward()
    assert x.grad.tolist() == [0.0, 0.0]
