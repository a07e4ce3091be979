"""What is about the device itself: memory that comes back and runs out, streams, DLPack with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.backends.cupy.memory import DeviceMemoryError
from tinygrad_effnet.commands import doctor
from tinygrad_effnet.data import DataLoader, SyntheticCars, eval_transform, train_transform
from tinygrad_effnet.training import Trainer
from tinygrad_effnet.training.batches import carried
from tinygrad_effnet.training.precision import prepare


def small() -> nn.Module:
    tg.manual_seed(2)
    return nn.Sequential(
        nn.ConvNormAct(3, 8, 3, stride=2, act=nn.SiLU()),
        nn.MBConv(8, 8, 2, 3, 1, 0.25),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).cuda()


def trainer(net: nn.Module) -> Trainer:
    optimizer = optim.NAdam(net.parameters(), lr=1e-2)
    return Trainer(net, optimizer, optim.WarmupCosine(optimizer, 2, 20), 3)


def batch(n: int, size: int, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 3, size, size)).astype(np.float32), rng.integers(0, 3, n)


def test_memory_comes_back(cupy: Any) -> None:
    pool = cupy.get_default_memory_pool()
    fit = trainer(small())
    fit.train_step(*batch(4, 8))
    fit.train_step(*batch(4, 8))
    before = pool.used_bytes(), pool.total_bytes()
    for _ in range(3):
        fit.train_step(*batch(4, 8))
    assert (pool.used_bytes(), pool.total_bytes()) == before


@pytest.mark.parametrize("kind", ["tf32", "float16", "bfloat16"])
def test_a_small_network_learns_in_fewer_bits(kind: str) -> None:
    if kind == "bfloat16":
        pytest.importorskip("ml_dtypes")
    losses = []
    for precision in ("float32", kind):
        net = small()
        fit = trainer(net)
        fit.half = prepare(precision, net)
        net.train()
        losses.append([fit.train_step(*batch(4, 8)) for _ in range(8)])
    prepare("float32", net)
    assert losses[0][-1] < 0.9 * losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=5e-2)


@pytest.mark.device_only
def test_a_full_device_names_the_batch_that_fits(cupy: Any) -> None:
    pool = cupy.get_default_memory_pool()
    fit = trainer(small())
    fit.train_step(*batch(8, 64))
    pool.free_all_blocks()
    limit = pool.get_limit()
    pool.set_limit(size=pool.total_bytes() + 64 * 2**20)
    try:
        with pytest.raises(DeviceMemoryError, match=r"a batch of at most \d+ fits") as caught:
            fit.train_step(*batch(2048, 64))
        fitting = int(str(caught.value).split("batch_size=")[1].rstrip("."))
        fit.optimizer.zero_grad()
        del caught
        pool.free_all_blocks()
        fit.train_step(*batch(max(2, fitting // 2), 64))
    finally:
        pool.set_limit(size=limit)


def test_two_streams_train_as_one_does(cupy: Any) -> None:
    """Two networks, their steps interleaved on streams of their own, as if each were alone."""
    alone = []
    for seed in (1, 2):
        fit = trainer(small())
        alone.append([fit.train_step(*batch(4, 8, seed)) for _ in range(3)])
    fits, streams = [trainer(small()) for _ in range(2)], [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    cupy.cuda.Device().synchronize()  # the networks were made on the default stream
    together: list[list[float]] = [[], []]
    for _ in range(3):
        for i, seed in enumerate((1, 2)):
            with streams[i]:
                together[i].append(fits[i].train_step(*batch(4, 8, seed)))
    for stream in streams:
        stream.synchronize()
    assert together == alone


def test_pictures_are_finished_with_the_hosts_bits() -> None:
    cars = SyntheticCars("train", 1, size=48)
    for transform in (train_transform(32, jitter=0.0), eval_transform(32, margin=1.14)):
        batch, _ = next(DataLoader(cars, 10, transform, as_bytes=True).epoch(0))
        np.testing.assert_array_equal(carried(batch, "cuda:0").cpu().numpy(), batch.finished())
    batch, _ = next(DataLoader(cars, 10, train_transform(32, jitter=0.3), as_bytes=True).epoch(0))
    difference = np.abs(carried(batch, "cuda:0").cpu().numpy() - batch.finished())
    assert difference.max() < 0.018  # a grey level
    assert np.count_nonzero(difference) <= 1e-3 * difference.size


def test_a_module_that_does_not_fit_stays_where_it_was(cupy: Any) -> None:
    net = nn.Sequential(nn.Linear(4096, 4096), nn.Linear(4096, 4096))
    pool = cupy.get_default_memory_pool()
    limit = pool.get_limit()
    pool.set_limit(size=pool.total_bytes() + 96 * 2**20)
    try:
        with pytest.raises(DeviceMemoryError, match=r"^to\('cuda:0'\): the device has no room for 64\.0 MiB"):
            net.cuda()
    finally:
        pool.set_limit(size=limit)
    assert {p.device for p in net.parameters()} == {"cpu"}


def test_the_doctor_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    assert "agrees on numpy, cupy" in capsys.readouterr().out


@pytest.mark.device_only
def test_memory_is_shared_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch sees no GPU")
    x = tg.Tensor(np.arange(6.0), dtype="float32").cuda()
    theirs = torch.from_dlpack(x)
    theirs[0] = 9.0
    torch.cuda.synchronize()
    assert x.tolist()[0] == 9.0
    assert tg.from_dlpack(torch.ones(3, device="cuda")).tolist() == [1.0, 1.0, 1.0]
