"""Whole networks on the device: the golden EfficientNet-B0, the same bits twice, and no reading inside a step."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.training.precision import prepare

pytestmark = pytest.mark.device_only  # the emulator takes minutes for a step of B0


def _golden() -> Any:
    spec = importlib.util.spec_from_file_location("make_golden", Path(__file__).parents[1] / "nn" / "make_golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = _golden()


def b0(fused: bool | None = None) -> nn.Module:
    """On the device, with the golden weights."""
    net = nn.EfficientNet("b0", golden.CLASSES, dropout=0.0, stochastic_depth=0.0, fused=fused)
    state = net.state_dict()
    values = golden.draw({name: t.shape for name, t in state.items()})
    net.load_state_dict(dict(zip(state, values, strict=True)))
    return net.cuda()


def step(net: nn.Module, optimizer: optim.Optimizer, images: np.ndarray, labels: np.ndarray) -> tuple[Any, float, list]:
    optimizer.zero_grad()
    logits = net(tg.from_numpy(images).cuda())
    loss = tg.cross_entropy(logits, tg.from_numpy(np.asarray(labels)).cuda())
    loss.backward()
    gradients = [p.grad.cpu().numpy() for p in net.parameters() if p.grad is not None]
    optimizer.step()
    return logits.cpu().numpy(), loss.item(), gradients


def close_digests(tensors: list[np.ndarray], norms: np.ndarray, entries: np.ndarray) -> None:
    got_norms, got_entries = golden.digest(tensors)
    np.testing.assert_allclose(got_norms, norms, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(got_entries, entries, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "small operations"])
def test_b0_in_float64_equals_the_golden_file(fused: bool) -> None:
    expected = np.load(golden.PATH)
    images, labels = golden.batch()
    net = b0(fused).double()
    with tg.no_grad():
        logits = net.eval()(tg.from_numpy(images).cuda()).cpu().numpy()
    np.testing.assert_allclose(logits, expected["eval_logits"], rtol=1e-8)
    optimizer = optim.NAdam(net.train().parameters(), lr=golden.LR)
    for number in range(1, 6):
        logits, loss, gradients = step(net, optimizer, images, labels)
        if number == 1:
            np.testing.assert_allclose(logits, expected["logits"], rtol=1e-8)
            assert loss == pytest.approx(float(expected["loss"]), rel=1e-10)
            close_digests(gradients, expected["grad_norms"], expected["grad_entries"])
            running = np.concatenate([b.cpu().numpy() for b in net.buffers() if b.ndim])
            np.testing.assert_allclose(running, expected["running"], rtol=1e-8, atol=1e-12)
        if number in (1, 5):
            weights = [p.cpu().numpy() for p in net.parameters()]
            close_digests(weights, expected[f"norms_{number}"], expected[f"entries_{number}"])


def test_b0_in_float32_differs_by_rounding_only() -> None:
    expected = np.load(golden.PATH)
    images, labels = golden.batch()
    net = b0().train()
    logits, loss, gradients = step(net, optim.NAdam(net.parameters(), lr=golden.LR), images.astype(np.float32), labels)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected["logits"], rtol=2e-3, atol=2e-4)
    assert loss == pytest.approx(float(expected["loss"]), rel=1e-4)
    norms, _ = golden.digest(gradients)
    np.testing.assert_allclose(norms, expected["grad_norms"], rtol=2e-3, atol=1e-4)


# logits and gradients: within so much of the largest; the loss: within so much of itself. About 50 roundings deep.
CLOSE = {"tf32": (2e-2, 5e-3), "float16": (3e-2, 1e-2), "bfloat16": (2e-1, 5e-2)}


@pytest.mark.parametrize("kind", CLOSE)
def test_b0_in_fewer_bits_is_near_the_golden_file(kind: str) -> None:
    if kind == "bfloat16":
        pytest.importorskip("ml_dtypes")
    expected = np.load(golden.PATH)
    images, labels = golden.batch()
    net = b0().train()
    try:
        half = prepare(kind, net)
        x, y = tg.from_numpy(images.astype(np.float32)).cuda(), tg.from_numpy(np.asarray(labels)).cuda()
        logits = net(x) if half is None else half.logits(x)
        loss = tg.cross_entropy(logits, y)
        loss.backward() if half is None else half.backward(loss)
    finally:
        prepare("float32", net)
    share, of_loss = CLOSE[kind]
    largest = np.abs(expected["logits"]).max()
    np.testing.assert_allclose(logits.cpu().numpy(), expected["logits"], rtol=0, atol=share * largest)
    assert loss.item() == pytest.approx(float(expected["loss"]), rel=of_loss)
    norms, _ = golden.digest([p.grad.cpu().numpy() for p in net.parameters() if p.grad is not None])
    np.testing.assert_allclose(norms, expected["grad_norms"], rtol=0, atol=share * expected["grad_norms"].max())


def test_three_steps_give_the_same_bits_twice() -> None:
    images, labels = golden.batch()
    runs = []
    for _ in range(2):
        tg.manual_seed(5)
        net = nn.EfficientNet("b0", golden.CLASSES, stochastic_depth=0.2).cuda()
        optimizer = optim.NAdam(net.parameters(), lr=golden.LR)
        losses = [step(net, optimizer, images.astype(np.float32), labels)[1] for _ in range(3)]
        runs.append((losses, [p.cpu().numpy().tobytes() for p in net.parameters()]))
    assert runs[0] == runs[1]


def test_a_step_waits_for_nothing() -> None:
    """CuPy itself raises where it would wait for the device; reading the loss does, so it is read outside."""
    cupyx = pytest.importorskip("cupyx")
    if not hasattr(cupyx, "allow_synchronize"):
        pytest.skip("this CuPy no longer tells of waiting (cupyx.allow_synchronize)")
    images, labels = golden.batch()
    net = b0()
    optimizer = optim.NAdam(net.parameters(), lr=golden.LR)
    ema = optim.EMA(net.state_dict(), 0.9)
    x, y = tg.from_numpy(images.astype(np.float32)).cuda(), tg.from_numpy(np.asarray(labels)).cuda()
    for waiting in (True, False):  # the first step compiles kernels
        with cupyx.allow_synchronize(waiting):
            optimizer.zero_grad()
            loss = tg.cross_entropy(net(x), y)
            loss.backward()
            optim.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            ema.update(net.state_dict())
    with pytest.raises(cupyx.DeviceSynchronized), cupyx.allow_synchronize(False):
        loss.item()
