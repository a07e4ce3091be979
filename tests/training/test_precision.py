"""Training in 16 bits and with TF32 products, on the stand-in for CuPy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from backends.cupy.standin import available, products, standin_cupy, traffic

import tinygrad_effnet as tg
from tinygrad_effnet import backends, nn, optim
from tinygrad_effnet.training import ConfigError, TrainConfig, Trainer, precision, train
from tinygrad_effnet.training.precision import FIRST_SCALE, HalfTwin, prepare

needs_kernels = pytest.mark.skipif(
    not available(), reason="kernels run on the CPU by way of g++, which is not installed"
)
halves = pytest.mark.parametrize("stored", ["float16", "bfloat16"])


def small() -> nn.Module:
    tg.manual_seed(2)
    return nn.Sequential(
        nn.ConvNormAct(3, 8, 3, stride=2, act=nn.SiLU()),
        nn.MBConv(8, 8, 2, 3, 1, 0.25),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).cuda()


def trainer(net: nn.Module, half: HalfTwin | None, **settings: object) -> Trainer:
    optimizer = optim.NAdam(net.parameters(), lr=1e-2)
    return Trainer(net, optimizer, optim.WarmupCosine(optimizer, 2, 20), 3, half=half, **settings)


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return rng.standard_normal((6, 3, 8, 8)).astype(np.float32), rng.integers(0, 3, 6)


@needs_kernels
@halves
def test_it_learns_as_float32_does(stored: str) -> None:
    losses, states, read = [], [], []
    for half in (False, True):
        with standin_cupy():
            net = small()
            fit = trainer(net, HalfTwin(net, stored) if half else None, ema=optim.EMA(net.state_dict(), 0.9))
            net.train()
            losses.append([fit.train_step(*batch()) for _ in range(6)])
            traffic.clear()
            losses[-1].append(fit.train_step(*batch()))
            read.append(traffic.counts["to host"])
            states.append(fit.state()[0])
    assert losses[0][-1] < 0.7 * losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)
    assert losses[1] != losses[0]
    assert read[1] - read[0] == (1 if stored == "float16" else 0)  # whether the gradients overflowed
    for group, arrays in states[0].items():
        for name, array in arrays.items():
            assert states[1][group][name].dtype == array.dtype, name  # float32 wherever the float32 run has it
    for name, array in states[0]["model"].items():
        if "running" in name:
            np.testing.assert_allclose(states[1]["model"][name], array, rtol=0, atol=3e-2 * np.abs(array).max())


@needs_kernels
def test_batches_of_one_step_add_their_gradients_in_float32() -> None:
    images, labels = batch()
    with standin_cupy():
        net = small()
        fit = trainer(net, HalfTwin(net, "float16"))
        net.eval()  # so that a batch of two halves is two batches
        fit.train_batch(images, labels)
        whole = {name: p.grad.cpu().numpy() for name, p in net.named_parameters()}
        fit.optimizer.zero_grad()
        fit.train_batch(images[:3], labels[:3], share=0.5)
        fit.train_batch(images[3:], labels[3:], share=0.5)
        for name, p in net.named_parameters():
            assert p.grad.dtype == np.float32
            largest = np.abs(whole[name]).max()
            np.testing.assert_allclose(p.grad.cpu().numpy(), whole[name], rtol=0, atol=1e-2 * largest, err_msg=name)


@needs_kernels
def test_an_overflow_leaves_the_step_out_and_halves_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "PATIENCE", 2)
    with standin_cupy():
        net = small()
        fit = trainer(net, HalfTwin(net, "float16"))
        assert fit.half is not None
        net.train()
        fit.half.scale = 2.0**40
        before = {name: p.cpu().numpy() for name, p in net.named_parameters()}
        assert np.isfinite(fit.train_step(*batch()))
        for name, p in net.named_parameters():
            np.testing.assert_array_equal(p.cpu().numpy(), before[name])
        assert fit.half.state() == {"scale": 2.0**39, "good": 0, "skipped": 1}
        fit.half.scale = 1024.0
        fit.train_step(*batch())
        fit.train_step(*batch())
        assert fit.half.state() == {"scale": 2048.0, "good": 0, "skipped": 1}
        assert all((p.cpu().numpy() != before[name]).any() for name, p in net.named_parameters())
        arrays, values = fit.state()
        again = trainer(net, HalfTwin(net, "float16"))
        again.load_state(arrays, values)
        assert again.half is not None
        assert again.half.state() == fit.half.state()
        del values["half"]  # of a run before there was any
        trainer(net, HalfTwin(net, "float16")).load_state(arrays, values)


@pytest.mark.parametrize("kind", ["tf32", "bfloat16", "float16"])
def test_the_host_trains_in_float32(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_default", None)  # what a run chooses for the process is put back afterwards
    words = f"^precision: got '{kind}', but the network lies on the host, which trains in float32; give --backend cupy"
    with pytest.raises(ConfigError, match=words):
        train(TrainConfig(size=32, precision=kind, backend="numpy"), tmp_path, "run")
    assert not list(tmp_path.iterdir())
    assert prepare("float32", nn.Linear(2, 2)) is None


def test_what_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    with standin_cupy(runs_kernels=False):
        net = nn.Linear(2, 2).cuda()
        assert prepare("tf32", net) is None
        assert products.kinds["float32"] == products.COMPUTE_TYPE_TF32
        assert prepare("float32", net) is None
        assert products.kinds["float32"] == products.COMPUTE_TYPE_DEFAULT
        twin = prepare("float16", net)
        assert twin is not None
        assert (twin.scale, prepare("bfloat16", net).scale) == (FIRST_SCALE, 1.0)
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
        with pytest.raises(ConfigError, match=r"^precision: bfloat16 needs the package ml_dtypes: pip install ml_dtyp"):
            prepare("bfloat16", net)
    with pytest.raises(ConfigError, match=r"^precision: got 'half', expected one of float32, tf32, bfloat16, float16"):
        TrainConfig(precision="half")


# -- tensors in 16 bits ------------------------------------------------------------------------------------------------

RULES: dict[str, tuple[Callable[[tg.Tensor], tg.Tensor], str]] = {
    "a number leaves it": (lambda x: x * 2.0 + 1, "bfloat16"),
    "with its own kind": (lambda x: x * x, "bfloat16"),
    "the wider wins": (lambda x: x * tg.Tensor(np.ones(3, np.float32)).cuda(), "float32"),
    "back": (lambda x: x.float(), "float32"),
}


@pytest.mark.parametrize("name", RULES)
def test_the_dtype_rule_holds_for_bfloat16(name: str) -> None:
    rule, dtype = RULES[name]
    with standin_cupy():
        x = tg.Tensor(np.array([1.0, -2.5, 3.0], np.float32)).cuda().requires_grad_()
        y = rule(x.to("bfloat16"))
        assert y.dtype.name == dtype
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.dtype == np.float32
        up = tg.Tensor(np.array([0.5, 2.0, -1.0], np.float32)).cuda()
        (gradient,) = tg.grad(rule(x.to("bfloat16")).float(), x, up)
        assert np.isfinite(gradient.cpu().numpy()).all()


def test_the_host_stores_bfloat16_and_computes_nothing_with_it() -> None:
    x = tg.Tensor(np.array([1.0, 2.0], np.float32)).to("bfloat16")
    with pytest.raises(TypeError, match=r"^exp: x holds bfloat16 numbers on the host, where nothing computes"):
        x.exp()
    np.testing.assert_array_equal((x.float() * 2.0).numpy(), [2.0, 4.0])
    module = nn.Linear(2, 2).to("bfloat16")
    assert {p.dtype.name for p in module.parameters()} == {"bfloat16"}
    assert {p.dtype.name for p in module.float().parameters()} == {"float32"}
