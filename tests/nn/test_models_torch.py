"""Every family against PyTorch, through files with torchvision's names both ways: logits, and every gradient."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, weights

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
import torch_models  # noqa: E402 - needs PyTorch

MODELS = {
    "efficientnet_b0": functools.partial(torch_models.efficientnet, 1.0, 1.0),
    "efficientnet_b1": functools.partial(torch_models.efficientnet, 1.0, 1.1),
    "efficientnet_b3": functools.partial(torch_models.efficientnet, 1.2, 1.4),
    "efficientnet_v2_s": torch_models.efficientnet_v2_s,
    "mobilenet_v2": torch_models.mobilenet_v2,
}
SIDES = {"symmetric": 64, "same": 75}  # even and odd


@pytest.mark.parametrize("padding", SIDES)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name[-2:] in ("b1", "b3") else []) for name in MODELS]
)
def test_logits_and_gradients(tmp_path, name: str, padding: str) -> None:
    tg.manual_seed(1)
    rng = np.random.default_rng(2)
    ours = nn.create_model(name, 5, padding=padding, dropout=0.0, stochastic_depth=0.0)
    theirs = MODELS[name](5, padding == "same")
    weights.save(ours, tmp_path / "w.pth", "torchvision")
    theirs.load_state_dict(torch.load(tmp_path / "w.pth", weights_only=True))

    x = rng.standard_normal((3, 3, SIDES[padding], SIDES[padding])).astype(np.float32)
    theirs(torch.from_numpy(x))  # moves the running statistics away from 0 and 1
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    assert weights.load(ours, tmp_path / "w.pth").dialect == "torchvision"
    with tg.no_grad(), torch.no_grad():
        found, expected = ours.eval()(tg.from_numpy(x)).numpy(), theirs.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))

    # in float64: in float32 a batch norm over a dozen numbers magnifies rounding beyond any tolerance that means much
    ours, theirs = ours.double().train(), theirs.double().train()
    dy = rng.standard_normal(expected.shape)
    with tg.use_backend("numpy"):
        ours(tg.from_numpy(x.astype(np.float64))).backward(tg.from_numpy(dy))
    theirs(torch.from_numpy(x.astype(np.float64))).backward(torch.from_numpy(dy))
    names, gradients = weights.key_map(ours, "torchvision"), dict(theirs.named_parameters())
    for own, parameter in ours.named_parameters():
        g, e = parameter.grad.numpy(), gradients[names[own]].grad.numpy()
        assert np.linalg.norm(g - e) <= 1e-6 * np.linalg.norm(e) + 1e-12, own
