"""Training on a device, on the stand-in for CuPy: what goes to and fro in a step, and that it is the same training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from backends.cupy.standin import available, machine, ndarray, standin_cupy, streams, traffic

import tinygrad_effnet as tg
from tinygrad_effnet import backends, nn, optim
from tinygrad_effnet.backends.cupy.memory import DeviceMemoryError, Reading
from tinygrad_effnet.backends.device import reading
from tinygrad_effnet.data import ByteBatch, DataLoader, MemoryCache, SyntheticCars, train_transform
from tinygrad_effnet.training import TrainConfig, Trainer, resume, train
from tinygrad_effnet.training.build import make_loaders, open_split
from tinygrad_effnet.training.checkpoint import load_checkpoint, save_checkpoint
from tinygrad_effnet.training.failures import OutOfMemoryError
from tinygrad_effnet.training.precision import prepare
from tinygrad_effnet.training.progress import Progress
from tinygrad_effnet.training.run import EXPECTED_ERRORS
from tinygrad_effnet.training.tally import Tally

needs_kernels = pytest.mark.skipif(
    not available(), reason="kernels run on the CPU by way of g++, which is not installed"
)


def batch(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return rng.standard_normal((n, 3, size, size)).astype(np.float32), rng.integers(0, 3, n)


def trainer(net: nn.Module, **settings: object) -> Trainer:
    optimizer = optim.NAdam(net.parameters(), lr=1e-2)
    return Trainer(net, optimizer, optim.WarmupCosine(optimizer, 2, 20), 3, **settings)


def note_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, order: list[str]) -> None:
    """Add the name of a method to ``order`` whenever it has done its work; of what may wait, when it has waited."""
    call = getattr(owner, name)

    def noted(*args: Any, **options: Any) -> Any:
        found = call(*args, **options)
        if options.get("blocking", True):
            order.append(name)
        return found

    monkeypatch.setattr(owner, name, noted)


class Batches(NamedTuple):
    """What is evaluated."""

    batches: list[tuple[Any, np.ndarray]]

    def epoch(self, epoch: int) -> Iterator[tuple[Any, np.ndarray]]:
        yield from self.batches


def small() -> nn.Module:
    """A little of everything: a stem, a block with depthwise convolution, squeeze-excitation and a skip, a head."""
    tg.manual_seed(2)
    return nn.Sequential(
        nn.ConvNormAct(3, 8, 3, stride=2, act=nn.SiLU()),
        nn.MBConv(8, 8, 2, 3, 1, 0.25),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


@pytest.mark.parametrize("settings", [{}, {"max_grad_norm": 1.0, "label_smoothing": 0.1}])
def test_a_step_of_b0_carries_its_batch_over_and_reads_the_loss(settings: dict[str, float]) -> None:
    images, labels = batch(2, 32)
    with standin_cupy(runs_kernels=False):
        net = nn.EfficientNet("b0", 3).cuda()
        fit = trainer(net, ema=optim.EMA(net.state_dict(), 0.9), **settings)
        net.train()
        fit.train_step(images, labels)  # the first makes tables that stay
        traffic.clear()
        fit.train_step(images, labels)
        # over: images, labels, and the addresses that the only launches of the optimiser, of the average, of measuring
        # gradients and of scaling them take
        assert traffic.counts["to device"] == 4 + 2 * ("max_grad_norm" in settings), traffic.counts
        assert traffic.bytes["to device"] < images.nbytes + labels.nbytes + 40_000
        assert traffic.counts["to host"] == 2, traffic.counts  # the loss and the logits
        assert traffic.bytes["to host"] == 4 + 4 * 2 * 3
        assert traffic.counts["waits"] == 1, traffic.counts  # for both together


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
def test_a_step_waits_once_and_when_the_way_back_is_under_way(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = batch(2, 32)
    with standin_cupy(runs_kernels=False):
        net = nn.EfficientNet("b0", 3).cuda()
        half = prepare(precision, net)
        fit = trainer(net, ema=optim.EMA(net.state_dict(), 0.9), max_grad_norm=1.0, half=half)
        net.train()
        fit.train_step(images, labels)
        order: list[str] = []
        for owner, name in ((Trainer, "backward"), (streams.Event, "synchronize"), (ndarray, "get")):
            note_calls(monkeypatch, owner, name, order)
        for owner, name in ((optim.NAdam, "step"), (optim.EMA, "update")):
            note_calls(monkeypatch, owner, name, order)
        fit.train_step(images, labels)
        prepare("float32", net)
    # float16 reads besides whether gradients overflowed, which decides on the step
    assert order == ["backward", "synchronize", *(["get"] if precision == "float16" else []), "step", "update"]


def test_evaluation_reads_a_batch_when_the_next_has_been_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = batch(2, 32)
    order: list[str] = []
    with standin_cupy(runs_kernels=False):
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)).cuda()
        note_calls(monkeypatch, nn.Linear, "forward", order)
        note_calls(monkeypatch, Reading, "__call__", order)
        tally = trainer(net).evaluate(Batches([(images, labels)] * 3))
    assert order == ["forward", "forward", "__call__", "forward", "__call__", "__call__"]
    assert tally.images == 6


@pytest.mark.parametrize(
    ("precision", "clipped", "most"),
    [("float32", 0.0, 1178), ("float32", 1.0, 1187), ("bfloat16", 0.0, 1869), ("float16", 1.0, 1886)],
)
def test_a_step_of_b0_has_few_launches(precision: str, clipped: float, most: int) -> None:
    """Each costs the host more time than most of them cost the device; docs/gpu.md states the numbers."""
    images, labels = batch(2, 64)
    with standin_cupy(runs_kernels=False):
        net = nn.EfficientNet("b0", 3).cuda()
        fit = trainer(net, max_grad_norm=clipped, half=prepare(precision, net))
        net.train()
        fit.train_step(images, labels)
        traffic.clear()
        fit.train_step(images, labels)
        prepare("float32", net)
        assert 0 < traffic.launches <= most


def test_numbers_not_waited_for_are_not_there() -> None:
    """What is read while the device goes on arrives when it is waited for, on the stand-in as on a device."""
    with standin_cupy() as cupy:
        x = cupy.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
        read = reading(x, x.T)
        assert np.isnan(read._memory[0]).all()
        x += 1.0
        whole, turned = read()
        np.testing.assert_array_equal(whole, np.arange(6).reshape(2, 3))
        np.testing.assert_array_equal(turned, whole.T)
        del read
        dropped = reading(x)
        traffic.clear()
        del dropped  # page-locked memory is not given back while it is still to be written
        assert traffic.counts["waits"] == 1
    array = np.ones(2)
    assert reading(array)()[0] is array


def test_a_step_that_read_something_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = batch(2, 32)
    with standin_cupy(runs_kernels=False):
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)).cuda()
        fit = trainer(net)
        forward = nn.Linear.forward

        def peeping(self: nn.Linear, x: tg.Tensor) -> tg.Tensor:
            y = forward(self, x)
            assert np.isfinite(float(y.sum()))
            return y

        monkeypatch.setattr(nn.Linear, "forward", peeping)
        traffic.clear()
        fit.train_step(images, labels)
        assert traffic.counts["to host"] == 3


@needs_kernels
def test_training_there_is_training_here() -> None:
    images, labels = batch(6, 8)
    losses, states = [], []
    for place in ("cpu", "cupy"):
        with standin_cupy(), tg.use_backend("numpy"):
            net = small().to(place)
            fit = trainer(net, ema=optim.EMA(net.state_dict(), 0.9), max_grad_norm=1.0)
            losses.append([fit.train_step(images, labels) for _ in range(6)])
            states.append(fit.state()[0])
    assert losses[0][-1] < 0.8 * losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-4)
    for group, arrays in states[0].items():
        for name, array in arrays.items():
            largest = max(1e-3, float(np.abs(array).max(initial=0.0)))
            np.testing.assert_allclose(states[1][group][name], array, rtol=0, atol=2e-2 * largest, err_msg=name)


@needs_kernels
def test_pictures_go_over_as_bytes_and_give_the_same_training() -> None:
    cars = MemoryCache(SyntheticCars("train", 1, size=24))
    losses, sent = [], []
    for as_bytes in (False, True):
        loader = DataLoader(cars, 5, train_transform(16, jitter=0.0), seed=1, as_bytes=as_bytes)
        with standin_cupy(), tg.use_backend("numpy"):
            fit = trainer(small().cuda())
            fit.model.train()
            images, labels = next(loader.epoch(0))
            fit.train_step(images, labels % 3)
            traffic.clear()
            losses.append([fit.train_step(images, labels % 3)])
            sent.append(traffic.bytes["to device"])
            assert traffic.counts["to host"] == 2
            losses[-1].append(fit.evaluate(Batches([(images, labels % 3)])).loss)
            losses[-1].append(fit.evaluate(Batches([(images, labels % 3)]), mirror=True).loss)
    assert losses[0] == losses[1]  # the same bits: what the device makes of the bytes is what the host makes
    assert sent[1] < 0.7 * sent[0]


@needs_kernels
def test_an_epoch_sends_its_batches_ahead_and_is_the_same_training() -> None:
    """The copies are done no sooner than they are waited for, so a step that did not wait would learn from NaNs."""
    cars = MemoryCache(SyntheticCars("train", 1, size=24))
    found = []
    for ahead in (False, True):
        loader = DataLoader(cars, 4, train_transform(16, jitter=0.0), seed=1, as_bytes=True)
        with standin_cupy(), tg.use_backend("numpy"):
            net = nn.Sequential(*small().children(), nn.Linear(3, 10)).cuda()
            fit = trainer(net)
            fit.num_classes, fit.tally = 10, Tally(10)
            if ahead:
                tally = fit.train_epoch(loader)
                assert tally is not None
            else:
                fit.model.train()
                for images, labels in loader.epoch(0):
                    fit.train_step(images, labels)
                tally = fit.tally
            found.append((tally.state(), fit.evaluate(loader).state(), fit.state()[0]))
    assert found[0][:2] == found[1][:2]
    for group, arrays in found[0][2].items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[1][2][group][name], array, err_msg=name)


def test_a_run_on_a_device_has_its_pictures_finished_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_default", None)
    config = TrainConfig(size=32, batch_size=4)
    data = open_split(config)
    with standin_cupy(runs_kernels=False), tg.use_backend("cupy"):
        for settings, kinds in (
            ({}, (ByteBatch, ByteBatch)),
            ({"mixup": 0.2}, (np.ndarray, ByteBatch)),
            ({"workers": 1, "processes": True}, (np.ndarray, np.ndarray)),
        ):
            loaders = make_loaders(data, config.changed(**settings), Progress(1))
            assert [loader.as_bytes for loader in loaders] == [kind is ByteBatch for kind in kinds], settings
    assert not any(loader.as_bytes for loader in make_loaders(data, config, Progress(1)))


@needs_kernels
@pytest.mark.parametrize(("first", "second"), [("cpu", "cupy"), ("cupy", "cpu")])
def test_a_checkpoint_goes_on_on_the_other_side(tmp_path: Path, first: str, second: str) -> None:
    images, labels = batch(4, 8)
    with standin_cupy(), tg.use_backend("numpy"):
        begun = trainer(small().to(first))
        begun.train_step(images, labels)
        save_checkpoint(tmp_path, "checkpoint", *begun.state())
        resumed = trainer(small().to(second))
        resumed.load_state(*load_checkpoint(tmp_path / "checkpoint.safetensors"))
        assert resumed.place == ("cuda:0" if second == "cupy" else "cpu")
        assert resumed.train_step(images, labels) == pytest.approx(begun.train_step(images, labels), rel=1e-4)


def test_a_full_device_names_the_batch_that_fits() -> None:
    with standin_cupy(memory=3 * 2**19, runs_kernels=False):
        fit = trainer(small().cuda())
        fit.train_step(*batch(4, 32))
        held = machine.pools[0].used
        words = r"^out of memory in epoch 1, batch 1 with 64 images a batch \(.*: the device has no room for .*"
        with pytest.raises(OutOfMemoryError, match=words) as caught:
            fit.train_step(*batch(64, 32))
        fits = caught.value.fits
        assert fits in (8, 16, 32)
        fit.optimizer.zero_grad()
        assert machine.pools[0].used <= held
        fit.train_step(*batch(fits, 32))


def test_a_device_too_small_for_one_image() -> None:
    with standin_cupy(memory=2**20, runs_kernels=False):
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3)
        fit = trainer(nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), *head).cuda())
        with pytest.raises(OutOfMemoryError, match=r"\(conv2d: the device has no room .*not even one image fits"):
            fit.train_step(*batch(1, 64))


def test_an_operation_that_finds_no_room_says_what_it_was_given() -> None:
    with standin_cupy(memory=2**16, runs_kernels=False):
        x = tg.Tensor(np.zeros((100, 100), np.float32)).cuda()
        with pytest.raises(DeviceMemoryError, match=r"^exp: .*39\.1 KiB more; .*hold 39\.1 KiB.*shapes \(100, 100\)\."):
            x.exp()


def test_evaluation_that_finds_no_room_says_so() -> None:
    with standin_cupy(memory=3 * 2**20, runs_kernels=False):
        fit = trainer(small().cuda())
        images, labels = batch(512, 32)
        with pytest.raises(DeviceMemoryError, match=r"^to\('cuda:0'\): the device has no room for 6\.0 MiB more"):
            fit.evaluate(Batches([(images, labels)]))
        with pytest.raises(DeviceMemoryError, match=r"^evaluate\(\): the device has no room for .* Take a smaller"):
            fit.evaluate(Batches([(images[:100], labels[:100])]))
        fit.evaluate(Batches([(images[:4], labels[:4])]))
    assert DeviceMemoryError in EXPECTED_ERRORS  # so that commands show the message alone


def test_memory_comes_back() -> None:
    with standin_cupy(runs_kernels=False):
        net = nn.EfficientNet("b0", 3).cuda()
        fit = trainer(net)
        fit.train_step(*batch(2, 32))
        before = machine.pools[0].used
        for _ in range(3):
            fit.train_step(*batch(2, 32))
        assert machine.pools[0].used == before
        held = machine.pools[0]
        del net, fit
    assert held.used < 2**16


@pytest.mark.slow
def test_a_run_begins_on_a_device_and_ends_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_default", None)  # what a run chooses for the process is put back afterwards
    config = TrainConfig(size=32, epochs=1, batch_size=2, limit_batches=1, backend="cupy", ema=0.9)
    with standin_cupy(runs_kernels=False):
        begun = train(config, tmp_path, "run")
        assert traffic.bytes["to device"] > 0
    ended = resume(begun.folder, backend="numpy", epochs=2)
    assert (begun.finished, ended.finished) == (True, True)
    assert (begun.folder / "history.csv").read_text().count("\n") == 3  # a head and two epochs
    assert (begun.folder / "best.safetensors").exists()
