"""Random numbers counted out on the device."""

from __future__ import annotations

import numpy as np
import pytest
from backends.cupy.standin import available, standin_cupy, traffic
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.backends.cupy import random

pytestmark = pytest.mark.skipif(not available(), reason="kernels run on the CPU by way of g++, which is not installed")


def philox(counter: int, key: int) -> list[int]:
    """Philox-4x32-10 in whole numbers of Python."""
    mask = 2**32 - 1
    x, k = [counter & mask, counter >> 32, 0, 0], [key & mask, key >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [p1 >> 32 ^ x[1] ^ k[0], p1 & mask, p0 >> 32 ^ x[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return x


def test_the_reference_is_philox() -> None:
    """The authors' first known answer (Random123, kat_vectors)."""
    assert philox(0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


class Key:
    """A generator that gives this key."""

    def __init__(self, key: int) -> None:
        self.key = key

    def integers(self, high: int, dtype: type) -> int:
        return self.key


@given(st.integers(0, 2**64 - 1), st.integers(1, 700))
def test_numbers_are_those_of_the_reference(key: int, count: int) -> None:
    with standin_cupy():
        single = random.uniform(Key(key), (count,), "float32").get()
        double = random.uniform(Key(key), (count,), "float64").get()
    words = [philox(i, key) for i in range(count)]
    np.testing.assert_array_equal(single, [(w[0] >> 8) / 2**24 for w in words])
    np.testing.assert_array_equal(double, [((w[1] << 32 | w[0]) >> 11) / 2**53 for w in words])


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
def test_numbers_fill_the_unit_interval_and_never_reach_one(stored: str) -> None:
    with standin_cupy():
        x = random.uniform(np.random.default_rng(3), (40, 500), stored).get()
    assert x.dtype == stored
    assert 0 <= x.min() < 1e-2
    assert 0.99 < x.max() < 1
    assert abs(x.astype(float).mean() - 0.5) < 0.01
    assert abs(x.astype(float).var() - 1 / 12) < 0.003


def test_our_seed_gives_masks_on_the_device_and_nothing_is_carried_over() -> None:
    masks = []
    with standin_cupy() as cupy:
        x = tg.Tensor(np.ones((50, 20), np.float32)).to("cupy")
        for seed in (7, 7, 8):
            generator = np.random.default_rng(seed)
            traffic.clear()
            first, second = tg.dropout(x, 0.3, generator=generator), tg.dropout(x, 0.3, generator=generator)
            assert not any(traffic.counts.values())
            masks.append((first.array.get(), second.array.get()))
            assert isinstance(first.array, cupy.ndarray)
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0][0] != masks[0][1]).any()
    assert (masks[0][0] != masks[2][0]).any()
    assert abs((masks[0][0] == 0).mean() - 0.3) < 0.05
