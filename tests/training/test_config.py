from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinygrad_effnet.training.config import ConfigError, TrainConfig

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_short_model_names_are_taken():
    assert TrainConfig(model="b3").model == "efficientnet_b3"
    assert TrainConfig(model="b3").model == "efficientnet_b3"


def test_the_learning_rate_follows_the_optimizer():
    assert TrainConfig().learning_rate == 3e-3
    assert TrainConfig(optimizer="sgd").learning_rate == 0.1
    assert TrainConfig(optimizer="sgd", lr=0.5).learning_rate == 0.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "resnet18"}, "model: got 'resnet18', expected one of efficientnet_b0"),
        ({"optimizer": "lion"}, "optimizer: got 'lion', expected one of nadam"),
        ({"backend": "tpu"}, "backend: got 'tpu', expected one of loops, numpy, numba, cupy"),
        ({"size": 16}, "size: got 16, expected at least 32 pixels"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"seed": -1}, "seed: got -1"),
        ({"label_smoothing": 1.0}, "label_smoothing: got 1.0"),
        ({"dropout": 1.0}, "dropout: got 1.0"),
        ({"lr": 0.0}, "lr: got 0.0, expected more than 0"),
        ({"limit_batches": 0}, "limit_batches: got 0"),
        ({"minutes": 0}, "minutes: got 0"),
        ({"fraction": 0.0}, "fraction: got 0.0, expected more than 0"),
    ],
)
def test_bad_settings_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(**settings)


def test_saved_and_read_back(tmp_path):
    config = TrainConfig(data="photographs", lr=1e-3, minutes=2.5)
    config.save(tmp_path / "config.json")
    assert TrainConfig.load(tmp_path / "config.json") == config
    assert json.loads((tmp_path / "config.json").read_text())["minutes"] == 2.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not readable as JSON"),
        ("[1]", "it holds list"),
        ('{"colour": 1}', "it holds colour; expected settings among data, crop_boxes"),
        ('{"epochs": "ten"}', "epochs is 'ten', which is not of the right type"),
        ('{"epochs": true}', "epochs is True"),
        ('{"epochs": 0}', "epochs: got 0"),
    ],
)
def test_damaged_files_are_explained(tmp_path, text, words):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        TrainConfig.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file; give the folder of a run"):
        TrainConfig.load(tmp_path / "config.json")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_among_the_examples_are_settings(path):
    config = TrainConfig.load(path)
    assert config.data is None, "the photographs are the user's"
    assert config != TrainConfig()
