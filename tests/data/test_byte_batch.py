"""Batches of bytes hold what the chain would have made, and know how much of it is left to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_effnet.data import (
    ByteBatch,
    ColorJitter,
    Compose,
    DataLoader,
    MemoryCache,
    MixBatch,
    Normalize,
    Planner,
    Preprocessing,
    RandAugment,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    SyntheticCars,
    eval_transform,
    train_transform,
)

CARS = MemoryCache(SyntheticCars("train", 2, size=40))
CHAINS = {
    "training": train_transform(32, scale=(0.2, 1.0), jitter=0.4),
    "training, enlarged": train_transform(64),
    "erasing": train_transform(24, erasing=0.9),
    "turned": train_transform(24, rotate=20.0, shear=5.0),
    "randaugment": train_transform(24, randaugment=9.0),
    "evaluation": eval_transform(24),
    "evaluation with a margin": eval_transform(24, margin=1.14),
    "squashed": Preprocessing(24, 28, squash=True).transform(),
    "bicubic": Preprocessing(24, 28, interpolation="bicubic").transform(),
    "normalised only": Normalize(),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("workers", [0, 2])
def test_bytes_make_the_images_of_the_chain(name: str, workers: int) -> None:
    settings: dict[str, Any] = {"dataset": CARS, "batch_size": 6, "transform": CHAINS[name], "shuffle": True, "seed": 3}
    plain, as_bytes = DataLoader(**settings), DataLoader(**settings, workers=workers, as_bytes=True)
    for (images, labels), (batch, same) in zip(plain.epoch(1), as_bytes.epoch(1), strict=True):
        np.testing.assert_array_equal(labels, same)
        assert len(batch) == len(images)
        np.testing.assert_array_equal(batch.finished(), images)


@pytest.mark.parametrize(
    ("steps", "done"),
    [
        ([RandomResizedCrop(8), RandomHorizontalFlip(), ColorJitter(0.1)], []),
        ([RandomResizedCrop(8), RandomHorizontalFlip(), RandAugment(), ColorJitter(0.1)], [0, 1, 2]),
        ([RandomHorizontalFlip(), Resize(8)], [0]),
        ([Resize(9), Resize(8)], [0]),
        ([], []),
    ],
)
def test_as_many_steps_are_planned_as_a_plan_has_room_for(steps: list[Any], done: list[int]) -> None:
    planner = Planner(Compose([*steps, Normalize()]))
    assert list(planner.done) == [steps[i] for i in done]
    assert [*planner.done, *planner.planned] == steps


def test_a_batch_is_cut_like_an_array_and_is_a_quarter_of_one() -> None:
    loader = DataLoader(CARS, 5, train_transform(40, jitter=0.0), as_bytes=True)
    batch = next(loader.epoch(0))[0]
    np.testing.assert_array_equal(batch[1:3].copy().finished(), batch.finished()[1:3])
    assert isinstance(batch, ByteBatch)
    assert batch.nbytes < 0.26 * batch.finished().nbytes


def test_what_does_not_go_together() -> None:
    with pytest.raises(ValueError, match=r"^as_bytes: it does not go with processes or mix"):
        DataLoader(CARS, 5, train_transform(24), as_bytes=True, mix=MixBatch(10, mixup=0.2))
    with pytest.raises(ValueError, match=r"^as_bytes: it does not go with processes or mix"):
        DataLoader(CARS, 5, train_transform(24), as_bytes=True, processes=True, workers=1)
    with pytest.raises(ValueError, match=r"^transform: Compose\(Resize\) cannot be planned, since it does not end in"):
        DataLoader(CARS, 5, Compose([Resize(24)]), as_bytes=True)
