"""Batches on their way to where the network lies: the host, or the stand-in for a device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from backends.cupy.standin import available, standin_cupy, traffic

from tinygrad_effnet.data import ByteBatch, DataLoader, SyntheticCars, train_transform
from tinygrad_effnet.training.batches import Ahead, carried

needs_kernels = pytest.mark.skipif(
    not available(), reason="kernels run on the CPU by way of g++, which is not installed"
)


class Source:
    """Three batches, and what was asked of it."""

    def __init__(self, count: int = 3) -> None:
        rng = np.random.default_rng(5)
        self.made = [
            (rng.standard_normal((2, 3, 4, 4)).astype(np.float32), rng.integers(0, 3, 2)) for _ in range(count)
        ]
        self.asked, self.closed = 0, False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.asked == len(self.made):
            raise StopIteration
        self.asked += 1
        return self.made[self.asked - 1]

    def close(self) -> None:
        self.closed = True


def test_on_the_host_batches_come_as_they_are() -> None:
    source = Source()
    ahead = Ahead(source, "cpu", 2)
    for number, (images, labels) in enumerate(ahead, 1):
        assert source.asked == number
        assert images is source.made[number - 1][0]
        assert ahead.carried(images).array is images
        assert ahead.carried(labels).array is labels
    assert source.asked == 2
    ahead.close()
    assert source.closed


def test_on_a_device_each_is_sent_one_step_before() -> None:
    source = Source(4)
    with standin_cupy():
        ahead = Ahead(source, "cuda:0", 3)
        traffic.clear()
        for number, (images, labels) in enumerate(ahead, 1):
            assert source.asked == min(number + 1, 3)
            assert traffic.counts["to device"] == source.asked  # images and labels together
            there, labels_there = ahead.carried(images), ahead.carried(labels)
            assert there.device == labels_there.device == "cuda:0"
            np.testing.assert_array_equal(there.cpu().numpy(), images)
            np.testing.assert_array_equal(labels_there.cpu().numpy(), labels)
            assert labels_there.dtype == labels.dtype
            assert traffic.counts["to device"] == source.asked
            np.testing.assert_array_equal(ahead.carried(images).cpu().numpy(), images)  # again: sent again
            traffic.counts["to device"] -= 1
            other = images[:1].copy()
            np.testing.assert_array_equal(ahead.carried(other).cpu().numpy(), other)
            traffic.counts["to device"] -= 1
        ahead.close()


def test_what_was_taken_stays_when_the_next_are_sent() -> None:
    source = Source(6)
    with standin_cupy():
        ahead = Ahead(source, "cuda:0")
        kept = [(ahead.carried(images), ahead.carried(labels)) for images, labels in ahead]
        ahead.close()
        for (images, labels), made in zip(kept, source.made, strict=True):
            np.testing.assert_array_equal(images.cpu().numpy(), made[0])
            np.testing.assert_array_equal(labels.cpu().numpy(), made[1])


@needs_kernels
@pytest.mark.parametrize("jitter", [0.0, 0.3], ids=["as they are", "recoloured"])
def test_pictures_sent_ahead_are_the_pictures_sent_at_once(jitter: float) -> None:
    loader = DataLoader(SyntheticCars("train", 1, size=24), 4, train_transform(16, jitter=jitter), as_bytes=True)
    with standin_cupy():
        ahead = Ahead(loader.epoch(0), "cuda:0")
        for images, _ in ahead:
            assert isinstance(images, ByteBatch)
            made = ahead.carried(images).cpu().numpy()
            np.testing.assert_array_equal(made, carried(images, "cuda:0").cpu().numpy())
        ahead.close()


def test_a_device_with_room_for_one_gets_one() -> None:
    source = Source()
    with standin_cupy(memory=3 * source.made[0][0].nbytes):
        ahead = Ahead(source, "cuda:0")
        for images, labels in ahead:
            there = ahead.carried(images)
            np.testing.assert_array_equal(there.cpu().numpy(), images)
            np.testing.assert_array_equal(ahead.carried(labels).cpu().numpy(), labels)
            del there
        ahead.close()


def test_a_pass_that_breaks_off_gives_all_back() -> None:
    source = Source()
    with standin_cupy() as cupy:
        ahead = Ahead(source, "cuda:0")
        next(iter(ahead))
        ahead.close()
        assert source.closed
        assert cupy.get_default_memory_pool().used_bytes() == 0
