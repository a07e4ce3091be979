"""What the tests of operations share: odd memory layouts, and a comparison with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from memory_layouts import LAYOUTS, laid_out

import tinygrad_effnet as tg


@pytest.fixture(scope="session")
def leaves() -> Callable[..., list[tg.Tensor]]:
    """Makes leaves of arrays, sharing their memory and with it their layout."""
    return lambda *arrays: [tg.from_numpy(a).requires_grad_() for a in arrays]


@pytest.fixture(scope="session")
def layouts() -> st.SearchStrategy[Callable[[np.ndarray], np.ndarray]]:
    """A strategy of functions that give an array another memory layout."""
    return st.sampled_from(LAYOUTS).map(lambda layout: lambda x: laid_out(x, layout))


@pytest.fixture(scope="session")
def like_torch() -> Callable[..., None]:
    """Checks value and gradients of ours against PyTorch's, from one random upstream gradient."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    def check(
        ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: Any, rtol: float = 1e-9, atol: float = 1e-10
    ) -> None:
        x = [tg.Tensor(a, requires_grad=True) for a in arrays]
        t = [torch.tensor(np.asarray(a), requires_grad=True) for a in arrays]
        with np.errstate(all="ignore"):
            y, expected = ours(*x), theirs(*t)
            np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol, atol)
            upstream = np.asarray(np.random.default_rng(7).standard_normal(y.shape)).astype(y.dtype)
            y.backward(upstream)
        expected.backward(torch.tensor(upstream))
        for i, (a, b) in enumerate(zip(x, t, strict=True)):
            assert (a.grad is None) == (b.grad is None)
            if b.grad is not None:
                np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol, atol, err_msg=f"gradient of input {i}")

    return check
