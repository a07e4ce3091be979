"""Many models are learnt far above chance: by way of Stanford Cars' own files, and of a folder for each class.

40 of the 196 models by default, which takes half a minute each. All of them, with what came out of it:

    TINYGRAD_EFFNET_ALL_MODELS=1 python -m pytest -s tests/training/test_many_models.py
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet import nn, optim
from tinygrad_effnet.data import SyntheticCars, write_stanford_cars
from tinygrad_effnet.nn.staged import Plan, Stage, StagedNet
from tinygrad_effnet.training import TrainConfig, Trainer, build
from tinygrad_effnet.training.metrics import ConfusionMatrix
from tinygrad_effnet.training.progress import Progress

MODELS = 196 if os.environ.get("TINYGRAD_EFFNET_ALL_MODELS") else 40
IMAGES = (30, 5)  # of each model, to learn from and to check with
CHANCE = 1 / MODELS
SETTINGS = {"size": 48, "epochs": 12, "batch_size": 16, "lr": 0.01, "dropout": 0.0, "stochastic_depth": 0.0}


class SmallNet(StagedNet):
    """Learns small images in a fifth of EfficientNet-B0's time, whose five halvings leave little of them."""

    def __init__(self, num_classes: int) -> None:
        stages = (
            Stage("mbconv", 1, 3, 1, 16, 16, 1),
            Stage("mbconv", 4, 3, 2, 16, 24, 2),
            Stage("mbconv", 4, 5, 2, 24, 40, 2),
        )
        super().__init__(Plan(stem=16, stages=stages, head=160, size=48, dropout=0.0), num_classes)


def learnt(config: TrainConfig) -> ConfusionMatrix:
    """Of the pictures held out, after learning from the others."""
    data = build.open_split(config)
    assert len(data.class_names) == MODELS
    assert (len(data.train), len(data.val)) == (MODELS * IMAGES[0], MODELS * IMAGES[1])
    train, val = build.make_loaders(data, config, Progress(config.epochs))
    build.manual_seed(config.seed)
    model = SmallNet(MODELS)
    nn.init.normal_(model.classifier.weight, std=0.01)
    optimizer = build.make_optimizer(model, config)
    steps = config.epochs * len(train)
    trainer = Trainer(model, optimizer, optim.WarmupCosine(optimizer, round(config.warmup * steps), steps), MODELS)
    for _ in range(config.epochs):
        trainer.train_epoch(train)
    return trainer.evaluate(val).confusion


def check(confusion: ConfusionMatrix, least: float) -> None:
    """Right at least so many times as often as by chance; who knows the ten kinds of bodies only is so ten times."""
    right, f1 = confusion.accuracy(), confusion.macro_f1()
    print(f"\n{MODELS} models: accuracy {right:.3f}, {right / CHANCE:.1f} times chance; macro F1 {f1:.3f}")
    assert right > least * CHANCE
    # The same answers are wrong if labels are counted from 1 on one side and from 0 on the other.
    for shift in (-1, 1):
        assert np.trace(np.roll(confusion.matrix, shift, axis=1)) / confusion.matrix.sum() < least / 2 * CHANCE


@pytest.mark.slow
def test_by_way_of_the_files_of_stanford_cars(tmp_path: Path):
    write_stanford_cars(tmp_path / "cars", MODELS, IMAGES)
    check(learnt(TrainConfig(data=str(tmp_path / "cars"), crop_boxes=True, **SETTINGS)), 20)  # 26; 16 without boxes


@pytest.mark.slow
def test_by_way_of_class_folders(tmp_path: Path):
    for split, count in zip(("train", "val"), IMAGES, strict=True):
        cars = SyntheticCars(split, count, size=64, models=MODELS)
        for name in cars.class_names:
            (tmp_path / split / name).mkdir(parents=True)
        for index in range(len(cars)):
            picture, label = cars[index]
            Image.fromarray(picture).save(tmp_path / split / cars.class_names[label] / f"{index}.jpg", quality=92)
    check(learnt(TrainConfig(data=str(tmp_path), **SETTINGS)), 12)  # 19
