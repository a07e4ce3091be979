"""Recorded launches, on the device: what CuPy lets be recorded, and that replays say what the network says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn
from tinygrad_effnet.backends.cupy.graph import Graph, RecordingError
from tinygrad_effnet.backends.cupy.products import matmul, own_products


def images(n: int, size: int, seed: int) -> tg.Tensor:
    return tg.from_numpy(np.random.default_rng(seed).standard_normal((n, 3, size, size)).astype(np.float32)).cuda()


def same(net: nn.Module, recorded: nn.Recorded, n: int, size: int) -> None:
    answers = [(recorded(x), x) for x in (images(n, size, seed) for seed in range(3))]
    assert recorded.reason == ""
    for answer, x in answers:
        right = net(x).cpu().numpy()
        np.testing.assert_allclose(answer.cpu().numpy(), right, rtol=0, atol=1e-3 * np.abs(right).max())


def test_a_replay_says_what_a_small_network_says() -> None:
    tg.manual_seed(3)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    net = nn.Sequential(nn.ConvNormAct(3, 8, 3, 2, act=nn.SiLU()), nn.MBConv(8, 8, 2, 3, 1, 0.25), *head).cuda().eval()
    with tg.no_grad():
        same(net, nn.Recorded(net), 2, 8)


@pytest.mark.device_only
@pytest.mark.parametrize("n", [1, 8])
def test_a_replay_says_what_b0_says(n: int, cupy: Any) -> None:
    tg.manual_seed(3)
    net = nn.EfficientNet("b0", 10).cuda().eval()
    with tg.no_grad():
        recorded = nn.Recorded(net)
        same(net, recorded, n, 224)
        before = cupy.get_default_memory_pool().total_bytes()
        for seed in range(5):
            recorded(images(n, 224, seed))
        assert cupy.get_default_memory_pool().total_bytes() <= before + 2 * images(n, 224, 0).array.nbytes
        with cupy.cuda.Stream(non_blocking=True):
            same(net, recorded, n, 224)


@pytest.mark.parametrize(("n", "k", "m"), [(48, 1152, 1), (320, 1152, 49), (17, 640, 200)])
def test_products_that_can_be_recorded(n: int, k: int, m: int, cupy: Any) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((n, k)).astype(np.float32), rng.standard_normal((k, m)).astype(np.float32)
    with own_products():
        found = matmul(cupy.asarray(a), cupy.asarray(b)).get()
    np.testing.assert_allclose(found, a.astype(np.float64) @ b, rtol=0, atol=1e-3)


@pytest.mark.device_only
def test_what_cannot_be_recorded_is_named(cupy: Any) -> None:
    x = cupy.ones((4, 4), "float32")
    for function in (lambda a: a * float(a.sum()), lambda a: cupy.matmul(a, a), lambda a: a + cupy.asarray(np.ones(4))):
        with pytest.raises(RecordingError, match=r"^the launches cannot be recorded"):
            Graph(function, x)
        np.testing.assert_array_equal(Graph(lambda a: a + 1.0, x)(x).get(), np.full((4, 4), 2.0))
