from __future__ import annotations

import warnings

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.data import DataLoader, Normalize
from tinygrad_effnet.training import CheckpointError, DivergedError, Tally, Trainer


class Squares:
    """Pictures of one of three grey levels with noise, (8, 8, 3) uint8; the level is the label."""

    class_names = ("dark", "middle", "light")

    def __init__(self, count, seed=0):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 3, count)
        noise = rng.integers(-20, 20, (count, 8, 8, 3))
        self.pictures = (60 + 70 * self.labels[:, None, None, None] + noise).astype(np.uint8)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.pictures[index], int(self.labels[index])


def loader(count=40, batch_size=8, **settings):
    return DataLoader(Squares(count), batch_size, Normalize(), **settings)


def network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(4, 3),
    )


def trainer(seed=0, steps=20, ema=False, **settings):
    tg.manual_seed(seed)
    net = network()
    optimizer = optim.NAdam(net.parameters(), lr=2e-2)
    average = optim.EMA(net.state_dict(), 0.9) if ema else None
    return Trainer(net, optimizer, optim.WarmupCosine(optimizer, 2, steps), 3, ema=average, **settings)


@pytest.fixture(autouse=True)
def numpy_backend():
    with tg.use_backend("numpy"):
        yield


def weights(t):
    return {name: tensor.numpy().copy() for name, tensor in t.model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_it_learns_and_measures():
    t = trainer(steps=75)
    first = t.evaluate(loader(60))
    for _ in range(15):
        tally = t.train_epoch(loader(shuffle=True, drop_last=True))
    last = t.evaluate(loader(60))
    assert last.accuracy > 0.9 > first.accuracy
    assert last.loss < first.loss
    assert (t.epoch, t.batch) == (15, 0)
    assert tally.images == 40
    assert tally.confusion.total == 40


def test_evaluation_changes_nothing():
    t = trainer()
    before = weights(t)
    t.evaluate(loader(20))
    assert_same(weights(t), before)


def test_limit_ends_the_epoch_early():
    t = trainer()
    tally = t.train_epoch(loader(), limit=2)
    assert tally.images == 16
    assert (t.epoch, t.batch) == (1, 0)
    assert t.evaluate(loader(), limit=3).images == 24


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_stopped_anywhere_and_resumed_it_is_bit_equal(stop_after, ema):
    """Two epochs at once, and with a stop after some batch and a fresh trainer that takes up the state."""
    straight = trainer(ema=ema)
    tallies = [straight.train_epoch(loader(shuffle=True)) for _ in range(2)]

    first = trainer(ema=ema)
    assert first.train_epoch(loader(shuffle=True), after_batch=lambda t: t.batch == stop_after) is None
    arrays, values = first.state()
    tg.default_generator().random(100)  # whatever else happened to the generator in between
    second = trainer(seed=99, ema=ema)
    second.load_state(arrays, values)
    resumed = [second.train_epoch(loader(shuffle=True)) for _ in range(2)]

    assert_same(weights(second), weights(straight))
    assert_same(second.weights(), straight.weights())
    for a, b in zip(tallies, resumed, strict=True):
        np.testing.assert_array_equal(a.confusion.matrix, b.confusion.matrix)
        assert a.loss == pytest.approx(b.loss, rel=1e-12)


def test_a_state_of_another_network_is_refused():
    arrays, values = trainer().state()
    del arrays["model"]["0.weight"]
    with pytest.raises(CheckpointError, match="does not fit this run"):
        trainer().load_state(arrays, values)


def test_average_is_what_is_evaluated_and_kept():
    t = trainer(ema=True)
    t.train_epoch(loader())
    averaged = t.weights()
    assert any((averaged[name] != value).any() for name, value in weights(t).items())
    net = network()
    net.load_state_dict(averaged)
    with tg.no_grad():
        images, labels = next(loader(20, batch_size=20).epoch(0))
        expected = tg.cross_entropy(net.eval()(tg.from_numpy(images)), labels).item()
    assert t.evaluate(loader(20, batch_size=20)).loss == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_is_no_number_stops_and_changes_nothing():
    t = trainer()
    t.model[6].weight.array[0, 0] = np.nan
    before = weights(t)
    with pytest.raises(
        DivergedError,
        match=r"loss became nan in epoch 1, batch 1. The step before made weights infinite or NaN \(6.weight\)",
    ):
        t.train_epoch(loader())
    after = weights(t)
    for name in ("0.weight", "6.weight"):
        np.testing.assert_array_equal(after[name], before[name])


def test_gradients_are_clipped():
    free, clipped = trainer(), trainer(max_grad_norm=1e-3)
    images, labels = next(loader().epoch(0))
    for t in (free, clipped):
        t.model.train()
        t.train_step(images * 50, labels)
    norms = [sum(float((p.grad.numpy() ** 2).sum()) for p in t.model.parameters()) ** 0.5 for t in (free, clipped)]
    assert norms[0] > 1e-2
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)


