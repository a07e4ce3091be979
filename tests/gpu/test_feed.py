"""Batches sent ahead: the same training, and a copy that runs beside what is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.backends.cupy.feed import Feed
from tinygrad_effnet.data import DataLoader, MemoryCache, SyntheticCars, train_transform
from tinygrad_effnet.training import Trainer


def trained(loader: DataLoader, ahead: bool) -> tuple[dict[str, Any], list[bytes]]:
    tg.manual_seed(2)
    net = nn.Sequential(
        nn.ConvNormAct(3, 8, 3, stride=2, act=nn.SiLU()),
        nn.MBConv(8, 8, 2, 3, 1, 0.25),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    ).cuda()
    optimizer = optim.NAdam(net.parameters(), lr=1e-2)
    fit = Trainer(net, optimizer, optim.WarmupCosine(optimizer, 2, 20), 10)
    net.train()
    if ahead:
        tally = fit.train_epoch(loader)
        assert tally is not None
    else:
        for images, labels in loader.epoch(0):
            fit.train_step(images, labels)
        tally = fit.tally
    return tally.state(), [p.cpu().numpy().tobytes() for p in net.parameters()]


@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "images"])
def test_an_epoch_sent_ahead_is_the_same_training(as_bytes: bool) -> None:
    cars = MemoryCache(SyntheticCars("train", 1, size=24))
    loader = DataLoader(cars, 3, train_transform(16), seed=1, as_bytes=as_bytes)
    assert trained(loader, ahead=True) == trained(loader, ahead=False)


@pytest.mark.device_only
def test_a_copy_overtakes_what_is_computed(cupy: Any) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, 2**25).astype(np.uint8)
    feed = Feed()
    for _ in range(2):  # page-locked memory is had by waiting for the device, so both slots get theirs before
        feed.send([pixels])
    a = cupy.full((4096, 4096), 1e-4, "float32")
    b = cupy.empty_like(a)
    cupy.matmul(a, a, out=b)
    cupy.cuda.Device().synchronize()
    for _ in range(200):  # some hundred milliseconds, or more
        cupy.matmul(a, a, out=b)
    computed = cupy.cuda.get_current_stream().record()
    parcel = feed.send([pixels])
    feed._slots[0].copied.synchronize()
    assert not computed.done
    with parcel.opened() as (there,):
        own = there.copy()
    np.testing.assert_array_equal(own.get(), pixels)
    feed.close()
