"""Networks whose launches are recorded, on the stand-in for a device; and on the host, where none are."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from backends.cupy.standin import available, machine, standin_cupy

import tinygrad_effnet as tg
from tinygrad_effnet import nn, op, versions
from tinygrad_effnet.backends.cupy.memory import DeviceMemoryError

pytestmark = pytest.mark.skipif(not available(), reason="kernels run on the CPU by way of g++, which is not installed")


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with tg.no_grad():
        yield


def network() -> nn.Module:
    """All that EfficientNet does in use."""
    tg.manual_seed(2)
    net = nn.Sequential(
        nn.ConvNormAct(3, 8, 3, stride=2, act=nn.SiLU()),
        nn.MBConv(8, 8, 2, 3, 1, 0.25),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8, 3),
    )
    rng = np.random.default_rng(1)
    for name, tensor in net.state_dict().items():
        if "running_var" in name:
            tensor.array[...] = rng.uniform(0.5, 2.0, tensor.shape)
        elif tensor.ndim:
            tensor.array[...] = rng.standard_normal(tensor.shape)
    return net.eval()


def images(n: int = 1, seed: int = 0) -> tg.Tensor:
    return tg.from_numpy(np.random.default_rng(seed).standard_normal((n, 3, 8, 8)).astype(np.float32))


def close(found: tg.Tensor, expected: tg.Tensor) -> None:
    np.testing.assert_allclose(found.cpu().numpy(), expected.cpu().numpy(), rtol=1e-4, atol=1e-5)


def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often Python goes through the network."""
    calls: list[int] = []
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: calls.append(1) or forward(self, x))
    return calls


def test_a_replay_says_what_the_network_says(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    expected = [net(images(seed=seed)) for seed in range(3)]
    with standin_cupy():
        recorded = nn.Recorded(net.cuda())
        calls = forwards(monkeypatch)
        answers = [recorded(images(seed=seed).cuda()) for seed in range(3)]
        assert recorded.reason == ""
        assert len(calls) == 2  # once to compile, once to record
        for answer, right in zip(answers, expected, strict=True):
            assert answer.device == "cuda:0"
            close(answer, right)


def test_a_replay_reads_folded_weights_that_modules_forget() -> None:
    net = nn.Sequential(nn.ConvNormAct(3, 8, 3, act=nn.SiLU()), nn.MBConv(8, 8), nn.Flatten()).eval()
    expected = net(images())
    with standin_cupy():
        recorded = nn.Recorded(net.cuda())
        close(recorded(images().cuda()), expected)
        kept = [weakref.ref(folded.packed.shift.mean) for folded in recorded._folded if hasattr(folded.packed, "shift")]
        with tg.enable_grad():
            net(images().cuda())  # which forgets them
        assert len(recorded._folded) == 2
        assert kept and all([array() is not None for array in kept])
        close(recorded(images().cuda()), expected)
        assert recorded.reason == ""


CHANGES: dict[str, Any] = {
    "written to": lambda net: net.load_state_dict(
        {name: t.cpu().numpy() * 0.5 for name, t in net.state_dict().items()}
    ),
    "put elsewhere": lambda net: net.cpu() and net.cuda(),
    "replaced": lambda net: setattr(net[5].weight, "array", net[5].weight.array * 2.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_changed_are_recorded_anew(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with standin_cupy():
        net = network().cuda()
        recorded, x = nn.Recorded(net), images().cuda()
        recorded(x)
        CHANGES[change](net)
        calls = forwards(monkeypatch)
        close(recorded(x), net(x))
        assert recorded.reason == ""
        assert len(calls) == 3  # two of them for the recording
        versions.wrote("somebody else", x.array)
        close(recorded(x), net(x))
        assert len(calls) == 4


def test_other_images_are_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with standin_cupy():
        net = network().cuda()
        recorded, calls = nn.Recorded(net), forwards(monkeypatch)
        for n in (1, 2, 2, 1):
            x = images(n).cuda()
            close(recorded(x), net(x))
        assert len(calls) == 4 + 3 * 2


def test_where_nothing_is_recorded_the_reason_is_given() -> None:
    net = network()
    recorded, x = nn.Recorded(net), images(2)
    close(recorded(x), net(x))
    assert recorded.reason == "the network lies on the host, where no launches are recorded"
    with standin_cupy():
        net.cuda()
        with pytest.raises(tg.backends.device.MixedDevicesError):
            recorded(x)
        assert recorded.reason == "the images lie on cpu, the network on cuda:0"
        x = x.cuda()
        with tg.enable_grad():
            assert recorded(x).node is not None
        assert recorded.reason == "gradients are wanted; use it under no_grad()"
        net.train()
        recorded(x)
        assert recorded.reason == "the network is in training mode; call eval()"
        net.eval()
        seen: list[Any] = []
        op.watch.append(lambda node, *rest: seen.append(node))
        try:
            recorded(x)
        finally:
            op.watch.pop()
        assert recorded.reason == "somebody looks on at operations, which are not there in a replay"
        assert seen
        close(recorded(x), net(x))
        assert recorded.reason == ""


def test_a_part_in_training_mode_is_not_recorded() -> None:
    with standin_cupy():
        net = network().cuda()
        net[1].train()
        recorded = nn.Recorded(net)
        recorded(images(2).cuda())
        assert recorded.reason == "a part of the network is in training mode; call eval()"


def test_a_network_that_cannot_be_recorded_works_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Peeping(nn.Module):
        def __init__(self) -> None:
            self.head = nn.Linear(3, 2)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            y = self.head(x)
            return y * (1.0 if float(y.sum()) > 0 else 2.0)

    with standin_cupy():
        net = Peeping().cuda().eval()
        recorded, calls = nn.Recorded(net), forwards(monkeypatch)
        x = tg.Tensor(np.ones((2, 3), np.float32)).cuda()
        for number in (3, 4):  # two attempts once, and a call each time
            close(recorded(x), net(x))
            assert recorded.reason.startswith("the launches cannot be recorded: ")
            assert len(calls) == number + (number - 2)


def test_a_recording_for_which_there_is_no_room_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with standin_cupy() as cupy:
        net = network().cuda()
        recorded, x = nn.Recorded(net), images(64).cuda()
        with monkeypatch.context() as patched:
            patched.setattr(cupy.cuda, "MemoryPool", lambda: machine.Pool(2**16))
            with pytest.raises(DeviceMemoryError, match=r"the device has no room"):
                recorded(x)
        close(recorded(x), net(x))
        assert recorded.reason == ""