def test_a_tally_survives_being_kept():
    tally = Tally(3)
    tally.update(0.7, np.eye(3)[[0, 1, 1]], np.array([0, 1, 2]))
    again = Tally.restored(tally.state())
    assert (again.loss, again.images, again.accuracy, again.f1) == (tally.loss, 3, tally.accuracy, tally.f1)
    assert Tally.restored(Tally(3).state()).images == 0


def test_several_batches_make_the_step_of_one():
    """But for batch norm, which sees each by itself, so it is left out; batches of 8 and 4 would count the same."""
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((12, 3, 8, 8)), np.arange(12) % 3
    ends = []
    for size, accumulate in ((12, 1), (4, 3), (4, 5)):
        tg.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 3)).double()
        optimizer = optim.SGD(model.parameters(), lr=0.5)
        schedule = optim.WarmupCosine(optimizer, 0, 100)
        made = Trainer(model, optimizer, schedule, 3, label_smoothing=0.1, accumulate=accumulate)
        asked: list[int] = []
        made.train_epoch(Given(images, labels, size), after_batch=lambda t, asked=asked: asked.append(t.batch) or False)
        assert asked == [12 // size]  # one step, after the last batch of its group
        ends.append(weights(made))
    for name in ends[0]:
        np.testing.assert_allclose(ends[0][name], ends[1][name], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(ends[0][name], ends[2][name], rtol=1e-12, atol=1e-15)


class Given:
    """A loader of these images."""

    def __init__(self, images, labels, size):
        self.images, self.labels, self.size = images, labels, size

    def __len__(self):
        return len(self.images) // self.size

    def epoch(self, epoch, start):
        for at in range(start * self.size, len(self.images), self.size):
            yield self.images[at : at + self.size], self.labels[at : at + self.size]


def test_frozen_modules_keep_weights_and_statistics():
    t = trainer(frozen=("1",))
    before = weights(t)
    t.train_epoch(loader())
    after = weights(t)
    np.testing.assert_array_equal(after["1.running_mean"], before["1.running_mean"])
    assert (trained_statistics() != before["1.running_mean"]).any()


def trained_statistics():
    t = trainer()
    t.train_epoch(loader())
    return weights(t)["1.running_mean"]


def test_the_operation_that_overflows_is_named():
    t = trainer()
    images = np.full((4, 3, 8, 8), 3e38, np.float32)
    labels = np.zeros(4, np.int64)
    with pytest.raises(DivergedError, match=r"detect_anomaly: \w+, at .*, gave -?(inf|nan)"):
        t.train_step(images, labels)
    images[2, 0, 0, 0] = np.nan
    with pytest.raises(DivergedError, match="Image 2 of the batch is itself"):
        t.train_step(images, labels)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_run_that_diverges_says_so_once_and_numpy_is_silent(backend: str):
    with tg.use_backend(backend), warnings.catch_warnings():
        warnings.simplefilter("error")
        t = trainer()
        t.optimizer.param_groups[0]["lr"] = 1e30
        images, labels = next(loader().epoch(0))
        t.train_step(images, labels)
        assert not np.isfinite(t.evaluate(loader()).loss)
        with pytest.raises(DivergedError, match="loss became"):
            t.train_step(images, labels)


def test_shares_of_classes_are_learnt_from_and_counted_as_the_largest():
    t = trainer()
    shares = np.array([[0.2, 0.8, 0.0], [0.9, 0.0, 0.1]], np.float32)
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    assert np.isfinite(t.train_step(images, shares))
    assert t.tally.confusion.matrix.sum(axis=1).tolist() == [1, 1, 0]
