from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tinygrad_effnet.data import (
    DataLoader,
    DataLoadingError,
    ImageFolder,
    MemoryCache,
    Normalize,
    SyntheticCars,
    eval_transform,
    train_transform,
)

CARS = MemoryCache(SyntheticCars("train", 3, size=24))


def _loader(**changes) -> DataLoader:
    arguments = {"batch_size": 7, "transform": train_transform(16, erasing=0.3), "shuffle": True, "seed": 3}
    return DataLoader(**{"dataset": CARS, **arguments, **changes})


def _all(batches) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_batches_have_the_promised_form():
    loader = _loader()
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 5
    for images, labels in batches:
        assert images.dtype == np.float32
        assert images.shape == (len(labels), 3, 16, 16)
        assert images.flags.c_contiguous
        assert labels.dtype == np.int64
    assert [len(labels) for _, labels in batches] == [7, 7, 7, 7, 2]


def test_every_picture_once_an_epoch():
    loader = _loader()
    assert sorted(loader.order(4).tolist()) == list(range(len(CARS)))
    np.testing.assert_array_equal(_all(loader.epoch(4))[1], CARS.labels[loader.order(4)])
    assert loader.order(4).tolist() != loader.order(5).tolist()


def test_without_shuffling_the_order_is_the_data_sets():
    loader = _loader(shuffle=False, transform=eval_transform(24))
    images, labels = _all(loader.epoch(2))
    np.testing.assert_array_equal(labels, CARS.labels)
    np.testing.assert_array_equal(images[11], Normalize()(CARS[11][0], np.random.default_rng()))


@pytest.mark.parametrize("options", [{}, {"workers": 1}, {"workers": 1, "processes": True}])
def test_another_transform_from_the_next_epoch_on(options):
    loader = _loader(**options)
    before = _all(loader.epoch(0))
    loader.use(eval_transform(24))
    images, labels = _all(loader.epoch(0))
    loader.close()
    assert before[0].shape[2:] == (16, 16)
    np.testing.assert_array_equal(labels, before[1])
    np.testing.assert_array_equal(images, _all(_loader(transform=eval_transform(24)).epoch(0))[0])


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_change_nothing(workers: int):
    images, labels = _all(_loader().epoch(1))
    threaded, threaded_labels = _all(_loader(workers=workers).epoch(1))
    np.testing.assert_array_equal(images, threaded)
    np.testing.assert_array_equal(labels, threaded_labels)


def test_epochs_and_seeds_differ_and_repeat():
    first = _all(_loader().epoch(0))[0]
    np.testing.assert_array_equal(first, _all(_loader().epoch(0))[0])
    assert not np.array_equal(first, _all(_loader().epoch(1))[0])
    assert not np.array_equal(first, _all(_loader(seed=4).epoch(0))[0])


def test_augmentation_belongs_to_the_picture_not_to_its_place():
    loader, ordered = _loader(), _loader(shuffle=False, batch_size=4)
    shuffled, plain = _all(loader.epoch(2))[0], _all(ordered.epoch(2))[0]
    np.testing.assert_array_equal(shuffled, plain[loader.order(2)])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(0, 3), st.booleans(), st.data())
def test_resuming_in_the_middle(batch_size, workers, drop_last, data):
    drop_last = drop_last and batch_size <= len(CARS)
    loader = _loader(batch_size=batch_size, workers=workers, drop_last=drop_last, transform=train_transform(4))
    start = data.draw(st.integers(0, len(loader)))
    whole, rest = list(loader.epoch(6)), list(loader.epoch(6, start_batch=start))
    assert len(whole) == len(loader)
    assert len(rest) == len(loader) - start
    for (images, labels), (expected, expected_labels) in zip(rest, whole[start:], strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, expected_labels)


def test_drop_last():
    loader = _loader(drop_last=True)
    assert len(loader) == 4
    assert [len(labels) for _, labels in loader.epoch(0)] == [7, 7, 7, 7]


def test_set_epoch_chooses_what_iteration_gives():
    loader = _loader()
    loader.set_epoch(3)
    np.testing.assert_array_equal(_all(loader)[0], _all(loader.epoch(3))[0])


def _workers_alive() -> int:
    return sum(thread.name.startswith("data-loader") for thread in threading.enumerate())


def test_leaving_the_loop_early_stops_the_workers():
    batches = _loader(workers=3, batch_size=2).epoch(0)
    next(batches)
    assert _workers_alive()
    batches.close()
    assert not _workers_alive()


class Watched:
    """A data set that records what was asked of it, and fails at one picture."""

    class_names = ["only"]

    def __init__(self, count: int, broken: int | None = None) -> None:
        self.labels = np.zeros(count, dtype=np.int64)
        self.broken = broken
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.asked.append(index)
        if index == self.broken:
            raise OSError("the disk is gone")
        return np.zeros((4, 4, 3), dtype=np.uint8), 0

    def source(self, index: int) -> str:
        return f"photo-{index}.jpg"

    def describe(self) -> str:
        return "watched"


def test_prefetch_is_bounded():
    dataset = Watched(100)
    loader = DataLoader(dataset, 2, eval_transform(4), workers=2, prefetch=3)
    batches = loader.epoch(0)
    next(batches)
    deadline = time.monotonic() + 5
    while len(dataset.asked) < 8 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    # One batch handed over and three made ahead, of two pictures each.
    assert len(dataset.asked) == 8
    batches.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_reach_the_consumer_and_name_the_picture(workers: int):
    loader = DataLoader(Watched(10, broken=5), 2, eval_transform(4), workers=workers)
    seen = 0
    with pytest.raises(DataLoadingError, match="picture 5, photo-5.jpg: the disk is gone") as caught:
        for _ in loader.epoch(0):
            seen += 1
    assert seen == 2
    assert isinstance(caught.value.__cause__, OSError)
    assert not _workers_alive()


def test_a_damaged_file_is_named(tmp_path: Path):
    (tmp_path / "saloon").mkdir()
    for i in range(3):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / "saloon" / f"{i}.png")
    dataset = ImageFolder(tmp_path)
    dataset.paths[2].write_bytes(b"overwritten")
    with pytest.raises(DataLoadingError, match=r"saloon.2\.png"):
        list(DataLoader(MemoryCache(dataset), 2, eval_transform(4), workers=1))


def test_pictures_of_different_shapes_are_refused():
    def uneven(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.zeros((3, 4, int(rng.integers(4, 4000))), dtype=np.float32)

    with pytest.raises(DataLoadingError, match="end it with a crop to one size"):
        list(_loader(transform=uneven))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"workers": -1}, "workers: got -1"),
        ({"prefetch": 0}, "prefetch: got 0"),
        ({"seed": -1}, "seed: got -1"),
        ({"batch_size": 31, "drop_last": True}, "batch_size: 31 is more than the 30 pictures"),
        ({"dataset": Watched(0)}, "dataset: it has no pictures"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        _loader(**arguments)


def test_bad_epochs_are_refused_at_once():
    loader = _loader()
    with pytest.raises(ValueError, match="start_batch: got 6, expected 0 to 5"):
        loader.epoch(0, start_batch=6)
    for call in (loader.epoch, loader.order, loader.set_epoch):
        with pytest.raises(ValueError, match="epoch: got -1"):
            call(-1)
