"""A whole EfficientNet-B0 against PyTorch's numbers: from a file always, and live where PyTorch is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("make_golden")


@pytest.fixture(params=[name for name in tg.available_backends() if name != "loops"])
def backend(request):
    with tg.use_backend(request.param):
        yield request.param


@pytest.fixture(params=[False, True], ids=["step by step", "fused"])
def fused(request):
    return request.param


@pytest.fixture
def model(fused):
    net = nn.EfficientNet("b0", golden.CLASSES, dropout=0.0, stochastic_depth=0.0, fused=fused)
    state = net.state_dict()
    values = golden.draw({name: t.shape for name, t in state.items()})
    net.load_state_dict(dict(zip(state, values, strict=True)))
    return net


def step(net, optimizer, images, labels):
    optimizer.zero_grad()
    logits = net(tg.from_numpy(images))
    loss = tg.cross_entropy(logits, labels)
    loss.backward()
    gradients = [p.grad.numpy().copy() for p in net.parameters()]
    optimizer.step()
    return logits.numpy(), loss.item(), gradients


def close_digests(tensors, norms, entries):
    got_norms, got_entries = golden.digest(tensors)
    np.testing.assert_allclose(got_norms, norms, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(got_entries, entries, rtol=1e-6, atol=1e-10)


def test_b0_equals_the_golden_file(backend, model):
    expected = np.load(golden.PATH)
    images, labels = golden.batch()
    model.double()
    with tg.no_grad():
        np.testing.assert_allclose(model.eval()(tg.from_numpy(images)).numpy(), expected["eval_logits"], rtol=1e-8)
    optimizer = optim.NAdam(model.train().parameters(), lr=golden.LR)
    for number in range(1, 6):
        logits, loss, gradients = step(model, optimizer, images, labels)
        if number == 1:
            np.testing.assert_allclose(logits, expected["logits"], rtol=1e-8)
            assert loss == pytest.approx(float(expected["loss"]), rel=1e-10)
            close_digests(gradients, expected["grad_norms"], expected["grad_entries"])
            running = np.concatenate([b.numpy() for b in model.buffers() if b.ndim])
            np.testing.assert_allclose(running, expected["running"], rtol=1e-8, atol=1e-12)
        if number in (1, 5):
            weights = [p.numpy() for p in model.parameters()]
            close_digests(weights, expected[f"norms_{number}"], expected[f"entries_{number}"])


def test_b0_in_float32_differs_by_rounding_only(backend, model):
    expected = np.load(golden.PATH)
    images, labels = golden.batch()
    optimizer = optim.NAdam(model.train().parameters(), lr=golden.LR)
    logits, loss, gradients = step(model, optimizer, images.astype(np.float32), labels)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected["logits"], rtol=2e-3, atol=2e-4)
    assert loss == pytest.approx(float(expected["loss"]), rel=1e-4)
    norms, _ = golden.digest(gradients)
    # a shift before a convolution and a batch norm has no gradient but rounding, hence the absolute part
    np.testing.assert_allclose(norms, expected["grad_norms"], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(("variant", "size"), [("b0", 63), ("b1", 64)])
def test_logits_and_all_gradients_equal_pytorch(backend, fused, variant, size):
    torch = pytest.importorskip("torch")
    oracle = load("torch_efficientnet").EfficientNet(variant, 7)
    net = nn.EfficientNet(variant, 7, dropout=0.0, stochastic_depth=0.0, fused=fused)
    state = oracle.state_dict()
    values = golden.draw({name: tuple(t.shape) for name, t in state.items()})
    oracle.load_state_dict({name: torch.from_numpy(v) for name, v in zip(state, values, strict=True)})
    net.load_state_dict(dict(zip(net.state_dict(), values, strict=True)))
    oracle, net = oracle.double(), net.double()  # float64, so that only real differences remain
    rng = np.random.default_rng(1)
    images, upstream = rng.standard_normal((3, 3, size, size)), rng.standard_normal((3, 7))
    theirs, ours = oracle(torch.from_numpy(images)), net(tg.from_numpy(images))
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-8, atol=1e-8)
    theirs.backward(torch.from_numpy(upstream))
    ours.backward(upstream)
    for (name, p), q in zip(net.named_parameters(), oracle.parameters(), strict=True):
        largest = q.grad.abs().max().item()
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6, atol=1e-7 * largest + 1e-10, err_msg=name)
    for (name, b), c in zip(net.named_buffers(), oracle.buffers(), strict=True):
        np.testing.assert_allclose(b.numpy(), c.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)


def test_the_golden_batch_does_not_fit_a_network_with_another_padding(model):
    """The comparison is sharp enough to see one wrong pixel of padding."""
    images, _ = golden.batch()
    other = nn.EfficientNet("b0", golden.CLASSES, dropout=0.0, stochastic_depth=0.0, padding="same")
    other.load_state_dict(model.state_dict())
    with tg.no_grad():
        logits = other.eval()(tg.from_numpy(images.astype(np.float32))).numpy()
    difference = logits - np.load(golden.PATH)["eval_logits"]
    assert np.abs(difference).max() > 0.05
